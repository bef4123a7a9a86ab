"""Settling. Rule: each message leaves its stream once, and only for whoever attempts it."""

import asyncio
import json

from smsd.core.life import DeadReason
from tests.support.store import (
    ALICE,
    BOB,
    OpenStore,
    Store,
)


async def test_ack_ends_a_text_and_keeps_its_status_for_a_while(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.ack(entry, attempt, message, "SM1")
    assert await store.length() == 0
    assert await store.unsettled.pending() == []
    assert await store.unsettled.in_flight() == {}
    assert await store.state(message.id) == "sent"
    assert not await store.redis.exists(store.keys.message(message.id))
    assert 86_300_000 < await store.kept_ms(message.id) <= 86_500_000
    assert (await store.census()).finished["sent"] == 1


async def test_expire_ends_a_text_with_or_without_an_attempt(store: Store) -> None:
    await store.append()
    entry, message = await store.claim_one()
    assert await store.queue.expire(entry, None, message)
    entry, attempt, message = await store.sending()
    assert await store.queue.expire(entry, attempt, message)
    assert await store.length() == 0
    assert await store.unsettled.in_flight() == {}
    assert (await store.census()).finished["expired"] == 2


async def test_suppress_ends_a_text(store: Store) -> None:
    await store.append()
    entry, message = await store.claim_one()
    assert await store.queue.suppress(entry, message)
    assert await store.state(message.id) == "suppressed"
    assert await store.length() == 0


async def test_defer_takes_a_text_out_of_the_stream_until_it_is_due(store: Store) -> None:
    entry, attempt, message = await store.sending(ref="r")
    until = store.wall() + 5000
    assert await store.queue.defer(
        entry, attempt, message, until=until, attempts=1, why="provider down"
    )
    assert await store.length() == 0
    assert await store.unsettled.pending() == []
    assert await store.unsettled.in_flight() == {}
    assert await store.queue.next_due() == until
    assert await store.state(message.id) == "deferred"


async def test_bury_keeps_what_came_and_says_why(store: Store) -> None:
    entry, attempt, message = await store.sending(ref="r")
    assert await store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, code="21211", detail="invalid number"
    )
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert letter == {
        "to": ALICE,
        "message": "Hi",
        "ref": "r",
        "id": message.id,
        "reason": "rejected",
        "code": "21211",
        "detail": "invalid number",
        "attempts": "1",
        "failed_at": str(store.wall()),
        "lane": "n",
    }
    assert await store.length() == 0
    assert await store.redis.scard(store.keys.optouts) == 0


async def test_bury_may_opt_the_recipient_out(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, opted_out=True
    )
    assert await store.redis.smembers(store.keys.optouts) == {ALICE.encode()}


async def test_release_undoes_a_mark_and_leaves_the_entry_claimed(store: Store) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.release(entry.name, attempt)
    assert await store.unsettled.in_flight() == {}
    assert await store.unsettled.pending() == [entry.name]
    assert await store.begin(entry, attempt._replace(number=2), message.recipient) == "begun"


async def test_a_settlement_of_what_is_settled_says_so(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.ack(entry, attempt, message, "p")
    assert not await store.queue.ack(entry, attempt, message, "p")
    assert not await store.queue.expire(entry, attempt, message)
    assert not await store.queue.suppress(entry, message)
    assert not await store.queue.defer(entry, attempt, message, until=0, attempts=1, why="w")
    assert not await store.queue.bury(entry, attempt, message, reason=DeadReason.EXHAUSTED)
    assert await store.state(message.id) == "sent"
    assert await store.difference() == 0


async def test_settlements_of_one_moment_each_get_their_own_answer(store: Store) -> None:
    await store.append(*[ALICE] * 100)
    lives = [await store.begin_next() for _ in range(100)]
    settled = await asyncio.gather(
        *(store.queue.ack(*life, "p") for life in lives),
        *(store.queue.defer(*life, until=0, attempts=1, why="w") for life in lives),
    )
    assert settled == [True] * 100 + [False] * 100


async def test_a_foreign_mark_is_never_undone(store: Store, open_store: OpenStore) -> None:
    entry, attempt, message = await store.sending()
    other = await open_store("b").lead()
    theirs = other.attempt()
    for mark in (theirs, attempt._replace(number=2)):
        await other.queue.release(entry.name, mark)
        assert not await other.queue.expire(entry, mark, message)
        assert not await other.queue.defer(entry, mark, message, until=0, attempts=1, why="w")
        assert not await other.queue.bury(entry, mark, message, reason=DeadReason.EXHAUSTED)
    assert not await other.queue.expire(entry, None, message)
    assert not await other.queue.suppress(entry, message)
    assert await store.unsettled.in_flight() == {entry.name: attempt}
    assert await store.unsettled.pending() == [entry.name]
    assert await store.queue.ack(entry, attempt, message, "p")


async def test_an_ack_is_a_fact_and_holds_against_a_foreign_mark(
    store: Store, open_store: OpenStore
) -> None:
    entry, attempt, message = await store.sending()
    other = await open_store("b").lead()
    await store.queue.release(entry.name, attempt)  # as if recovered
    theirs = other.attempt()
    assert await other.begin(entry, theirs, message.recipient) == "begun"
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await store.unsettled.in_flight() == {entry.name: theirs}  # theirs to undo
    assert not await other.queue.ack(entry, theirs, message, "q")
    assert await store.unsettled.in_flight() == {}
    told = await store.lookup.message(message.id)
    assert told is not None
    assert told["provider_id"] == "p"
    assert await store.difference() == 0


async def test_a_late_ack_voids_the_dead_letter_of_the_text_in_doubt(
    store: Store, open_store: OpenStore
) -> None:
    entry, attempt, message = await store.sending()
    other = await open_store("b").lead()
    assert await other.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT, detail="d")
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await store.dead_letters.page("", 10) == []
    told = await store.lookup.message(message.id)
    assert told is not None
    assert told["state"] == "sent"
    assert "reason" not in told
    assert await store.difference() == 0


async def test_a_late_ack_takes_back_what_was_to_be_sent_again(
    store: Store, open_store: OpenStore
) -> None:
    entry, attempt, message = await store.sending()
    other = await open_store("b").lead()
    assert await other.queue.defer(entry, attempt, message, until=1, attempts=1, why="in doubt")
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await other.queue.promote() == 0
    assert await store.state(message.id) == "sent"
    assert await store.difference() == 0


async def test_an_ack_that_is_repeated_leaves_another_text_of_that_id_alone(store: Store) -> None:
    life = await store.sending()
    assert await store.queue.ack(*life, "p")
    another = json.dumps(["id", life[2].id, "to", BOB, "message", "another"])
    await store.redis.hset(store.keys.deferred_messages, life[2].id, another)
    await store.redis.zadd(store.keys.deferred, {life[2].id: 1})
    assert not await store.queue.ack(*life, "p")
    assert await store.queue.promote() == 1


async def test_a_late_ack_leaves_other_dead_letters_alone(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
    assert not await store.queue.ack(entry, attempt, message, "p")
    assert len(await store.dead_letters.page("", 10)) == 1
    assert await store.state(message.id) == "dead"


async def test_one_settlement_that_cannot_be_said_does_not_disturb_the_rest(store: Store) -> None:
    await store.append(*[ALICE] * 3)
    lives = [await store.begin_next() for _ in range(3)]
    results = await asyncio.gather(
        *(
            store.queue.ack(*life, provider_id)
            for life, provider_id in zip(lives, ("p", "\ud800", "q"), strict=True)
        ),
        return_exceptions=True,
    )
    assert results[0] is True
    assert results[2] is True
    assert results[1] is True, results[1]
