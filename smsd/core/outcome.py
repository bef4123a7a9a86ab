"""What a provider's answer means. Rule: by default only what was surely not taken is sent again.

A provider reports an `Outcome` (what happened); `decide` turns it into a `Verdict` (what the
queue does next). Both are closed unions: a new member must be given a case, or mypy fails.
"""

from dataclasses import dataclass
from typing import Literal, assert_never

from smsd.core.life import DeadReason

Scope = Literal["message", "recipient", "sender", "account"]
InDoubtPolicy = Literal["dead-letter", "resend"]
InDoubtHighPolicy = Literal["dead-letter", "resend", ""]  # of high priority; "": no other

SPENT = "all its attempts were spent while the provider was down"
MAKES_ROOM = "makes room for other probes"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message."""

    provider_id: str = ""
    segments: int | None = None  # the provider's own count, if it reports one


@dataclass(frozen=True, slots=True)
class Rejected:
    """Surely not taken, and never will be."""

    code: str
    reason: str
    scope: Scope = "message"
    opted_out: bool = False
    known: bool = True  # False: no map knows the code; many such in a row hold dispatch


@dataclass(frozen=True, slots=True)
class Throttled:
    """Surely not taken: too fast for the provider."""

    retry_after: float | None = None  # seconds, if the provider says so
    reason: str = "throttled"


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Surely not taken: no connection, or the provider says it is down."""

    reason: str
    written: bool = True  # False: nothing left, so no attempt is spent


@dataclass(frozen=True, slots=True)
class InDoubt:
    """May have been taken: the request was written and no clear answer came."""

    reason: str


@dataclass(frozen=True, slots=True)
class Halted:
    """Nothing will be taken until a person acts: bad credentials, no funds, suspended sender."""

    code: str
    reason: str
    scope: Scope = "account"
    known: bool = True  # False: no map knows the code, and a status alone says so


Outcome = Accepted | Rejected | Throttled | Unavailable | InDoubt | Halted


@dataclass(frozen=True, slots=True)
class Ack:
    """Done: forget the entry, keep the status."""

    provider_id: str


@dataclass(frozen=True, slots=True)
class Defer:
    """Try again at `until` (Unix ms). `spent`: the attempt counts against `max_attempts`."""

    until: int
    reason: str
    spent: bool


@dataclass(frozen=True, slots=True)
class Bury:
    """Set aside as a dead letter, for a person to read."""

    reason: DeadReason
    code: str = ""
    detail: str = ""
    opted_out: bool = False  # the recipient has opted out: never send to this number again


@dataclass(frozen=True, slots=True)
class Expire:
    """Its `expires_at` has passed before it was submitted."""


@dataclass(frozen=True, slots=True)
class Suppress:
    """Its recipient has opted out."""


@dataclass(frozen=True, slots=True)
class Withhold:
    """Its campaign is paused: it waits until that goes on."""


@dataclass(frozen=True, slots=True)
class TakeBack:
    """Its campaign is cancelled."""


@dataclass(frozen=True, slots=True)
class PutBack:
    """Put the message back in line as it was: nothing of it has left."""

    reason: str
    last: bool = False  # all others go first, since it is why dispatch is held


Verdict = Ack | Defer | Bury | Expire | Suppress | Withhold | TakeBack | PutBack


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """`[retry]` of the configuration; delays in seconds."""

    max_attempts: int = 6
    initial_delay: float = 1.0
    max_delay: float = 900.0
    in_doubt: InDoubtPolicy = "dead-letter"
    in_doubt_high: InDoubtHighPolicy = ""

    def when_in_doubt(self, *, high: bool) -> InDoubtPolicy:
        """What to do with a message that may have been sent, where the provider cannot say."""
        return (self.in_doubt_high if high else "") or self.in_doubt

    def backoff(self, attempt: int, chance: float) -> float:
        """Seconds before attempt `attempt + 1`: exponential, full jitter. `chance` in [0, 1)."""
        ceiling = min(self.max_delay, self.initial_delay * 2.0 ** min(attempt - 1, 62))
        return chance * ceiling


def refuse_own_fault(
    outcome: Outcome, *, own_sender: bool, at_fault: bool, excused: bool
) -> Outcome:
    """The outcome, as a refusal if what would hold dispatch is the message's own fault.

    So it is where the fault lies with a sender that the message brought itself, or where the
    message held dispatch before and others were taken since (`at_fault`): one message must not
    hold up all the rest for ever. A status that is `excused` did so of late: it counts as a refusal
    for an unknown reason.
    """
    match outcome:
        case Halted(code, reason, "sender") if own_sender:
            return Rejected(code, reason, "sender")
        case Halted(code, reason, known=False) if excused:
            return Rejected(code, reason, known=False)
        case Halted(code, reason) if at_fault:
            return Rejected(code, reason)
        case _:
            return outcome


def decide(  # noqa: C901, PLR0911, PLR0912 - one case per outcome: it reads as a table
    outcome: Outcome,
    *,
    high: bool,
    attempt: int,
    now_ms: int,
    policy: RetryPolicy,
    rest_s: float | None,
    chance: float,
    throttled: int = 0,
) -> Verdict:
    """The verdict on `outcome` of attempt number `attempt` (from 1). `high`: its priority.

    `rest_s`: how long others are to go first at the least, while dispatch is held for the
    provider's sake, else None. `throttled`: how often in a row this message has been, this time
    included.
    """
    match outcome:
        case Accepted(provider_id):
            return Ack(provider_id)
        case Rejected(code, reason, opted_out=opted_out):
            return Bury(DeadReason.REJECTED, code, reason, opted_out=opted_out)
        case Throttled(retry_after, reason):
            # Our speed is not the message's fault: throttling alone never exhausts it.
            wait = policy.backoff(max(attempt, throttled), chance)
            if retry_after is not None:
                asked_for = max(0.0, retry_after)  # in this order NaN is 0 too
                wait = max(asked_for, wait) if throttled > 1 else asked_for
            wait = min(wait, policy.max_delay)
            return Defer(now_ms + round(1000 * wait), reason, spent=False)
        case Unavailable(reason, written=False):
            if rest_s is not None:
                return PutBack(reason, last=rest_s > 0)
            return _later(reason, attempt, policy, now_ms=now_ms, chance=chance, spent=False)
        case Unavailable(reason):
            if rest_s is None and attempt >= policy.max_attempts:
                return Bury(DeadReason.EXHAUSTED, "", reason)
            return _later(reason, attempt, policy, now_ms=now_ms, chance=chance, rest_s=rest_s)
        case InDoubt(reason):
            if policy.when_in_doubt(high=high) == "dead-letter":
                return Bury(DeadReason.IN_DOUBT, "", reason)
            if attempt >= policy.max_attempts:
                return Bury(DeadReason.IN_DOUBT, "", reason)
            return _later(reason, attempt, policy, now_ms=now_ms, chance=chance, rest_s=rest_s)
        case Halted(code, reason):
            cause = f"{code}: {reason}" if code else reason
            return _later(cause, attempt, policy, now_ms=now_ms, chance=chance, rest_s=rest_s)
        case _:
            assert_never(outcome)


def decide_before_attempt(
    attempts: int, policy: RetryPolicy, *, now_ms: int, rest_s: float | None, others: bool
) -> Verdict | None:
    """The verdict on a message that is not to be written again, or None if it may be.

    `attempts`: how often it was. `rest_s`: as in `decide`. While dispatch is held a message keeps
    its last attempt for afterwards, as long as `others` probe; and one that has none left waits as
    well, since nothing is decided before the provider is up again.
    """
    left = policy.max_attempts - attempts
    if rest_s is None:
        return None if left > 0 else Bury(DeadReason.IN_DOUBT, "", SPENT)
    if left > 1 or attempts == 0 or (left == 1 and not others):
        return None
    return Defer(now_ms + round(1000 * min(rest_s, policy.max_delay)), MAKES_ROOM, spent=True)


def _later(
    reason: str,
    attempt: int,
    policy: RetryPolicy,
    *,
    now_ms: int,
    chance: float,
    rest_s: float | None = None,
    spent: bool = True,
) -> Defer:
    delay_s = max(policy.backoff(attempt, chance), min(rest_s or 0.0, policy.max_delay))
    return Defer(now_ms + round(1000 * delay_s), reason, spent)
