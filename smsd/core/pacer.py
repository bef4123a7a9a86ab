"""The leaky bucket. Rule: departures lie on an absolute schedule, and no second exceeds the rate.

Pure arithmetic over instants in integer nanoseconds that the caller reads from one monotonic
clock: floats would lose the ceiling to rounding.

*Schedule.* Each message moves the schedule by `segments / rate`. Being late once is not added to
the next departure, so throughput does not drift. Idle or stalled time earns a credit of one slot,
or of `CREDIT` where that is more: nothing bursts, and at high rates a hiccup of the event loop,
which lasts many slots, is made up for.

*Ceiling.* A message of n segments that starts at t occupies the instants t, t + 1/rate, …,
t + (n-1)/rate. No half-open window of one second holds more than `rate` of them (rounded up for
a fractional rate). With `ceiling="message"` all n count at t instead: a stricter carrier, paid
for in throughput with long messages.
"""

from collections import deque
from fractions import Fraction
from typing import Literal

from smsd.core.segment import MOST_SEGMENTS

Ceiling = Literal["segment", "message"]
SECOND = 1_000_000_000  # ns
CREDIT = SECOND // 40  # of the schedule: longer than the event loop is held up, as a rule


class Pacer:
    """When the next message may start. `due` asks, `depart` records what happened."""

    def __init__(self, segments_per_second: float, *, ceiling: Ceiling) -> None:
        self._ceiling = ceiling
        self._measure(segments_per_second)
        self._next = 0  # the schedule, in ns times `_per_second`: exact for any rational rate
        self._paused_until = 0
        # The latest, in order. All of one message, however slow the rate: see `set_rate`.
        self._instants: deque[int] = deque(maxlen=max(self.capacity, MOST_SEGMENTS))

    @property
    def rate(self) -> float:
        """Segments per second, as they were given: `gap` is rounded."""
        return self._per_second * SECOND / self._step

    def fill(self, until: int) -> None:
        """Start full: somebody else may have used the whole rate up to the instant `until`."""
        self._instants.extend([until] * self.capacity)

    def set_rate(self, segments_per_second: float, now: int) -> None:
        """Go on at another rate: what has departed still counts, from now on at the new rate.

        Segments that follow the last messages move closer together where the new rate is higher:
        at one an hour, the second half of a message would keep everything waiting for an hour.
        """
        self._measure(segments_per_second)
        past = [instant for instant in self._instants if instant <= now]
        last = past[-1] if past else now
        following = list(self._instants)[len(past) :]
        for place, instant in enumerate(following, 1):
            past.append(min(instant, last + self._offset(place)))
        # None is forgotten at a lower rate: a higher one may follow within the second.
        self._instants = deque(past, maxlen=max(self.capacity, MOST_SEGMENTS, len(past)))
        begin = past[-1] * self._per_second + self._step if past else 0
        self._next = max(begin, self._paused_until * self._per_second)

    def gap(self, segments: int = 1) -> int:
        """Nanoseconds that `segments` take on the schedule."""
        return segments * self._step // self._per_second

    def due(self, segments: int, now: int) -> int:
        """The earliest instant, not before `now`, at which `segments` may start."""
        instants = self._instants
        last = instants[-1] if instants and self._ceiling == "segment" else now
        start = max(now, -(-self._next // self._per_second), last)
        # The k-th new instant must lie a second after the one `capacity` places before it.
        spare = self.capacity - len(instants)
        if spare < segments:
            for k in range(max(0, spare), min(segments, self.capacity)):
                start = max(start, instants[k - spare] + SECOND - self._offset(k))
        return start

    def depart(self, segments: int, at: int) -> None:
        """Record that a message of `segments` started at `at`."""
        slot = max(self._next, at * self._per_second - self._credit)
        self._next = slot + segments * self._step
        self._instants.append(at)
        if segments > 1:
            self._instants.extend([at + self._offset(k) for k in range(1, segments)])

    def pause(self, until: int) -> None:
        """Let nothing start before `until`: the provider asked for it."""
        self._paused_until = max(self._paused_until, until)
        self._next = max(self._next, until * self._per_second)

    def _measure(self, segments_per_second: float) -> None:
        """Take on a rate p/q as p and q seconds in ns."""
        rate = Fraction(str(segments_per_second))  # as written: 0.1 is a tenth
        self._per_second, self._step = rate.numerator, SECOND * rate.denominator
        self.capacity = -(-rate.numerator // rate.denominator)  # most instants in a second
        self._credit = max(self._step, CREDIT * self._per_second)

    def _offset(self, k: int) -> int:
        return self.gap(k) if self._ceiling == "segment" else 0
