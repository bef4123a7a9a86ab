"""Every transition on a real server. Rule: a text is in exactly one place, whatever is repeated."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from redis.exceptions import BusyLoadingError

from smsd.core.life import DeadReason
from smsd.core.message import Limits
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.dispatch.promoter import Promoter
from smsd.redis.errors import Away, Loading
from smsd.redis.scripts import Call
from smsd.store.entry import LARGEST_ENTRY, Attempt
from smsd.store.fsck import Fsck
from smsd.store.identity import Data, accept
from smsd.store.lease import lease_keys
from smsd.store.operator_hold import OperatorHold
from smsd.store.queue import PAGE, Append, Appended, Fenced, KeyConflict, QueueFull
from tests.redis.dispatching import at_work
from tests.redis.store import (
    ALICE,
    BOB,
    LIMITS,
    OpenStore,
    Store,
    Wall,
    all_scripts,
    at,
    content,
    dump,
    sha,
    soon,
    until,
)
from tests.support.proxy import Proxy

MOST_RECIPIENTS = 10_000  # to which [http] max_recipients may be set
UNREADABLE_MARKS = [
    b"",
    b"garbage",
    b"1 2",
    b"1 2 ",
    b"0 2 x",
    b"01 2 x",
    b"-1 2 x",
    b"1 2 \xff",
    b"1 2 x\n",
    b"1  2 x",
    b"10000000000 2 x",
    b"1 10000000000000 x",
]

# -- append -------------------------------------------------------------------------------------


async def test_a_text_becomes_one_entry_of_the_queue_and_is_named_after_it(store: Store) -> None:
    [id_] = await store.append(sender="smsd", campaign="c", ref="r")
    [(entry, fields)] = await store.redis.xrange(store.keys.queue)
    assert entry.decode() == id_
    assert fields == {
        b"to": ALICE.encode(),
        b"message": b"Hi",
        b"from": b"smsd",
        b"campaign": b"c",
        b"ref": b"r",
    }
    [(_, event)] = await store.redis.xrange(store.keys.events)
    assert event == {b"id": entry, b"state": b"queued", b"detail": b""}


async def test_every_recipient_gets_an_entry_in_the_order_given(store: Store) -> None:
    ids = await store.append(BOB, ALICE, BOB)
    entries = await store.redis.xrange(store.keys.queue)
    assert [entry.decode() for entry, _ in entries] == ids
    assert [fields[b"to"].decode() for _, fields in entries] == [BOB, ALICE, BOB]


async def test_a_thousand_recipients_and_a_text_of_ten_segments_fit_one_request(
    store: Store,
) -> None:
    ids = await store.append(*[ALICE] * 1000, message="\u044f" * 670)
    assert len(set(ids)) == 1000
    assert await store.length() == 1000


@pytest.mark.parametrize("due_in_ms", [-1, 60_000])
async def test_as_many_recipients_as_may_be_set_fit_one_request(
    store: Store, due_in_ms: int
) -> None:
    text = at(store.wall.ms + due_in_ms)
    request = Append.of(text, [ALICE] * MOST_RECIPIENTS, store.wall.ms)
    appended = await store.queue.append(request._replace(idempotency_key="k", fingerprint="f"))
    assert len(set(appended.ids)) == MOST_RECIPIENTS
    assert await store.state(appended.ids[-1]) == ("queued" if due_in_ms < 0 else "deferred")
    assert (await store.status.census()).waiting == MOST_RECIPIENTS


async def test_what_is_appended_is_what_is_claimed_to_the_octet(store: Store) -> None:
    text = "a\\/\"'\u00e9\n\t\u2028\U0001f600 {}[]:,%s\x7f"
    expiry = "2027-01-02T03:04:05.678Z"
    await store.append(message=text, expires_at=expiry, ref="\u00e9/\\", priority="high")
    _, message = await store.claim_one()
    assert message.content.text == text
    assert message.content.ref == "\u00e9/\\"
    assert message.content.expires_at == content(expires_at=expiry).expires_at


async def test_a_high_priority_text_goes_into_the_other_stream(store: Store) -> None:
    [id_] = await store.append(priority="high")
    [(entry, _)] = await store.redis.xrange(store.keys.high)
    assert id_ == f"h{entry.decode()}"
    assert await store.redis.xlen(store.keys.queue) == 0


async def test_scheduled_texts_wait_under_the_ids_given_and_take_no_place_in_the_queue(
    store: Store,
) -> None:
    due = store.wall() + 60_000
    request = Append(at(due), [ALICE, BOB], ["s1", "s2"])
    assert await store.queue.append(request) == Appended(["s1", "s2"])
    assert await store.length() == 0
    waiting = await store.redis.zrange(store.keys.deferred, 0, -1, withscores=True)
    assert [(id_, int(score)) for id_, score in waiting] == [(b"s1", due), (b"s2", due)]
    assert await store.queue.next_due() == due
    assert await store.state("s2") == "deferred"


async def test_a_repeated_idempotency_key_gets_the_first_ids_and_answer(store: Store) -> None:
    request = Append(
        content(), [ALICE, BOB], idempotency_key="k", fingerprint="f", answer=b'{"a": "\xc3\xa9"}'
    )
    first = await store.queue.append(request)
    again = await store.queue.append(request)
    assert first.answer is None
    assert again == Appended(first.ids, request.answer)
    assert await store.length() == 2
    assert await store.queue.first_answer("k") == ("f", again)
    assert await store.queue.first_answer("other") is None


async def test_an_idempotency_key_with_another_body_is_a_conflict(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    await store.queue.append(request)
    with pytest.raises(KeyConflict):
        await store.queue.append(request._replace(fingerprint="g"))
    assert await store.length() == 1


async def test_the_same_idempotency_key_twice_in_one_group_queues_once(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    first, *rest = await asyncio.gather(*(store.queue.append(request) for _ in range(20)))
    assert {tuple(one.ids) for one in rest} == {tuple(first.ids)}
    assert await store.length() == 1


async def test_an_idempotency_record_is_forgotten_in_time(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    await store.queue.append(request)
    assert 0 < await store.redis.pttl(store.keys.idempotency("k")) <= 86_400_000


async def test_a_refused_request_leaves_its_idempotency_key_free(open_store: OpenStore) -> None:
    store = await open_store(max_length=1).lead()
    request = Append(content(), [ALICE, BOB], idempotency_key="k", fingerprint="f", answer=b"{}")
    with pytest.raises(QueueFull):
        await store.queue.append(request)
    assert (await store.queue.append(request._replace(recipients=[ALICE]))).answer is None


async def test_a_full_queue_takes_all_of_a_request_or_nothing(open_store: OpenStore) -> None:
    store = await open_store(max_length=5).lead()
    await store.append(ALICE, priority="high")
    await store.append(ALICE)
    await store.schedule(60)
    with pytest.raises(QueueFull):
        await store.append(*[ALICE] * 3)
    await store.append(*[ALICE] * 2)
    with pytest.raises(QueueFull):
        await store.append()
    assert await store.length() == 4
    assert await store.difference() == 0


async def test_a_full_queue_refuses_one_request_of_a_group_and_takes_the_others(
    open_store: OpenStore,
) -> None:
    store = await open_store(max_length=3).lead()
    requests = [Append(content(), [ALICE] * size) for size in (1, 3, 2, 1)]
    results = await asyncio.gather(
        *(store.queue.append(request) for request in requests), return_exceptions=True
    )
    assert [type(result) for result in results] == [Appended, QueueFull, Appended, QueueFull]
    assert await store.length() == 3


async def test_appends_of_one_moment_share_round_trips_and_get_ids_of_their_own(
    wired: Store, proxy: Proxy
) -> None:
    before = len(proxy.commands)
    made = await asyncio.gather(*(wired.append() for _ in range(200)))
    round_trips = sum(sha("append") in command for command in proxy.commands[before:])
    assert len({id_ for [id_] in made}) == 200
    assert await wired.length() == 200
    assert round_trips <= 10


async def test_what_is_remembered_of_an_append_is_bounded_and_goes_by_itself(
    open_store: OpenStore,
) -> None:
    store = await open_store(max_length=100).lead()
    for _ in range(5):
        await asyncio.gather(*(store.append() for _ in range(10)))
    intake = store.keys.intake("a")
    assert await store.redis.hlen(intake) <= 65
    assert await store.redis.pttl(intake) > 0
    full = await open_store("full", max_length=0).lead()
    with pytest.raises(QueueFull):
        await full.append()
    assert await store.redis.pttl(store.keys.intake("full")) > 0


async def test_two_daemons_append_side_by_side(open_store: OpenStore) -> None:
    one, other = open_store("a"), open_store("b")
    made = await asyncio.gather(*(store.append() for store in (one, other) * 50))
    assert len({id_ for [id_] in made}) == 100


# -- claim --------------------------------------------------------------------------------------


async def test_high_priority_is_claimed_first_and_each_lane_in_its_order(store: Store) -> None:
    normal = await store.append(ALICE, BOB)
    high = await store.append(ALICE, BOB, priority="high")
    entries = await store.queue.claim(10, 10)
    assert [entry.first_message_id for entry in entries] == high + normal
    assert [entry.lane for entry in entries] == ["h", "h", "n", "n"]
    assert await store.queue.claim(10, 10) == []


async def test_no_more_is_claimed_than_there_is_room_for(store: Store) -> None:
    await store.append(*[ALICE] * 3)
    await store.append(*[ALICE] * 3, priority="high")
    assert await store.queue.claim(0, 0) == []
    assert [entry.lane for entry in await store.queue.claim(0, 2)] == ["n", "n"]
    assert [entry.lane for entry in await store.queue.claim(2, 0)] == ["h", "h"]
    assert [entry.lane for entry in await store.queue.claim(9, 9)] == ["h", "n"]


async def test_nothing_is_claimed_while_another_holds_the_lease(open_store: OpenStore) -> None:
    one, other = await open_store("a").lead(), open_store("b")
    await one.append()
    with pytest.raises(Fenced):
        await other.queue.claim(9, 9)
    assert await one.queue.pending() == []
    await other.lead()
    assert len(await other.queue.claim(9, 9)) == 1
    with pytest.raises(Fenced):
        await one.queue.claim(9, 9)


async def test_a_claimer_that_is_fenced_says_so_and_goes_on(open_store: OpenStore) -> None:
    one, other = await open_store("a").lead(), open_store("b")
    told = asyncio.Event()
    claimer = Claimer(
        other.queue,
        other.arrivals,
        other.prefetch,
        limits=Limits(),
        on_fenced=told.set,
        clock=other.ticks,
        now_ms=other.wall,
    )
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


# -- begin --------------------------------------------------------------------------------------


async def test_begin_marks_an_entry_in_flight(store: Store) -> None:
    entry, attempt, _ = await store.sending()
    assert await store.queue.journal() == {entry.name: attempt}
    assert (await store.status.census()).inflight == 1


async def test_begin_again_with_the_same_mark_is_begun(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.begin(entry, attempt, message.recipient) == "begun"


async def test_begin_without_the_lease_is_fenced(store: Store, open_store: OpenStore) -> None:
    await store.append()
    entry, message = await store.claim_one()
    other = open_store("b")
    assert await other.begin(entry, other.attempt(), message.recipient) == "fenced"
    await store.redis.delete(store.keys.lease)
    assert await store.begin(entry, store.attempt(), message.recipient) == "fenced"
    assert await store.queue.journal() == {}


async def test_begin_beside_another_attempt_is_refused(store: Store, open_store: OpenStore) -> None:
    entry, attempt, message = await store.sending()
    second = attempt._replace(number=2)
    assert await store.begin(entry, second, message.recipient) == "marked"
    other = await open_store("b").lead()
    assert await other.begin(entry, other.attempt(), message.recipient) == "marked"
    assert await store.queue.journal() == {entry.name: attempt}


async def test_begin_of_what_is_settled_is_refused(store: Store) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, "p")
    assert await store.begin(entry, attempt, message.recipient) == "gone"
    assert await store.queue.journal() == {}


async def test_begin_for_a_number_that_opted_out_is_refused(store: Store) -> None:
    await store.redis.sadd(store.keys.optouts, ALICE)
    await store.append()
    entry, message = await store.claim_one()
    assert await store.begin(entry, store.attempt(), ALICE) == "suppressed"
    assert await store.queue.suppress(entry, message)
    assert await store.queue.journal() == {}


# -- settlements --------------------------------------------------------------------------------


async def test_ack_ends_a_text_and_keeps_its_status_for_a_while(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.ack(entry, attempt, message, "SM1")
    assert await store.length() == 0
    assert await store.queue.pending() == []
    assert await store.queue.journal() == {}
    assert await store.state(message.id) == "sent"
    assert 0 < await store.redis.pttl(store.keys.message(message.id)) <= 86_400_000
    assert (await store.status.census()).ended["sent"] == 1


async def test_expire_ends_a_text_with_or_without_an_attempt(store: Store) -> None:
    await store.append()
    entry, message = await store.claim_one()
    assert await store.queue.expire(entry, None, message)
    entry, attempt, message = await store.sending()
    assert await store.queue.expire(entry, attempt, message)
    assert await store.length() == 0
    assert await store.queue.journal() == {}
    assert (await store.status.census()).ended["expired"] == 2


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
    assert await store.queue.pending() == []
    assert await store.queue.journal() == {}
    assert await store.queue.next_due() == until
    assert await store.state(message.id) == "deferred"


async def test_bury_keeps_what_came_and_says_why(store: Store) -> None:
    entry, attempt, message = await store.sending(ref="r")
    assert await store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, code="21211", detail="invalid number"
    )
    [(_, letter)] = await store.status.dead_letters("", 10)
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
        entry, attempt, message, reason=DeadReason.REJECTED, suppress=True
    )
    assert await store.redis.smembers(store.keys.optouts) == {ALICE.encode()}


async def test_release_undoes_a_mark_and_leaves_the_entry_claimed(store: Store) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.release(entry.name, attempt)
    assert await store.queue.journal() == {}
    assert await store.queue.pending() == [entry.name]
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


# -- a mark is undone only by whoever set it ----------------------------------------------------


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
    assert await store.queue.journal() == {entry.name: attempt}
    assert await store.queue.pending() == [entry.name]
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
    assert await store.queue.journal() == {entry.name: theirs}  # theirs to undo
    assert not await other.queue.ack(entry, theirs, message, "q")
    assert await store.queue.journal() == {}
    told = await store.status.message(message.id)
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
    assert await store.status.dead_letters("", 10) == []
    told = await store.status.message(message.id)
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
    assert len(await store.status.dead_letters("", 10)) == 1
    assert await store.state(message.id) == "dead"


# -- promote ------------------------------------------------------------------------------------


async def test_only_what_is_due_is_promoted(store: Store, wall: Wall) -> None:
    await store.schedule(5, "s1")
    await store.schedule(10, "s2")
    wall.advance(4.999)
    assert await store.queue.promote() == 0
    wall.advance(0.001)
    assert await store.queue.promote() == 1
    assert await store.queue.promote() == 0
    assert await store.state("s1") == "queued"
    assert await store.state("s2") == "deferred"
    assert await store.difference() == 0


async def test_promotion_is_bounded_and_in_the_order_of_the_due_times(
    store: Store, wall: Wall
) -> None:
    for n in range(5):
        await store.schedule(5 - n, f"s{n}")
    wall.advance(10)
    assert await store.queue.promote(2) == 2
    assert [await store.state(f"s{n}") for n in range(5)] == ["deferred"] * 3 + ["queued"] * 2
    assert await store.queue.promote() == 3
    assert await store.queue.next_due() is None


async def test_a_text_that_is_never_due_stays_and_one_that_always_is_goes(
    store: Store, wall: Wall
) -> None:
    for id_, due in (("never", "+inf"), ("always", "-inf"), ("late", 1e308)):
        await store.schedule(1, id_)
        await store.redis.zadd(store.keys.deferred, {id_: due})
    assert await store.queue.next_due() == 0
    promoter = Promoter(store.queue, now_ms=wall)
    async with at_work(promoter):
        await soon(_promoted(store, "always"))
    assert await store.queue.next_due() == int(1e308)
    await store.redis.zadd(store.keys.deferred, {"late": "+inf"})
    assert await store.queue.next_due() is None
    async with at_work(promoter):
        await asyncio.sleep(0.1)
    assert await store.redis.zcard(store.keys.deferred) == 2
    assert [fault async for fault in Fsck(store.client, store.status, repair=True).faults()] == []
    assert await store.queue.cancel("never") == "cancelled"
    assert await store.difference() == 0


async def _promoted(store: Store, id_: str) -> None:
    while await store.state(id_) != "queued":
        await asyncio.sleep(0.01)


async def test_a_scheduled_text_goes_into_the_lane_of_its_priority(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1, "s1")
    await store.schedule(1, "s2", priority="high")
    wall.advance(2)
    assert await store.queue.promote() == 2
    high, normal = await store.queue.claim(9, 9)
    first, second = (parse_entry(entry, LIMITS, wall()) for entry in (high, normal))
    assert (high.lane, first.id, first.attempts) == ("h", "s2", 0)
    assert (normal.lane, second.id, second.attempts) == ("n", "s1", 0)


async def test_a_retried_text_goes_ahead_and_keeps_its_priority_id_and_attempts(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending(ref="r")
    for spent in (1, 2):
        assert await store.queue.defer(
            entry, attempt, message, until=wall(), attempts=spent, why="w"
        )
        assert await store.queue.promote() == 1
        entry, attempt, again = await store.begin_next()
        assert entry.lane == "h"
        assert (again.id, again.attempts) == (message.id, spent)
        assert again.content == message.content._replace(priority="normal")
        message = again
    assert await store.difference() == 0


async def test_a_text_that_came_with_a_time_by_xadd_waits_for_it_and_goes_in_line(
    store: Store, wall: Wall
) -> None:
    raw = await store.redis.xadd(
        store.keys.queue, {"to": ALICE, "message": "Hi", "send_at": "2999-01-01T00:00:00Z"}
    )
    [entry] = await store.queue.claim(9, 9)
    message = parse_entry(entry, LIMITS, now_ms=32_503_680_000_000)
    assert await store.queue.defer(
        entry, None, message, until=wall() + 1000, attempts=0, why="scheduled"
    )
    wall.advance(1)
    assert await store.queue.promote() == 1
    entry, message = await store.claim_one()
    assert entry.lane == "n"
    assert message.id == raw.decode()
    assert message.content.send_at is None
    assert message.attempts == 0


@pytest.mark.parametrize(
    "packed",
    [
        b"garbage",
        b"",
        b"\xff{",
        b"[" * 2000,
        b"null",
        b"7",
        b'"to"',
        b"[]",
        b"{}",
        b'{"to": "x"}',
        b'["to"]',
        b'["to", true]',
        b'["to", null]',
        b'["to", ["x"]]',
        b"[" + b",".join([b'"a"'] * 10_000) + b"]",
    ],
    ids=lambda packed: repr(packed[:12]),
)
async def test_a_deferred_text_that_cannot_be_read_is_buried_and_delays_no_other(
    store: Store, wall: Wall, packed: bytes
) -> None:
    for id_ in ("s1", "s2", "s3"):
        await store.schedule(1, id_)
    await store.redis.hset(store.keys.deferred_messages, "s2", packed)
    wall.advance(2)
    assert await store.queue.promote() == 2
    assert [await store.state(id_) for id_ in ("s1", "s2", "s3")] == ["queued", "dead", "queued"]
    [(letter, fields)] = await store.status.dead_letters("", 10)
    assert (fields["id"], fields["reason"], fields["code"]) == ("s2", "invalid", "entry")
    assert await store.redis.hget(store.keys.message("s2"), "letter") == letter.encode()
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    assert await store.queue.next_due() is None
    assert await store.difference() == 0
    assert await store.queue.replay(letter, "s2")  # to be buried again: it is no text
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert [await store.state(id_) for id_ in ("s1", "s2", "s3")] == ["queued", "dead", "queued"]
    assert await store.difference() == 0


async def test_what_is_deferred_under_no_id_is_set_aside_and_delays_no_other(
    store: Store, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    await store.schedule(1, "s1")
    packed = await store.redis.hget(store.keys.deferred_messages, "s1")
    names = [b"\xff%d" % n for n in range(200)]  # as many as are promoted at once
    await store.redis.zadd(store.keys.deferred, dict.fromkeys(names, 1))
    await store.redis.zadd(store.keys.deferred, {b"\xff\x00": 1, b"\xfe": wall() + 60_000})
    await store.redis.hset(store.keys.deferred_messages, b"\xff\x00", packed)
    await store.redis.hset(store.keys.deferred_messages, b"\xff1", b"\xff")
    wall.advance(2)
    promoted = [await store.queue.promote() for _ in range(3)]
    assert sum(promoted) == 1
    assert await store.state("s1") == "queued"
    assert await store.redis.zrange(store.keys.deferred, 0, -1) == [b"\xfe"]
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    died = sorted(await store.redis.xrange(store.keys.dead), key=lambda row: len(row[1]))
    unreadable, readable = (fields for _, fields in died)
    assert unreadable[b"message"] == b"\xff"
    assert (readable[b"message"], readable[b"to"]) == (b"Hi", ALICE.encode())
    assert readable[b"reason"] == b"invalid"
    assert "deferred under no id" in caplog.text
    for letter, fields in died:
        id_ = fields[b"id"].decode()
        assert await store.state(id_) == "dead"
        assert await store.queue.replay(letter.decode(), id_)
        assert await store.state(id_) == "queued"


async def test_what_other_hands_deferred_again_is_buried_and_its_status_stays_true(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, "p")
    await store.redis.zadd(store.keys.deferred, {message.id: wall()})
    await store.redis.hset(store.keys.deferred_messages, message.id, "garbage")
    assert await store.queue.promote() == 0
    assert await store.state(message.id) == "sent"
    assert await store.redis.xlen(store.keys.dead) == 1


# -- cancel -------------------------------------------------------------------------------------


async def test_a_deferred_text_can_be_cancelled(store: Store, wall: Wall) -> None:
    await store.schedule(5)
    assert await store.queue.cancel("s1") == "cancelled"
    wall.advance(10)
    assert await store.queue.promote() == 0
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    assert await store.queue.cancel("s1") == "cancelled"
    assert (await store.status.census()).ended["cancelled"] == 1
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
    assert await store.queue.pending() == []


async def test_a_text_that_is_being_sent_cannot_be_cancelled(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.queue.cancel(message.id) == "sending"
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await store.queue.cancel(message.id) == "sent"


async def test_a_dead_text_cannot_be_cancelled(store: Store) -> None:
    _, id_ = await store.dead_letter()
    assert await store.queue.cancel(id_) == "dead"


BAD_IDS = (
    "",
    "h",
    "nonsense",
    "1",
    "1-",
    "-1",
    "1-1-1",
    "n1-1",
    "1-1",
    "h1-1",
    "99999999999999999999-0",
    "18446744073709551615-18446744073709551616",
    "h" + "9" * 5000 + "-0",
    "\u0661-1",
    "a b",
    "\0",
    "-",
    "+",
)


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


# -- replay and drop ----------------------------------------------------------------------------


async def test_a_replayed_letter_is_queued_as_it_came_with_its_attempts_forgotten(
    store: Store,
) -> None:
    letter, id_ = await store.dead_letter(ref="r", sender="smsd")
    assert await store.queue.replay(letter, id_)
    assert await store.status.dead_letters("", 10) == []
    entry, message = await store.claim_one()
    assert entry.lane == "n"
    assert message.id == id_
    assert message.attempts == 0
    assert message.content == content(ref="r", sender="smsd")
    assert await store.difference() == 0


async def test_a_replayed_letter_of_high_priority_has_it_still(store: Store) -> None:
    letter, id_ = await store.dead_letter(priority="high")
    assert await store.queue.replay(letter, id_)
    entry, _ = await store.claim_one()
    assert entry.lane == "h"


async def test_a_replayed_campaign_that_had_been_retried_does_not_overtake_what_is_urgent(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.EXHAUSTED)
    [(letter, _)] = await store.status.dead_letters("", 10)
    assert await store.queue.replay(letter, message.id)
    entry, _ = await store.claim_one()
    assert entry.lane == "n"


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
        assert (entry.lane, entry.message_id) == (lane, "abc")
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
    assert await store.status.dead_letters("", 10) == []
    assert await store.state(id_) == "dropped"
    assert not await store.queue.drop(letter, id_)
    assert not await store.queue.replay(letter, id_)
    assert (await store.status.census()).ended["dropped"] == 1
    assert await store.difference() == 0


async def test_a_letter_that_is_unknown_is_gone(store: Store) -> None:
    assert not await store.queue.replay("1-1", "x")
    assert not await store.queue.drop("1-1", "x")


# -- what recovery reads ------------------------------------------------------------------------


async def test_pending_pages_through_any_number_of_entries_in_their_order(store: Store) -> None:
    normal = await store.append(*[ALICE] * (2 * PAGE + 1))
    high = await store.append(*[ALICE] * PAGE, priority="high")
    assert await store.queue.pending() == []
    await store.queue.claim(1000, 1000)
    assert await store.queue.pending() == high + [f"n{id_}" for id_ in normal]


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
    assert await store.queue.pending() == [second.name]
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


async def test_the_journal_reads_back_any_owner(open_store: OpenStore) -> None:
    store = await open_store("host:boot.1:2:3:ab cd").lead()
    entry, attempt, _ = await store.sending()
    assert await store.queue.journal() == {entry.name: attempt}


# -- every script may run twice: its reply was lost ---------------------------------------------

Operation = Callable[[], Awaitable[object]]
Prepared = Callable[[Store], Awaitable[Operation]]


async def _append_one(store: Store) -> Operation:
    return store.append


async def _append_many_high(store: Store) -> Operation:
    return lambda: store.append(ALICE, BOB, priority="high")


async def _append_group(store: Store) -> Operation:
    return lambda: asyncio.gather(*(store.append() for _ in range(50)))


async def _append_scheduled(store: Store) -> Operation:
    return lambda: store.schedule(5)


async def _append_idempotent(store: Store) -> Operation:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    return lambda: store.queue.append(request)


async def _append_long(store: Store) -> Operation:
    request = Append(content(), [ALICE] * 1001, idempotency_key="k", fingerprint="f", answer=b"{}")
    return lambda: store.queue.append(request)


async def _append_repeated(store: Store) -> Operation:
    operation = await _append_idempotent(store)
    await operation()
    return operation


async def _claim(store: Store) -> Operation:
    await store.append()
    return lambda: store.queue.claim(10, 10)


async def _begin(store: Store) -> Operation:
    await store.append()
    entry, message = await store.claim_one()
    return lambda: store.begin(entry, store.attempt(), message.recipient)


async def _release(store: Store) -> Operation:
    entry, attempt, _ = await store.sending()
    return lambda: store.queue.release(entry.name, attempt)


async def _ack(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.ack(entry, attempt, message, "p")


async def _late_ack(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)
    return lambda: store.queue.ack(entry, attempt, message, "p")


async def _expire(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.expire(entry, attempt, message)


async def _suppress(store: Store) -> Operation:
    await store.append()
    entry, message = await store.claim_one()
    return lambda: store.queue.suppress(entry, message)


async def _defer(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")


async def _bury(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, suppress=True
    )


async def _bury_unparsed(store: Store) -> Operation:
    await store.redis.xadd(store.keys.queue, {"nonsense": "x"})
    [entry] = await store.queue.claim(0, 1)
    return lambda: store.queue.bury(entry, None, None, reason=DeadReason.INVALID)


async def _promote(store: Store) -> Operation:
    await store.schedule(1, "s1")
    await store.schedule(1, "s2", priority="high")
    store.wall.advance(2)
    return store.queue.promote


async def _cancel_queued(store: Store) -> Operation:
    [id_] = await store.append()
    return lambda: store.queue.cancel(id_)


async def _cancel_deferred(store: Store) -> Operation:
    id_ = await store.schedule(5)
    return lambda: store.queue.cancel(id_)


async def _replay(store: Store) -> Operation:
    letter, id_ = await store.dead_letter()
    return lambda: store.queue.replay(letter, id_)


async def _drop(store: Store) -> Operation:
    letter, id_ = await store.dead_letter()
    return lambda: store.queue.drop(letter, id_)


async def _reclaim(store: Store) -> Operation:
    await store.append()
    [entry] = await store.queue.claim(0, 1)
    return lambda: store.queue.reclaim([entry.name])


async def _take_key(store: Store) -> Operation:
    for _ in range(2):
        await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi", "key": "k"})
    entries = await store.queue.claim(0, 9)
    keyed = [(entry, parse_entry(entry, LIMITS, store.wall())) for entry in entries]
    return lambda: store.queue.take_keys(keyed)


async def _census(store: Store) -> Operation:
    await store.append()
    return store.status.census


async def _letters(store: Store) -> Operation:
    await store.dead_letter()
    return lambda: store.status.dead_letters("", 10)


async def _groups(store: Store) -> Operation:
    await store.append()
    await store.redis.delete(store.keys.high)
    await store.redis.xgroup_destroy(store.keys.queue, "smsd")
    return store.client.ensure_groups


async def _touch(store: Store) -> Operation:
    call = Call("touch", {"life_ms": 60_000}, [store.keys.ack])
    return lambda: store.client.ask(call)


async def _acquire(store: Store) -> Operation:
    await store.redis.delete(store.keys.lease)
    return lambda: store.client.ask(
        Call(
            "acquire",
            {"life_ms": 60_000, "dead": "", "hold": "x", "held_s": 1},
            lease_keys(store.keys),
        )
    )


async def _operator_hold(store: Store) -> Operation:
    return lambda: OperatorHold(store.client).hold("maintenance", "me")


async def _operator_release(store: Store) -> Operation:
    await OperatorHold(store.client).hold("maintenance", "me")
    return lambda: OperatorHold(store.client).release("me")


async def _accept(store: Store) -> Operation:
    compared = {"id": "other", "settled": 3, "compared": "t"}
    await store.redis.hset(store.keys.store, mapping=compared)
    return lambda: store.client.ask(accept(Data("known", 5), "t"))


async def _compared(store: Store) -> Operation:
    return lambda: store.client.ask(Call("compared", {"token": "t"}))


async def _mark_again(store: Store) -> Operation:
    await store.sending()
    await store.redis.delete(store.keys.inflight)
    return store.queue.mark_again


async def _yield(store: Store) -> Operation:
    return lambda: store.client.ask(Call("yield", keys=[store.keys.hold]))


CASES: list[tuple[str, Prepared]] = [
    ("append", _append_one),
    ("append", _append_many_high),
    ("append", _append_group),
    ("append", _append_scheduled),
    ("append", _append_idempotent),
    ("append", _append_repeated),
    ("append_part", _append_long),
    ("append_end", _append_long),
    ("claim", _claim),
    ("begin", _begin),
    ("release", _release),
    ("finish", _ack),
    ("finish", _late_ack),
    ("finish", _expire),
    ("finish", _suppress),
    ("defer", _defer),
    ("bury", _bury),
    ("bury", _bury_unparsed),
    ("promote", _promote),
    ("cancel", _cancel_queued),
    ("cancel", _cancel_deferred),
    ("replay", _replay),
    ("drop", _drop),
    ("reclaim", _reclaim),
    ("take_key", _take_key),
    ("census", _census),
    ("letters", _letters),
    ("groups", _groups),
    ("touch", _touch),
    ("acquire", _acquire),
    ("accept", _accept),
    ("compared", _compared),
    ("mark_again", _mark_again),
    ("yield", _yield),
    ("operator_hold", _operator_hold),
    ("operator_release", _operator_release),
]
SETTLEMENTS = {"finish", "defer", "bury"}


def _ids(value: object) -> str:
    return getattr(value, "__name__", "").strip("_")


@pytest.mark.parametrize(("script", "prepare"), CASES, ids=_ids)
async def test_a_script_that_runs_twice_changes_nothing_more(
    wired: Store, proxy: Proxy, script: str, prepare: Prepared
) -> None:
    operation = await prepare(wired)
    before = await dump(wired.redis, wired.keys.prefix)
    await operation()
    [*_, command] = [one for one in proxy.commands if sha(script) in one]
    after = await dump(wired.redis, wired.keys.prefix)
    if script not in ("census", "letters", "reclaim") and prepare is not _append_repeated:
        assert after != before
    for _ in range(2):
        assert (await proxy.repeat(command)).startswith(b"*")
        assert await dump(wired.redis, wired.keys.prefix) == after
    assert await wired.difference() == 0


def test_every_script_is_among_those_that_run_twice() -> None:
    others = {script for script in all_scripts() if script.startswith("fsck_")}  # test_fsck.py
    assert {script for script, _ in CASES} | others == set(all_scripts())


@pytest.mark.parametrize(
    ("script", "prepare"), [case for case in CASES if case[0] in SETTLEMENTS], ids=_ids
)
async def test_a_settlement_that_runs_again_when_the_text_is_long_over_changes_nothing(
    wired: Store, proxy: Proxy, script: str, prepare: Prepared
) -> None:
    operation = await prepare(wired)
    await operation()
    [*_, command] = [one for one in proxy.commands if sha(script) in one]
    for letter, fields in await wired.status.dead_letters("", 10):
        await wired.queue.replay(letter, fields["id"])
    await wired.queue.promote()
    settled = await dump(wired.redis, wired.keys.prefix)
    await proxy.repeat(command)
    assert await dump(wired.redis, wired.keys.prefix) == settled
    assert await wired.difference() == 0


async def test_an_append_that_arrives_after_its_successors_queues_nothing_again(
    wired: Store, proxy: Proxy
) -> None:
    proxy.hold_back(sha("append"))  # its connection breaks, and the packet wanders
    [first] = await wired.append()
    [second] = await wired.append()
    proxy.lose_reply(sha("append"))
    third = asyncio.create_task(wired.append())
    await asyncio.sleep(0.02)  # it is repeated after 50 ms or more
    await proxy.let_go()
    [last] = await soon(third)
    entries = [entry.decode() for entry, _ in await wired.redis.xrange(wired.keys.queue)]
    assert entries == [first, second, last]


# -- hostile entries ----------------------------------------------------------------------------

HOSTILE: dict[str, list[bytes]] = {
    "nothing known": [b"nonsense", b"x"],
    "no recipient": [b"message", b"Hi"],
    "no text": [b"to", ALICE.encode()],
    "empty names": [b"", b"", b"", b""],
    "100,000 fields": [word for n in range(100_000) for word in (b"%d" % n, b"")],
    "100,000 times one field": [b"to", ALICE.encode()] * 100_000,
    "501 fields": [word for n in range(501) for word in (b"%d" % n, b"")],
    "invalid UTF-8": [b"to", ALICE.encode(), b"message", b"\xff\xfe\x80"],
    "invalid UTF-8 in a name": [b"\xff", b"x", b"to", ALICE.encode()],
    "half a surrogate pair": [b"to", ALICE.encode(), b"message", b"\xed\xa0\x80"],
    "10 MB": [b"to", ALICE.encode(), b"message", b"x" * 10_000_000],
    "10 MB of zeros": [b"\0" * 10_000_000, b""],
    "duplicate fields": [b"to", ALICE.encode(), b"to", BOB.encode(), b"message", b"Hi"],
    "NULs": [b"to", ALICE.encode(), b"message", b"a\0b"],
    "NULs in a name": [b"to\0", ALICE.encode(), b"message", b"Hi"],
    "an id that is none": [b"id", b"\xff/../\n", b"to", ALICE.encode(), b"message", b"Hi"],
    "an id of 10 MB": [b"id", b"x" * 10_000_000, b"to", ALICE.encode(), b"message", b"Hi"],
    "our own fields": [b"reason", b"x", b"lane", b"q", b"attempts", b"-1", b"failed_at", b"\xff"],
    "attempts beyond all": [b"to", ALICE.encode(), b"message", b"Hi", b"attempts", b"9" * 400],
    "words for numbers": [b"attempts", b"many", b"segments", b"\xff", b"due", b"9" * 5000],
    "a name of newlines": [b"a\nb\r\nc", b"\r\n"],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("lane", ["h", "n"])
async def test_a_hostile_entry_is_buried_and_never_delays_the_next(
    store: Store, name: str, lane: str
) -> None:
    stream = store.keys.high if lane == "h" else store.keys.queue
    raw = await store.redis.execute_command("XADD", stream, "*", *HOSTILE[name])
    await store.append(priority="high" if lane == "h" else "normal")
    entries = await store.queue.claim(10, 10)
    assert len(entries) == 2
    await store.claimer.admit(entries)
    assert len(store.prefetch) == 1
    held = store.prefetch.take()
    assert held.message.content.text == "Hi"
    [(letter, fields)] = await store.status.dead_letters("", 10)
    id_ = raw.decode() if lane == "n" else f"h{raw.decode()}"
    assert fields["reason"] == "invalid"
    assert fields["id"] == id_
    told = await store.status.message(id_)
    assert told is not None
    assert told["state"] == "dead"
    assert await store.queue.pending() == [held.entry.name]
    assert await store.difference() == 0
    # Replayed it is judged again, and buried again: no daemon stumbles over it.
    assert await store.queue.replay(letter, id_)
    assert await store.difference() == 0
    await store.claimer.admit(await store.queue.claim(10, 10))
    assert await store.difference() == 0


async def test_a_text_that_can_no_longer_be_parsed_is_buried_under_its_own_id(
    store: Store, wall: Wall
) -> None:
    """The limits were lowered while it waited."""
    await store.schedule(1, message="x" * 400)
    wall.advance(2)
    await store.queue.promote()
    strict = Claimer(
        store.queue,
        store.arrivals,
        store.prefetch,
        limits=Limits(max_segments=1),
        on_fenced=store.lease.doubt,
        clock=store.ticks,
        now_ms=wall,
    )
    for _ in range(2):
        await strict.admit(await store.queue.claim(10, 10))
        assert await store.state("s1") == "dead"
        [(letter, fields)] = await store.status.dead_letters("", 10)
        assert fields["id"] == "s1"
        assert await store.queue.replay(letter, "s1")
    assert await store.queue.cancel("s1") == "cancelled"
    assert await store.difference() == 0


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_entry_can_be_looked_up_and_cancelled(store: Store, name: str) -> None:
    raw = await store.redis.execute_command("XADD", store.keys.queue, "*", *HOSTILE[name])
    told = await store.status.message(raw.decode())
    assert told is None or told["state"] == "queued"
    assert await store.queue.cancel(raw.decode()) in ("cancelled", "unknown")
    assert await store.difference() == 0


async def test_a_hostile_entry_that_was_pending_is_buried_too(store: Store) -> None:
    for fields in HOSTILE.values():
        await store.redis.execute_command("XADD", store.keys.queue, "*", *fields)
    while await store.queue.claim(0, 100):  # whose replies were lost
        pass
    await store.claimer.admit(await store.queue.reclaim(await store.queue.pending()))
    assert await store.length() == 0
    assert await store.redis.xlen(store.keys.dead) == len(HOSTILE)
    assert await store.difference() == 0


@pytest.mark.parametrize(
    ("fields", "code"), [(500, "is no known field"), (501, "of more than 500 fields")]
)
async def test_an_entry_with_too_many_fields_is_told_how_many_are_read(
    store: Store, fields: int, code: str
) -> None:
    words = [word for n in range(fields - 2) for word in (f"x{n}", "")]
    await store.redis.execute_command(
        "XADD", store.keys.queue, "*", "to", ALICE, "message", "Hi", *words
    )
    await store.claimer.admit(await store.queue.claim(9, 9))
    [(_, letter)] = await store.status.dead_letters("", 10)
    assert letter["detail"].startswith(code)


async def test_a_status_of_another_type_vouches_for_no_entry(store: Store) -> None:
    impostor = await _claiming_to_be(store, "x")
    await store.redis.set(store.keys.message("x"), "")
    [entry] = await store.queue.claim(0, 1)
    assert entry.message_id == impostor


async def test_a_redis_that_is_away_does_not_take_a_text_its_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def loading(*_: object, **__: object) -> list[object]:
        return [BusyLoadingError("LOADING")]

    await store.schedule(1)
    store.wall.advance(2)
    await store.queue.promote()
    with monkeypatch.context() as patch:
        patch.setattr("redis.asyncio.client.Pipeline.execute", loading)
        with pytest.raises(Loading):
            await store.queue.claim(0, 1)
    [entry] = await store.queue.reclaim(await store.queue.pending())
    assert entry.message_id == "s1"


async def _claiming_to_be(store: Store, id_: str, **fields: str) -> str:
    """An entry that says another text's id; its own."""
    said = {"id": id_, "to": BOB, "message": "Ho", **fields}
    raw = await store.redis.xadd(store.keys.queue, said)
    return str(raw.decode())


async def test_an_entry_cannot_take_over_the_id_of_a_scheduled_text(store: Store) -> None:
    await store.schedule(60)
    before = await store.status.message("s1")
    impostor = await _claiming_to_be(store, "s1")
    assert await store.state(impostor) == "queued"
    await store.claimer.admit(await store.queue.claim(9, 9))
    told = await store.status.message(impostor)
    assert told is not None
    assert (told["state"], told["reason"], told["code"]) == ("dead", "invalid", "id")
    assert await store.status.message("s1") == before
    assert await store.queue.cancel("s1") == "cancelled"
    assert await store.difference() == 0


@pytest.mark.parametrize("field", ["id", "attempts"])
async def test_what_only_we_write_is_an_unknown_field_of_anybody_else(
    store: Store, field: str
) -> None:
    """Two producers of one id, or one that spends a message's attempts, would be believed."""
    for text in ("one", "two"):
        fields = {"to": ALICE, "message": text, field: "5"}
        await store.redis.xadd(store.keys.queue, fields)
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert len(store.prefetch) == 0
    letters = await store.status.dead_letters("", 10)
    assert [letter["code"] for _, letter in letters] == [field, field]
    assert len({letter["id"] for _, letter in letters}) == 2
    # The letter has our own of each, so that a person may replay it.
    assert await store.queue.replay(letters[0][0], letters[0][1]["id"])
    [entry] = await store.queue.claim(9, 9)
    assert parse_entry(entry, LIMITS, store.wall()).attempts == 0
    assert await store.difference() == 0


async def test_an_entry_cannot_take_over_the_id_of_one_that_is_queued(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1)
    wall.advance(2)
    await store.queue.promote()
    [(home, _)] = await store.redis.xrange(store.keys.queue)
    impostor = await _claiming_to_be(store, "s1")
    assert await store.queue.cancel(home.decode()) == "unknown"  # it is s1's
    assert await store.queue.cancel(impostor) == "cancelled"
    assert await store.state("s1") == "queued"
    assert (await store.claim_one())[1].id == "s1"
    assert await store.difference() == 0


async def test_entries_for_later_that_say_the_same_id_are_known_as_their_own(
    store: Store,
) -> None:
    later = "2027-01-01T00:00:00Z"
    ids = [await _claiming_to_be(store, "dup", send_at=later) for _ in range(2)]
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert await store.status.message("dup") is None
    assert await store.queue.cancel("dup") == "unknown"
    assert [await store.state(id_) for id_ in ids] == ["dead", "dead"]
    assert await store.difference() == 0


async def test_a_bad_entry_that_says_another_id_is_buried_as_its_own(store: Store) -> None:
    await store.schedule(60)
    impostor = await _claiming_to_be(store, "s1", message="")
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert (await store.state(impostor), await store.state("s1")) == ("dead", "deferred")


async def test_an_entry_that_was_left_behind_is_not_believed_either(store: Store) -> None:
    await store.schedule(60)
    impostor = await _claiming_to_be(store, "s1")
    await store.queue.claim(9, 9)  # whose reply was lost
    [entry] = await store.queue.reclaim(await store.queue.pending())
    assert entry.message_id == impostor


async def test_a_text_deferred_where_other_hands_put_another_goes_by_its_entry(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1)
    wall.advance(2)
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.redis.zadd(store.keys.deferred, {"s1": wall() + 60_000})
    other = ["to", BOB, "message", "Ho"]
    await store.redis.hset(store.keys.deferred_messages, "s1", json.dumps(other))
    before = await store.status.message("s1")
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    assert await store.state(entry.first_message_id) == "deferred"
    told = await store.status.message("s1")
    assert told is not None
    assert before is not None
    assert told["history"] == before["history"]


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


def test_an_attempt_is_read_back_from_its_mark() -> None:
    attempt = Attempt(3, 1_700_000_000_000, "a b:c")
    assert Attempt.read(attempt.mark.encode()) == attempt


@pytest.mark.parametrize("mark", UNREADABLE_MARKS)
async def test_what_is_no_mark_is_read_as_none_by_both_who_read_marks(
    store: Store, mark: bytes
) -> None:
    entry, _, _ = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, mark)
    assert Attempt.read(mark) is None
    assert await store.queue.journal() == {entry.name: Attempt(1, 0, "unknown")}


@pytest.mark.parametrize("mark", [b"1 0 x", b"9999999999 9999999999999 a b"])
async def test_what_may_be_a_mark_is_left_as_it_is_by_both_who_read_marks(
    store: Store, mark: bytes
) -> None:
    entry, _, _ = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, mark)
    found = await store.client.ask(Call("fsck_marks", {"names": [entry.name], "repair": True}))
    [attempt] = (await store.queue.journal()).values()
    assert (found, attempt.mark.encode()) == ([], mark)


def test_a_full_queue_is_not_taken_for_an_absent_redis() -> None:
    assert not isinstance(QueueFull(), Away)


async def test_a_status_that_cannot_be_written_undoes_no_settlement(store: Store) -> None:
    lives = [await store.sending() for _ in range(5)]
    first, bad, *rest = lives
    await store.redis.set(store.keys.message(bad[2].id), "of another make")
    answers = await asyncio.gather(*(store.queue.ack(*life, "p") for life in (first, bad, *rest)))
    assert answers == [True] * 5
    census = await store.status.census()
    assert (census.ended["sent"], census.queued, census.inflight, census.difference) == (5, 0, 0, 0)
    assert await store.queue.pending() == []
    for _, _, message in (first, *rest):
        found = await store.status.message(message.id)
        assert found is not None
        assert found["state"] == "sent"


async def test_a_history_keeps_its_beginning_and_its_end_and_never_grows_beyond_a_bound(
    store: Store,
) -> None:
    entry, attempt, message = await store.sending()
    key = store.keys.message(message.id)
    lines = ["1 queued", *(f"{n} deferred throttled again and again" for n in range(2, 2000))]
    await store.redis.hset(key, mapping={"state": "queued", "history": "\n".join(lines)})
    assert await store.queue.ack(entry, attempt, message, "p")
    told = await store.status.message(message.id)
    assert told is not None
    history = cast("list[dict[str, object]]", told["history"])
    assert [change["at"] for change in history[1:3]] == [1, history[2]["at"]]
    assert [change["state"] for change in history[-3:]] == ["deferred", "sending", "sent"]
    assert history[-3]["at"] == 1999
    assert all(change["state"] in ("queued", "deferred", "sending", "sent") for change in history)
    assert await store.redis.hstrlen(key, "history") < 8192


async def test_a_history_with_a_line_beyond_all_bounds_can_still_be_read(store: Store) -> None:
    entry, attempt, message = await store.sending()
    key = store.keys.message(message.id)
    history = f"1 queued\n2 dead rejected {'9' * 9000}"
    await store.redis.hset(key, mapping={"state": "queued", "history": history})
    assert await store.queue.ack(entry, attempt, message, "p")
    told = await store.status.message(message.id)
    assert told is not None
    changes = cast("list[dict[str, object]]", told["history"])
    assert [change["state"] for change in changes[1:]] == ["queued", "sending", "sent"]
