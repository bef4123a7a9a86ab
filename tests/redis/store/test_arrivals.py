"""What waits in the streams. Rule: what is claimed does not, whether it is settled or not."""

import pytest

from smsd.redis.errors import Refused
from smsd.store.arrivals import Unclaimed
from tests.support.store import ALICE, BOB, Store


async def test_nothing_waits_where_there_is_no_stream(store: Store) -> None:
    await store.redis.delete(store.keys.queue, store.keys.high)
    assert await store.arrivals.unclaimed() == Unclaimed(0, 0)


async def test_entries_wait_until_they_are_claimed(store: Store) -> None:
    await store.append(ALICE, BOB)
    await store.append(ALICE, priority="high")
    assert await store.arrivals.unclaimed() == Unclaimed(1, 2)
    entry, attempt, message = await store.begin_next()
    assert await store.arrivals.unclaimed() == Unclaimed(0, 2)
    await store.queue.ack(entry, attempt, message, "p")
    assert await store.arrivals.unclaimed() == Unclaimed(0, 2)


@pytest.mark.parametrize("claimed", [False, True])
async def test_one_that_is_cancelled_does_not_wait(store: Store, *, claimed: bool) -> None:
    [id_, _] = await store.append(ALICE, BOB)
    if claimed:
        await store.claim_one()
    assert await store.queue.cancel(id_) == "cancelled"
    assert await store.arrivals.unclaimed() == Unclaimed(0, 1)


async def test_what_stands_in_place_of_a_stream_is_named(store: Store) -> None:
    await store.redis.set(store.keys.high, "x")
    with pytest.raises(Refused):
        await store.arrivals.unclaimed()
