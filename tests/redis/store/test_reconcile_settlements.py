"""Settled again in older data. Rule: wherever a message is there, it ends as it ended."""

import asyncio

import pytest

from smsd.core.life import DeadReason
from smsd.dispatch.claimer import parse_entry
from smsd.store.append import Append
from smsd.store.long_lists import part_of
from tests.redis.older_data import (
    claimed,
    held,
    promoted_since,
    queue,
    reach,
    reasons,
    seen_to_differ,
)
from tests.redis.opened import Opened, Tail
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, LIMITS, Store, at, content


async def last_line(store: Store, id_: str) -> object:
    history = await store.redis.hget(store.keys.message(id_), "history")
    return history.splitlines()[-1]


@pytest.mark.parametrize("verdict", ["bury", "defer", "expire"])
async def test_what_older_data_holds_as_deferred_ends_there_as_it_ended(
    own_server: RedisServer, verdict: str
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        id_, tail, (entry, attempt, message) = await promoted_since(store, own_server)
        if verdict == "bury":
            assert await store.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)
        elif verdict == "defer":
            due = store.wall.ms + 60_000
            assert await store.queue.defer(
                entry, attempt, message, until=due, attempts=3, why="throttled"
            )
        else:
            assert await store.queue.expire(entry, attempt, message)
        last = await last_line(store, id_)
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert await claimed(store) == []
        ends = {
            "bury": ("dead", ["in_doubt"]),
            "defer": ("deferred", []),
            "expire": ("expired", []),
        }
        assert (await store.state(id_), await reasons(store)) == ends[verdict]
        assert await last_line(store, id_) == last
        assert await store.difference() == 0
        if verdict == "defer":
            store.wall.advance(61)
            assert await store.queue.promote() == 1
            assert (await store.claim_one())[1].attempts == 3


async def test_a_dead_letter_that_was_replayed_and_sent_is_sent_in_older_data(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        letter, id_ = await store.dead_letter()
        tail = Tail(own_server)
        await reach(store)
        store.wall.advance(1)
        assert await store.queue.replay(letter, id_)
        assert await store.queue.ack(*await store.begin_next(), "p")
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert (await store.state(id_), await reasons(store)) == ("sent", [])
        assert await store.difference() == 0


async def test_a_retry_that_was_cancelled_is_so_where_older_data_has_it_being_sent(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        [id_] = await queue(store, 1)
        entry, attempt, message = await store.begin_next()
        tail = Tail(own_server)
        await reach(store)
        due = store.wall.ms + 60_000
        assert await store.queue.defer(entry, attempt, message, until=due, attempts=1, why="w")
        assert await store.queue.cancel(id_) == "cancelled"
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert await store.state(id_) == "cancelled"
        assert (await store.unsettled.in_flight(), await store.length()) == ({}, 0)
        assert await store.difference() == 0


# -- what cannot be settled again now --------------------------------------------------------------


async def test_nothing_is_handed_out_of_older_data_while_something_cannot_be_settled_there(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 1)
        await store.redis.set(store.keys.dead, "x")
        tail = Tail(own_server)
        await reach(store)
        await store.redis.delete(store.keys.dead)
        assert await store.queue.bury(*await store.begin_next(), reason=DeadReason.IN_DOUBT)
        tail.lose()
        await seen_to_differ(store)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await opened.reconciled()
        await store.redis.delete(store.keys.dead)  # somebody mends it
        assert await claimed(store) == []
        assert await reasons(store) == ["in_doubt"]


async def test_what_is_under_way_is_marked_again_in_a_redis_that_is_full(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        entry, attempt, _ = await store.sending()
        await store.redis.hdel(store.keys.inflight, entry.name)  # as in older data
        await store.redis.config_set("maxmemory-policy", "noeviction")
        await store.redis.config_set("maxmemory", 1)
        await store.queue.mark_again()
        assert await store.unsettled.in_flight() == {entry.name: attempt}


# -- keys of entries -------------------------------------------------------------------------------


@pytest.mark.parametrize("sent", [False, True])
async def test_a_repeated_entry_is_passed_over_in_older_data_too(
    own_server: RedisServer,
    sent: bool,  # the first one is, or nothing but the second one's removal is lost
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        for _ in range(2):
            await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi", "key": "k"})
        tail = Tail(own_server)
        await reach(store)
        await store.claimer.admit(await store.queue.claim(9, 9))
        one = store.prefetch.take()
        assert len(store.prefetch) == 0
        if sent:
            attempt = store.attempt()
            assert await store.begin(one.entry, attempt, ALICE) == "begun"
            assert await store.queue.ack(one.entry, attempt, one.message, "p")
        settled = store.identity.known.settled
        assert opened.lost_writes.settled.unknown(0, settled) == 0
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert store.identity.known.settled == settled == 1 + sent
        assert await store.operator_hold.look() is None
        left = await claimed(store)
        assert left == ([] if sent else [one.message.id])
        census = await store.census()
        assert (census.finished["duplicate"], census.difference) == (1, 0)


# -- long lists ------------------------------------------------------------------------------------


async def staged(store: Store, *, scheduled: bool) -> tuple[str, list[str]]:
    """A long list that is accepted and not queued; its name, and its recipients."""
    text = at(store.wall() + 1000) if scheduled else content()
    numbers = [f"+1202555{n:04}" for n in range(part_of(scheduled=scheduled) + 1)]
    call = store.queue._append_call(1, 0, Append.of(text, numbers, store.wall()))
    await store.client.insist(call)
    return str(call.request["list"]), numbers


async def test_a_long_list_that_was_queued_and_waits_for_that_in_older_data_is_held(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        name, _ = await staged(store, scheduled=False)
        tail = Tail(own_server)
        await reach(store)
        await store.queue.long_lists.finish(name)
        assert await store.queue.ack(*await store.begin_next(), "p")
        store.wall.advance(20)
        tail.lose()
        await seen_to_differ(store)
        await store.queue.long_lists.finish_left_behind()
        assert "1 long lists that were queued" in (await held(store)).reason
        await store.queue.long_lists.finish_left_behind()
        assert await store.length() == 0
        await store.operator_hold.release("me")
        await opened.reconciled()
        await store.queue.long_lists.finish_left_behind()
        assert await store.redis.exists(store.keys.staged) == 0


async def test_of_a_scheduled_one_only_what_did_not_end_is_sent(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        name, numbers = await staged(store, scheduled=True)
        tail = Tail(own_server)
        await reach(store)
        ids = await store.queue.long_lists.finish(name)
        store.wall.advance(20)
        assert await store.queue.promote() == len(numbers)
        assert await store.queue.ack(*await store.begin_next(), "p")
        assert await store.queue.bury(*await store.begin_next(), reason=DeadReason.IN_DOUBT)
        left = set(numbers[2:])
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert await store.operator_hold.look() is None
        await store.queue.long_lists.finish_left_behind()
        assert await store.queue.promote() == len(left)
        entries = await store.queue.claim(0, 1000)
        assert {parse_entry(one, LIMITS, store.wall()).recipient for one in entries} == left
        assert await store.state(ids[0]) == "sent"
        assert await reasons(store) == ["in_doubt"]
        assert await store.redis.exists(store.keys.staged) == 0
        assert await store.difference() == 0


# -- a server that lost that it promoted a message -------------------------------------------------


@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("verdict", ["sent", "bury", "defer"])
async def test_a_message_that_is_being_sent_is_not_begun_from_another_entry(
    own_server: RedisServer, verdict: str, *, begun: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        id_, tail, (entry, attempt, message) = await promoted_since(store, own_server)
        tail.lose()  # and no settlement: nothing shows it
        await reach(store)
        assert store.identity.trusted
        assert await store.queue.promote() == 1
        again, _ = await store.claim_one()
        if begun or verdict != "sent":
            assert await store.begin(again, store.attempt(), ALICE) == "marked"
            assert await store.unsettled.in_flight() == {again.name: attempt}
        if verdict == "sent":
            assert await store.queue.ack(entry, attempt, message, "p")
        elif verdict == "bury":
            assert await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
        else:
            assert await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
        state = {"sent": "sent", "bury": "dead", "defer": "deferred"}[verdict]
        assert await store.state(id_) == state
        assert (await store.unsettled.in_flight(), await store.length()) == ({}, 0)
        assert await store.difference() == 0
        if verdict == "defer":
            assert await store.queue.promote() == 1
            await store.begin_next()


async def test_what_ended_while_older_data_was_there_can_be_sent_anew(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        id_, tail, life = await promoted_since(store, own_server)
        assert await store.queue.ack(*await store.sending(), "p")
        tail.lose()
        await seen_to_differ(store)
        assert not await store.queue.bury(*life, reason=DeadReason.REJECTED)
        await opened.reconciled()
        [(letter, told)] = await store.dead_letters.page("", 9)
        assert told["reason"] == "rejected"
        assert await store.queue.replay(letter, id_)
        assert (await store.begin_next())[2].id == id_
