"""Looking up one message. Rule: reading changes nothing; a queued message costs its entry alone.

This is a caller's look-up of a message's status. (A provider is asked about a message in doubt by
the `look_up` of `smsd/provider/base.py`.)

What happened to a message is kept in a hash, its status, that is first written when something does
happen; until then its id leads to its entry, which was named after it. Of one that is finished a
few octets are kept, among those of others (finished.py).
"""

from contextlib import suppress
from typing import cast

from smsd.core.campaign import split_id
from smsd.core.fields import ENTRY_IN_LOOK_UP, LOOK_UP
from smsd.core.life import State
from smsd.redis.client import decode_fields, text
from smsd.redis.errors import Refused
from smsd.store.campaigns import message as campaign_message
from smsd.store.client import StoreClient
from smsd.store.entry import first_entry, is_entry
from smsd.store.finished import place_of, unpack
from smsd.store.history import read_history


class Lookup:
    """Finds a message wherever it is."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def message(self, message_id: str) -> dict[str, object] | None:
        """State, fields and history (`state`, `at` in Unix ms, `detail`) of a message, or None."""
        key = self._client.keys.message(message_id)
        fields: dict[str, str] = {}
        with suppress(Refused):  # its entry is asked
            fields = decode_fields(await self._client.read(lambda redis: redis.hgetall(key)))
        if fields.get("state", State.QUEUED) != State.QUEUED:
            return _shown(message_id, fields)
        if not fields and (parts := split_id(message_id)):
            fields = await campaign_message.look_up(self._client, *parts) or {}
            return _shown(message_id, fields) if fields else None
        name = fields.get("entry") or first_entry(message_id)
        entry = await self._entry(name) if is_entry(name) else None
        if entry is None or not await self._is_of(message_id, entry.get("id", message_id), name):
            # Between the two reads it may have been settled.
            fields = await self._finished(message_id) or fields
            return _shown(message_id, fields) if "state" in fields else None
        fields.setdefault("history", f"{name[1:].split('-')[0]} queued")
        fields.update(await self._sending(name))
        of_entry = {field: entry[field] for field in ENTRY_IN_LOOK_UP if field in entry}
        return _shown(message_id, of_entry | {"state": State.QUEUED} | fields)

    async def _finished(self, message_id: str) -> dict[str, str] | None:
        if (place := place_of(message_id)) is None:
            return None
        key, value = self._client.keys.finished(place.name), None
        with suppress(Refused):  # other hands wrote something else there
            value = await self._client.read(lambda redis: redis.hget(key, place.field))
        return unpack(cast("bytes", value), place.time) if value else None

    async def _entry(self, name: str) -> dict[str, str] | None:
        keys = self._client.keys
        stream = keys.high if name[0] == "h" else keys.queue
        found = await self._client.read(
            lambda redis: redis.xrange(stream, min=name[1:], max=name[1:])
        )
        return decode_fields(found[0][1]) if found else None

    async def _is_of(self, message_id: str, given_id: str, name: str) -> bool:
        """Whether an entry is that message's: `given_id` is true where promote or replay wrote."""
        if given_id == message_id:
            return True
        status = self._client.keys.message(given_id)
        home = await self._client.read(lambda redis: redis.hget(status, "entry"))
        return home is None or text(home) != name

    async def _sending(self, name: str) -> dict[str, str]:
        inflight = self._client.keys.inflight
        mark = await self._client.read(lambda redis: redis.hget(inflight, name))
        return {"state": State.SENDING, "attempts": text(mark).split(" ")[0]} if mark else {}


def _shown(message_id: str, fields: dict[str, str]) -> dict[str, object]:
    """What a look-up shows of a message's fields."""
    shown: dict[str, object] = {"id": message_id, "state": fields["state"]}
    for field in LOOK_UP:
        value = field.kind.show(fields.get(field.name, ""))
        if value is not None:
            shown[field.name] = value
    shown["history"] = read_history(message_id, fields.get("history", ""))
    return shown
