"""What recovery reads. Rule: every claimed entry is found again, in its order."""

import pytest

from smsd.store.entry import LARGEST_ENTRY
from smsd.store.handed_out import Fenced
from smsd.store.queue import PAGE
from tests.support.store import (
    ALICE,
    OpenStore,
    Store,
)


async def test_pending_pages_through_any_number_of_entries_in_their_order(store: Store) -> None:
    normal = await store.append(*[ALICE] * (2 * PAGE + 1))
    high = await store.append(*[ALICE] * PAGE, priority="high")
    assert await store.unsettled.pending() == []
    await store.queue.claim(1000, 1000)
    assert await store.unsettled.pending() == high + [f"n{id_}" for id_ in normal]


async def test_reclaim_hands_entries_out_again_in_the_order_asked_for(store: Store) -> None:
    await store.append(*[ALICE] * (PAGE + 3))
    await store.append(priority="high")
    claimed = await store.queue.claim(1000, 1000)
    names = [entry.name for entry in claimed][::-1]
    assert await store.queue.reclaim(names) == claimed[::-1]


async def test_reclaim_leaves_out_what_was_deleted_and_forgets_it(store: Store) -> None:
    await store.append(ALICE, ALICE)
    first, second = await store.queue.claim(0, 10)
    await store.redis.xdel(store.keys.queue, first.name[1:])
    assert await store.queue.reclaim([first.name, second.name]) == [second]
    assert await store.unsettled.pending() == [second.name]
    assert await store.queue.reclaim(["n1-1"]) == []


async def test_nothing_is_reclaimed_while_another_holds_the_lease(open_store: OpenStore) -> None:
    one, other = await open_store("a").lead(), open_store("b")
    await one.append()
    [entry] = await one.queue.claim(0, 1)
    with pytest.raises(Fenced):
        await other.queue.reclaim([entry.name])
    await one.redis.delete(one.keys.lease)  # it has run out, and nobody took it
    assert await other.queue.reclaim([entry.name]) == [entry]
    await other.lead()
    assert await other.queue.reclaim([entry.name]) == [entry]
    with pytest.raises(Fenced):
        await one.queue.reclaim([entry.name])


async def test_reclaim_spares_entries_that_are_too_large(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "x" * LARGEST_ENTRY})
    [entry] = await store.queue.claim(0, 10)
    assert await store.queue.reclaim([entry.name]) == [entry]
