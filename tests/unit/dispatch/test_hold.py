"""When not to send. Rule: the clock is moved by hand; a probe is asked for, never waited for."""

import asyncio

import pytest

from smsd.core.outcome import (
    MAKES_ROOM,
    Accepted,
    Bury,
    Defer,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    RetryPolicy,
    Throttled,
    Unavailable,
)
from smsd.core.pacer import SECOND
from smsd.core.share import SILENT
from smsd.dispatch.halts import EXCUSED_S, REMEMBERED
from smsd.dispatch.hold import (
    ANSWERS,
    NO_ANSWERS,
    UNKNOWN_REFUSALS,
    UNPROVEN_S,
    Hold,
)
from smsd.dispatch.probes import HALTED_S, LONGEST_REST_S, REST_PROBES

DOWN = Unavailable("no connection")
DOUBT = InDoubt("no answer")
NO_FUNDS = Halted("no_funds", "the balance is used up")
STRANGE = Rejected("4711", "who knows", known=False)
REFUSED = Rejected("invalid", "not a number", "recipient")
FORBIDDEN = Halted("403", "HTTP 403", known=False)
RATE = 45.0


class Bench:
    """A hold, its clock, and what it told."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND
        self.told: list[str] = []
        self.stops = False
        self.hold = Hold(rate=RATE, clock=lambda: self.now, changed=self.told.append)

    def saw(
        self,
        *outcomes: Outcome,
        probe: bool = False,
        message_id: str = "1-0",
        waiting: bool = False,
    ) -> "Bench":
        for outcome in outcomes:
            self.stops = self.hold.learn(message_id, outcome, probe=probe, waiting=waiting)
        return self

    def at_fault(self, message_id: str, outcome: Outcome = NO_FUNDS) -> bool:
        """Whether what would hold dispatch is said to be this message's own fault."""
        return self.hold.find_fault(message_id, outcome, own_sender=False) != outcome

    def after(self, seconds: float) -> "Bench":
        self.now += round(seconds * SECOND)
        return self

    def passes_now(self) -> bool:
        return (self.hold._probes.due_in_s() or 0) <= 0

    async def passes(self) -> str:
        """What a message would be let through as, at this instant."""
        passage = asyncio.create_task(self.hold.wait_until_permitted())
        await asyncio.sleep(0)
        if not passage.done():
            passage.cancel()
            return "nothing"
        return "a probe" if await passage else "anything"

    async def probe(
        self, outcome: Outcome, message_id: str = "1-0", *, waiting: bool = False
    ) -> "Bench":
        assert await self.passes() == "a probe"
        return self.saw(outcome, probe=True, message_id=message_id, waiting=waiting)

    async def interval(self) -> float:
        """Seconds until the next probe, to a tenth."""
        for tenths in range(100_000):
            if await self.passes() == "a probe":
                self.hold.probe_not_sent()
                return tenths / 10
            self.after(0.1)
        raise AssertionError("there is never a probe")


async def test_as_long_as_nothing_happens_anything_passes() -> None:
    bench = Bench()

    assert not bench.hold.engaged
    assert [await bench.passes() for _ in range(3)] == ["anything"] * 3


@pytest.mark.parametrize("outcome", [DOWN, DOUBT])
async def test_five_submissions_without_an_answer_hold(outcome: Outcome) -> None:
    bench = Bench().saw(*[outcome] * (NO_ANSWERS - 1))
    assert await bench.passes() == "anything"
    assert not bench.told

    bench.saw(outcome)
    assert await bench.passes() == "nothing"
    assert bench.hold.engaged
    assert bench.told == [bench.hold.reason] == [f"provider down: {outcome.reason}"]  # type: ignore[union-attr]


async def test_no_connection_and_no_answer_count_together() -> None:
    assert Bench().saw(DOWN, DOUBT, DOWN, DOUBT, DOWN).hold.engaged


@pytest.mark.parametrize("answer", [Accepted(), Throttled(), REFUSED, STRANGE])
async def test_any_answer_between_begins_the_count_anew(answer: Outcome) -> None:
    bench = Bench().saw(*[DOWN] * 4, answer, *[DOWN] * 4)
    assert not bench.hold.engaged

    assert bench.saw(DOWN).hold.engaged


async def test_a_halt_holds_at_once() -> None:
    bench = Bench().saw(NO_FUNDS)
    assert bench.hold.share == 0

    assert await bench.passes() == "nothing"
    assert bench.told == ["halted: no_funds the balance is used up"]


async def test_twenty_unknown_refusals_hold() -> None:
    bench = Bench().saw(*[STRANGE] * (UNKNOWN_REFUSALS - 1))
    assert not bench.hold.engaged

    bench.saw(STRANGE)
    assert bench.told == ["many unknown refusals: who knows"]
    assert await bench.interval() == HALTED_S[0]


@pytest.mark.parametrize("answer", [Accepted(), Throttled(), REFUSED])
async def test_an_answer_that_is_understood_begins_the_count_of_refusals_anew(
    answer: Outcome,
) -> None:
    assert not Bench().saw(*[STRANGE] * 19, answer, *[STRANGE] * 19).hold.engaged


async def test_known_refusals_never_hold() -> None:
    assert not Bench().saw(*[REFUSED] * 1_000).hold.engaged


async def test_probes_come_once_a_second_at_first_and_then_at_a_growing_interval() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    intervals = []
    for _ in range(SILENT + 9):
        intervals.append(await bench.interval())
        await bench.probe(DOWN)

    assert intervals == [*[1] * (SILENT + 1), 2, 4, 8, 16, 32, 60, 60, 60]


async def test_probes_that_may_cost_a_message_come_at_a_growing_interval_from_the_first() -> None:
    bench = Bench().saw(*[DOUBT] * 5)
    intervals = []
    for _ in range(8):
        intervals.append(await bench.interval())
        await bench.probe(DOUBT)

    assert intervals == [1, 2, 4, 8, 16, 32, 60, 60]


async def test_an_account_is_probed_first_after_a_second_and_then_more_slowly() -> None:
    bench = Bench().saw(NO_FUNDS)
    intervals = []
    for _ in range(11):
        intervals.append(await bench.interval())
        await bench.probe(NO_FUNDS)

    assert intervals == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600]
    assert (intervals[0], intervals[-1]) == HALTED_S


async def test_one_probe_is_under_way_at_a_time() -> None:
    bench = Bench().saw(NO_FUNDS).after(15)

    assert await bench.passes() == "a probe"
    assert await bench.after(3_600).passes() == "nothing"


@pytest.mark.parametrize(
    ("why", "answer"),
    [
        (NO_FUNDS, Accepted("SM1")),
        *((DOWN, answer) for answer in (Accepted("SM1"), Throttled(), REFUSED, STRANGE)),
    ],
)
async def test_one_probe_that_shows_the_contrary_opens_it(why: Outcome, answer: Outcome) -> None:
    bench = Bench().saw(*[why] * 5).after(15)
    await bench.probe(answer)

    assert await bench.passes() == "anything"
    assert not bench.hold.engaged
    assert bench.told[-1] == ""


async def test_after_it_opened_everything_begins_anew() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    for _ in range(4):
        await bench.interval()
        await bench.probe(DOWN)
    await bench.interval()
    await bench.probe(Accepted())

    assert not bench.saw(*[DOWN] * 4).hold.engaged
    assert bench.saw(DOWN).hold.engaged
    assert await bench.interval() == 1


async def test_a_straggler_that_was_taken_shows_that_the_provider_is_up() -> None:
    bench = Bench().saw(*[DOWN] * 5).saw(Accepted())

    assert await bench.passes() == "anything"


@pytest.mark.parametrize("answer", [Accepted("SM1"), Throttled(), REFUSED])
@pytest.mark.parametrize("why", [[NO_FUNDS], [STRANGE] * UNKNOWN_REFUSALS])
async def test_a_straggler_that_was_taken_shows_nothing_of_the_account(
    why: list[Outcome], answer: Outcome
) -> None:
    bench = Bench().saw(*why).saw(answer)
    assert await bench.passes() == "nothing"

    await bench.after(HALTED_S[0]).probe(Accepted("SM1"))
    assert await bench.passes() == "anything"


@pytest.mark.parametrize("answer", [Throttled(), REFUSED])
@pytest.mark.parametrize("why", [[NO_FUNDS], [STRANGE] * UNKNOWN_REFUSALS])
async def test_a_probe_that_tells_nothing_of_the_account_is_followed_by_another_at_once(
    why: list[Outcome], answer: Outcome
) -> None:
    bench = await Bench().saw(*why).after(HALTED_S[0]).probe(answer)

    assert bench.hold.engaged
    assert await bench.passes() == "a probe"


async def test_refusals_that_end_an_outage_count() -> None:
    bench = Bench().saw(*[STRANGE] * (UNKNOWN_REFUSALS - 1), *[DOWN] * NO_ANSWERS).after(1)
    await bench.probe(STRANGE)

    assert bench.told[-1] == "many unknown refusals: who knows"
    assert bench.told[-2] == ""


@pytest.mark.parametrize("probe", [DOWN, InDoubt("reset"), STRANGE])
@pytest.mark.parametrize("answer", [Accepted("SM1"), Throttled(), REFUSED])
async def test_a_probe_that_tells_nothing_of_the_account_leaves_the_hold_what_it_was(
    probe: Outcome, answer: Outcome
) -> None:
    bench = await Bench().saw(NO_FUNDS).after(HALTED_S[0]).probe(probe)
    bench.saw(answer)

    assert bench.hold.reason == "halted: no_funds the balance is used up"
    assert await bench.passes() == "nothing"


async def test_an_account_without_funds_stays_the_reason_through_an_outage() -> None:
    bench = Bench().saw(NO_FUNDS)
    for seconds in (1, 2, 4, 8, 16, 32):
        await bench.after(seconds).probe(DOWN)

    assert bench.told == ["halted: no_funds the balance is used up"]
    await bench.after(600).probe(Accepted("SM1"))
    assert await bench.passes() == "anything"


async def test_an_outage_that_turns_out_to_be_the_account_is_opened_by_a_taken_probe_only() -> None:
    bench = await Bench().saw(*[DOWN] * 5).after(1).probe(NO_FUNDS)
    bench.saw(Accepted())

    assert bench.told[-1] == "halted: no_funds the balance is used up"
    assert await bench.passes() == "nothing"


async def test_it_tells_which_message_it_stands_for() -> None:
    bench = Bench().saw(*[DOWN] * 4)
    assert not bench.stops
    assert bench.saw(DOWN).stops
    assert not bench.saw(DOWN).stops  # a straggler
    assert (await bench.after(1).probe(DOWN)).stops
    assert not (await bench.after(2).probe(Accepted())).stops


async def test_who_stopped_everything_stands_alone_once_others_were_taken() -> None:
    bench = Bench().saw(NO_FUNDS, message_id="bad")
    assert not bench.at_fault("bad")

    bench.saw(Accepted(), message_id="straggler")
    await bench.after(15).probe(NO_FUNDS, "another")
    assert not bench.at_fault("bad")

    await bench.after(30).probe(Accepted(), "good")
    assert bench.at_fault("bad")
    assert bench.at_fault("another")
    assert not bench.at_fault("good")


async def test_who_stops_everything_again_does_not_stand_alone_before_others_are_taken() -> None:
    bench = await Bench().saw(NO_FUNDS, message_id="bad").after(15).probe(Accepted(), "good")
    bench.saw(NO_FUNDS, message_id="good")

    assert not bench.at_fault("good")


@pytest.mark.parametrize("answer", [Accepted("SM1"), Throttled(), REFUSED])
async def test_one_is_at_fault_at_most_until_another_was_taken(answer: Outcome) -> None:
    """The account may have run out of funds once more, and all would be refused for it."""
    bench = Bench().saw(NO_FUNDS, message_id="a").after(15)
    bench = await (await bench.probe(NO_FUNDS, "b")).after(30).probe(answer, "c")
    if not isinstance(answer, Accepted):
        assert not bench.at_fault("a")
        await bench.probe(Accepted(), "d")
    assert bench.at_fault("a")
    assert bench.at_fault("b")

    bench.saw(Rejected("no_funds", "its own fault"), message_id="a")
    assert not bench.at_fault("b")

    bench.saw(Accepted(), message_id="e")
    assert bench.at_fault("b")


async def test_nobody_stands_alone_while_dispatch_is_held_for_another() -> None:
    bench = await Bench().saw(NO_FUNDS, message_id="a").after(15).probe(Accepted(), "b")
    assert bench.at_fault("a")

    bench.saw(NO_FUNDS, message_id="c")
    assert not bench.at_fault("a")


async def test_stragglers_and_messages_in_an_outage_are_not_remembered() -> None:
    bench = Bench().saw(*[DOWN] * 5, message_id="last of five")
    bench = await bench.after(1).probe(Accepted(), "good")
    assert not bench.at_fault("last of five")

    bench.saw(NO_FUNDS, message_id="bad").saw(NO_FUNDS, message_id="straggler")
    bench = await bench.after(15).probe(Accepted(), "good")
    assert not bench.at_fault("straggler")


async def test_only_the_latest_that_stopped_everything_are_remembered() -> None:
    bench = Bench()
    for number in range(REMEMBERED + 1):
        bench.saw(NO_FUNDS, message_id=f"{number}-0")
        await bench.after(15).probe(Accepted(), "good")

    assert not bench.at_fault("0-0")
    assert bench.at_fault("1-0")


async def test_stragglers_do_not_stretch_the_interval() -> None:
    bench = Bench().saw(NO_FUNDS).after(0.5).saw(*[NO_FUNDS] * 50).saw(*[DOWN] * 50)

    assert await bench.interval() == 0.5
    assert bench.told == ["halted: no_funds the balance is used up"]


async def test_stragglers_leave_the_probe_under_way_alone() -> None:
    bench = Bench().saw(NO_FUNDS).after(15)
    assert await bench.passes() == "a probe"
    bench.saw(*[NO_FUNDS] * 5)

    assert await bench.after(600).passes() == "nothing"


async def test_when_a_probe_was_not_sent_the_next_message_is_one() -> None:
    bench = Bench().saw(NO_FUNDS).after(15)
    assert await bench.passes() == "a probe"
    bench.hold.probe_not_sent()

    assert await bench.passes() == "a probe"


async def test_the_reason_follows_the_probes() -> None:
    bench = Bench().saw(*[DOWN] * 5).after(1)
    await bench.probe(NO_FUNDS)

    assert bench.hold.reason == "halted: no_funds the balance is used up"
    assert bench.told[-1] == bench.hold.reason


async def test_a_message_that_waits_passes_once_the_hold_opens() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    waiting = asyncio.create_task(bench.hold.wait_until_permitted())
    await asyncio.sleep(0)
    bench.saw(Accepted())

    async with asyncio.timeout(30):
        assert await waiting == 0


@pytest.mark.parametrize(
    "outcome",
    [
        pytest.param(DOWN, id="no connection"),
        pytest.param(DOUBT, id="no answer"),
        pytest.param(STRANGE, id="an unknown refusal"),
    ],
)
async def test_a_probe_that_fails_otherwise_than_what_holds_is_followed_by_a_wait(
    outcome: Outcome,
) -> None:
    bench = Bench().saw(NO_FUNDS).after(15)
    await bench.probe(outcome)

    assert await bench.passes() == "nothing"


# -- a provider that takes a part ----------------------------------------------------------------


async def test_answers_enlarge_the_share_until_it_is_whole_and_most_are_answered() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    intervals = []
    for _ in range(ANSWERS - 1):
        intervals.append(bench.hold._probes.share.interval_s)
        bench.after(1).saw(Accepted(), probe=True, waiting=True)
        assert bench.hold.engaged
    assert intervals[0] == 1
    assert bench.hold.share == 1
    assert intervals[8] == intervals[-1] == 1 / RATE
    bench.saw(Accepted(), probe=True, waiting=True)
    assert not bench.hold.engaged


async def test_one_failure_among_them_keeps_it_held_at_nearly_the_whole_rate() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    outcomes: list[Outcome] = [*[Accepted()] * 15, DOWN, *[Accepted()] * 15]
    for outcome in outcomes:
        bench.saw(outcome, probe=True, waiting=True)
    assert bench.hold.engaged
    assert bench.hold._probes.share.whole


async def test_an_answer_ends_it_when_nothing_waits_any_more() -> None:
    bench = Bench().saw(*[DOWN] * 5).saw(Accepted(), probe=True, waiting=False)
    assert not bench.hold.engaged


async def test_probes_of_a_share_do_not_wait_for_each_other() -> None:
    bench = Bench().saw(*[DOWN] * 5)
    for _ in range(4):
        bench.saw(Accepted(), probe=True, waiting=True)
    granted = 0
    for _ in range(1000):
        bench.after(0.01)
        granted += await bench.hold.wait_until_permitted() if bench.passes_now() else 0
    assert 0.98 * bench.hold._probes.share.per_second * 10 <= granted
    assert granted <= 1.02 * bench.hold._probes.share.per_second * 10


async def test_what_failed_as_a_probe_rests_for_as_long_as_many_others_take() -> None:
    bench = Bench().saw(Accepted())
    assert bench.hold.rest_s(caused_hold=True) is None
    bench.saw(*[DOWN] * 5)
    assert bench.hold.rest_s(caused_hold=True) == REST_PROBES
    assert bench.hold.rest_s(caused_hold=False) == 0
    for _ in range(5):
        await bench.after(60).probe(DOUBT)
    assert bench.hold.rest_s(caused_hold=True) == LONGEST_REST_S


async def test_before_the_first_answer_nobody_knows_whether_the_provider_is_up() -> None:
    bench = Bench()
    assert bench.hold.rest_s(caused_hold=True) == LONGEST_REST_S
    assert bench.hold.rest_s(caused_hold=False) == 0
    assert await bench.passes() == "anything"
    assert bench.saw(REFUSED).hold.rest_s(caused_hold=True) is None


async def test_where_nothing_shows_for_minutes_that_dispatch_was_held_it_was_not() -> None:
    """Else a message without an attempt left would wait for ever, and nobody would see why."""
    bench = Bench().after(LONGEST_REST_S)
    assert bench.hold.rest_s(caused_hold=True) is None
    assert isinstance(bench.hold.decide_before_attempt(3, RetryPolicy(max_attempts=3), 0), Bury)


async def test_a_last_attempt_is_kept_as_long_as_others_probe() -> None:
    policy = RetryPolicy(max_attempts=3)
    bench = Bench().saw(NO_FUNDS).after(LONGEST_REST_S - 1)
    assert bench.hold.decide_before_attempt(2, policy, 0) == Defer(64_000, MAKES_ROOM, spent=True)
    assert bench.hold.decide_before_attempt(1, policy, 0) is None
    assert bench.after(1).hold.decide_before_attempt(2, policy, 0) is None
    bench.saw(NO_FUNDS, probe=True)
    assert bench.hold.decide_before_attempt(2, policy, 0) == Defer(128_000, MAKES_ROOM, spent=True)


# -- a status that names nobody as at fault ------------------------------------------------------


async def test_a_status_alone_is_the_accounts_fault_until_another_message_is_taken() -> None:
    bench = Bench().saw(FORBIDDEN, message_id="bad")
    assert bench.hold.engaged
    assert not bench.at_fault("another", FORBIDDEN)
    await bench.after(1).probe(Accepted(), "good")

    excused = bench.hold.find_fault("another", FORBIDDEN, own_sender=False)
    assert excused == Rejected("403", "HTTP 403", known=False)
    assert bench.at_fault("bad", FORBIDDEN)
    assert not bench.at_fault("another", Halted("401", "HTTP 401", known=False))
    assert not bench.at_fault("another", Halted("403", "suspended"))

    bench.after(EXCUSED_S + 1)
    assert not bench.at_fault("another", FORBIDDEN)


async def test_a_status_is_no_excuse_once_so_many_in_a_row_were_refused_with_it() -> None:
    bench = await Bench().saw(FORBIDDEN, message_id="bad").after(1).probe(Accepted(), "good")
    unknown = Rejected("403", "HTTP 403", known=False)
    bench.saw(*[unknown] * UNKNOWN_REFUSALS)
    assert bench.hold.reason == "many unknown refusals: HTTP 403"
    assert not bench.at_fault("another", FORBIDDEN)
    await bench.after(1).probe(FORBIDDEN, "another")
    assert bench.hold.reason == "halted: 403 HTTP 403"
    await bench.after(2).probe(Accepted(), "good")
    assert bench.at_fault("another", FORBIDDEN)


# -- nothing to probe with -----------------------------------------------------------------------


async def test_a_hold_is_unproven_when_nothing_has_waited_for_long() -> None:
    bench = Bench().saw(NO_FUNDS)
    since = bench.now
    unproven = []
    for seconds in (UNPROVEN_S - 1, 1):
        bench.after(seconds).hold.set_idle_since(since)
        unproven.append(bench.hold.unproven)
    assert unproven == [False, True]
    assert bench.told[-1].endswith("(unproven: nothing waits to probe with)")
    assert await bench.passes() == "a probe"  # the next message shows whether it is true

    bench.hold.set_idle_since(None)
    assert not bench.hold.unproven
    assert bench.told[-1] == bench.hold.reason == "halted: no_funds the balance is used up"


async def test_while_it_is_not_held_it_does_not_matter_that_nothing_waits() -> None:
    bench = Bench()
    bench.after(UNPROVEN_S).hold.set_idle_since(0)
    assert not bench.told
    bench.saw(NO_FUNDS).hold.set_idle_since(bench.now)
    assert not bench.hold.unproven
