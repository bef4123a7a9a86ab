"""The store's client. Rule: groups that are gone are made again, and no entry is skipped."""

import asyncio

from smsd.core.life import DeadReason
from tests.redis.ruins import Ruin, destroy_groups, flush, ruins
from tests.support.store import (
    ALICE,
    OpenStore,
    Store,
    soon,
)


@ruins
async def test_a_claim_makes_the_groups_again_and_skips_no_entry(store: Store, ruin: Ruin) -> None:
    await store.append()
    await store.queue.claim(10, 10)
    await ruin(store)
    ids = await store.append(ALICE, ALICE, priority="high") + await store.append(ALICE, ALICE)
    entries = await store.queue.claim(10, 10)
    claimed = [entry.first_message_id for entry in entries]
    assert [id_ for id_ in claimed if id_ in ids] == ids


@ruins
async def test_the_pending_list_makes_the_groups_again(store: Store, ruin: Ruin) -> None:
    await store.append()
    await store.queue.claim(10, 10)
    await ruin(store)
    assert await store.unsettled.pending() == []
    [id_] = await store.append()
    assert id_ in [entry.first_message_id for entry in await store.queue.claim(10, 10)]


@ruins
async def test_waiting_for_arrivals_makes_the_groups_again(store: Store, ruin: Ruin) -> None:
    await ruin(store)
    await soon(store.arrivals.wait(normal_too=True))
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    [id_] = await store.append(priority="high")
    await soon(waiting)
    [entry] = await store.queue.claim(10, 10)
    assert entry.first_message_id == id_


@ruins
async def test_who_waits_for_arrivals_while_it_happens_goes_on(store: Store, ruin: Ruin) -> None:
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    await asyncio.sleep(0.05)
    await ruin(store)
    await soon(waiting)
    [id_] = await store.append()
    await soon(store.arrivals.wait(normal_too=True))
    [entry] = await store.queue.claim(10, 10)
    assert entry.first_message_id == id_


async def test_a_claim_that_finds_one_group_gone_loses_none_of_the_other_lane(
    store: Store,
) -> None:
    ids = await store.append(ALICE, priority="high") + await store.append(ALICE)
    await store.redis.xgroup_destroy(store.keys.queue, "smsd")
    entries = await store.queue.claim(10, 10)
    entries += await store.queue.claim(10, 10)
    assert [entry.first_message_id for entry in entries] == ids


async def test_what_is_being_sent_is_settled_though_its_group_was_destroyed(store: Store) -> None:
    life = await store.sending()
    await destroy_groups(store)
    assert await store.queue.ack(*life, "p")
    assert await store.length() == 0
    assert await store.difference() == 0


async def test_what_is_being_sent_settles_to_nothing_after_a_flush(store: Store) -> None:
    life = await store.sending()
    await flush(store)
    assert not await store.queue.ack(*life, "p")
    assert not await store.queue.defer(*life, until=0, attempts=1, why="w")
    assert not await store.queue.bury(*life, reason=DeadReason.REJECTED)
    await store.queue.release(life[0].name, life[1])


async def test_groups_made_by_two_at_once_are_made(store: Store, open_store: OpenStore) -> None:
    await flush(store)
    other = open_store("b")
    await asyncio.gather(*(one.client.ensure_groups() for one in (store, other) * 10))
    assert await store.queue.claim(1, 1) == []
