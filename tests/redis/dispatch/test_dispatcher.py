"""Dispatch on a real server. Rule: what is decided while a text waits for its time holds."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest

from smsd.core import share as share_module
from smsd.core.message import Message
from smsd.core.outcome import (
    Accepted,
    Halted,
    Outcome,
    Rejected,
    RetryPolicy,
    Throttled,
    Unavailable,
)
from smsd.core.pacer import CREDIT
from smsd.dispatch import dispatcher as dispatcher_module
from smsd.dispatch import probes as probes_module
from smsd.dispatch.hold import Hold
from smsd.dispatch.pace import Pace
from smsd.dispatch.probes import REST_PROBES
from smsd.dispatch.recovery import Recovery
from smsd.provider.base import Slot, SubmitsSegments
from smsd.redis.errors import WrongType
from smsd.store.entry import Attempt, Entry
from smsd.store.queue import Begun
from tests.redis.dispatching import (
    Clock,
    at_work,
    claimed,
    dispatcher,
    nanoseconds,
    new_hold,
    recovery,
)
from tests.support.provider import ScriptedProvider
from tests.support.proxy import Proxy
from tests.support.store import ALICE, BOB, SECOND, SOON_S, OpenStore, Store, sha, soon, until

NO_FUNDS = Halted("20005", "no funds")


def held(clock: Clock) -> Hold:
    """Held, and free to probe at once."""
    hold = new_hold(clock)
    hold.learn("1-0", NO_FUNDS, probe=False, waiting=False)
    clock.advance(60)
    return hold


async def test_texts_that_came_while_it_waited_do_not_leave_once_it_is_held(store: Store) -> None:
    hold, carrier = new_hold(), ScriptedProvider()
    async with at_work(dispatcher(store, carrier, hold=hold)):
        await asyncio.sleep(0.05)  # it waits for a text
        for _ in range(5):
            hold.learn("1-0", Unavailable("no connection"), probe=False, waiting=False)
        assert hold.engaged
        await claimed(store, ALICE, BOB)
        await asyncio.sleep(0.3)
        assert carrier.submitted == []
        assert await store.unsettled.in_flight() == {}
        assert len(store.prefetch) == 2
        await until(lambda: len(carrier.submitted) == 2, "the first probes, and dispatch goes on")
    assert not hold.engaged


async def test_a_text_that_is_marked_does_not_leave_either_once_it_is_held(store: Store) -> None:
    clock, carrier = Clock(), ScriptedProvider()
    hold = new_hold(clock)
    carrier.prepared.clear()
    [id_] = await claimed(store, ALICE)
    async with at_work(dispatcher(store, carrier, hold=hold)):
        async with asyncio.timeout(20):
            while not await store.unsettled.in_flight():
                await asyncio.sleep(0.01)
            hold.learn("1-0", NO_FUNDS, probe=False, waiting=False)
            carrier.prepared.set()
            while await store.unsettled.in_flight():
                await asyncio.sleep(0.01)
        assert carrier.submitted == []
        clock.advance(60)
        await until(lambda: carrier.submitted == [id_], "it probes")


async def test_a_probe_that_cannot_be_marked_is_followed_by_another(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dispatcher_module, "FAILED_PAUSE_S", 0.01)
    real, broken = store.queue.begin, 0

    async def begin(sends: Sequence[tuple[Entry, Attempt, str]]) -> list[Begun | Exception]:
        nonlocal broken
        broken += 1
        return await real(sends) if broken > 1 else [WrongType("WRONGTYPE")] * len(sends)

    monkeypatch.setattr(store.queue, "begin", begin)
    carrier = ScriptedProvider()
    _, second = await claimed(store, ALICE, BOB)
    async with at_work(dispatcher(store, carrier, hold=held(Clock()))):
        await until(lambda: carrier.submitted == [second], "the second probes")


async def test_a_term_does_not_wait_for_the_probe_of_its_predecessor(store: Store) -> None:
    hold, carrier = held(Clock()), ScriptedProvider()
    assert await hold.wait_until_permitted()  # and its term ended in the middle of it
    ids = await claimed(store, ALICE)
    async with at_work(dispatcher(store, carrier, hold=hold)):
        await until(lambda: carrier.submitted == ids, "it probes anew")


async def test_one_that_cannot_be_marked_does_not_keep_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await claimed(store, ALICE, BOB)
    real = store.queue.begin

    async def begin(sends: Sequence[tuple[Entry, Attempt, str]]) -> list[Begun | Exception]:
        answers = await real(sends)
        return [
            WrongType("WRONGTYPE") if entry.message_id == first else answer
            for (entry, _, _), answer in zip(sends, answers, strict=True)
        ]

    monkeypatch.setattr(store.queue, "begin", begin)
    carrier = ScriptedProvider()
    async with at_work(dispatcher(store, carrier)):
        await until(lambda: carrier.submitted == [second], "the second is sent")
        assert not store.prefetch.knows(f"n{first}")  # so recovery finds it


async def test_nothing_is_marked_any_more_while_it_drains(store: Store) -> None:
    carrier = ScriptedProvider()
    part = dispatcher(store, carrier)
    assert await part.drain(1)
    await claimed(store, ALICE)
    async with at_work(part):
        await asyncio.sleep(0.2)
    assert (carrier.submitted, await store.unsettled.in_flight()) == ([], {})
    assert len(store.prefetch) == 1


async def test_a_success_that_waits_to_be_settled_when_a_drain_ends_is_settled_all_the_same(
    wired: Store, proxy: Proxy, open_store: OpenStore
) -> None:
    may_answer = asyncio.Event()

    async def first_at_once(_: Message) -> Outcome:
        if len(carrier.submitted) > 1:
            await may_answer.wait()
        return Accepted("p")

    carrier = ScriptedProvider(first_at_once)
    work = dispatcher(wired, carrier, max_in_flight=3)
    proxy.lose_request(sha("finish"), times=1_000_000)  # as if Redis were away
    ids = await claimed(wired, ALICE, ALICE, ALICE)
    async with at_work(work):
        await until(lambda: len(carrier.submitted) == 3 and proxy.lost > 0, "one is being settled")
        may_answer.set()
        await until(lambda: len(wired.queue._settle_together._waiting) == 2, "two are in line")
        assert not await work.drain(0.0)
    recovered = asyncio.create_task(_next_term(wired, open_store).recover())
    await asyncio.wait([recovered], timeout=0.2)  # while Redis does not take what was sent
    proxy.lose_nothing()
    await soon(recovered)
    assert [await wired.state(id_) for id_ in ids] == ["sent"] * 3
    assert await wired.difference() == 0


async def long_text(store: Store, segments: int = 2) -> list[str]:
    """Claim one text of so many segments; its id."""
    ids = await store.append(ALICE, message="x" * 153 * segments)
    await store.claimer.admit(await store.queue.claim(10, 10))
    return ids


async def ended(store: Store, id_: str) -> object:
    """The state in which a text ends."""
    async with asyncio.timeout(SOON_S):
        while (state := await store.state(id_)) not in ("sent", "dead"):
            await asyncio.sleep(0.01)
    return state


class PerSegment(ScriptedProvider):
    """Writes each segment in a slot of its own, as SMPP does; `after` runs after each."""

    slot_per_segment: Literal[True] = True

    def __init__(self, after: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.after = after
        self.left: list[int] = []

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        for _ in range(message.content.segments.segments):
            async with slot:
                self.left.append(nanoseconds())
            self.after()
        return Accepted("p")


async def test_each_segment_of_a_provider_that_submits_them_has_its_own_slot(store: Store) -> None:
    carrier = PerSegment()
    assert isinstance(carrier, SubmitsSegments)
    await long_text(store, segments=6)
    async with at_work(dispatcher(store, carrier, rate=45)):
        await until(lambda: len(carrier.left) == 6, "all segments")

    assert carrier.left[-1] - carrier.left[0] >= 5 * SECOND // 45 - CREDIT


async def test_a_hold_between_the_segments_of_a_text_does_not_keep_the_rest(store: Store) -> None:
    hold = new_hold()
    carrier = PerSegment(lambda: hold.learn("1-0", NO_FUNDS, probe=False, waiting=False))
    [id_] = await long_text(store)
    async with at_work(dispatcher(store, carrier, hold=hold)):
        await until(lambda: len(carrier.left) == 2, "the rest, though dispatch is held")
        assert hold.engaged
        assert await ended(store, id_) == "sent"


async def test_a_lease_lost_between_the_segments_of_a_text_leaves_it_in_doubt(store: Store) -> None:
    leased = [True]
    carrier = PerSegment(leased.clear)
    [id_] = await long_text(store)
    async with at_work(dispatcher(store, carrier, may_send=lambda: bool(leased))):
        assert await ended(store, id_) == "dead"
    assert len(carrier.left) == 1


def _next_term(store: Store, open_store: OpenStore) -> Recovery:
    """Recovery as the same process begins its next term: over the same queue, knowing nothing."""
    policy = RetryPolicy(in_doubt="resend")
    return recovery(store, prefetch=open_store().prefetch, policy=policy)


async def test_what_was_not_sent_is_not_in_doubt_in_the_next_term(
    wired: Store, proxy: Proxy, open_store: OpenStore
) -> None:
    first, second = await wired.sending(), await wired.sending()
    proxy.lose_request(sha("finish"), times=1_000_000)
    settling = asyncio.create_task(_settle(wired, first))
    await until(lambda: proxy.lost > 0, "the line stands")
    releasing = asyncio.create_task(wired.queue.release(second[0].name, second[1]))
    await until(lambda: len(wired.queue._settle_together._waiting) == 1, "it is in line")
    for gone in (settling, releasing):
        gone.cancel()
    recovered = asyncio.create_task(_next_term(wired, open_store).recover())
    await asyncio.wait([recovered], timeout=0.2)
    proxy.lose_nothing()
    await soon(recovered)
    assert wired.prefetch.knows(second[0].name)  # and is sent
    assert await wired.state(first[2].id) == "sent"
    assert await wired.dead_letters.page("", 10) == []


async def _settle(store: Store, life: tuple[Entry, Attempt, Message]) -> None:
    assert await store.queue.ack(*life, "p")


async def test_a_full_high_lane_beside_an_empty_queue_is_no_reason_to_hurry(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.prefetch.set_rate(1)
    await store.append(*(f"+1202555{n:04d}" for n in range(60)), priority="high")
    claims = 0
    real = store.queue.claim

    async def claim(high_room: int, normal_room: int) -> Any:
        nonlocal claims
        claims += 1
        return await real(high_room, normal_room)

    monkeypatch.setattr(store.queue, "claim", claim)
    async with at_work(store.claimer):
        await asyncio.sleep(1)
    assert 2 <= claims <= 5
    assert len(store.prefetch) == 32


async def test_a_text_that_is_fenced_goes_back_and_it_is_told(
    store: Store, open_store: OpenStore
) -> None:
    carrier = ScriptedProvider()
    told: list[None] = []
    part = dispatcher(store, carrier, on_fenced=lambda: told.append(None))
    await open_store("b").lead()
    await store.redis.delete(store.keys.lease)
    [id_] = await claimed(store, ALICE)
    async with at_work(part):
        await until(lambda: bool(told), "it is told")
        assert carrier.submitted == []
        assert store.prefetch.knows(f"n{id_}")
        await store.lead()
        await until(lambda: not store.prefetch.knows(f"n{id_}"), "it is sent")
    assert carrier.submitted == [id_]
    assert store.context.metrics.settled == {"ack": 1}


@pytest.fixture
async def hasty(monkeypatch: pytest.MonkeyPatch) -> Hold:
    """A hold that probes at once."""
    monkeypatch.setattr(probes_module, "HALTED_S", (0.001, 0.001))
    monkeypatch.setattr(share_module, "FIRST", 1000.0)
    return new_hold()


def to_bob(answer: Outcome, *, otherwise: Outcome) -> Callable[[Message], Outcome]:
    return lambda message: answer if message.recipient == BOB else otherwise


async def deferred(store: Store, id_: str) -> None:
    """Wait until Redis has it so: the metric counts it a little earlier."""
    async with asyncio.timeout(SOON_S):
        while await store.state(id_) != "deferred":
            await asyncio.sleep(0.01)


async def settled(store: Store) -> None:
    """Wait until nothing is under way: Redis has all of it."""
    await until(lambda: store.context.metrics.in_flight == 0, "all is settled")


async def promoted(store: Store, seconds: float) -> None:
    """What was deferred for so long comes back."""
    store.wall.advance(seconds)
    await store.queue.promote()
    await store.claimer.admit(await store.queue.claim(10, 10))


async def test_one_text_cannot_hold_up_the_others_for_ever(store: Store, hasty: Hold) -> None:
    halted = Halted("21606", "not from here")  # as if it were the account's fault
    carrier = ScriptedProvider(to_bob(halted, otherwise=Accepted("p")))
    bad, *good = await claimed(store, BOB, *[ALICE] * 3)
    part = dispatcher(store, carrier, hold=hasty, max_in_flight=1)
    async with at_work(part):
        await until(lambda: len(carrier.submitted) == 4, "all have had their turn")
        await promoted(store, REST_PROBES)
        await until(lambda: store.context.metrics.settled["bury"] == 1, "and the bad one its end")
    assert carrier.submitted == [bad, *good, bad]
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert (letter["id"], letter["reason"], letter["code"]) == (bad, "rejected", "21606")
    assert await store.difference() == 0


async def test_bad_numbers_among_the_probes_do_not_prove_that_an_account_has_funds(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes_module, "HALTED_S", (0.01, 0.01))
    carrier = ScriptedProvider(to_bob(Rejected("21211", "no number"), otherwise=NO_FUNDS))
    hold = new_hold()
    ids = await claimed(store, ALICE, BOB, ALICE, BOB, ALICE)
    async with at_work(dispatcher(store, carrier, hold=hold, max_in_flight=1)):
        for turn in range(1, 4):
            await until(lambda: len(carrier.submitted) == 3 * turn + 2, "each has had its turn")  # noqa: B023
            await settled(store)
            await promoted(store, 30)
        assert hold.engaged
    letters = [letter["id"] for _, letter in await store.dead_letters.page("", 10)]
    assert letters == [ids[1], ids[3]]


async def test_one_that_is_throttled_alone_does_not_stop_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    carrier = ScriptedProvider(to_bob(Throttled(0.0), otherwise=Accepted("p")))
    pauses: list[float] = []
    monkeypatch.setattr(Pace, "pause", lambda _, seconds: pauses.append(seconds))
    part = dispatcher(store, carrier, max_in_flight=1)
    slow, _ = await claimed(store, BOB, ALICE)
    async with at_work(part):
        for times in range(1, 4):
            await until(lambda: len(carrier.submitted) == 2 * times, "both have had their turn")  # noqa: B023
            await settled(store)
            store.wall.ms += 3_600_000
            await store.queue.promote()
            await claimed(store, ALICE)
    assert carrier.submitted.count(slow) == 3
    assert pauses == [0.0]


async def test_one_that_brings_no_answer_cannot_hold_up_the_others_either(
    store: Store, hasty: Hold
) -> None:
    down = Unavailable("no connection")
    carrier = ScriptedProvider(to_bob(down, otherwise=Accepted("p")))
    bad, good = await claimed(store, BOB, ALICE)
    for _ in range(5):
        hasty.learn("1-0", down, probe=False, waiting=False)
    async with at_work(dispatcher(store, carrier, hold=hasty)):
        await until(lambda: good in carrier.submitted, "the good one has its turn")
    assert carrier.submitted[:2] == [bad, good]


DOWN = Unavailable("HTTP 503")  # it may have taken the message all the same


async def test_each_probe_is_another_message_and_none_is_written_more_often_than_may_be(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(share_module, "FIRST", 1000.0)
    carrier, policy, hold = ScriptedProvider(DOWN), RetryPolicy(max_attempts=3), new_hold()
    ids = await claimed(store, *[ALICE] * 8)
    async with at_work(dispatcher(store, carrier, hold=hold, policy=policy)):
        await until(lambda: len(carrier.submitted) == 8, "each is written once")
        assert sorted(carrier.submitted) == sorted(ids)
        async with asyncio.timeout(SOON_S):
            while Counter(carrier.submitted) != dict.fromkeys(ids, 2):
                await promoted(store, 1000)
                await asyncio.sleep(0.05)
        for _ in range(5):
            await promoted(store, 1000)
            await asyncio.sleep(0.05)
        assert Counter(carrier.submitted) == dict.fromkeys(ids, 2)  # the last is for afterwards
        assert hold.engaged
        assert await store.dead_letters.page("", 10) == []

        carrier.answer = Accepted("p")
        [new] = await claimed(store, BOB)
        await until(lambda: carrier.submitted[-1] == new, "a new one probes")
        await settled(store)
        await promoted(store, 1000)
        await until(lambda: len(carrier.submitted) == 8 * 3 + 1, "and all are sent")
    assert Counter(carrier.submitted) == dict.fromkeys(ids, 3) | {new: 1}
    assert [await store.state(id_) for id_ in ids] == ["sent"] * 8
    assert await store.difference() == 0


async def test_what_has_no_attempt_left_waits_for_the_end_of_a_hold_and_is_in_doubt_then(
    store: Store,
) -> None:
    carrier, policy, clock = ScriptedProvider(DOWN), RetryPolicy(max_attempts=1), Clock()
    hold = new_hold(clock)
    hold.learn("1-0", Accepted(), probe=False, waiting=False)
    for _ in range(5):
        hold.learn("1-0", Unavailable("HTTP 503"), probe=False, waiting=False)
    clock.advance(60)
    [id_] = await claimed(store, ALICE)
    part = dispatcher(store, carrier, hold=hold, policy=policy)
    async with at_work(part):
        for times in range(1, 4):
            await until(lambda: store.context.metrics.settled["defer"] == times, "it waits")  # noqa: B023
            await deferred(store, id_)
            await promoted(store, 1000)
        hold.learn("1-0", Accepted(), probe=False, waiting=False)
        await promoted(store, 1000)
        assert await ended(store, id_) == "dead"
    assert carrier.submitted == [id_]
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert (letter["reason"], letter["attempts"]) == ("in_doubt", "1")
    assert await store.queue.replay((await store.dead_letters.page("", 1))[0][0], id_)
    [(entry, message)] = [await store.claim_one()]
    assert message.attempts == 0  # it begins anew
    assert await store.queue.suppress(entry, message)
    assert await store.difference() == 0


async def test_a_connection_that_fails_spends_no_attempt(store: Store) -> None:
    carrier = ScriptedProvider(Unavailable("no connection", written=False))
    policy, hold = RetryPolicy(max_attempts=2), new_hold()
    hold.learn("1-0", Accepted(), probe=False, waiting=False)
    [id_] = await claimed(store, ALICE)
    async with at_work(dispatcher(store, carrier, hold=hold, policy=policy)):
        for times in range(1, 7):
            await promoted(store, 10)
            await until(lambda: len(carrier.submitted) == times, "it is tried again")  # noqa: B023
            await settled(store)
    assert carrier.submitted == [id_] * 6
    told = await store.lookup.message(id_)
    assert told is not None
    assert told.get("attempts", 0) == 0


async def test_a_place_in_flight_that_becomes_free_is_used(store: Store) -> None:
    answers = asyncio.Semaphore(0)

    async def slow(_: Message) -> Outcome:
        await answers.acquire()
        return Accepted("p")

    carrier = ScriptedProvider(slow)
    part = dispatcher(store, carrier, max_in_flight=2)
    await claimed(store, *[ALICE] * 4)
    async with at_work(part):
        await until(lambda: len(carrier.submitted) == 2, "all places are taken")
        await asyncio.sleep(0.1)
        assert (len(carrier.submitted), store.context.metrics.in_flight) == (2, 2)
        answers.release()
        await until(lambda: len(carrier.submitted) == 3, "one became free")
        answers.release()
        await until(lambda: len(carrier.submitted) == 4, "and another")
        for _ in range(2):
            answers.release()
        await until(lambda: store.context.metrics.in_flight == 0, "all are over")


async def test_what_redis_refuses_to_settle_holds_no_place(store: Store) -> None:
    refused = Rejected("21211", "no number")
    carrier = ScriptedProvider(lambda _: refused if len(carrier.submitted) <= 2 else Accepted("p"))
    await store.redis.set(store.keys.dead, "a string, by other hands")
    await claimed(store, *[ALICE] * 6)
    part = dispatcher(store, carrier, max_in_flight=2)
    async with at_work(part):
        await until(lambda: len(carrier.submitted) == 6, "the others go on")
        await until(lambda: store.context.metrics.in_flight == 0, "their places are free")
        assert len(await store.unsettled.in_flight()) == 2
        await store.redis.delete(store.keys.dead)
        async with asyncio.timeout(20):
            while await store.unsettled.in_flight():  # it is mended
                await asyncio.sleep(0.01)
    assert await store.redis.xlen(store.keys.dead) == 2


async def test_a_probe_that_is_fenced_or_withdrawn_is_followed_by_another(
    store: Store, open_store: OpenStore
) -> None:
    carrier, hold, told = ScriptedProvider(), held(Clock()), list[None]()
    may_send = False
    part = dispatcher(
        store,
        carrier,
        hold=hold,
        on_fenced=lambda: told.append(None),
        may_send=lambda: may_send or len(told) != 2,
    )
    await open_store("b").lead()
    await store.redis.delete(store.keys.lease)
    await claimed(store, ALICE)
    async with at_work(part):
        await until(lambda: len(told) >= 2, "a probe is fenced, and another")
        assert carrier.submitted == []
        await store.lead()
        await asyncio.sleep(0.1)  # none may leave: it is withdrawn before it is marked
        may_send = True
        await until(lambda: len(carrier.submitted) == 1, "it is sent")
    assert not hold.engaged
