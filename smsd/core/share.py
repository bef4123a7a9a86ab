"""How much of the rate a provider in trouble gets. Rule: an answer adds, a failure multiplies.

This is additive increase and multiplicative decrease. A failure takes little compared with what an
answer adds, so a provider that takes every second message still gets nearly the whole rate. After
a long silence, and where a failure may have cost a message, each failure halves the share: a
provider that takes nothing gets almost no messages.
"""

FIRST = 1.0  # messages per second to begin with, and the least until it is silent
SLOWEST = 1 / 60  # messages per second, whatever happens
GAIN = 1 / 8  # of the rate, that an answer adds
LOSS = 1 / 32  # of the share, that a failure takes
SILENT = 20  # failures in a row, before each one halves


class Share:
    """A part of a rate, in messages per second. Whole until `begin`."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._failures = 0  # in a row
        self.per_second = rate

    @property
    def part(self) -> float:
        """Of the rate."""
        return self.per_second / self._rate

    @property
    def whole(self) -> bool:
        """Whether it is all of the rate."""
        return self.per_second >= self._rate

    @property
    def interval_s(self) -> float:
        """Seconds from one message to the next."""
        return 1 / self.per_second

    def set_rate(self, rate: float) -> None:
        """Be a part of another rate: all of it, if it was all of the last one."""
        self.per_second = rate if self.whole else min(self.per_second, rate)
        self._rate = rate

    def begin(self) -> None:
        """Begin at the lowest share: the provider is in trouble."""
        self._failures = 0
        self.per_second = min(self._rate, FIRST)

    def grow(self) -> None:
        """Grow: the provider answered."""
        self._failures = 0
        self.per_second = min(self._rate, self.per_second + self._rate * GAIN)

    def shrink(self, *, costly: bool) -> None:
        """Shrink: a submission failed. `costly`: that may have cost a message."""
        self._failures += 1
        if costly or self._failures > SILENT:
            least = max(self.per_second / 2, SLOWEST)
        else:
            least = max(self.per_second * (1 - LOSS), FIRST)
        self.per_second = min(self.per_second, least)
