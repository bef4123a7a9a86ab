"""Whether dispatch lives. Rule: only what could move and does not is dead."""

import asyncio
from typing import Any

import pytest

from smsd.core.message import Limits, Message, parse
from smsd.core.outcome import Halted, RetryPolicy
from smsd.core.pacer import SECOND, Pacer
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.context import Context
from smsd.dispatch.dispatcher import Dispatcher, Parts
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.in_flight import InFlight
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.dispatch.settler import Settler
from smsd.dispatch.term import Term
from smsd.metrics import Metrics
from smsd.store.entry import Entry
from tests.support.provider import ScriptedProvider

HOUR = 3600 * SECOND
NONE: Any = None  # for what is never asked here


class Life:
    """A term over a clock that is moved by hand; nothing of it runs by itself."""

    def __init__(self, rate: float = 45.0) -> None:
        self.now = 1_000 * SECOND
        self.prefetch = Prefetch(rate)
        self.hold = Hold(rate=1000, clock=self._clock, changed=lambda _: None)
        metrics = Metrics()
        self.pace = Pace(
            pacer := Pacer(rate, ceiling="segment"), clock=self._clock, metrics=metrics
        )
        context = Context(
            queue=NONE,
            limits=Limits(),
            policy=RetryPolicy(),
            metrics=metrics,
            owner="a",
            clock=self._clock,
            now_ms=lambda: 0,
            chance=lambda: 0.5,
            may_send=lambda: True,
            on_fenced=NONE,
        )
        self.in_flight = InFlight(2, clock=self._clock, rate=lambda: pacer.rate)
        self.claimer = Claimer(context, NONE, self.prefetch)
        settler = Settler(context, InDoubtAsker(ScriptedProvider()), self.hold, self.pace)
        parts = Parts(NONE, self.prefetch, self.pace, self.hold, self.in_flight, settler)
        self.dispatcher = Dispatcher(context, parts)
        self.term = Term(
            self.prefetch,
            self.pace,
            self.claimer,
            NONE,
            self.dispatcher,
            NONE,
            NONE,
            NONE,
            self.hold,
        )
        self.term.recovered = True

    def _clock(self) -> int:
        return self.now

    def wait(self, name: str = "n1-1") -> None:
        """A text is claimed."""
        message = Message("m", "+12025550101", parse({"message": "Hi"}, Limits(), 0), 0)
        self.prefetch.put(Claimed(Entry(name, (), 0), message))

    def unwell_for(self, after: int = 0) -> int:
        """For how long it has not been seen to live, after a time in which it claimed."""
        self.now += after
        self.claimer.alive_at = self.now
        return self.now - self.term.last_alive_at(self.now)


@pytest.fixture
def life() -> Life:
    return Life()


def test_a_text_that_waits_and_is_not_taken_is_a_sign_of_death(life: Life) -> None:
    life.wait()
    assert life.unwell_for(HOUR) == HOUR


def test_with_nothing_to_send_nothing_has_to_move(life: Life) -> None:
    assert life.unwell_for(HOUR) == 0


def test_whoever_does_not_claim_is_dead_though_nothing_waits(life: Life) -> None:
    life.now += HOUR
    assert life.now - life.term.last_alive_at(life.now) == HOUR


def test_while_it_recovers_nothing_has_to_move(life: Life) -> None:
    life.term.recovered = False
    life.wait()
    life.now += HOUR
    assert life.term.last_alive_at(life.now) == life.now


async def test_taking_one_and_ending_one_are_signs_of_life(life: Life) -> None:
    for name in ("n1-1", "n1-2", "n1-3"):
        life.wait(name)
    life.now += HOUR
    [one] = await life.dispatcher._take_due(most=1, probe=False)
    assert life.unwell_for(1 * SECOND) == 1 * SECOND
    life.dispatcher._end(one, None)
    assert life.unwell_for(2 * SECOND) == 2 * SECOND


def test_a_hold_is_no_death(life: Life) -> None:
    life.wait()
    life.hold.learn("1-0", Halted("30002", "account suspended"), probe=False, waiting=False)
    assert life.unwell_for(HOUR) == 0


def test_a_pause_that_the_provider_asked_for_is_no_death(life: Life) -> None:
    life.wait()
    life.pace.pause(7200)
    assert life.unwell_for(HOUR) == 0
    assert life.unwell_for(HOUR + 1) == 2 * HOUR + 1


def test_a_slow_rate_is_no_death() -> None:
    life = Life(rate=0.001)
    life.wait()
    life.pace.pacer.depart(2, life.now)  # one is the credit of the idle
    assert life.unwell_for(999 * SECOND) == 0
    assert life.unwell_for(2 * SECOND) == 1001 * SECOND


def test_a_mark_that_redis_does_not_take_is_no_death(life: Life) -> None:
    class Marking:
        def done(self) -> bool:
            return False

    life.wait()
    marking: Any = Marking()
    life.dispatcher._marking = marking
    assert life.unwell_for(HOUR) == 0


def test_whoever_waits_for_its_departure_though_it_may_leave_is_stuck(life: Life) -> None:
    life.pace.waiting = 1
    assert life.unwell_for(HOUR) == HOUR


@pytest.mark.parametrize("waits", [False, True])
async def test_a_hold_learns_for_how_long_nothing_has_waited(
    life: Life, monkeypatch: pytest.MonkeyPatch, *, waits: bool
) -> None:
    async def nothing(*_: object) -> bool:
        await asyncio.sleep(0.1)
        return True

    monkeypatch.setattr(Term, "_work", nothing)
    monkeypatch.setattr(Dispatcher, "drain", nothing)
    halted = Halted("30002", "account suspended")
    life.hold.learn("1-0", halted, probe=False, waiting=False)
    if waits:
        life.wait()
    life.now += HOUR
    await life.term.run(lambda: True, drain_s=0)
    assert life.hold.unproven == (not waits)
