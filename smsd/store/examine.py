"""Faults of whole keys. Rule: each is named, and is mended where nothing is lost by it.

A stream whose ids have run out (one XADD with the largest id does it) is made anew by every look:
until then it takes no message. What other hands put at a key is set aside by `smsd fsck --repair`.
"""

import logging
from collections.abc import Mapping
from typing import Literal, NamedTuple, cast

from smsd.core.life import COUNTERS
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.entry import FIRST_SPENT
from smsd.store.keys import Keys

log = logging.getLogger("smsd.redis")
MOST_COPIED = 10_000  # entries of a stream that is made anew beside a daemon: some 50 ms of Redis
TRIES = 3  # to make a stream anew that changes under our hands

What = Literal["type", "ids", "count"]


class KeyFault(NamedTuple):
    """What is wrong with a key."""

    key: str
    what: What
    reason: str


async def look(client: StoreClient, *, repair: bool = False) -> list[KeyFault]:
    """What is wrong, in one instant. Repaired: counts alone, which begin anew."""
    kinds = beside(client.keys)
    request = {"kinds": list(kinds.values()), "counted": COUNTERS, "repair": repair}
    reply = await client.ask(Call("fsck_keys", request, list(kinds)))
    rows = cast("list[list[bytes]]", reply)
    return [KeyFault(text(key), cast("What", text(what)), text(why)) for key, what, why in rows]


def beside(keys: Keys) -> Mapping[str, str]:
    """The keys that a script is not given anyway, with their types."""
    others = (
        *(keys.hold, keys.held, keys.released, keys.staged, keys.ack),
        *(keys.audiences, keys.audiences_unfinished),
        *(keys.campaigns, keys.campaign_names, keys.campaigns_active),
    )
    return {key: keys.kinds[key] for key in others}


async def examine(client: StoreClient) -> None:
    """Look, make anew what can be, and note what is left in `server.damage`."""
    faults = await look(client)
    for fault in faults:
        if fault.what == "ids":
            how = await renew(client, fault.key, most=MOST_COPIED)
            log.error("stream without ids", extra={"key": fault.key, "mended": how})
    if any(fault.what == "ids" for fault in faults):
        faults = await look(client)
    found = {fault.key: fault.reason for fault in faults}
    client.damage.examined(found, frozenset(client.keys.kinds))


async def renew(client: StoreClient, stream: str, *, most: int) -> str:
    """Make a stream anew: `renewed`, or why not (see lua/fsck_renew.lua)."""
    how = "changed"
    for _ in range(TRIES):
        spent = await client.read(lambda redis: redis.xrange(stream, FIRST_SPENT, "+"))
        entries = cast("list[tuple[bytes, dict[bytes, bytes]]]", spent)
        request = {"most": most, "spent": [text(id_) for id_, _ in entries]}
        statuses = [_status(client.keys, stream, text(id_), entry) for id_, entry in entries]
        call = Call("fsck_renew", request, [stream, f"{stream}:anew", *statuses])
        how = text(await client.ask(call))
        if how != "changed":
            break
    return how


def _status(keys: Keys, stream: str, id_: str, fields: Mapping[bytes, bytes]) -> str:
    """The key that tells of an entry's message."""
    own = f"h{id_}" if stream == keys.high else id_
    return keys.message(text(fields[b"id"]) if b"id" in fields else own)


async def set_aside(client: StoreClient, key: str) -> str:
    """Keep what other hands put at a key under another name, and return that."""
    aside = f"{key}:foreign:{client.now_ms()}"
    request = {"kind": client.keys.kinds[key], "holds": key == client.keys.held}
    call = Call("fsck_set_aside", request, [key, aside])
    return aside if await client.ask(call) == b"aside" else ""
