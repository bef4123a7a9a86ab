"""Cancelling. Rule: what waits is taken back, and what is being sent is not."""

import pytest

from tests.support.bad_ids import BAD_IDS
from tests.support.store import (
    Store,
    Wall,
)


async def test_a_deferred_text_can_be_cancelled(store: Store, wall: Wall) -> None:
    await store.schedule(5)
    assert await store.queue.cancel("s1") == "cancelled"
    wall.advance(10)
    assert await store.queue.promote() == 0
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    assert await store.queue.cancel("s1") == "cancelled"
    assert (await store.census()).finished["cancelled"] == 1
    assert await store.difference() == 0


@pytest.mark.parametrize("priority", ["normal", "high"])
async def test_a_queued_text_can_be_cancelled(store: Store, priority: str) -> None:
    [id_] = await store.append(priority=priority)
    assert await store.queue.cancel(id_) == "cancelled"
    assert await store.queue.claim(9, 9) == []
    assert await store.state(id_) == "cancelled"
    assert await store.difference() == 0


async def test_a_promoted_text_can_be_cancelled_by_its_own_id(store: Store, wall: Wall) -> None:
    await store.schedule(5)
    wall.advance(5)
    await store.queue.promote()
    assert await store.queue.cancel("s1") == "cancelled"
    assert await store.length() == 0
    assert await store.difference() == 0


async def test_a_claimed_text_can_be_cancelled_and_then_is_not_begun(store: Store) -> None:
    [id_] = await store.append()
    entry, message = await store.claim_one()
    assert await store.queue.cancel(id_) == "cancelled"
    assert await store.begin(entry, store.attempt(), message.recipient) == "gone"
    assert await store.unsettled.pending() == []


async def test_a_text_that_is_being_sent_cannot_be_cancelled(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.cancel(message.id) == "sending"
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await store.queue.cancel(message.id) == "sent"


async def test_a_dead_text_cannot_be_cancelled(store: Store) -> None:
    _, id_ = await store.dead_letter()
    assert await store.queue.cancel(id_) == "dead"


@pytest.mark.parametrize("id_", BAD_IDS, ids=lambda id_: repr(id_[:24]))
async def test_no_id_that_is_unknown_or_malformed_breaks_cancel(store: Store, id_: str) -> None:
    await store.append()
    assert await store.queue.cancel(id_) == "unknown"
    assert await store.length() == 1


async def test_a_text_cannot_be_cancelled_by_the_id_of_the_entry_it_is_in_now(
    store: Store, wall: Wall
) -> None:
    await store.schedule(5)
    wall.advance(5)
    await store.queue.promote()
    [(entry, _)] = await store.redis.xrange(store.keys.queue)
    assert await store.queue.cancel(entry.decode()) == "unknown"
    assert await store.length() == 1
