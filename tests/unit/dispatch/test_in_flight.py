"""Places in flight. Rule: as many as configured; that they are too few is logged, and seldom."""

import asyncio

import pytest

from smsd.core.pacer import SECOND
from smsd.dispatch.in_flight import EVERY, InFlight, Permit


class Clock:
    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        return self.now


class Dispatch:
    """Takes places at a rate, and gives each back after the time of an answer."""

    def __init__(self, most: int, rate: float, answer_s: float) -> None:
        self.clock = Clock()
        self.in_flight = InFlight(most, clock=self.clock, rate=lambda: rate)
        self.rate, self.answer = rate, round(answer_s * SECOND)
        self.held: list[tuple[int, Permit]] = []
        self.due = 0
        self.sent = 0

    async def go_on(self, seconds: float) -> None:
        end = self.clock.now + round(seconds * SECOND)
        while self.clock.now < end:
            waiting = asyncio.create_task(self.in_flight.wait(work=True))
            while not waiting.done():
                await asyncio.sleep(0)
                if not self.in_flight.free:
                    self.clock.now = max(self.clock.now, self.held[0][0])
                    self.held.pop(0)[1].release()
            self.clock.now = self.due = max(self.clock.now, self.due + round(SECOND / self.rate))
            while self.held and self.held[0][0] <= self.clock.now:
                self.held.pop(0)[1].release()
            self.held.append((self.clock.now + self.answer, self.in_flight.take()))
            self.sent += 1


async def test_places_too_few_for_the_latency_are_logged_with_what_would_do(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Answers after 10 s and 256 places: 25.6 a second instead of 45."""
    slow = Dispatch(256, 45.0, 10.0)
    await slow.go_on(60)
    assert slow.sent < 60 * 30
    [record] = caplog.records
    assert record.levelname == "WARNING"
    facts = vars(record)
    assert (facts["max_in_flight"], facts["would_do"]) == (256, 500)
    assert facts["answer_s"] == pytest.approx(10, abs=0.1)

    enough = Dispatch(facts["would_do"], 45.0, 10.0)
    await enough.go_on(30)
    assert enough.sent == pytest.approx(30 * 45, abs=2)
    assert len(caplog.records) == 1


async def test_it_is_logged_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    slow = Dispatch(10, 45.0, 10.0)
    await slow.go_on(0.9 * EVERY / SECOND)
    assert len(caplog.records) == 1
    await slow.go_on(0.5 * EVERY / SECOND)
    assert len(caplog.records) == 2


async def test_nothing_is_logged_where_places_suffice_or_no_message_waits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await Dispatch(256, 45.0, 2.0).go_on(30)
    idle = InFlight(1, clock=(clock := Clock()), rate=lambda: 45.0)
    permit = idle.take()
    waiting = asyncio.create_task(idle.wait(work=False))
    await asyncio.sleep(0)
    clock.now = 20 * SECOND
    permit.release()
    await waiting
    assert caplog.records == []


async def test_a_place_is_given_back_once() -> None:
    in_flight = InFlight(2, clock=Clock(), rate=lambda: 45.0)
    first, second = in_flight.take(), in_flight.take()
    assert (in_flight.free, in_flight.taken) == (0, 2)
    first.release()
    first.release()
    assert (in_flight.free, in_flight.taken) == (1, 1)
    second.release()
    assert in_flight.free == 2
