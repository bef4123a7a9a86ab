"""When not to send. Rule: an outage leaves the queue where it is, out of the dead letters.

Dispatch is held when the provider says that nothing will be taken until a person acts, when
several submissions in a row brought no answer, or when many in a row were refused for reasons
nobody knows. Then single messages probe, at a growing interval, until one is taken. While an
operator holds it nothing leaves at all, until a release, which ends the provider's holds too.

Any answer shows that the provider is up again. That the account is in order only shows when a
probe is taken: a bad number is refused, and too much throttled, before anybody looks at the funds.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from smsd.core.outcome import Accepted, Halted, InDoubt, Outcome, Rejected, Throttled, Unavailable
from smsd.core.pacer import SECOND
from smsd.store.operator_hold import HeldBy, Operator

log = logging.getLogger("smsd.hold")

NO_ANSWERS = 5  # in a row, before the provider counts as down
UNKNOWN_REFUSALS = 20  # in a row, before they count as the account's fault
# First and longest interval between probes, seconds.
DOWN_S = (1.0, 60.0)
HALTED_S = (15.0, 600.0)
REMEMBERED = 100  # messages that stopped dispatch


class Hold:
    """Whether dispatch is held, why, and when to probe."""

    def __init__(self, *, clock: Callable[[], int], changed: Callable[[str], None]) -> None:
        """`clock`: monotonic ns.

        `changed` is called when dispatch is held, or goes on, with the provider's reason or "".
        """
        self._clock = clock
        self._changed = changed
        self.provider_reason = ""
        self._by_operator: HeldBy | None = None
        self._release: str | None = None  # number of the last one; None: not known yet
        self._no_answers = 0
        self._unknown_refusals = 0
        self._interval_s, self._longest_s = DOWN_S
        self._probe_at = 0
        self._probing = False
        self._by_account = False  # it is held for what the provider says of our account
        self._openings = 0  # by a message that was taken
        self._stoppers: dict[str, int] = {}  # by message: how many openings there had been
        self._blamed = False  # one of these was, and nobody has been taken since

    @property
    def engaged(self) -> bool:
        """Whether dispatch is held."""
        return bool(self._by_operator or self.provider_reason)

    @property
    def reason(self) -> str:
        """Why dispatch is held, "" while it is not."""
        held = self._by_operator
        return f"held by {held.by}: {held.reason}" if held else self.provider_reason

    def permits(self, *, probe: bool) -> bool:
        """Whether a message may leave at this instant."""
        return not self._by_operator and (probe or not self.provider_reason)

    async def passage(self) -> bool:
        """Return when a message may be sent; True if it is sent as a probe."""
        while self.engaged:
            due = not self._probing and self._clock() >= self._probe_at
            if due and self.permits(probe=True):
                self._probing = True
                return True
            await asyncio.sleep(0.05)
        return False

    def operator(self, found: Operator) -> None:
        """Obey what an operator holds or has released."""
        if self._release not in (None, found.release):
            self._answered(of_account=True)
            self._unknown_refusals = 0
        self._release = found.release
        if found.held != self._by_operator:
            self._by_operator = found.held
            if found.held:
                facts = {"reason": found.held.reason, "by": found.held.by}
                log.error("dispatch held by an operator", extra=facts)
            else:
                log.warning("dispatch released by an operator")
            self._changed(self.provider_reason)

    def stands_alone(self, message_id: str) -> bool:
        """Whether this message stopped dispatch before, and others were taken since.

        After one of them was blamed the account may be what is out of order again: then the next
        one stops dispatch, however often it has done so.
        """
        seen = self._stoppers.get(message_id, self._openings)
        return not self.provider_reason and not self._blamed and self._openings > seen

    def saw(self, message_id: str, outcome: Outcome, *, probe: bool) -> bool:
        """Learn from the outcome of a submission. True: it is why dispatch is held, or still is."""
        self._probing &= not probe
        match outcome:
            case Accepted():
                self._taken(probe=probe)
                return False
            case Throttled() | Rejected(known=True):
                if (
                    isinstance(outcome, Rejected)
                    and self._stoppers.pop(message_id, None) is not None
                ):
                    self._blamed = True
                self._answered()
                self._unknown_refusals = 0
                return False
            case Rejected(reason=reason):
                self._answered()
                self._unknown_refusals += 1
                enough, pace = self._unknown_refusals >= UNKNOWN_REFUSALS, HALTED_S
                words = f"many unknown refusals: {reason}"
            case Unavailable(reason) | InDoubt(reason):
                self._no_answers += 1
                enough, pace = self._no_answers >= NO_ANSWERS, DOWN_S
                words = f"provider down: {reason}"
            case Halted(code, reason):
                enough, pace = True, HALTED_S
                words = f"halted: {code} {reason}"
            case _:
                assert_never(outcome)
        stops = self._trouble(words, pace, enough=enough, probe=probe)
        if stops and isinstance(outcome, Halted):
            self._remember(message_id)
        return stops

    def void(self) -> None:
        """A probe was not sent after all: the next message is one."""
        self._probing = False

    def _taken(self, *, probe: bool) -> None:
        self._unknown_refusals = self._no_answers = 0
        self._blamed = False
        if self.provider_reason:
            self._openings += probe
            self._answered(of_account=probe)

    def _answered(self, *, of_account: bool = False) -> None:
        """The provider is up; `of_account`: and our account is in order."""
        self._no_answers = 0
        if self.provider_reason and (of_account or not self._by_account):
            log.warning("dispatch goes on", extra={"held_for": self.provider_reason})
            self._by_account = False
            self.provider_reason = ""
            self._changed("")

    def _trouble(
        self, reason: str, pace: tuple[float, float], *, enough: bool, probe: bool
    ) -> bool:
        """Hold when there is `enough` trouble; a probe that failed is followed by a longer wait."""
        if self.provider_reason and probe:
            self._interval_s = min(self._interval_s * 2, self._longest_s)
            log.warning("probe failed", extra={"reason": reason, "probe_in_s": self._interval_s})
        elif enough and not self.provider_reason:
            self._interval_s, self._longest_s = pace
            log.error("dispatch held", extra={"reason": reason, "probe_in_s": self._interval_s})
        else:
            return False
        self._probe_at = self._clock() + round(self._interval_s * SECOND)
        by_account = pace is HALTED_S
        if enough and (by_account or not self._by_account):  # an outage says nothing of the account
            self._by_account = by_account
            self.provider_reason = reason
            self._changed(reason)
        return True

    def _remember(self, message_id: str) -> None:
        self._stoppers[message_id] = self._openings
        if len(self._stoppers) > REMEMBERED:
            del self._stoppers[next(iter(self._stoppers))]
