"""Waiting for the pacer. Rule: one departure at a time, none early, each recorded when it was.

asyncio rounds a timeout up to whole milliseconds, so each departure would be up to 1 ms late. The
last stretch before a departure is crossed with `sleep(0)`: the event loop goes on serving others,
and looks at the clock once in a turn. (Above 20,000 a second a turn would take too long.)
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType

from smsd.core.pacer import SECOND, Pacer
from smsd.dispatch.fair_lock import FairLock
from smsd.metrics import Metrics
from smsd.provider.base import SlotWithdrawn

MILLISECOND = 1_000_000  # ns
LONGEST_SLEEP = SECOND // 4  # so that a withdrawn slot or a new rate is noticed
CLOSE = 11 * MILLISECOND // 10  # crossed with sleep(0): a millisecond, and the wake-up
TURN = MILLISECOND // 20  # what a turn of the event loop takes at least
BUSY_TURN = MILLISECOND  # what it takes when there is much to do
SMALLEST_CROWD = 8  # slots that may be out at once, at the slowest rates
LEAD = 5 * MILLISECOND  # how long before its slot a message is to be ready
LONGEST_PREPARATION = SECOND  # by which preparation begins earlier, at most
FADING = 10 * SECOND  # how long a long preparation is remembered
FADING_SLOTS = 20  # or for so many slots, at slow rates
HUNG = 50 * MILLISECOND  # or twice the usual time: a preparation that takes longer may never end


class Pace:
    """Hands out slots, in the order in which they are asked for."""

    def __init__(self, pacer: Pacer, *, clock: Callable[[], int], metrics: Metrics) -> None:
        """`clock`: the monotonic nanoseconds that `pacer` counts in."""
        self.pacer = pacer
        self._clock = clock
        self._metrics = metrics
        self._lock = FairLock()
        self._measure()
        self._slots = 0  # handed out and not used yet
        self._expected = 0  # segments of those that will be ready in time
        self._approaching: deque[PacedSlot] = deque()  # being prepared, oldest first
        self._preparation = 0  # how long that takes of late: the record in Redis, a new connection
        self._learned_at = 0
        self.waiting = 0  # slots that wait for their departure
        self._second: deque[int] = deque()  # departures of the last second, for the metrics
        metrics.pace_target = pacer.rate
        metrics.window_segments = self._in_last_second

    def slot(
        self, segments: int, *, wanted: Callable[[], bool], per_segment: bool = False
    ) -> "PacedSlot":
        """A slot for a message of `segments`; it is withdrawn when it is no longer `wanted`.

        `per_segment`: it is entered for each segment, in place of once for all.
        """
        each = 1 if per_segment else segments
        slot = PacedSlot(self, segments, each, wanted, self._clock())
        self._slots += 1
        self._expected += segments
        self._approaching.append(slot)
        return slot

    def expect(self, slot: "PacedSlot") -> None:
        """This slot will be used: what is prepared after it is due later."""
        if not slot.expected:
            slot.expected = True
            self._expected += slot.segments

    def unexpect(self, slot: "PacedSlot") -> None:
        """This slot will not be used in time, if at all."""
        if slot.expected:
            slot.expected = False
            self._expected -= slot.segments

    async def near(self) -> int:
        """Return when it is time to prepare the next message; for how many segments it is."""
        while (wait := self._until_preparation()) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(min(wait, LONGEST_SLEEP) / SECOND)
        return min(1 + -wait // self.pacer.gap(), self._crowd() - self._slots)

    def _crowd(self) -> int:
        """How many slots may be out at once."""
        return max(SMALLEST_CROWD, (LONGEST_PREPARATION + 2 * LEAD) // self.pacer.gap())

    def _until_preparation(self) -> int:
        now, gap = self._clock(), self.pacer.gap()
        # What is prepared for far longer than others were may never be ready (a connection that
        # hangs). Its slot must not stay empty for that: prepare as if it were not there.
        too_long = max(HUNG, 2 * self._preparation)
        while self._approaching and self._approaching[0].since <= now - too_long:
            late = self._approaching.popleft()
            if not late.arrived:
                self.unexpect(late)
        if self._slots >= self._crowd():
            return gap
        due = self.pacer.due(1, now) + self._expected * gap
        return min(due - LEAD - self._preparation - now, gap)

    async def wait(self, slot: "PacedSlot") -> None:
        """Wait for a turn and its departure; `left` must follow. Raises `SlotWithdrawn`."""
        if not slot.segments:
            raise RuntimeError("a slot was entered again, but the whole message has left")
        self.expect(slot)
        if not slot.arrived:  # else it was here before, and its wait was cut off
            slot.arrived = True
            now = self._clock()
            self._learn(min(now - slot.since, LONGEST_PREPARATION), now)
        self.waiting += 1
        try:
            if not self._lock.try_acquire():
                await self._lock.acquire(self._together)
            try:
                await self._until_due(slot)
            except BaseException:
                self._lock.release(self._together)
                raise
        finally:
            self.waiting -= 1

    def _learn(self, took: int, now: int) -> None:
        """How long preparation takes: longer at once, shorter slowly."""
        since, self._learned_at = now - self._learned_at, now
        if took < self._preparation and since < self._fading:
            took = max(took, self._preparation * (self._fading - since) // self._fading)
        self._preparation = took

    def set_rate(self, segments_per_second: float) -> None:
        """Go on at another rate."""
        self.pacer.set_rate(segments_per_second, self._clock())
        self._measure()
        self._metrics.pace_target = segments_per_second

    def _measure(self) -> None:
        gap = self.pacer.gap()
        self._together = max(1, BUSY_TURN // gap)  # how many may leave in one turn of the loop
        self._fading = max(FADING, FADING_SLOTS * gap)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for a while: the provider asked for it."""
        self.pacer.pause(self._clock() + round(seconds * SECOND))

    def left(self, slot: "PacedSlot") -> None:
        """The message, or one of its segments, has just left; the next may have its turn."""
        now = self._clock()
        self.pacer.depart(slot.each, now)
        self._lock.release(self._together)
        self._count(slot.each, now)
        slot.segments -= slot.each
        if slot.expected:
            self._expected -= slot.each

    def forbids(self, now: int) -> bool:
        """Whether nothing may leave at this instant: by the rate, or by a pause."""
        return self.pacer.due(1, now) > now

    def closed(self, slot: "PacedSlot") -> None:
        """A slot is used up or given back."""
        self._slots -= 1
        self.unexpect(slot)

    async def _until_due(self, slot: "PacedSlot") -> None:
        due = None
        while True:
            if not slot.wanted():
                raise SlotWithdrawn
            now = self._clock()
            ahead = self.pacer.due(slot.each, now) - now
            if ahead <= 0:
                break
            due = now + ahead
            gap = self.pacer.gap()
            close = min(CLOSE, gap // 8)
            if max(gap, ahead) <= TURN:
                continue  # so near at hand that a turn would take longer
            if ahead <= close:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(min(ahead - close, LONGEST_SLEEP) / SECOND)
        if due is not None:  # else it came after its slot: nobody was late
            self._metrics.late_seconds.observe((now - due) / SECOND)

    def _count(self, segments: int, now: int) -> None:
        second = self._second
        second.append(now)
        if segments > 1:
            second.extend([now + self.pacer.gap(k) for k in range(1, segments)])
        while second[0] <= second[-1] - SECOND:
            second.popleft()
        self._metrics.segments_started += segments
        self._metrics.window_worst = max(self._metrics.window_worst, len(second))

    def _in_last_second(self) -> int:
        now = self._clock()
        return sum(now - SECOND < instant <= now for instant in self._second)


class PacedSlot:
    """`async with slot:` see `provider.base.Slot`."""

    __slots__ = (
        "_open",
        "_pace",
        "arrived",
        "each",
        "expected",
        "segments",
        "since",
        "used",
        "wanted",
    )

    def __init__(
        self, pace: Pace, segments: int, each: int, wanted: Callable[[], bool], since: int
    ) -> None:
        self._pace = pace
        self._open = True
        self.segments = segments  # that have not left yet
        self.each = each  # segments of one departure
        self.used = False  # whether anything has left
        self.wanted = wanted
        self.since = since  # when it was handed out
        self.expected = True  # as `Pace.slot` counts it
        self.arrived = False

    def __aenter__(self) -> Coroutine[None, None, None]:
        return self._pace.wait(self)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.used = True
        self._pace.left(self)
        if not self.segments:
            self.close()

    def close(self) -> None:
        """The submission is over, whether it used its slot or not."""
        if self._open:
            self._open = False
            self.arrived = True  # it has left, or gives its slot up: not late any more
            self._pace.closed(self)
