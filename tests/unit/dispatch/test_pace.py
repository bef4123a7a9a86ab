"""Waiting for slots. Rule: time here passes only where the loop sleeps, and to the nanosecond.

The loop below is asyncio's own over a selector that moves a clock by hand where a real one would
wait: like epoll it rounds a timeout up to a whole millisecond, and each turn costs a little. So a
minute passes in no time, and always in the same way.
"""

import asyncio
import math
import selectors
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest

from smsd.core.pacer import CREDIT, SECOND, Ceiling, Pacer
from smsd.dispatch.pace import LEAD, Pace, PacedSlot
from smsd.metrics import Metrics
from smsd.provider.base import SlotWithdrawn
from tests.support.processes import worst_window

MS = 1_000_000
START = 1_000 * SECOND
TURN = 30_000  # ns that one turn of the loop takes
# Thousands of messages: tracing makes them three times as slow, and reaches no other line.
long_run = pytest.mark.no_cover


class Time:
    """The hand-moved clock."""

    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> int:
        return self.now


class Selector(selectors.SelectSelector):
    """Waits by moving the clock."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self._time = time

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready:
            assert timeout is not None, "everybody waits for somebody"
            self._time.now += math.ceil(timeout * 1_000) * MS
        self._time.now += TURN
        return ready


class Loop(asyncio.SelectorEventLoop):
    """asyncio's loop in that time."""

    def __init__(self, time: Time) -> None:
        super().__init__(Selector(time))
        self._hand = time

    def time(self) -> float:
        return self._hand.now / SECOND


@dataclass
class Bench:
    """A pace, its clock, and what left."""

    rate: float = 45.0
    ceiling: Ceiling = "segment"
    left: list[tuple[str, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.clock = Time()
        self.metrics = Metrics()
        self.pacer = Pacer(self.rate, ceiling=self.ceiling)
        self.pacer.pause(START)  # the first slot is now, and no credit
        self.pace = Pace(self.pacer, clock=self.clock, metrics=self.metrics)

    def run(self, scenario: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=lambda: Loop(self.clock)) as runner:
            runner.run(scenario)

    def slot(self, segments: int = 1, wanted: Callable[[], bool] = lambda: True) -> PacedSlot:
        return self.pace.slot(segments, wanted=wanted)

    async def send(
        self, name: str = "", segments: int = 1, wanted: Callable[[], bool] = lambda: True
    ) -> None:
        """What a provider does: a connection, the slot, the answer."""
        slot = self.slot(segments, wanted)
        try:
            async with slot:
                self.left.append((name, self.clock.now))
        finally:
            slot.close()

    def start(self, name: str, segments: int = 1) -> "asyncio.Task[None]":
        return asyncio.create_task(self.send(name, segments))

    @property
    def names(self) -> str:
        return "".join(name for name, _ in self.left)

    @property
    def times(self) -> list[int]:
        return [at - START for _, at in self.left]

    def metric(self, name: str) -> float | None:
        return self.metrics.registry.get_sample_value(name)


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def test_slots_are_left_in_the_order_in_which_they_were_asked_for() -> None:
    bench = Bench()

    async def scenario() -> None:
        await asyncio.gather(*(bench.send(name) for name in "abcdefgh"))

    bench.run(scenario())
    assert bench.names == "abcdefgh"


def test_nothing_leaves_early_and_nothing_much_later() -> None:
    bench = Bench()

    async def scenario() -> None:
        await asyncio.gather(*(bench.send() for _ in range(45)))

    bench.run(scenario())
    for count, at in enumerate(bench.times):
        assert 0 <= at - count * SECOND // 45 <= 3 * TURN


def test_a_message_that_is_being_written_holds_the_next_back() -> None:
    bench = Bench(rate=1_000)
    door = asyncio.Event()
    events: list[str] = []

    async def slow() -> None:
        async with bench.slot():
            events.append("slow in")
            await door.wait()
            events.append("slow out")

    async def fast() -> None:
        async with bench.slot():
            events.append("fast in")

    async def scenario() -> None:
        tasks = [asyncio.create_task(slow()), asyncio.create_task(fast())]
        await asyncio.sleep(5)
        assert events == ["slow in"]
        door.set()
        await asyncio.gather(*tasks)

    bench.run(scenario())
    assert events == ["slow in", "slow out", "fast in"]


def test_the_schedule_counts_from_when_a_message_has_left() -> None:
    bench = Bench()

    async def scenario() -> None:
        async with bench.slot():
            await asyncio.sleep(0.5)
        await bench.send()
        await bench.send()

    bench.run(scenario())
    # 500 ms late for its slot, it has the credit of an idle time: a little more than a slot.
    assert bench.times[0] - 500 * MS < 5 * MS
    assert bench.times[1] - bench.times[0] == pytest.approx(2 * SECOND // 45 - CREDIT, abs=3 * TURN)


def test_a_segment_count_is_passed_on() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("a", segments=9)
        await bench.send("b")

    bench.run(scenario())
    assert bench.times[1] == pytest.approx(SECOND // 5, abs=3 * TURN)
    assert bench.metric("smsd_segments_started_total") == 10


def test_a_slot_per_segment_paces_each_of_them_and_lets_others_leave_between() -> None:
    bench = Bench()
    bench.pacer.pause(START + SECOND)

    async def segments(slot: PacedSlot) -> None:
        for _ in range(2):
            async with slot:
                bench.left.append(("a", bench.clock.now))

    async def scenario() -> None:
        slot = bench.pace.slot(2, wanted=lambda: True, per_segment=True)
        await asyncio.gather(segments(slot), bench.send("b"))
        with pytest.raises(RuntimeError, match="the whole message has left"):
            await segments(slot)
        assert bench.pace._slots == bench.pace._expected == 0

    bench.run(scenario())
    assert bench.names == "aba"
    due = [SECOND + n * SECOND // 45 for n in range(3)]
    assert bench.times == pytest.approx(due, abs=5 * TURN)
    assert bench.metric("smsd_segments_started_total") == 3


def test_a_text_that_is_unwanted_from_the_start_is_refused_and_takes_no_slot() -> None:
    bench = Bench()

    async def scenario() -> None:
        with pytest.raises(SlotWithdrawn):
            await bench.send("a", wanted=lambda: False)
        await bench.send("b")

    bench.run(scenario())
    assert bench.names == "b"
    assert bench.times[0] <= 5 * TURN
    assert bench.metric("smsd_segments_started_total") == 1


def test_a_text_that_becomes_unwanted_while_it_waits_is_refused_soon() -> None:
    bench = Bench()
    bench.pacer.pause(START + 600 * SECOND)
    wanted = [True]

    async def scenario() -> None:
        sending = asyncio.create_task(bench.send("a", wanted=lambda: wanted[0]))
        await asyncio.sleep(1)
        wanted[0] = False
        with pytest.raises(SlotWithdrawn):
            await sending
        assert bench.clock.now - START < 1_300 * MS

    bench.run(scenario())
    assert not bench.left


def test_when_one_is_refused_the_next_has_its_turn() -> None:
    bench = Bench()
    wanted = {"a": True, "b": True}

    async def scenario() -> None:
        await bench.send("0")
        sending = [
            asyncio.create_task(bench.send(name, wanted=lambda name=name: wanted.get(name, True)))  # type: ignore[misc]
            for name in "abc"
        ]
        await turns()
        wanted.update(a=False, b=False)
        results = await asyncio.gather(*sending, return_exceptions=True)
        assert [type(result) for result in results] == [SlotWithdrawn, SlotWithdrawn, type(None)]

    bench.run(scenario())
    assert bench.names == "0c"
    assert bench.times[1] == pytest.approx(SECOND // 45, abs=5 * TURN)


def test_when_writing_fails_the_slot_is_used_up_and_the_next_has_its_turn() -> None:
    bench = Bench()

    async def broken() -> None:
        async with bench.slot():
            await turns()
            raise ZeroDivisionError

    async def scenario() -> None:
        failing = asyncio.create_task(broken())
        await turns(1)
        await bench.send("b")
        assert isinstance(failing.exception(), ZeroDivisionError)

    bench.run(scenario())
    # It may have been written in part: the slot counts.
    assert bench.metric("smsd_segments_started_total") == 2
    assert bench.times[0] == pytest.approx(SECOND // 45, abs=10 * TURN)


async def cancel(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_one_that_is_cancelled_while_it_waits_for_its_time_lets_the_next_through() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("0")
        first, second = bench.start("a"), bench.start("b")
        await turns()
        await cancel(first)
        await second

    bench.run(scenario())
    assert bench.names == "0b"
    assert bench.times[1] == pytest.approx(SECOND // 45, abs=10 * TURN)


def test_one_that_is_cancelled_while_it_waits_for_its_turn_leaves_the_others_in_order() -> None:
    bench = Bench()

    async def scenario() -> None:
        tasks = [bench.start(name) for name in "abcd"]
        await turns(1)
        await cancel(tasks[1])
        await asyncio.gather(tasks[0], *tasks[2:])

    bench.run(scenario())
    assert bench.names == "acd"


def test_one_that_is_cancelled_just_when_its_turn_comes_lets_the_next_through() -> None:
    bench = Bench()

    async def scenario() -> None:
        async with bench.slot():
            first, second = bench.start("a"), bench.start("b")
            await turns()
        first.cancel()  # the lock has been handed to it, and it has not run yet
        await second

    bench.run(scenario())
    assert bench.names == "b"


def test_one_that_is_cancelled_while_it_is_written_counts_and_lets_the_next_through() -> None:
    bench = Bench()

    async def writing() -> None:
        async with bench.slot():
            await asyncio.sleep(3_600)

    async def scenario() -> None:
        first = asyncio.create_task(writing())
        await turns()
        second = bench.start("b")
        await asyncio.sleep(1)
        await cancel(first)
        await second

    bench.run(scenario())
    assert bench.names == "b"
    assert bench.metric("smsd_segments_started_total") == 2


def test_cancelling_all_leaves_nothing_locked() -> None:
    bench = Bench()

    async def scenario() -> None:
        tasks = [bench.start(name) for name in "abcdef"]
        await turns()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bench.pace.near()
        await bench.send("z")

    bench.run(scenario())
    assert bench.names == "az"


def test_a_slot_may_be_given_back_twice_or_unused() -> None:
    bench = Bench()

    async def scenario() -> None:
        for _ in range(200):
            slot = bench.slot()
            slot.close()
            slot.close()
        before = bench.clock.now
        await bench.pace.near()
        assert bench.clock.now == before  # nothing is being prepared

    bench.run(scenario())


def test_a_pause_holds_even_the_one_that_waits_already() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("0")
        waiting = bench.start("a")
        await turns()
        bench.pace.pause(2.5)
        await waiting

    bench.run(scenario())
    assert bench.times[1] == pytest.approx(2_500 * MS, abs=10 * TURN)


@pytest.mark.parametrize("rate", [45.0, 0.1, 7.3, 100_000.0])
def test_the_rate_is_shown_as_it_was_given(rate: float) -> None:
    bench = Bench(rate=rate)

    assert bench.metric("smsd_pace_target_segments_per_second") == rate


def test_a_new_rate_reaches_the_one_that_waits_already() -> None:
    bench = Bench(rate=0.01)

    async def scenario() -> None:
        await bench.send("0")
        waiting = bench.start("a")
        await asyncio.sleep(1)
        bench.pace.set_rate(45)
        await waiting
        await bench.send("b")

    bench.run(scenario())
    assert bench.times[1] < 1_300 * MS  # the longest sleep after it
    assert bench.times[2] - bench.times[1] <= SECOND // 45
    assert bench.metric("smsd_pace_target_segments_per_second") == 45


def test_preparation_begins_ahead_of_the_slot_and_not_long_before() -> None:
    bench = Bench(rate=1)

    async def scenario() -> None:
        await bench.send("0")
        await bench.pace.near()

    bench.run(scenario())
    assert bench.clock.now - START == pytest.approx(SECOND - LEAD, abs=2 * MS)


async def prepare(bench: Bench, slots: list[PacedSlot]) -> None:
    while True:
        await bench.pace.near()
        slots.append(bench.slot())


def test_no_more_are_prepared_than_the_lead_holds() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send("0")
        bench.pacer.pause(START + 600 * SECOND)
        arrived: list[asyncio.Task[None]] = []

        async def enter(slot: PacedSlot) -> None:
            async with slot:
                pass

        async def prepare_and_enter() -> None:
            while True:
                await bench.pace.near()
                arrived.append(asyncio.create_task(enter(bench.slot())))

        preparing = asyncio.create_task(prepare_and_enter())
        await asyncio.sleep(599)
        assert not arrived
        await asyncio.sleep(0.999)
        assert len(arrived) == pytest.approx(LEAD * 45 / SECOND, abs=1)
        await cancel(preparing)

    bench.run(scenario())


async def dispatch(
    bench: Bench, messages: int, *, connecting: float, answering: float, at_once: int = 256
) -> None:
    """A dispatcher in small: prepare near the slot, connect, write, wait for the answer."""
    free = asyncio.Semaphore(at_once)

    async def deliver(slot: PacedSlot) -> None:
        await asyncio.sleep(connecting)
        async with slot:
            bench.left.append(("", bench.clock.now))
        await asyncio.sleep(answering)
        slot.close()
        free.release()

    async with asyncio.TaskGroup() as group:
        for _ in range(messages):
            await bench.pace.near()
            await free.acquire()
            group.create_task(deliver(bench.slot()))


@long_run
@pytest.mark.parametrize("connecting", [0.0, 0.02, 0.09])
@pytest.mark.parametrize("answering", [0.0, 0.15, 2.0])
def test_saturated_it_keeps_999_permille_of_45_and_never_exceeds_it(
    connecting: float, answering: float
) -> None:
    bench = Bench()
    bench.run(dispatch(bench, 45 * 60, connecting=connecting, answering=answering))

    seconds = (bench.times[-1] - bench.times[0]) / SECOND
    assert (len(bench.times) - 1) / seconds >= 0.999 * 45
    assert worst_window(bench.times) <= 45
    assert bench.metric("smsd_pace_window_worst_segments") == worst_window(bench.times)


@long_run
@pytest.mark.parametrize(("rate", "share"), [(400, 0.998), (1_000, 0.995)])
def test_saturated_it_keeps_a_high_rate(rate: int, share: float) -> None:
    bench = Bench(rate=rate)
    bench.run(dispatch(bench, 10 * rate, connecting=0.02, answering=0.1, at_once=1_000))

    steady = [at for at in bench.times if at > SECOND]  # connections are slow to come at first
    assert (len(steady) - 1) / ((steady[-1] - steady[0]) / SECOND) >= share * rate
    assert worst_window(bench.times) <= rate


@long_run
def test_a_loop_that_is_held_up_now_and_then_keeps_a_high_rate() -> None:
    bench = Bench(rate=1_000)

    async def hiccups() -> None:
        while True:
            await asyncio.sleep(0.1)
            bench.clock.now += 15 * MS

    async def scenario() -> None:
        hiccuping = asyncio.create_task(hiccups())
        await dispatch(bench, 10_000, connecting=0.002, answering=0.1, at_once=1_000)
        await cancel(hiccuping)

    bench.run(scenario())
    steady = [at for at in bench.times if at > SECOND]
    assert (len(steady) - 1) / ((steady[-1] - steady[0]) / SECOND) >= 0.995 * 1_000
    assert worst_window(bench.times) <= 1_000


@long_run
def test_connections_slower_than_the_lead_starve_nothing() -> None:
    bench = Bench()
    bench.run(dispatch(bench, 45 * 30, connecting=0.7, answering=0.1))

    steady = [at for at in bench.times if at > 5 * SECOND]
    assert (len(steady) - 1) / ((steady[-1] - steady[0]) / SECOND) >= 0.99 * 45
    assert worst_window(bench.times) <= 45


def test_connections_that_never_come_about_are_not_piled_up() -> None:
    bench = Bench()

    async def scenario() -> None:
        slots: list[PacedSlot] = []
        preparing = asyncio.create_task(prepare(bench, slots))
        await asyncio.sleep(60)
        await cancel(preparing)
        assert 0 < len(slots) <= 60

    bench.run(scenario())


def test_after_an_idle_hour_nothing_bursts() -> None:
    bench = Bench()

    async def scenario() -> None:
        await bench.send()
        await asyncio.sleep(3_600)
        await dispatch(bench, 100, connecting=0, answering=0)

    bench.run(scenario())
    after = bench.times[1:]
    assert all(
        third - first >= 2 * SECOND // 45 - CREDIT
        for first, third in zip(after, after[2:], strict=False)
    )
    assert worst_window(after) <= 45


def test_the_window_metric_forgets_what_is_older_than_a_second() -> None:
    bench = Bench()

    async def scenario() -> None:
        await dispatch(bench, 40, connecting=0, answering=0)
        assert bench.metric("smsd_pace_window_segments") == 40
        await asyncio.sleep(10)
        assert bench.metric("smsd_pace_window_segments") == 0
        await bench.send(segments=3)
        assert bench.metric("smsd_pace_window_segments") == 1  # the others' instants are to come
        await asyncio.sleep(0.1)
        assert bench.metric("smsd_pace_window_segments") == 3
        await asyncio.sleep(1)

    bench.run(scenario())
    assert bench.metric("smsd_pace_window_segments") == 0
    assert bench.metric("smsd_pace_window_worst_segments") == 40
