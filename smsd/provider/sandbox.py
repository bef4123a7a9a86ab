"""A simulated carrier. Rule: nothing leaves the process, and too high a rate is refused.

It is the default provider. It accepts every message after `latency`, except to these fictional
numbers, which simulate what a real carrier does:

    +12025550190  rejected       +12025550194  in doubt; a look-up finds nothing
    +12025550191  opted out      +12025550195  halted: no funds
    +12025550192  throttled      +12025550196  accepted, but after 5 s
    +12025550193  unavailable    +12025550197  in doubt; a look-up finds that it was taken
                                 +12025550198  in doubt; a look-up finds that it never arrived

Several unavailable ones in a row count as an outage, and the one without funds halts the account:
dispatch is held until another message is taken.

A look-up finds the last 10,000 messages of this process, by their id.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from itertools import count
from typing import ClassVar, Self

from pydantic import Field

from smsd.core.message import Message
from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from smsd.core.recent import Recent
from smsd.provider.base import FindSettled, ProviderSettings, ProxyFor, Slot, direct

log = logging.getLogger(__name__)

LOST = InDoubt("the answer was lost")
ANSWERS: Mapping[str, Outcome] = {
    "+12025550190": Rejected("invalid", "not a valid number", "recipient"),
    "+12025550191": Rejected("opted_out", "replied STOP", "recipient", opted_out=True),
    "+12025550192": Throttled(1.0, "too many requests"),
    "+12025550193": Unavailable("down for maintenance"),
    "+12025550194": LOST,
    "+12025550195": Halted("no_funds", "the balance is used up"),
    "+12025550197": LOST,
    "+12025550198": LOST,
}
LOST_BUT_TAKEN = "+12025550197"
NEVER_ARRIVED = "+12025550198"
SLOW = "+12025550196"
SLOW_S = 5.0
REMEMBERED = 10_000  # messages that a look-up finds

# A carrier reads the time of an arrival a moment after we read that of the departure, and the
# moment varies: without this allowance 45 of ours would now and then look like 46.
TOLERANCE_S = 0.005


class SandboxSettings(ProviderSettings):
    """`[provider.sandbox]`."""

    latency: float = Field(0.15, ge=0, le=60)  # seconds to the answer
    rate: int = Field(45, ge=1, le=1_000_000)  # segments taken in any one second


class Meter:
    """Counts the segments of the last second, as a carrier does."""

    def __init__(self, rate: int) -> None:
        self._rate = rate
        self._taken: deque[float] = deque(maxlen=rate)

    def take(self, segments: int, now: float) -> bool:
        """Whether a message is within the rate; its segments follow each other at the rate."""
        taken = self._taken.copy()
        for n in range(segments):
            at = now + n / self._rate
            if len(taken) == self._rate and at - taken[0] < 1 - TOLERANCE_S:
                return False
            taken.append(at)
        self._taken = taken
        return True


class Sandbox:
    """The simulated carrier. `accepted` and `violations` count messages."""

    Settings: ClassVar[type[ProviderSettings]] = SandboxSettings
    gateway = "sandbox"
    stop_leaves_in_doubt = False  # its memory ends with this process

    def __init__(
        self, settings: SandboxSettings, timeout_s: float, clock: Callable[[], float] | None = None
    ) -> None:
        self._latency = settings.latency
        self._timeout_s = timeout_s
        self._clock = clock
        self._rate = settings.rate
        self._meter = Meter(settings.rate)
        self._ids = count(1)
        self._outcomes: Recent[Outcome] = Recent(REMEMBERED)
        self.accepted = 0
        self.violations = 0

    @classmethod
    def build(
        cls,
        settings: SandboxSettings,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = 0,
        proxy_for: ProxyFor = direct,
    ) -> Self:
        """A provider ready to `start`. It has no connections, and takes any number in flight."""
        return cls(settings, timeout_s)

    async def start(self) -> None:
        """Nothing to open."""

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Take one message in its slot, and answer after the latency."""
        clock = self._clock or asyncio.get_running_loop().time
        async with slot:
            on_time = self._meter.take(message.content.segments.segments, clock())
        outcome = self._answer(message) if on_time else self._refuse_for_rate()
        delay = SLOW_S if message.recipient == SLOW else self._latency
        await asyncio.sleep(min(delay, self._timeout_s))
        if delay > self._timeout_s:
            return InDoubt(f"no answer within {self._timeout_s:g} s")
        return outcome

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of a message, by its id; None if it is forgotten."""
        return self._outcomes.get(message.id)

    async def close(self) -> None:
        """Nothing to close."""

    def _answer(self, message: Message) -> Outcome:
        if message.recipient == NEVER_ARRIVED:
            self._outcomes.remember(message.id, Unavailable("never arrived"))
        elif message.recipient == LOST_BUT_TAKEN:
            self._accept(message)
        return ANSWERS.get(message.recipient) or self._accept(message)

    def _accept(self, message: Message) -> Accepted:
        self.accepted += 1
        accepted = Accepted(f"sandbox-{next(self._ids)}", message.content.segments.segments)
        self._outcomes.remember(message.id, accepted)
        return accepted

    def _refuse_for_rate(self) -> Throttled:
        self.violations += 1
        log.warning("more than %d segments arrived within a second", self._rate)
        return Throttled(1.0, f"more than {self._rate} segments in a second")
