"""In doubt, on a real server. Rule: what is asked about keeps its mark, and is settled once."""

import asyncio
from collections.abc import Sequence

import pytest

from smsd.core.life import DeadReason
from smsd.core.message import Limits, Message
from smsd.core.outcome import Accepted, InDoubt, Outcome, Rejected, RetryPolicy, Unavailable
from smsd.dispatch import in_doubt
from smsd.dispatch.dispatcher import Dispatcher
from smsd.dispatch.in_doubt import PAUSES_S
from smsd.dispatch.recovery import OTHER_GATEWAY, UNANSWERED
from smsd.metrics import Metrics
from smsd.provider.base import FindSettled
from tests.redis.dispatching import at_work, dispatcher, new_hold, recovery
from tests.support.provider import AskableProvider
from tests.support.proxy import Proxy
from tests.support.store import ALICE, BOB, OpenStore, Store, sha, soon, until

LOST = InDoubt("the answer was lost")
TAKEN = Accepted("p1")
REFUSED = Rejected("9", "no", "recipient", opted_out=True)
RESEND = RetryPolicy(in_doubt="resend")
RESEND_HIGH = RetryPolicy(in_doubt_high="resend")


def asked(*found: Outcome | None) -> AskableProvider:
    """A provider that answers no submission, and finds these when it is asked."""
    return AskableProvider(*found, answer=LOST)


async def letters(store: Store) -> list[tuple[str, str]]:
    """What the dead letters died of."""
    found = await store.dead_letters.page("", 10)
    return [(fields["id"], fields["reason"]) for _, fields in found]


# -- what a predecessor left --------------------------------------------------------------------


async def settled(store: Store) -> None:
    async with asyncio.timeout(20):
        while await store.unsettled.in_flight():
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("told", "policy", "priority", "state"),
    [
        ([TAKEN], RetryPolicy(), "normal", "sent"),
        ([InDoubt("not listed"), TAKEN], RESEND, "normal", "sent"),
        ([Unavailable("never arrived")], RetryPolicy(), "normal", "deferred"),
        ([InDoubt("no answer"), Unavailable("never arrived")], RetryPolicy(), "normal", "deferred"),
        ([REFUSED], RESEND, "normal", "dead"),
        ([None], RetryPolicy(), "normal", "dead"),
        ([InDoubt("not listed")], RetryPolicy(), "high", "dead"),
        ([None], RESEND, "normal", "deferred"),
        ([None], RESEND_HIGH, "normal", "dead"),
        ([None], RESEND_HIGH, "high", "deferred"),
    ],
)
async def test_what_was_in_flight_comes_to_what_the_provider_tells_or_the_policy_says(
    store: Store, told: Sequence[Outcome | None], policy: RetryPolicy, priority: str, state: str
) -> None:
    _, attempt, message = await store.sending(priority=priority)
    carrier = asked(*told)
    recovering = recovery(store, carrier, policy=policy)
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    assert await store.state(message.id) == state
    assert set(carrier.asked) == {(message.id, attempt.started_ms)}
    assert len(carrier.asked) <= len(told) - 1 + len(PAUSES_S)
    assert await store.difference() == 0


@pytest.mark.parametrize(
    ("told", "verdict", "word"),
    [
        (TAKEN, "ack", "sent"),
        (Unavailable("no"), "defer", "deferred"),
        (None, "bury", "dead-lettered"),
    ],
)
async def test_what_recovery_settles_is_logged_and_counted_like_any_other(
    store: Store,
    caplog: pytest.LogCaptureFixture,
    told: Outcome | None,
    verdict: str,
    word: str,
) -> None:
    caplog.set_level("INFO")
    _, _, message = await store.sending()
    metrics = Metrics()
    recovering = recovery(store, asked(told), metrics=metrics)
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    assert metrics.settled == {verdict: 1}
    assert (word, message.id) in [(one.message, vars(one).get("id")) for one in caplog.records]


@pytest.mark.parametrize(
    "mark", [b"garbage", b"", b"\xff", b"1 2", b"1 99999999999999999999 x", b"1 017 x", b"1 00 x"]
)
@pytest.mark.parametrize(("policy", "state"), [(RetryPolicy(), "dead"), (RESEND, "deferred")])
async def test_under_an_unreadable_mark_nobody_is_asked_and_the_policy_decides(
    store: Store, mark: bytes, policy: RetryPolicy, state: str
) -> None:
    entry, _, message = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, mark)
    carrier = asked(TAKEN)
    recovering = recovery(store, carrier, policy=policy)
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    assert await store.state(message.id) == state
    assert carrier.asked == []
    assert await store.redis.hlen(store.keys.inflight) == 0
    assert await store.difference() == 0
    told = await store.lookup.message(message.id)
    assert told is not None
    history = told["history"]
    assert isinstance(history, list)
    assert [change["state"] for change in history] == ["queued", state]  # not sending, in 1970


@pytest.mark.parametrize(
    ("gateway", "policy", "state"),
    [
        ("gateway A", RetryPolicy(), "deferred"),  # it never arrived there: it is sent again
        ("gateway B", RetryPolicy(), "dead"),
        ("gateway B", RESEND, "deferred"),
    ],
)
async def test_of_a_killed_daemon_only_the_gateway_that_it_wrote_to_is_asked(
    store: Store, open_store: OpenStore, gateway: str, policy: RetryPolicy, state: str
) -> None:
    """Any other gateway would find nothing, and the message might go out twice."""
    carrier = AskableProvider(answer=unanswered)
    part = dispatcher(store, carrier)
    [id_] = await store.append()
    await store.claimer.admit(await store.queue.claim(1, 1))
    async with at_work(part):
        await until(lambda: carrier.submitted == [id_], "it is written")
    await part.drain(0)

    successor, asked_later = await open_store("b").lead(), asked(Unavailable("never arrived"))
    asked_later.gateway = gateway
    asked_later.stop_leaves_in_doubt = False
    recovering = recovery(successor, asked_later, policy=policy)
    await recovering.recover()
    async with at_work(recovering):
        await settled(successor)
    assert await store.state(id_) == state
    assert bool(asked_later.asked) == (gateway == carrier.gateway)
    if state == "dead":
        [(_, letter)] = await store.dead_letters.page("", 10)
        assert (letter["reason"], letter["detail"]) == ("in_doubt", OTHER_GATEWAY)


async def unanswered(_message: Message) -> Outcome:
    await asyncio.Event().wait()
    raise AssertionError


class Lister(AskableProvider):
    """Lists messages that nothing but the sids of those that were settled tells apart."""

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        listed = ("SM1", "SM2")
        settled = await find_settled(listed, started_ms - 60_000, started_ms + 60_000)
        ours = [sid for sid in listed if settled.get(sid, message.id) == message.id]
        return Accepted(ours[0]) if len(ours) == 1 else None


async def test_of_two_like_messages_the_one_that_a_predecessor_settled_is_set_aside(
    store: Store, open_store: OpenStore
) -> None:
    settled_before, in_doubt = await store.sending(), await store.sending()
    assert await store.queue.ack(*settled_before, "SM1")
    successor = await open_store("b").lead()
    recovering = recovery(successor, Lister())
    await recovering.recover()
    async with at_work(recovering):
        await settled(successor)
    told = await store.lookup.message(in_doubt[2].id)
    assert told is not None
    assert (told["state"], told["provider_id"]) == ("sent", "SM2")


async def test_a_look_up_waits_for_redis_to_tell_what_was_settled(
    wired: Store, proxy: Proxy
) -> None:
    settled_before, in_doubt = await wired.sending(), await wired.sending()
    assert await wired.queue.ack(*settled_before, "SM1")
    recovering = recovery(wired, Lister())
    await recovering.recover()
    proxy.lose_reply(b"XRANGE", times=3)
    async with at_work(recovering):
        await settled(wired)
    assert proxy.lost
    assert await wired.state(in_doubt[2].id) == "sent"


async def test_an_unreadable_mark_leaves_what_was_spent_spent(store: Store) -> None:
    sending = await store.sending()
    assert await store.queue.defer(*sending, until=0, attempts=5, why="five times")
    assert await store.queue.promote() == 1
    entry, _, message = await store.begin_next()
    await store.redis.hset(store.keys.inflight, entry.name, "garbage")
    await recovery(store, asked(TAKEN), policy=RESEND).recover()
    assert await letters(store) == [(message.id, "in_doubt")]  # it was the sixth of six


async def test_a_mark_that_stands_under_no_name_of_an_entry_is_taken_away(store: Store) -> None:
    await store.redis.hset(store.keys.inflight, "nonsense", store.attempt().mark)
    await store.redis.hset(store.keys.inflight, "n1-1", "garbage")
    await recovery(store, asked(TAKEN)).recover()
    assert await store.redis.hgetall(store.keys.inflight) == {}


async def test_an_opt_out_learnt_by_asking_is_kept(store: Store) -> None:
    await store.sending()
    recovering = recovery(store, asked(REFUSED))
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    await store.append(ALICE)
    entry, message = await store.claim_one()
    assert await store.begin(entry, store.attempt(), message.recipient) == "suppressed"


@pytest.mark.parametrize("how", ["settled elsewhere", "marked by another"])
async def test_an_opt_out_is_kept_wherever_the_entry_is_by_now(store: Store, how: str) -> None:
    """It is a fact about the number."""
    entry, attempt, message = await store.sending()
    if how == "settled elsewhere":
        assert await store.queue.ack(entry, attempt, message, "p1")
    else:
        await store.redis.hset(store.keys.inflight, entry.name, "1 2 another")
    assert not await store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, code="21610", opted_out=True
    )
    await store.append(ALICE)
    later, again = await store.claim_one()
    assert await store.begin(later, store.attempt(), again.recipient) == "suppressed"


async def test_while_it_is_asked_about_it_is_neither_sent_nor_asked_about_again(
    store: Store,
) -> None:
    _, _, message = await store.sending()
    [other] = await store.append(BOB)
    carrier = asked(TAKEN)
    carrier.may_find.clear()
    recovering = recovery(store, carrier)
    await recovering.recover()
    async with at_work(recovering):
        await until(lambda: bool(carrier.asked), "it is asked about")
        await recovering.recover()
        await store.claimer.admit(await store.queue.claim(10, 10))
        assert store.prefetch.take().message.id == other
        assert len(store.prefetch) == 0
        assert len(await store.unsettled.in_flight()) == 1
        carrier.may_find.set()
        await settled(store)
    assert await store.state(message.id) == "sent"
    assert len(carrier.asked) == 1


async def test_many_that_were_in_flight_are_each_settled(store: Store) -> None:
    await store.append(*[ALICE] * 60)
    ids = [(await store.begin_next())[2].id for _ in range(60)]
    recovering = recovery(store, asked(TAKEN))
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    assert [await store.state(id_) for id_ in ids] == ["sent"] * 60


async def test_an_entry_that_cannot_be_read_any_more_is_buried_unasked(store: Store) -> None:
    _, _, message = await store.sending()
    carrier = asked(TAKEN)
    recovering = recovery(store, carrier, limits=Limits(max_segments=0))
    await recovering.recover()
    assert await letters(store) == [(message.id, "in_doubt")]
    assert carrier.asked == []


async def taken_over(open_store: OpenStore, carrier: AskableProvider) -> None:
    """Let a successor recover, and settle what was left."""
    carrier.may_find.set()
    successor = await open_store("b").lead()
    recovering = recovery(successor, carrier)
    await recovering.recover()
    async with at_work(recovering):
        await settled(successor)


async def test_ending_while_it_asks_leaves_the_mark_for_the_next(
    store: Store, open_store: OpenStore
) -> None:
    _, _, message = await store.sending()
    carrier = asked(TAKEN)
    carrier.may_find.clear()
    recovering = recovery(store, carrier)
    await recovering.recover()
    async with at_work(recovering):
        await until(lambda: bool(carrier.asked), "it is asked about")
    assert len(await store.unsettled.in_flight()) == 1

    await taken_over(open_store, carrier)
    assert await store.state(message.id) == "sent"


@pytest.mark.parametrize("policy", [RetryPolicy(), RESEND])
async def test_what_a_successor_is_sending_is_left_to_it(
    store: Store, open_store: OpenStore, policy: RetryPolicy
) -> None:
    successor = await open_store("b").lead()
    entry, attempt, message = await successor.sending()
    [waiting] = await successor.append(BOB)
    await successor.claim_one()
    told = asyncio.Event()
    # Nobody can be asked: what is in doubt would be settled at once.
    recovering = recovery(store, policy=policy, on_fenced=told.set)
    task = asyncio.create_task(recovering.recover())
    await soon(told.wait())
    assert await successor.unsettled.in_flight() == {entry.name: attempt}
    assert len(store.prefetch) == 0
    assert await successor.queue.ack(entry, attempt, message, "p")
    assert await store.state(message.id) == "sent"
    assert not task.done()  # nothing may be sent before it has recovered
    await store.lead()
    await soon(task)
    assert store.prefetch.take().message.id == waiting
    assert await letters(store) == []


async def test_two_that_ask_about_the_same_text_settle_it_once(
    store: Store, open_store: OpenStore
) -> None:
    _, _, message = await store.sending()
    first = recovery(store, asked(None))
    await first.recover()
    successor = await open_store("b").lead()
    second = recovery(successor, asked(TAKEN))
    await second.recover()
    async with at_work(first), at_work(second):
        await settled(store)
        await until(lambda: not (first._asked_about or second._asked_about), "both have asked")
    assert await store.state(message.id) == "sent"  # a success is a fact, and voids the letter
    assert await letters(store) == []
    assert await store.difference() == 0


async def test_a_settlement_whose_reply_is_lost_is_settled_all_the_same(
    wired: Store, proxy: Proxy
) -> None:
    _, _, message = await wired.sending()
    recovering = recovery(wired, asked(TAKEN))
    await recovering.recover()
    proxy.lose_reply(sha("finish"))
    async with at_work(recovering):
        await soon(settled(wired))
    assert proxy.lost == 1
    assert await wired.state(message.id) == "sent"


# -- what was just sent -------------------------------------------------------------------------


async def dispatched(
    store: Store, carrier: AskableProvider, part: Dispatcher, **fields: object
) -> str:
    """Send one text; its state when it is settled."""
    [id_] = await store.append(**fields)
    await store.claimer.admit(await store.queue.claim(1, 1))
    async with at_work(part), asyncio.timeout(20):
        while store.prefetch.knows(f"n{id_}") or store.prefetch.knows(id_):
            await asyncio.sleep(0.01)
    assert carrier.submitted == [id_]
    return str(await store.state(id_))


@pytest.mark.parametrize(
    ("told", "policy", "fields", "state"),
    [
        ([TAKEN], RESEND, {}, "sent"),
        ([Unavailable("never arrived")], RetryPolicy(), {}, "deferred"),
        ([InDoubt("no answer"), Unavailable("never arrived")], RetryPolicy(), {}, "deferred"),
        ([Unavailable("?"), InDoubt("not listed")], RetryPolicy(), {}, "dead"),
        ([None], RetryPolicy(), {}, "dead"),
        ([None], RESEND_HIGH, {}, "dead"),
        ([None], RESEND_HIGH, {"priority": "high"}, "deferred"),
    ],
)
async def test_an_answer_that_was_lost_is_asked_for(
    store: Store,
    told: Sequence[Outcome | None],
    policy: RetryPolicy,
    fields: dict[str, object],
    state: str,
) -> None:
    carrier = asked(*told)
    part = dispatcher(store, carrier, policy=policy)
    assert await dispatched(store, carrier, part, **fields) == state
    assert await store.difference() == 0


async def test_what_this_daemon_left_to_recovery_does_not_die_of_a_stop(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(in_doubt, "MOST_ASKED", 0)
    carrier = asked(None)
    [id_] = await store.append()
    await store.claimer.admit(await store.queue.claim(1, 1))
    async with at_work(dispatcher(store, carrier)):
        await until(lambda: not store.prefetch.knows(f"n{id_}"), "it is left to recovery")
    recovering = recovery(store, carrier)
    await recovering.recover()
    async with at_work(recovering):
        await settled(store)
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert (letter["id"], letter["reason"], letter["detail"]) == (id_, "in_doubt", UNANSWERED)


async def test_a_text_that_never_arrived_at_a_provider_that_is_down_is_sent_later(
    store: Store,
) -> None:
    carrier = asked(Unavailable("never arrived"))
    hold = new_hold()
    part = dispatcher(store, carrier, hold=hold)
    for _ in range(5):
        hold.learn("1-0", LOST, probe=False, waiting=False)
    [id_] = await store.append()
    await store.claimer.admit(await store.queue.claim(1, 1))
    async with at_work(part):
        await until(
            lambda: store.context.metrics.settled == {"defer": 1}, "it makes room for others"
        )
    assert await store.unsettled.in_flight() == {}
    assert await store.state(id_) == "deferred"


async def test_asking_takes_no_place_of_those_to_be_sent_and_a_drain_leaves_it_to_the_next(
    store: Store, open_store: OpenStore
) -> None:
    """Only two may be in flight, and those that are asked about hold up nobody."""
    carrier = asked(TAKEN)
    carrier.may_find.clear()
    part = dispatcher(store, carrier)
    ids = await store.append(*[ALICE] * 4)
    await store.claimer.admit(await store.queue.claim(4, 4))
    async with at_work(part):
        await until(lambda: len(carrier.asked) == 4, "all are asked about")
        assert store.context.metrics.in_flight == 0
        assert len(await store.unsettled.in_flight()) == 4
    assert await soon(part.drain(20))
    assert carrier.submitted == ids
    assert len(await store.unsettled.in_flight()) == 4
    assert await letters(store) == []

    await taken_over(open_store, carrier)
    assert [await store.state(id_) for id_ in ids] == ["sent"] * 4
    assert carrier.submitted == ids
