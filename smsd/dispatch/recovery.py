"""Entries nobody is working on. Rule: unmarked means surely not sent, marked means in doubt.

A predecessor that died leaves them, and so does a claim whose reply was lost. Recovery runs on
start and on takeover, before anything is sent, and again now and then while running. What is in
doubt is asked about beside all that: its mark keeps it from being sent meanwhile.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from smsd.core.fields import FieldError
from smsd.core.life import DeadReason
from smsd.core.message import Limits, Message
from smsd.core.outcome import InDoubt, Outcome, Release, RetryPolicy, decide
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.dispatch.in_doubt import InDoubtAsker, Unanswered, is_high
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.settler import settle, tell
from smsd.metrics import Metrics
from smsd.redis.errors import Away, Refused
from smsd.store.entry import STREAMS, Attempt, Entry, Stream, stream_of
from smsd.store.queue import Fenced, Queue

log = logging.getLogger("smsd.recovery")
EVERY_S = 30.0
PAUSE_S = 0.5  # before Redis is asked again after it was away
WHY = "the daemon stopped while it was being sent"
UNREADABLE = "its mark in flight could not be read: nobody knows when it was sent, if it was"


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A text that was marked in flight by somebody who is gone."""

    entry: Entry
    attempt: Attempt
    message: Message


class Recovery:
    """Settles what the journal holds for nobody, and takes in what is claimed by nobody."""

    def __init__(
        self,
        queue: Queue,
        claimer: Claimer,
        prefetch: Prefetch,
        *,
        limits: Limits,
        policy: RetryPolicy,
        now_ms: Callable[[], int],
        chance: Callable[[], float],
        metrics: Metrics,
        asker: InDoubtAsker | None = None,
    ) -> None:
        """Without `asker` nobody is asked: the policy decides, and `recover` settles at once."""
        self._queue = queue
        self._claimer = claimer
        self._prefetch = prefetch
        self._limits = limits
        self._policy = policy
        self._now_ms = now_ms
        self._chance = chance
        self._metrics = metrics
        self._asker = asker
        self._to_ask: list[Doubtful] = []
        self._asked_about: set[str] = set()  # entries, from when they are found to their settlement

    async def run(self) -> None:
        """Recover every now and then, and soon after a claim whose reply was lost."""
        async with asyncio.TaskGroup() as asking:
            while True:
                for doubtful in self._to_ask:
                    asking.create_task(self._ask(doubtful))
                self._to_ask.clear()
                try:
                    async with asyncio.timeout(EVERY_S):
                        await self._claimer.reply_lost.wait()
                except TimeoutError:
                    pass
                self._claimer.reply_lost.clear()
                await self.recover()
                await self._finish_long_lists()

    async def _finish_long_lists(self) -> None:
        with suppress(Away, Refused):  # they wait for the next round
            await self._queue.long_lists.finish_left_behind()

    async def recover(self) -> None:
        """Recover once, however often Redis goes away meanwhile, or another holds the lease."""
        while True:
            try:
                return await self._recover()
            except Fenced:  # what is marked may be what it is sending: nothing of it is ours
                self._claimer.on_fenced()
                await asyncio.sleep(PAUSE_S)
            except Refused:  # nobody knows what is in flight: until then nothing may be sent
                await asyncio.sleep(PAUSE_S)
            except Away:
                await asyncio.sleep(PAUSE_S)

    async def _recover(self) -> None:
        journal = await self._queue.journal()
        for stream in STREAMS:
            with suppress(Refused):  # what can be recovered is; the rest waits for the next round
                await self._recover_stream(stream, journal)

    async def _recover_stream(self, stream: Stream, journal: Mapping[str, Attempt]) -> None:
        await self._settle_journal(
            {name: journal[name] for name in journal if stream_of(name) == stream}
        )
        if lost := await self._queue.deliver_again(stream):
            facts = {"entries": len(lost), "first": lost[0]}
            log.error("delivered and not pending: delivered again", extra=facts)
        pending = [
            name
            for name in await self._queue.pending(stream)
            if not self._knows(name) and name not in journal
        ]
        if pending:
            entries = await self._queue.reclaim(pending)
            log.info("reclaimed", extra={"entries": len(entries)})
            await self._claimer.admit(entries)

    def _knows(self, name: str) -> bool:
        return self._prefetch.knows(name) or name in self._asked_about

    async def _settle_journal(self, journal: Mapping[str, Attempt]) -> None:
        lost = [name for name in journal if not self._knows(name)]
        entries = {entry.name: entry for entry in await self._queue.reclaim(lost)}
        for name in lost:
            if name in entries:
                with suppress(Refused):  # its mark stays, and the next round finds it
                    await self._in_doubt(entries[name], journal[name])
            else:
                await self._queue.release(name, journal[name])  # settled, or deleted by hand

    async def _in_doubt(self, entry: Entry, attempt: Attempt) -> None:
        try:
            message = parse_entry(entry, self._limits, self._now_ms())
        except FieldError:  # the limits were lowered since
            log.warning("buried", extra={"id": entry.message_id, "reason": _why(attempt)})
            await self._queue.bury(
                entry, attempt, None, reason=DeadReason.IN_DOUBT, detail=_why(attempt)
            )
            return
        log.warning("in doubt", extra={"id": message.id, "attempt": attempt.number})
        doubtful = Doubtful(entry, attempt, message)
        if self._asker is None or not attempt.started_ms:  # no provider could tell which it was
            await self._settle(doubtful, InDoubt(_why(attempt)))
        else:
            self._asked_about.add(entry.name)
            self._to_ask.append(doubtful)

    async def _ask(self, doubtful: Doubtful) -> None:
        assert self._asker is not None  # noqa: S101 - else there is nothing to ask about
        try:
            outcome = await self._asker.resolve(
                doubtful.message, doubtful.attempt.started_ms, InDoubt(WHY), in_recovery=True
            )
            await self._settle(doubtful, outcome)
        except (Unanswered, Refused, Away):
            pass  # its mark stays, and whoever comes next asks again
        finally:
            self._asked_about.discard(doubtful.entry.name)

    async def _settle(self, doubtful: Doubtful, outcome: Outcome) -> None:
        entry, attempt, message = doubtful.entry, doubtful.attempt, doubtful.message
        verdict = decide(
            outcome,
            high=is_high(entry, message),
            attempt=attempt.number,
            now_ms=self._now_ms(),
            policy=self._policy,
            rest_s=None,
            chance=self._chance(),
        )
        if isinstance(verdict, Release):
            raise AssertionError(f"a text in doubt cannot be {verdict}")  # noqa: TRY004 - a bug
        tell(self._metrics, message, attempt, outcome, verdict)
        await settle(self._queue, verdict, entry, attempt, message)


def _why(attempt: Attempt) -> str:
    return WHY if attempt.started_ms else UNREADABLE
