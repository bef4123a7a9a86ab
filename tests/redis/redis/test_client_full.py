"""A full Redis. Rule: it takes no more messages, and everything else goes on."""

import asyncio
from collections.abc import Callable, Iterator

import pytest
import redis

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.dispatch.claimer import parse_entry
from smsd.redis.errors import (
    Away,
    OutOfMemory,
)
from smsd.redis.scripts import Call
from smsd.store.append import Append
from smsd.store.entry import Attempt, Entry
from smsd.store.lease import lease_keys
from tests.redis.ruins import destroy_groups
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    LIMITS,
    OpenStore,
    Store,
    Wall,
    content,
    dump,
    sha,
    soon,
    until,
)

Life = tuple[Entry, Attempt, Message]


@pytest.fixture
def full(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Call it to fill Redis up; it is emptied in the end."""
    with redis_server.client() as client:
        yield lambda: _configure(client, 1)
        _configure(client, 0)


def _configure(client: "redis.Redis", maxmemory: int) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", maxmemory)


Full = Callable[[], None]


async def test_a_full_redis_refuses_to_append_and_queues_nothing(store: Store, full: Full) -> None:
    await store.append()
    before = await dump(store.redis, store.keys.prefix)
    full()
    requests = [
        Append(content(), [ALICE]),
        Append(content(priority="high"), [ALICE] * 3),
        Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}"),
    ]
    for request in requests:
        with pytest.raises(OutOfMemory):
            await soon(store.queue.append(request))
    with pytest.raises(OutOfMemory):
        await soon(store.schedule(5))
    assert await dump(store.redis, store.keys.prefix) == before


async def test_every_append_of_a_group_is_refused_when_redis_is_full(
    store: Store, full: Full
) -> None:
    full()
    results = await soon(
        asyncio.gather(*(store.append() for _ in range(100)), return_exceptions=True)
    )
    assert all(isinstance(result, OutOfMemory) for result in results)
    assert await store.length() == 0


async def test_an_append_is_taken_or_refused_as_a_whole_where_redis_fills_up(
    wired: Store, proxy: Proxy, full: Full
) -> None:
    """A group is cut off between two of its calls: the first is done, the rest finds Redis full."""
    proxy.lose_reply(sha("append"))
    appends = [asyncio.create_task(wired.append(ALICE, ALICE)) for _ in range(5)]
    await until(lambda: proxy.lost == 1, "the reply was lost")
    full()
    results = await soon(asyncio.gather(*appends, return_exceptions=True))
    taken = [result for result in results if isinstance(result, list)]
    assert all(isinstance(result, list | OutOfMemory | Away) for result in results)
    assert await wired.length() == 2 * len(taken)
    assert await wired.difference() == 0


async def test_intake_goes_on_when_there_is_room_again(
    store: Store, full: Full, redis_server: RedisServer
) -> None:
    full()
    with pytest.raises(OutOfMemory):
        await store.append()
    with redis_server.client() as client:
        _configure(client, 0)
    await store.append()
    assert await store.length() == 1


async def test_everything_but_intake_works_while_redis_is_full(
    store: Store, open_store: OpenStore, wall: Wall, full: Full
) -> None:
    for n in range(3):
        await store.schedule(1, f"s{n}")
    await store.append(*[ALICE] * 10)
    letter, dead_id = await store.dead_letter()
    lost, lost_id = await store.dead_letter()
    full()
    wall.advance(2)
    queue = store.queue
    assert await queue.promote() == 3
    entries = await queue.claim(20, 20)
    lives: list[Life] = []
    for entry in entries:
        message = parse_entry(entry, LIMITS, wall())
        assert await store.begin(entry, store.attempt(), message.recipient) == "begun"
        lives.append((entry, store.attempt(), message))
    assert len(lives) == 13
    assert await queue.ack(*lives[0], "p")
    assert await queue.defer(*lives[1], until=wall(), attempts=1, why="w")
    assert await queue.bury(*lives[2], reason=DeadReason.IN_DOUBT, opted_out=True)
    assert await queue.ack(*lives[2], "p")
    assert await queue.expire(*lives[3])
    await queue.release(lives[4][0].name, lives[4][1])
    assert await queue.suppress(lives[4][0], lives[4][2])
    assert await queue.replay(letter, dead_id)
    assert await queue.drop(lost, lost_id)
    assert await queue.cancel(dead_id) == "cancelled"
    assert len(await queue.reclaim(await store.unsettled.pending())) == 8
    await store.client.ensure_groups()
    await destroy_groups(store)
    assert len(await queue.claim(20, 20)) == 8
    assert await store.difference() == 0
    await store.redis.delete(store.keys.lease)
    acquire = Call(
        "acquire",
        {"life_ms": 60_000, "dead": "", "unrenewed_ms": 0, "hold": "x", "held_s": 1},
        lease_keys(store.keys),
    )
    for _ in range(2):
        acquired = await store.client.ask(acquire)
        assert acquired == [b"a", 0, b"0"]
    await store.client.ask(Call("yield", keys=[store.keys.hold]))
    taken = await open_store("b").client.ask(acquire)
    assert taken == [b"b", 0, b"0"]
