"""When probes may leave. Rule: each probe is another message, and none is sent in vain.

While the account is at fault, one at a time and at a growing interval: nothing changes until a
person acts. While the provider is down, at a share of the rate: see `core/share.py`.
"""

from collections.abc import Callable

from smsd.core.pacer import SECOND
from smsd.core.share import Share

HALTED_S = (1.0, 600.0)  # first and longest interval while the account is at fault
REST_PROBES = 64  # probes by others before the same message probes again
LONGEST_REST_S = 300.0
CREDIT_S = 0.1  # how late a probe may be without delaying those after it


class Probes:
    """The schedule of probes, for one hold after another."""

    def __init__(self, rate: float, clock: Callable[[], int]) -> None:
        """`rate` in segments per second, `clock` in monotonic ns."""
        self._clock = clock
        self.share = Share(rate)
        self._one_at_a_time = False
        self._under_way = False  # that one
        self._interval_s = 0.0  # between those
        self._last = 0

    def begin(self, *, one_at_a_time: bool) -> None:
        """Begin a schedule: dispatch is held from now on."""
        self._one_at_a_time, self._under_way = one_at_a_time, False
        self._last = self._clock()
        self._interval_s = HALTED_S[0]
        if not one_at_a_time:
            self.share.begin()

    def wait_longer(self) -> None:
        """The one probe failed."""
        self._interval_s = min(self._interval_s * 2, HALTED_S[1])
        self._last = self._clock()

    def answered(self) -> None:
        """A probe came to an outcome."""
        self._under_way = False

    def not_sent(self) -> None:
        """A probe was not sent after all, or showed nothing: let the next message probe."""
        self._under_way = False
        self._last = self._clock() - self._interval

    @property
    def interval_s(self) -> float:
        """Seconds from one probe to the next."""
        return self._interval_s if self._one_at_a_time else self.share.interval_s

    @property
    def rest_s(self) -> float:
        """How long a message that failed as a probe lets others go first."""
        return min(REST_PROBES * self.interval_s, LONGEST_REST_S)

    def due_in_s(self) -> float | None:
        """Seconds until the next probe may leave; None: not before the one under way has ended."""
        if self._under_way:
            return None
        return (self._last + self._interval - self._clock()) / SECOND

    def take(self) -> int:
        """Take the probes that are due, at least one; how many."""
        if self._one_at_a_time:
            self._under_way = True
            return 1
        now, interval = self._clock(), self._interval
        behind = min(now - self._last, max(interval, round(CREDIT_S * SECOND)))
        self._last = now - behind % interval
        return behind // interval

    @property
    def _interval(self) -> int:
        return round(self.interval_s * SECOND)
