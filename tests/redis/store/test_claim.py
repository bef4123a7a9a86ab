"""Claiming. Rule: high priority first, within bounds, and only by whoever holds the lease."""

import asyncio
from dataclasses import replace

import pytest

from smsd.dispatch.claimer import Claimer
from smsd.store.entry import LARGEST_ENTRY
from smsd.store.handed_out import Fenced
from tests.redis.dispatching import at_work
from tests.support.store import (
    ALICE,
    BOB,
    OpenStore,
    Store,
    soon,
    until,
)


async def test_high_priority_is_claimed_first_and_each_lane_in_its_order(store: Store) -> None:
    normal = await store.append(ALICE, BOB)
    high = await store.append(ALICE, BOB, priority="high")
    entries = await store.queue.claim(10, 10)
    assert [entry.first_message_id for entry in entries] == high + normal
    assert [entry.stream for entry in entries] == ["h", "h", "n", "n"]
    assert await store.queue.claim(10, 10) == []


async def test_no_more_is_claimed_than_there_is_room_for(store: Store) -> None:
    await store.append(*[ALICE] * 3)
    await store.append(*[ALICE] * 3, priority="high")
    assert await store.queue.claim(0, 0) == []
    assert [entry.stream for entry in await store.queue.claim(0, 2)] == ["n", "n"]
    assert [entry.stream for entry in await store.queue.claim(2, 0)] == ["h", "h"]
    assert [entry.stream for entry in await store.queue.claim(9, 9)] == ["h", "n"]


async def test_nothing_is_claimed_while_another_holds_the_lease(open_store: OpenStore) -> None:
    one, other = await open_store("a").lead(), open_store("b")
    await one.append()
    with pytest.raises(Fenced):
        await other.queue.claim(9, 9)
    assert await one.unsettled.pending() == []
    await other.lead()
    assert len(await other.queue.claim(9, 9)) == 1
    with pytest.raises(Fenced):
        await one.queue.claim(9, 9)


async def test_a_claimer_that_is_fenced_says_so_and_goes_on(open_store: OpenStore) -> None:
    one, other = await open_store("a").lead(), open_store("b")
    told = asyncio.Event()
    context = replace(other.context, on_fenced=told.set)
    claimer = Claimer(context, other.arrivals, other.prefetch)
    await one.append()
    async with at_work(claimer):
        await soon(told.wait())
        assert len(other.prefetch) == 0
        await other.lead()
        await until(lambda: len(other.prefetch) == 1, "it is claimed")


async def test_an_entry_is_handed_to_one_daemon_only(open_store: OpenStore) -> None:
    one, other = open_store("a"), open_store("b")
    await one.client.ensure_groups()
    await one.append(*[ALICE] * 100)
    claims = await asyncio.gather(*(store.queue.claim(0, 7) for store in (one, other) * 10))
    names = [entry.name for claimed in claims for entry in claimed]
    assert len(names) == len(set(names)) == 100


async def test_the_largest_entry_is_read_and_one_octet_more_is_not(store: Store) -> None:
    overhead = len("to") + len(ALICE) + len("message")
    for size in (LARGEST_ENTRY - overhead, LARGEST_ENTRY - overhead + 1):
        await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "x" * size})
    fits, too_large = await store.queue.claim(0, 10)
    assert fits.octets == LARGEST_ENTRY
    assert fits.fields is not None
    assert too_large.octets == LARGEST_ENTRY + 1
    assert too_large.fields is None


async def test_an_entry_of_very_many_fields_is_not_read(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {str(n): "" for n in range(501)})
    [entry] = await store.queue.claim(0, 10)
    assert entry.fields is None
