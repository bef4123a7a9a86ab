"""Carrying a verdict out. Rule: each verdict is one transition of the queue, whoever gave it."""

from smsd.core.message import Message
from smsd.core.outcome import Ack, Bury, Defer
from smsd.store.queue import Attempt, Entry, Queue, Settlement


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
