"""Entries that claim and reclaim hand out. Rule: only one that smsd wrote may name its message."""

from typing import cast

from smsd.redis.client import text
from smsd.store.client import StoreClient
from smsd.store.entry import Entry
from smsd.store.identity import OlderData


class Fenced(Exception):  # noqa: N818 - a state, named as users see it
    """Another daemon holds the lease."""


async def handed_out(client: StoreClient, reply: object) -> list[Entry]:
    """The entries of a script's reply. Raises `Fenced` and `OlderData`.

    Ours is what promote or replay put there.
    With another message's id, an XADD would change the status of that message.
    """
    entries = _entries(reply)
    given = {place: id_ for place, entry in enumerate(entries) if (id_ := entry.given_id)}
    if given:
        statuses = [client.keys.message(id_) for id_ in given.values()]
        homes = await client.field_of_each("entry", statuses)
        for place, home in zip(given, homes, strict=True):
            if home == entries[place].name.encode():
                entries[place] = entries[place]._replace(ours=True)
    return entries


def _entries(reply: object) -> list[Entry]:
    """As they are in the reply. Raises `Fenced` and `OlderData`."""
    if reply == b"fenced":
        raise Fenced
    if reply == b"older":
        raise OlderData
    rows = cast("list[tuple[bytes, list[bytes] | None, int]]", reply)
    return [Entry(text(name), fields, octets) for name, fields, octets in rows]
