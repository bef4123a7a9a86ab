"""In-flight records, before a send. Rule: without its record no message is submitted.

One command writes those of all messages that are due together. What is not to be submitted after
all gets its verdict here.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from smsd.core.outcome import PutBack, Suppress, TakeBack, Verdict, Withhold
from smsd.dispatch.context import Context
from smsd.dispatch.settler import Settler, Submission, log_failure
from smsd.redis.errors import Refused
from smsd.store.queue import Begun

log = logging.getLogger("smsd.dispatch")
NOT_MARKED = PutBack("it was not marked")
UNSENT: Mapping[Begun, Verdict] = {
    "suppressed": Suppress(),
    "paused": Withhold(),
    "cancelled": TakeBack(),
    "older": NOT_MARKED,
}

Answer = Literal["begun"] | Verdict | None
"""Submit it, or the verdict on it unsent, or None: its entry is not ours to settle now."""


class Marking(NamedTuple):
    """What came of marking several messages."""

    answers: list[Answer]
    failed: bool  # some of them could not be marked


class Marker:
    """Marks messages in flight."""

    def __init__(self, context: Context, settler: Settler) -> None:
        self._queue = context.queue
        self._now_ms = context.now_ms
        self._metrics = context.metrics
        self._on_fenced = context.on_fenced
        self._settler = settler

    async def mark(self, due: Sequence[Submission]) -> Marking:
        """Write an in-flight record for each that may be submitted."""
        now_ms = self._now_ms()
        early = [self._settler.decide_before_attempt(one.message, now_ms) for one in due]
        marks = [
            (one.entry, one.attempt, one.message.recipient)
            for one, verdict in zip(due, early, strict=True)
            if verdict is None
        ]
        try:
            begun = await self._queue.begin(marks)
        except Exception as error:  # noqa: BLE001 - logged, one by one
            begun = [error] * len(marks)
        found = iter(begun)
        answers = [
            self._understood(one, next(found)) if verdict is None else verdict
            for one, verdict in zip(due, early, strict=True)
        ]
        return Marking(answers, any(isinstance(one, Exception) for one in begun))

    def _understood(self, one: Submission, begun: Begun | Exception) -> Answer:
        match begun:
            case "begun":
                return "begun"
            case "suppressed" | "paused" | "cancelled" | "older":
                return UNSENT[begun]
            case "fenced":
                self._on_fenced()
                return NOT_MARKED
            case Refused(key=key) if key:  # no entry can be marked until that key is mended
                return NOT_MARKED
            case Exception():
                log_failure(one.message, begun)
            case _:
                log.info("not sent", extra={"id": one.message.id, "reason": begun})
                self._metrics.settled[begun] += 1
        return None
