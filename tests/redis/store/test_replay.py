"""Replaying and dropping dead letters. Rule: one comes back as it came, once."""

import pytest

from smsd.core.life import DeadReason
from tests.support.store import (
    ALICE,
    Store,
    Wall,
    content,
)


async def test_a_replayed_letter_is_queued_as_it_came_with_its_attempts_forgotten(
    store: Store,
) -> None:
    letter, id_ = await store.dead_letter(ref="r", sender="smsd")
    assert await store.queue.replay(letter, id_)
    assert await store.dead_letters.page("", 10) == []
    entry, message = await store.claim_one()
    assert entry.stream == "n"
    assert message.id == id_
    assert message.attempts == 0
    assert message.content == content(ref="r", sender="smsd")
    assert await store.difference() == 0


async def test_a_replayed_letter_of_high_priority_has_it_still(store: Store) -> None:
    letter, id_ = await store.dead_letter(priority="high")
    assert await store.queue.replay(letter, id_)
    entry, _ = await store.claim_one()
    assert entry.stream == "h"


async def test_a_replayed_campaign_that_had_been_retried_does_not_overtake_what_is_urgent(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.EXHAUSTED)
    [(letter, _)] = await store.dead_letters.page("", 10)
    assert await store.queue.replay(letter, message.id)
    entry, _ = await store.claim_one()
    assert entry.stream == "n"


@pytest.mark.parametrize(
    ("said", "lane"),
    [
        ({}, "n"),
        ({"priority": "high"}, "h"),
        ({"priority": "normal"}, "n"),
        ({"priority": "urgent"}, "n"),
        ({"lane": ""}, "n"),
        ({"lane": "x", "priority": "high"}, "h"),
        ({"lane": "h"}, "h"),
    ],
)
async def test_a_letter_from_other_hands_is_replayed_once_whatever_it_lacks(
    store: Store, said: dict[str, str], lane: str
) -> None:
    for fields in ({"to": ALICE, "message": "x"}, {}):
        letter = await store.redis.xadd(store.keys.dead, {"id": "abc", **fields, **said})
        assert await store.queue.replay(letter.decode(), "abc")
        assert not await store.queue.replay(letter.decode(), "abc")
        [entry] = await store.queue.claim(9, 9)
        assert (entry.stream, entry.message_id) == (lane, "abc")
        assert await store.redis.xlen(store.keys.dead) == 0


async def test_a_letter_without_an_id_is_not_replayed_and_stays(store: Store) -> None:
    letter = await store.redis.xadd(store.keys.dead, {"to": ALICE, "message": "x"})
    assert not await store.queue.replay(letter.decode(), "")
    assert await store.length() == 0
    assert await store.queue.drop(letter.decode(), "")


async def test_a_replayed_text_can_be_looked_up_cancelled_and_sent(store: Store) -> None:
    letter, id_ = await store.dead_letter()
    await store.queue.replay(letter, id_)
    assert await store.state(id_) == "queued"
    assert await store.queue.cancel(id_) == "cancelled"
    letter, id_ = await store.dead_letter()
    await store.queue.replay(letter, id_)
    entry, attempt, message = await store.begin_next()
    assert await store.state(id_) == "sending"
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await store.state(id_) == "sent"
    assert await store.difference() == 0


async def test_a_dropped_letter_is_over(store: Store) -> None:
    letter, id_ = await store.dead_letter()
    assert await store.queue.drop(letter, id_)
    assert await store.dead_letters.page("", 10) == []
    assert await store.state(id_) == "dropped"
    assert not await store.queue.drop(letter, id_)
    assert not await store.queue.replay(letter, id_)
    assert (await store.census()).finished["dropped"] == 1
    assert await store.difference() == 0


async def test_a_letter_that_is_unknown_is_gone(store: Store) -> None:
    assert not await store.queue.replay("1-1", "x")
    assert not await store.queue.drop("1-1", "x")
