"""What becomes of a submission. Rule: learn from it, resolve what is in doubt, decide, perform.

Each step is one function. Dispatch takes all four; recovery, which never heard the answer, begins
with the second. A verdict is one transition of the queue, one line of the log and one count.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, assert_never

from smsd.core.message import Message
from smsd.core.outcome import (
    Accepted,
    Ack,
    Bury,
    Defer,
    Expire,
    InDoubt,
    Outcome,
    PutBack,
    Suppress,
    TakeBack,
    Throttled,
    Verdict,
    Withhold,
    decide,
)
from smsd.dispatch.context import Context
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.pace import Pace
from smsd.dispatch.throttle import Throttle
from smsd.redis.errors import Refused
from smsd.store.entry import Attempt, Entry

log = logging.getLogger("smsd.dispatch")
OnSettled = Callable[[str, Attempt, Verdict], None]  # with the message's id
THROTTLE_PAUSE_S = 1.0  # where the provider does not say for how long
REFUSED_PAUSE_S = 1.0  # before Redis is asked again for what it refused

# How the log calls what becomes of a message, and the metric that counts it.
EVENTS: Mapping[type[Verdict], tuple[int, str, str]] = {
    Ack: (logging.INFO, "sent", "ack"),
    Defer: (logging.WARNING, "deferred", "defer"),
    Bury: (logging.WARNING, "dead-lettered", "bury"),
    Expire: (logging.INFO, "expired", "expire"),
    Suppress: (logging.INFO, "suppressed", "suppress"),
    Withhold: (logging.INFO, "held", "hold"),
    TakeBack: (logging.INFO, "cancelled", "cancel"),
    PutBack: (logging.INFO, "put back in line", "put_back"),
}


class Submission(NamedTuple):
    """A message, the entry that holds it, and the attempt to send it."""

    entry: Entry
    attempt: Attempt
    message: Message

    def unsent(self) -> "Submission":
        """The same without an attempt of its own: it never had an in-flight record."""
        return self._replace(attempt=Attempt(self.message.attempts, 0, self.attempt.owner))


class Settler:
    """Turns outcomes into transitions of the queue."""

    def __init__(
        self,
        context: Context,
        asker: InDoubtAsker,
        hold: Hold,
        pace: Pace,
        *,
        on_settled: OnSettled = lambda _message_id, _attempt, _verdict: None,
    ) -> None:
        """`on_settled` is called with each message that is settled."""
        self._queue = context.queue
        self._policy = context.policy
        self._default_sender = context.limits.default_from
        self._now_ms = context.now_ms
        self._chance = context.chance
        self._metrics = context.metrics
        self._hold = hold
        self._pace = pace
        self._throttle = Throttle()
        self._on_settled = on_settled
        self.asker = asker

    def learn(
        self, message: Message, outcome: Outcome, *, probe: bool, waiting: bool
    ) -> tuple[Outcome, bool]:
        """The outcome, once it is known whose fault it is, and whether it is why dispatch is held.

        What it shows of the provider goes to the hold, the throttle and the pace. `waiting`: other
        messages wait.
        """
        sender = message.content.sender
        own_sender = "" if sender == self._default_sender else sender
        if not isinstance(outcome, Accepted):
            outcome = self._hold.find_fault(message.id, outcome, own_sender=own_sender != "")
        caused_hold = self._hold.learn(message.id, outcome, probe=probe, waiting=waiting)
        too_fast = self._throttle.learn(own_sender or message.id, message.id, outcome)
        if too_fast and isinstance(outcome, Throttled):
            pause = THROTTLE_PAUSE_S if outcome.retry_after is None else outcome.retry_after
            self._pace.pause(min(max(pause, 0.0), self._policy.max_delay))
        self._metrics.outcomes[type(outcome).__name__] += 1
        return outcome, caused_hold

    def decide_before_attempt(self, message: Message, now_ms: int) -> Verdict | None:
        """The verdict on a message that is not to be submitted, or None if it may be."""
        if message.has_expired(now_ms):
            return Expire()
        if message.attempts == 0:
            return None
        return self._hold.decide_before_attempt(message.attempts, self._policy, now_ms)

    async def resolve(
        self, submission: Submission, outcome: InDoubt, *, in_recovery: bool = False
    ) -> Outcome:
        """What the provider knows of a submission in doubt, or the same. Raises `Unanswered`."""
        _, attempt, message = submission
        return await self.asker.resolve(
            message, attempt.started_ms, outcome, in_recovery=in_recovery
        )

    def decide(
        self, submission: Submission, outcome: Outcome, *, rest_s: float | None = None
    ) -> Verdict:
        """The verdict on an outcome. `rest_s`: as in `core.outcome.decide`."""
        if isinstance(outcome, Accepted):  # as nearly always
            return Ack(outcome.provider_id)
        _, attempt, message = submission
        return decide(
            outcome,
            high=message.content.priority == "high",
            attempt=attempt.number,
            now_ms=self._now_ms(),
            policy=self._policy,
            rest_s=rest_s,
            chance=self._chance(),
            throttled=self._throttle.times(message.id),
        )

    async def perform(
        self,
        submission: Submission,
        outcome: Outcome | None,
        verdict: Verdict,
        *,
        on_refused: Callable[[], None] | None = None,
    ) -> Verdict:
        """Log, count and carry out a verdict, and return it; without an `outcome` nothing was
        submitted.

        Raises `Refused` if Redis refuses it. With `on_refused`, which is called each time, it is
        tried until Redis takes it: nobody else knows the outcome.
        """
        self._report(submission, outcome, verdict)
        while True:
            try:
                if await self._transition(submission, verdict) is False:
                    log.warning("settled by another before", extra={"id": submission.message.id})
            except Refused:
                if on_refused is None:
                    raise
                on_refused()
                await asyncio.sleep(REFUSED_PAUSE_S)
            else:
                self._on_settled(submission.message.id, submission.attempt, verdict)
                return verdict

    def _transition(  # noqa: C901, PLR0911, PLR0912 - one case per verdict: it reads as a table
        self, submission: Submission, verdict: Verdict
    ) -> Awaitable[bool | None]:
        """The one transition of the queue that is this verdict. False: it was settled before."""
        entry, attempt, message = submission
        match verdict:
            case Ack(provider_id):
                return self._queue.ack(entry, attempt, message, provider_id)
            case Defer(until, reason, spent):
                attempts = attempt.number if spent else message.attempts
                return self._queue.defer(
                    entry, attempt, message, until=until, attempts=attempts, why=reason
                )
            case Bury(reason, code, detail, opted_out):
                return self._queue.bury(
                    entry,
                    attempt,
                    message,
                    reason=reason,
                    code=code,
                    detail=detail,
                    opted_out=opted_out,
                )
            case PutBack():
                return self._queue.release(entry.name, attempt)
            case Expire():
                return self._queue.expire(entry, attempt, message)
            case Suppress():
                return self._queue.suppress(entry, message)
            case Withhold():
                return self._queue.hold(entry, message)
            case TakeBack():
                return self._queue.take_back(entry, message)
            case _:
                assert_never(verdict)

    def _report(self, submission: Submission, outcome: Outcome | None, verdict: Verdict) -> None:
        if isinstance(outcome, Accepted):
            self._compare_segments(submission.message, outcome)
        level, event, counted_as = EVENTS[type(verdict)]
        self._metrics.settled[counted_as] += 1
        if log.isEnabledFor(level):
            log.log(level, event, extra=_fields(submission, outcome, verdict))

    def _compare_segments(self, message: Message, outcome: Accepted) -> None:
        ours, theirs = message.content.segments.segments, outcome.segments
        if theirs is not None and theirs != ours:
            self._metrics.segments_differ += 1
            fields = {"id": message.id, "ours": ours, "theirs": theirs}
            log.warning("segment counts differ", extra=fields)


def log_failure(message: Message, error: Exception) -> None:
    """Log what kept a message from being settled; its entry is left to recovery."""
    if isinstance(error, Refused):
        log.error("refused by Redis", extra={"id": message.id, "reason": str(error)})
    else:
        log.critical("delivery failed", extra={"id": message.id}, exc_info=error)


def _fields(submission: Submission, outcome: Outcome | None, verdict: Verdict) -> dict[str, object]:
    """What the log shows of a verdict."""
    _, attempt, message = submission
    fields: dict[str, object] = {
        "id": message.id,
        "to": message.recipient,
        "attempt": attempt.number,
        "segments": message.content.segments.segments,
    }
    if isinstance(verdict, Ack):
        return fields | {"provider_id": verdict.provider_id}
    fields["outcome"] = type(outcome).__name__ if outcome else "not submitted"
    match verdict:
        case Bury(reason, code, detail):
            return fields | {"reason": str(reason), "code": code, "detail": detail}
        case Defer(reason=reason) | PutBack(reason=reason):
            return fields | {"reason": reason}
        case _:
            return fields
