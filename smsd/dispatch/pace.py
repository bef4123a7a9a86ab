"""Waiting for the pacer. Rule: one departure at a time, none early, each timed as it was.

asyncio rounds a timeout up to whole milliseconds, so a departure would be up to 1 ms late each
time. The last stretch before it is crossed with `sleep(0)`: the loop goes on serving everybody
else, and looks at the clock once a turn.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from types import TracebackType

from smsd.core.pacer import SECOND, Pacer
from smsd.metrics import Metrics
from smsd.provider.base import NotNow

MILLISECOND = 1_000_000  # ns
LONGEST_SLEEP = SECOND // 4  # so that a withdrawn slot or a new rate is noticed
CLOSE = 11 * MILLISECOND // 10  # what is crossed with sleep(0): a millisecond, and the wake-up
LEAD = 100 * MILLISECOND  # how long before its slot a message is prepared


class Pace:
    """Hands out slots, in the order in which they are asked for."""

    def __init__(self, pacer: Pacer, *, clock: Callable[[], int], metrics: Metrics) -> None:
        """`clock`: the monotonic nanoseconds that `pacer` counts in."""
        self.pacer = pacer
        self._clock = clock
        self._metrics = metrics
        self._turn = asyncio.Lock()
        self._preparing = 0  # slots handed out and not used yet
        self._queueing = 0  # those of them that wait for their departure
        self._started = 0  # when the last preparation began
        self.left_at = clock()  # when the last message left
        self._second: deque[int] = deque()  # departures of the last second, for the metrics
        metrics.pace_target.set(SECOND / pacer.gap())

    def slot(self, segments: int, *, wanted: Callable[[], bool]) -> "PacedSlot":
        """A slot for a message of `segments`; it is refused from when it is no longer `wanted`."""
        self._preparing += 1
        self._started = self._clock()
        return PacedSlot(self, segments, wanted)

    async def near(self) -> None:
        """Return when it is time to prepare the next message."""
        while (wait := self._until_preparation()) > 0:  # noqa: ASYNC110 - it waits for a time
            await asyncio.sleep(min(wait, LONGEST_SLEEP) / SECOND)

    def _until_preparation(self) -> int:
        now, gap = self._clock(), self.pacer.gap()
        due = self.pacer.due(1, now)
        in_time = due + self._preparing * gap - LEAD - now
        # Slow connections must not starve the schedule: while its slot stands empty, prepare on.
        starving = due <= now and not self._queueing and self._preparing < max(8, SECOND // gap)
        return min(in_time, self._started + gap - now) if starving else min(in_time, gap)

    async def wait(self, segments: int, wanted: Callable[[], bool]) -> None:
        """Wait for a turn and its departure; `left` must follow. Raises `NotNow`."""
        self._queueing += 1
        try:
            await self._turn.acquire()
            try:
                await self._until_due(segments, wanted)
            except BaseException:
                self._turn.release()
                raise
        finally:
            self._queueing -= 1

    def set_rate(self, segments_per_second: float) -> None:
        """Go on at another rate."""
        self.pacer.set_rate(segments_per_second)
        self._metrics.pace_target.set(segments_per_second)

    def pause(self, seconds: float) -> None:
        """Let nothing leave for a while: the provider asked for it."""
        self.pacer.pause(self._clock() + round(seconds * SECOND))

    def left(self, segments: int) -> None:
        """The message has just left; the next may have its turn."""
        self.left_at = now = self._clock()
        self.pacer.depart(segments, now)
        self._turn.release()
        self._count(segments, now)

    def done(self) -> None:
        """A slot is used up or given back."""
        self._preparing -= 1

    async def _until_due(self, segments: int, wanted: Callable[[], bool]) -> None:
        close = min(CLOSE, self.pacer.gap() // 8)
        due = None
        while True:
            if not wanted():
                raise NotNow
            now = self._clock()
            ahead = self.pacer.due(segments, now) - now
            if ahead <= 0:
                break
            due = now + ahead
            if ahead <= close:
                await asyncio.sleep(0)
            else:
                await asyncio.sleep(min(ahead - close, LONGEST_SLEEP) / SECOND)
        if due is not None:  # else it came after its slot: nobody was late
            self._metrics.late_seconds.observe((now - due) / SECOND)

    def _count(self, segments: int, now: int) -> None:
        second = self._second
        second.extend(now + self.pacer.gap(k) for k in range(segments))
        while second[0] <= second[-1] - SECOND:
            second.popleft()
        self._metrics.segments_started.inc(segments)
        self._metrics.window(len(second))


class PacedSlot:
    """`async with slot:` see `provider.base.Slot`."""

    def __init__(self, pace: Pace, segments: int, wanted: Callable[[], bool]) -> None:
        self._pace = pace
        self._segments = segments
        self._wanted = wanted
        self._open = True

    async def __aenter__(self) -> None:
        await self._pace.wait(self._segments, self._wanted)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._pace.left(self._segments)
        self.close()

    def close(self) -> None:
        """The submission is over, whether it used its slot or not."""
        if self._open:
            self._open = False
            self._pace.done()
