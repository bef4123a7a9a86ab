"""The census. Rule: every message is counted once, and the numbers add up."""

import asyncio
import random

import pytest

from smsd.core.life import DeadReason
from smsd.redis.scripts import Call
from smsd.store.census import Census
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, BOB, OpenStore, Store, Wall, soon


async def test_an_empty_redis_has_no_messages(open_store: OpenStore) -> None:
    census = await open_store().census()
    assert (census.queued, census.in_flight, census.deferred, census.dead) == (0, 0, 0, 0)
    assert census.accepted == census.waiting == census.difference == 0
    assert set(census.finished.values()) == {0}


async def test_the_census_counts_every_place(store: Store) -> None:
    await store.dead_letter()
    await store.sending()
    await store.append(ALICE, BOB)
    await store.append(priority="high")
    await store.schedule(5)
    [id_] = await store.append()
    await store.queue.cancel(id_)
    census = await store.census()
    assert (census.queued, census.in_flight, census.deferred, census.dead) == (4, 1, 1, 1)
    assert census.accepted == 7
    assert census.waiting == 5
    assert census.finished["cancelled"] == 1
    assert census.difference == 0


@pytest.mark.parametrize("seed", range(5))
async def test_after_anything_at_all_every_message_is_accounted_for(
    store: Store, wall: Wall, seed: int
) -> None:
    chance = random.Random(seed)
    ids: list[str] = []
    for step in range(120):
        ids += await _anything(store, wall, chance, f"s{step}")
        if chance.random() < 0.3:
            await store.queue.cancel(chance.choice(ids or ["none"]))
    census = await store.census()
    assert census.difference == 0
    assert census.accepted == len(ids)
    assert await _look_everywhere(store, ids) == _places(census)


async def _anything(store: Store, wall: Wall, chance: random.Random, name: str) -> list[str]:
    wall.advance(chance.random())
    match chance.randrange(8):
        case 0:
            return await store.append(*[ALICE] * chance.randint(1, 4))
        case 1:
            return await store.append(priority="high")
        case 2:
            return [await store.schedule(chance.random() * 3, name)]
        case 3:
            await store.queue.promote(chance.randint(1, 5))
        case 4:
            for letter, fields in await store.dead_letters.page("", 1):
                await chance.choice((store.queue.replay, store.queue.drop))(letter, fields["id"])
        case _ if await store.length() > len(await store.unsettled.pending()):
            await _any_fate(store, chance)
    return []


async def _any_fate(store: Store, chance: random.Random) -> None:
    queue, life = store.queue, await store.begin_next()
    until = store.wall() + 500
    fates = (
        lambda: queue.ack(*life, "p"),
        lambda: queue.defer(*life, until=until, attempts=1, why="w"),
        lambda: queue.bury(*life, reason=DeadReason.REJECTED),
        lambda: queue.expire(*life),
        store.unsettled.in_flight,  # it stays in flight
    )
    await chance.choice(fates)()


def _places(census: Census) -> dict[str, int]:
    places = {
        "queued": census.queued - census.in_flight,
        "sending": census.in_flight,
        "deferred": census.deferred,
        "dead": census.dead,
        **census.finished,
    }
    return {place: texts for place, texts in places.items() if texts}


async def _look_everywhere(store: Store, ids: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for id_ in ids:
        state = str(await store.state(id_))
        found[state] = found.get(state, 0) + 1
    return found


async def test_a_message_that_somebody_deleted_by_hand_is_missed(store: Store) -> None:
    first, _, third = await store.append(ALICE, BOB, ALICE)
    await store.schedule(5)
    await store.redis.xdel(store.keys.queue, first)
    assert await store.difference() == 1
    await store.redis.xtrim(store.keys.queue, maxlen=0)
    assert await store.difference() == 3
    await store.redis.zrem(store.keys.deferred, "s1")
    assert await store.difference() == 4
    assert await store.state(third) is None


async def test_a_message_that_came_by_xadd_counts_as_accepted(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"})
    await store.redis.xadd(store.keys.high, {"nonsense": ""})
    census = await store.census()
    assert census.accepted == census.queued == 2
    assert census.difference == 0


async def test_a_late_ack_does_not_count_a_message_twice(store: Store) -> None:
    life = await store.sending()
    await store.queue.bury(*life, reason=DeadReason.IN_DOUBT)
    await store.queue.ack(*life, "p")
    census = await store.census()
    assert (census.dead, census.finished["sent"], census.difference) == (0, 1, 0)


async def test_the_numbers_survive_a_rewrite_of_the_append_only_file(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    await store.append(*[ALICE] * 10)
    for _ in range(4):
        await store.queue.ack(*await store.begin_next(), "p")
    before = await store.census()
    await store.redis.bgrewriteaof()
    while (await store.redis.info("persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.01)
    own_server.kill()
    own_server.start()
    await soon(store.client.insist(Call("census")))  # it is back
    assert await store.census() == before
