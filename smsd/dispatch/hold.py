"""When not to send. Rule: an outage leaves the queue where it is, out of the dead letters.

Dispatch is held when the provider says that nothing will be taken until a person acts, when
several submissions in a row brought no answer, or when many in a row were refused for reasons
nobody knows. Then single messages probe, at a growing interval, until one is taken.
"""

import asyncio
import logging
from collections.abc import Callable

from smsd.core.outcome import Accepted, Halted, InDoubt, Outcome, Rejected, Throttled, Unavailable
from smsd.core.pacer import SECOND

log = logging.getLogger("smsd.hold")

NO_ANSWERS = 5  # in a row, before the provider counts as down
UNKNOWN_REFUSALS = 20  # in a row, before they count as the account's fault
# First and longest interval between probes, seconds.
DOWN_S = (1.0, 60.0)
HALTED_S = (15.0, 600.0)


class Hold:
    """Whether dispatch is held, why, and when to probe."""

    def __init__(self, *, clock: Callable[[], int], changed: Callable[[str], None]) -> None:
        """`clock`: monotonic ns. `changed` is told each new reason, "" when dispatch goes on."""
        self._clock = clock
        self._changed = changed
        self.reason = ""
        self._no_answers = 0
        self._unknown_refusals = 0
        self._interval_s, self._longest_s = DOWN_S
        self._probe_at = 0
        self._probing = False

    @property
    def engaged(self) -> bool:
        """Whether dispatch is held."""
        return bool(self.reason)

    async def passage(self) -> bool:
        """Return when a message may be sent; True if it is sent as a probe."""
        while self.engaged:
            if not self._probing and self._clock() >= self._probe_at:
                self._probing = True
                return True
            await asyncio.sleep(0.05)
        return False

    def saw(self, outcome: Outcome, *, probe: bool) -> None:
        """Learn from the outcome of a submission."""
        self._probing &= not probe
        match outcome:
            case Accepted() | Throttled() | Rejected(known=True):
                self._go_on()
            case Rejected(reason=reason):
                self._no_answers = 0
                self._unknown_refusals += 1
                enough = self._unknown_refusals >= UNKNOWN_REFUSALS
                self._trouble(
                    f"many unknown refusals: {reason}", HALTED_S, enough=enough, probe=probe
                )
            case Unavailable(reason) | InDoubt(reason):
                self._no_answers += 1
                enough = self._no_answers >= NO_ANSWERS
                self._trouble(f"provider down: {reason}", DOWN_S, enough=enough, probe=probe)
            case Halted(code, reason):
                self._trouble(f"halted: {code} {reason}", HALTED_S, enough=True, probe=probe)

    def void(self) -> None:
        """A probe was not sent after all: the next message is one."""
        self._probing = False

    def _go_on(self) -> None:
        self._no_answers = self._unknown_refusals = 0
        if self.engaged:
            log.warning("dispatch goes on", extra={"held_for": self.reason})
            self.reason = ""
            self._changed("")

    def _trouble(
        self, reason: str, pace: tuple[float, float], *, enough: bool, probe: bool
    ) -> None:
        """Hold when there is `enough` trouble; a probe that failed is followed by a longer wait."""
        if self.engaged and probe:
            self._interval_s = min(self._interval_s * 2, self._longest_s)
            log.warning("probe failed", extra={"reason": reason, "probe_in_s": self._interval_s})
        elif enough and not self.engaged:
            self._interval_s, self._longest_s = pace
            log.error("dispatch held", extra={"reason": reason, "probe_in_s": self._interval_s})
        else:
            return
        self._probe_at = self._clock() + round(self._interval_s * SECOND)
        self.reason = reason
        self._changed(reason)
