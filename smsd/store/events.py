"""The stream of events. Rule: each change of a message's state is one event, oldest first.

The stream is capped: what is older than its last `[queue] max_events` changes is not in it.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, cast

from redis.asyncio import Redis

from smsd.core.life import State
from smsd.redis.client import decode_fields, text
from smsd.redis.scripts import Call
from smsd.store.campaigns.results import unpack
from smsd.store.client import StoreClient

PAGE = 500  # events that are read at a time
PATIENCE_MS = 1000  # of one blocking read; shorter than the patience for a reply

_Rows = list[tuple[bytes, dict[bytes, bytes]]]


class Event(NamedTuple):
    """A change of a message's state. Other hands may have written anything into its fields."""

    id: str  # Unix ms, "-" and a number
    fields: Mapping[str, str]  # id (of the message), state, detail, by

    @property
    def at_ms(self) -> int:
        """When it happened, Unix ms."""
        return int(self.id.partition("-")[0])


class Events:
    """Reads the stream."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._key = client.keys.events

    async def last_id(self) -> str:
        """Id of the last event, or one before any there will be."""
        last = await self._client.read(lambda redis: redis.xrevrange(self._key, count=1))
        return text(last[0][0]) if last else "0-0"

    async def wait(self, after: str) -> list[Event]:
        """Up to `PAGE` events behind the one with id `after`; none, if none comes in a second."""

        async def read(redis: Redis) -> Any:
            return await redis.xread({self._key: after}, count=PAGE, block=PATIENCE_MS)

        found = await self._client.read(read)
        return _events(found[0][1]) if found else []

    async def find_settled(
        self, provider_ids: Collection[str], since_ms: int, until_ms: int
    ) -> Mapping[str, str]:
        """Ids of messages that were sent in that time, by those `provider_ids` they have."""
        after, found = str(since_ms), dict[str, str]()
        while page := await self._page(after, str(until_ms)):
            after = f"({page[-1].id}"
            sent = [event.fields.get("id", "") for event in page if _is_sent(event)]
            for message_id, name in zip(sent, await self._provider_ids(sent), strict=True):
                if name in provider_ids:
                    found[name] = message_id
        return found

    async def _provider_ids(self, message_ids: list[str]) -> list[str]:
        """The provider's id of each message, "" where none is kept."""
        keys = list(map(self._client.keys.message, message_ids))
        reply = await self._client.ask(Call("provider_ids", {"ids": message_ids}, keys))
        kept = cast("list[tuple[bytes, bytes]]", reply)
        return [text(name) or unpack(value, 0).provider_id for name, value in kept]

    async def _page(self, start: str, stop: str) -> list[Event]:
        found = await self._client.read(lambda redis: redis.xrange(self._key, start, stop, PAGE))
        return _events(found)


def _is_sent(event: Event) -> bool:
    return event.fields.get("state") == State.SENT


def _events(rows: object) -> list[Event]:
    return [Event(text(id_), decode_fields(fields)) for id_, fields in cast("_Rows", rows)]
