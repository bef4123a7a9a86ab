"""When not to send. Rule: an outage leaves messages in the queue, and makes no dead letters.

While an operator holds dispatch, nothing leaves until a release. Two more holds are the provider's,
and probes leave in them, each another message:

- *account*: the provider takes nothing until a person acts, or refused many in a row for unknown
  reasons. One probe leaves at a time, at a growing interval, until one is taken: a probe that is
  refused for a bad number, or throttled, shows nothing about the funds.
- *down*: several submissions in a row brought no answer. Probes leave at a share of the rate that
  grows with each answer, until it is whole and most are answered, or nothing waits any more.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    RetryPolicy,
    Throttled,
    Unavailable,
    Verdict,
    decide_before_attempt,
    refuse_own_fault,
)
from smsd.core.pacer import SECOND
from smsd.core.share import FIRST
from smsd.dispatch.halts import Halts
from smsd.dispatch.probes import LONGEST_REST_S, Probes
from smsd.store.operator_hold import OURS, HeldBy, Operator

log = logging.getLogger("smsd.hold")

NO_ANSWERS = 5  # in a row, before the provider counts as down
ANSWERS = 20  # in a row, before one that was down counts as up while messages wait
UNKNOWN_REFUSALS = 20  # in a row, before the account counts as at fault
UNPROVEN_S = 600.0  # without a message to probe with, until a hold is no reason for an alarm
LOOK_S = 0.05  # how often the hold is checked while waiting


class Hold:
    """Whether dispatch is held, why, and when to probe."""

    def __init__(
        self, *, rate: float, clock: Callable[[], int], changed: Callable[[str], None]
    ) -> None:
        """`rate` in segments per second, `clock` in monotonic ns.

        `changed` is called when dispatch is held, or goes on, with the provider's reason or "".
        """
        self._clock = clock
        self._changed = changed
        self._by_operator: HeldBy | None = None
        self._release: int | None = None  # the highest number of a release; None: not known yet
        self._provider_reason = ""
        self._account = False  # it is held since the account is at fault
        self._idle = False  # nothing has waited for long: the reason may not be true any more
        self._halts = Halts(clock)
        self._probes = Probes(rate, clock)
        self._heard_at = clock()  # when a submission last came to an outcome
        self._was_up = False  # it has answered since the start, or a person released dispatch
        self._answers = self._no_answers = self._unknown_refusals = 0  # in a row

    @property
    def engaged(self) -> bool:
        """Whether dispatch is held."""
        return bool(self._by_operator or self._provider_reason)

    @property
    def unproven(self) -> bool:
        """Whether the reason was last true when a message waited, long ago."""
        return self._idle and not self._by_operator

    @property
    def operator_reason(self) -> str:
        """Why an operator holds dispatch, or ""."""
        held = self._by_operator
        return f"held by {held.by}: {held.reason}" if held else ""

    @property
    def provider_reason(self) -> str:
        """Why dispatch is held for the provider's sake, or ""."""
        note = " (unproven: nothing waits to probe with)" if self._idle else ""
        return self._provider_reason + note

    @property
    def reason(self) -> str:
        """Why dispatch is held, "" while it is not."""
        return self.operator_reason or self.provider_reason

    @property
    def share(self) -> float:
        """The part of the rate that may be sent."""
        if self._by_operator or self._account:
            return 0.0
        return self._probes.share.part if self._provider_reason else 1.0

    def set_rate(self, segments_per_second: float) -> None:
        """Go on at another rate."""
        self._probes.share.set_rate(segments_per_second)

    # -- what may leave ------------------------------------------------------------------------

    def permits(self, *, probe: bool) -> bool:
        """Whether a message may leave at this instant."""
        return not self._by_operator and (probe or not self._provider_reason)

    async def wait_until_permitted(self) -> int:
        """Return when messages may be sent: how many as probes, or 0 for any number as usual."""
        while self.engaged:
            due_in_s = None if self._by_operator else self._probes.due_in_s()
            if due_in_s is not None and due_in_s <= 0:
                return self._probes.take()
            await asyncio.sleep(LOOK_S if due_in_s is None else min(due_in_s, LOOK_S))
        return 0

    def probe_not_sent(self) -> None:
        """A probe was not sent after all: let the next message probe."""
        self._probes.not_sent()

    def rest_s(self, *, caused_hold: bool) -> float | None:
        """How long a message that `caused_hold` makes room for others.

        None while the provider is known to be up. At a start it is unknown whether a predecessor
        held dispatch; if nothing shows it for minutes, none did.
        """
        if not self._provider_reason and (self._was_up or not self._heard_of_late):
            return None
        if not caused_hold:
            return 0.0
        return self._probes.rest_s if self._provider_reason else LONGEST_REST_S

    def decide_before_attempt(
        self, attempts: int, policy: RetryPolicy, now_ms: int
    ) -> Verdict | None:
        """The verdict on a message that was written so often and is not to be again, or None."""
        rest_s, others = self.rest_s(caused_hold=True), self._heard_of_late
        return decide_before_attempt(attempts, policy, now_ms=now_ms, rest_s=rest_s, others=others)

    @property
    def _heard_of_late(self) -> bool:
        """Whether a submission has come to an outcome in the last minutes, or we are that young."""
        return self._clock() - self._heard_at < LONGEST_REST_S * SECOND

    # -- what is learned ----------------------------------------------------------------------

    def obey_operator(self, found: Operator) -> HeldBy | None:
        """Follow what an operator holds or has released; a hold that the data lost, or None.

        Only a release ends a hold. Data that has neither has lost both, or never had them.
        """
        released = self._release is not None and found.release > self._release
        if released:
            self._unknown_refusals = 0
            self._was_up = True
            self._end()
        self._release = max(found.release, self._release or 0)
        lost = None if found.held or released else self._person_holds()
        self._obey(found.held or lost)
        return lost

    def _person_holds(self) -> HeldBy | None:
        """The hold of a person; one for the data is made again by the reconciler."""
        held = self._by_operator
        return held if held and held.by != OURS else None

    def _obey(self, held: HeldBy | None) -> None:
        if held != self._by_operator:
            self._by_operator = held
            if held:
                fields = {"reason": held.reason, "by": held.by}
                log.error("dispatch held by an operator", extra=fields)
            else:
                log.warning("dispatch released by an operator")
            self._changed(self.provider_reason)

    def set_idle_since(self, since: int | None) -> None:
        """Note since when there is nothing to probe with; None: there is something."""
        idle = since is not None and self._clock() - since >= UNPROVEN_S * SECOND
        if self._provider_reason and idle != self._idle:
            self._idle = idle
            log.warning("dispatch is held", extra={"reason": self.provider_reason})
            self._changed(self.provider_reason)

    def find_fault(self, message_id: str, outcome: Outcome, *, own_sender: bool) -> Outcome:
        """The outcome, as a refusal if what would hold dispatch is this message's own fault."""
        if self._provider_reason or not isinstance(outcome, Halted):
            return refuse_own_fault(outcome, own_sender=own_sender, at_fault=False, excused=False)
        return refuse_own_fault(
            outcome,
            own_sender=own_sender,
            at_fault=self._halts.is_at_fault(message_id),
            excused=self._halts.excuses(outcome.code),
        )

    def learn(self, message_id: str, outcome: Outcome, *, probe: bool, waiting: bool) -> bool:
        """Learn from the outcome of a submission; whether it is why dispatch is (still) held.

        `waiting`: other messages wait.
        """
        if probe:
            self._probes.answered()
        self._heard_at = self._clock()
        match outcome:
            case Accepted():
                self._taken(probe=probe, waiting=waiting)
                return False
            case Throttled() | Rejected():
                self._answered(waiting=waiting)
                return self._declined(message_id, outcome, probe=probe)
            case Unavailable(reason) | InDoubt(reason):
                costly = isinstance(outcome, InDoubt)
                return self._unanswered(f"provider down: {reason}", probe=probe, costly=costly)
            case Halted(code, reason):
                caused_hold = self._hold_for_account(f"halted: {code} {reason}", probe=probe)
                if caused_hold:
                    self._halts.record_hold(message_id, outcome)
                return caused_hold
            case _:
                assert_never(outcome)

    def _declined(self, message_id: str, outcome: Throttled | Rejected, *, probe: bool) -> bool:
        if isinstance(outcome, Rejected) and not outcome.known:
            self._unknown_refusals += 1
            if self._unknown_refusals >= UNKNOWN_REFUSALS:
                self._halts.withdraw_excuses()
                return self._hold_for_account(
                    f"many unknown refusals: {outcome.reason}", probe=probe
                )
            if self._account and probe:
                self._wait_longer(self._provider_reason)
            return self._account and probe
        self._unknown_refusals = 0
        if isinstance(outcome, Rejected):
            self._halts.refused(message_id)
        if self._account and probe:
            self._probes.not_sent()  # it showed nothing of the account
        return False

    def _taken(self, *, probe: bool, waiting: bool) -> None:
        self._unknown_refusals = 0
        self._halts.taken()
        if self._provider_reason and probe:
            self._halts.opened()
        if self._account and probe:
            self._end()
        self._answered(waiting=waiting)

    def _answered(self, *, waiting: bool) -> None:
        """The provider is up; the account may be at fault all the same."""
        self._was_up = True
        self._no_answers = 0
        self._answers += 1
        if self._provider_reason and not self._account:
            share = self._probes.share
            share.grow()
            if not waiting or (share.whole and self._answers >= ANSWERS):
                self._end()

    def _hold_for_account(self, reason: str, *, probe: bool) -> bool:
        """Hold dispatch since the account is at fault; whether this answer is why it is held."""
        if not self._account:
            self._begin(reason, account=True)
        elif probe:
            self._wait_longer(reason)
        else:
            return False
        return True

    def _unanswered(self, reason: str, *, probe: bool, costly: bool) -> bool:
        self._answers = 0
        self._no_answers += 1
        if self._account and probe:  # an outage says nothing of the account
            self._wait_longer(self._provider_reason)
        elif self._provider_reason and probe:
            self._probes.share.shrink(costly=costly)
            if self._probes.share.per_second < FIRST:
                self._log_failure(reason)
        elif not self._provider_reason and self._no_answers >= NO_ANSWERS:
            self._begin(reason, account=False)
        else:
            return False
        return True

    # -- begin and end ------------------------------------------------------------------------

    def _begin(self, reason: str, *, account: bool) -> None:
        self._account = account
        self._probes.begin(one_at_a_time=account)
        log.error("dispatch held", extra={"reason": reason})
        self._set(reason)

    def _wait_longer(self, reason: str) -> None:
        self._probes.wait_longer()
        self._log_failure(reason)
        self._set(reason)

    def _log_failure(self, reason: str) -> None:
        fields = {"reason": reason, "probe_in_s": self._probes.interval_s}
        log.warning("probe failed", extra=fields)

    def _end(self) -> None:
        self._answers = self._no_answers = 0
        self._account = False
        if self._provider_reason:
            log.warning("dispatch goes on", extra={"held_for": self._provider_reason})
            self._set("")

    def _set(self, reason: str) -> None:
        self._idle = False
        if reason != self._provider_reason:
            self._provider_reason = reason
            self._changed(reason)
