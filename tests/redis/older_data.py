"""Steps of a life in data that may turn out to be older than it was."""

import asyncio
from typing import Any

from smsd.core.message import Message
from smsd.dispatch.claimer import parse_entry
from smsd.redis.errors import Away
from smsd.store.append import Append
from smsd.store.entry import Attempt, Entry
from smsd.store.operator_hold import HeldBy
from tests.redis.opened import Tail
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, LIMITS, Store, content

Sending = tuple[Entry, Attempt, Message]
TOGETHER = 256


async def send(store: Store, many: int) -> list[str]:
    """Queue, claim, begin and settle as many messages; their ids."""
    ids: list[str] = []
    while len(ids) < many:
        together = min(TOGETHER, many - len(ids))
        await store.queue.append(Append(content(), [ALICE] * together))
        claimed = await store.queue.claim(0, together)
        attempts = [store.attempt() for _ in claimed]
        sends = [(one, attempt, ALICE) for one, attempt in zip(claimed, attempts, strict=True)]
        assert set(await store.queue.begin(sends)) == {"begun"}
        await settle(store, sends)
        ids += [one.first_message_id for one in claimed]
    return ids


async def settle(store: Store, sends: Any) -> None:
    settlements = [
        store.queue.ack(entry, attempt, parse_entry(entry, LIMITS, store.wall()), "p")
        for entry, attempt, _ in sends
    ]
    assert all(await asyncio.gather(*settlements))


async def queue(store: Store, many: int) -> list[str]:
    return (await store.queue.append(Append(content(), [ALICE] * many))).ids


async def deferred_since(store: Store, server: RedisServer) -> tuple[str, Tail, Sending]:
    """A message at its second attempt, and data that knows of none: its id, the data, the attempt.

    The data has the message in its stream.
    """
    [id_] = await queue(store, 1)
    tail = Tail(server)
    await reach(store)
    entry, attempt, message = await store.begin_next()
    assert await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
    assert await store.queue.promote() == 1
    return id_, tail, await store.begin_next()


async def promoted_since(store: Store, server: RedisServer) -> tuple[str, Tail, Sending]:
    """A message that is being sent, and data that has it as deferred: id, data and attempt."""
    id_ = await store.schedule(-1)
    tail = Tail(server)
    await reach(store)
    assert await store.queue.promote() == 1
    return id_, tail, await store.begin_next()


async def reasons(store: Store) -> list[object]:
    """Why the dead letters are dead."""
    return [fields["reason"] for _, fields in await store.dead_letters.page("", 9)]


async def claimed(store: Store) -> list[str]:
    """What is handed out when the data may be dispatched from."""
    async with asyncio.timeout(20):
        while True:
            try:
                return [one.first_message_id for one in await store.queue.claim(0, 10_000)]
            except Away:
                await asyncio.sleep(0.05)


async def reach(store: Store) -> None:
    """Ask until the server has answered."""
    async with asyncio.timeout(20):
        while True:
            try:
                await store.census()
            except Away:
                await asyncio.sleep(0.02)
            else:
                return


async def seen_to_differ(store: Store) -> None:
    """Ask until the server has answered, and is found to have other data."""
    await reach(store)
    assert not store.identity.trusted


async def held(store: Store) -> HeldBy:
    async with asyncio.timeout(20):
        while (found := await store.operator_hold.look()) is None:
            await asyncio.sleep(0.02)
    return found
