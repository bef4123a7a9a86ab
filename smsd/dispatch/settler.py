"""Carrying a verdict out. Rule: each verdict is one transition of the queue, whoever gave it.

And each is one line of the log and one count, be it given after a submission or by recovery.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from smsd.core.message import Message
from smsd.core.outcome import Accepted, Ack, Bury, Defer, Outcome, Release, Verdict
from smsd.metrics import Metrics
from smsd.redis.errors import Refused
from smsd.store.entry import Attempt, Entry
from smsd.store.queue import Queue, Settlement

log = logging.getLogger("smsd.dispatch")
REFUSED_PAUSE_S = 1.0  # before Redis is asked again for what it refused


def settle(
    queue: Queue, verdict: Ack | Defer | Bury, entry: Entry, attempt: Attempt, message: Message
) -> Settlement:
    """Do what the verdict says."""
    match verdict:
        case Ack(provider_id):
            return queue.ack(entry, attempt, message, provider_id)
        case Defer(until, why, spent):
            attempts = attempt.number if spent else message.attempts
            return queue.defer(entry, attempt, message, until=until, attempts=attempts, why=why)
        case Bury(reason, code, detail, suppress):
            return queue.bury(
                entry,
                attempt,
                message,
                reason=reason,
                code=code,
                detail=detail,
                suppress=suppress,
            )


async def settle_refused(
    queue: Queue,
    verdict: Ack | Defer | Bury,
    entry: Entry,
    attempt: Attempt,
    message: Message,
    *,
    refused: Callable[[], None],
) -> bool:
    """Do what Redis has refused, however long it does: nobody else knows the outcome.

    `refused` is called each time.
    """
    while True:
        refused()
        await asyncio.sleep(REFUSED_PAUSE_S)
        with suppress(Refused):
            return await settle(queue, verdict, entry, attempt, message)


def tell(
    metrics: Metrics, message: Message, attempt: Attempt, outcome: Outcome | None, verdict: Verdict
) -> None:
    """Say what becomes of an attempt; without an outcome none was made."""
    if isinstance(outcome, Accepted):
        _compare_segments(metrics, message, outcome)
    metrics.settled[type(verdict).__name__.lower()] += 1
    if isinstance(verdict, Ack) and not log.isEnabledFor(logging.INFO):
        return
    facts: dict[str, object] = {
        "id": message.id,
        "to": message.recipient,
        "attempt": attempt.number,
        "segments": message.content.segments.segments,
    }
    if isinstance(verdict, Ack):
        log.info("sent", extra=facts | {"provider_id": verdict.provider_id})
        return
    word = {Defer: "deferred", Bury: "buried", Release: "put back"}[type(verdict)]
    reason = getattr(outcome, "reason", "") if outcome else _reason(verdict)
    facts |= {"outcome": type(outcome).__name__ if outcome else "not sent", "reason": reason}
    log.warning(word, extra=facts)


def _compare_segments(metrics: Metrics, message: Message, outcome: Accepted) -> None:
    ours, theirs = message.content.segments.segments, outcome.segments
    if theirs is not None and theirs != ours:
        metrics.segments_differ += 1
        facts = {"id": message.id, "ours": ours, "theirs": theirs}
        log.warning("segments differ", extra=facts)


def _reason(verdict: Verdict) -> str:
    return verdict.detail if isinstance(verdict, Bury) else getattr(verdict, "reason", "")
