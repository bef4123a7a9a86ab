"""The bound of submissions in flight. Rule: as many permits as configured; too few are logged.

A permit is held from when a message is prepared to when its answer is there. So as many are needed
as leave in the time of an answer: at 45 a second and 10 s, 450. With fewer the rate is not reached.
"""

import asyncio
import logging
import math
from collections.abc import Callable

from smsd.core.pacer import SECOND

log = logging.getLogger("smsd.dispatch")

LOOKED_AT = 10 * SECOND  # how long waits for a permit are added up
MUCH = 0.02  # the share of that time, from which a warning is worth it
EVERY = 600 * SECOND  # between warnings
SPARE = 1.1  # more permits than the mean needs
MOST = 10_000  # that can be configured
WEIGHT = 1 / 64  # of one answer in the mean


class InFlight:
    """Counts the permits, and measures how long they are held."""

    def __init__(self, most: int, *, clock: Callable[[], int], rate: Callable[[], float]) -> None:
        """`clock`: monotonic ns. `rate`: what leaves in a second, at most."""
        self._most = most
        self._clock = clock
        self._rate = rate
        self.taken = 0
        self._free = asyncio.Event()
        self._free.set()
        self._held = 0.0  # the mean, seconds
        self._since = self._waited = 0
        self._warned_at: int | None = None

    @property
    def free(self) -> int:
        """How many more there are."""
        return self._most - self.taken

    async def wait(self, *, work: bool) -> None:
        """Return when there is a permit. `work`: a message waits for it already."""
        if self._free.is_set():
            return
        began = self._clock()
        await self._free.wait()
        if work:
            self._check_waits(began, self._clock())

    def take(self) -> "Permit":
        """Take a permit; `release` must follow."""
        self.taken += 1
        if self.taken >= self._most:
            self._free.clear()
        return Permit(self, self._clock())

    def give_back(self, since: int) -> None:
        """Take back a permit that was held since then."""
        held = self._held
        self._held += ((self._clock() - since) / SECOND - held) * (WEIGHT if held else 1)
        self.taken -= 1
        if self.taken == self._most - 1:
            self._free.set()

    def _check_waits(self, began: int, now: int) -> None:
        if began - self._since > LOOKED_AT:
            self._since, self._waited = began, 0
        self._waited += now - began
        enough = min(10 * math.ceil(self._rate() * self._held * SPARE / 10), MOST)
        if self._waited < MUCH * LOOKED_AT or enough <= self._most:
            return
        if self._warned_at is not None and now - self._warned_at < EVERY:
            return
        self._warned_at = now
        log.warning(
            "max_in_flight is too low for this rate and the provider's response time",
            extra={
                "max_in_flight": self._most,
                "answer_s": round(self._held, 2),
                "would_do": enough,
                "key": "[provider] max_in_flight",
            },
        )


class Permit:
    """The right to have one submission in flight."""

    __slots__ = ("_in_flight", "_since")

    def __init__(self, in_flight: InFlight, since: int) -> None:
        self._in_flight: InFlight | None = in_flight
        self._since = since

    def release(self) -> None:
        """Give it back, if that has not been done."""
        if self._in_flight is not None:
            self._in_flight.give_back(self._since)
            self._in_flight = None
