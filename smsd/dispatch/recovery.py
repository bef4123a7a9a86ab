"""Entries that nobody works on. Rule: without an in-flight record surely not sent, else in doubt.

A predecessor that died leaves them, and so does a claim whose reply was lost. Recovery runs on
start and on takeover, before anything is sent, and again now and then while running. What is in
doubt is asked about at the same time: its record keeps it from being sent meanwhile.
"""

import asyncio
import logging
from collections.abc import Mapping
from contextlib import suppress

from smsd.core.fields import FieldError
from smsd.core.life import DeadReason
from smsd.core.outcome import InDoubt, Outcome
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.dispatch.context import Context
from smsd.dispatch.in_doubt import Unanswered
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.settler import Settler, Submission
from smsd.redis.errors import Away, Refused
from smsd.store.entry import STREAMS, Attempt, Entry, Stream, stream_of
from smsd.store.handed_out import Fenced
from smsd.store.unsettled import Unsettled

log = logging.getLogger("smsd.recovery")
EVERY_S = 30.0
PAUSE_S = 0.5  # before Redis is asked again after it was away
STOPPED = "the daemon stopped while it was being sent"
UNANSWERED = "no clear answer came to it"  # in this daemon, and asking has ended without one, too
OTHER_GATEWAY = f"{STOPPED}, with other settings of the gateway than now"
UNREADABLE = "its in-flight record could not be read: nobody knows when it was sent, if it was"


class Recovery:
    """Settles what has an in-flight record of nobody, and takes in what is claimed by nobody."""

    def __init__(
        self,
        context: Context,
        unsettled: Unsettled,
        claimer: Claimer,
        prefetch: Prefetch,
        settler: Settler,
    ) -> None:
        self._context = context
        self._queue = context.queue
        self._unsettled = unsettled
        self._claimer = claimer
        self._prefetch = prefetch
        self._settler = settler
        # `recover` finds them and returns, so that dispatch can begin; `run` asks beside dispatch.
        self._to_ask: list[Submission] = []
        self._has_recovered = False
        self._asked_about: set[str] = set()  # entries, from when they are found to their settlement

    async def run(self) -> None:
        """Ask what `recover` found; recover now and then, and soon after a claim's lost reply."""
        async with asyncio.TaskGroup() as asking:
            while True:
                for submission in self._to_ask:
                    asking.create_task(self._ask(submission))
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
            except Fenced:  # what is in flight may be what another daemon sends: none of it is ours
                self._context.on_fenced()
                await asyncio.sleep(PAUSE_S)
            except (Refused, Away):  # until it is known what is in flight nothing may be sent
                await asyncio.sleep(PAUSE_S)

    async def _recover(self) -> None:
        in_flight = await self._unsettled.in_flight()
        if not self._has_recovered:  # nothing was sent in this term yet
            self._queue.begin_term(in_flight)
            self._has_recovered = True
        for stream in STREAMS:
            with suppress(Refused):  # what can be recovered is; the rest waits for the next round
                await self._recover_stream(stream, in_flight)

    async def _recover_stream(self, stream: Stream, in_flight: Mapping[str, Attempt]) -> None:
        await self._settle_left(
            {name: in_flight[name] for name in in_flight if stream_of(name) == stream}
        )
        if lost := await self._unsettled.deliver_again(stream):
            fields = {"entries": len(lost), "first": lost[0]}
            log.error("entries were delivered but not pending: delivered again", extra=fields)
        pending = [
            name
            for name in await self._unsettled.pending(stream)
            if not self._knows(name) and name not in in_flight
        ]
        if pending:
            entries = await self._queue.reclaim(pending)
            log.info("entries reclaimed", extra={"entries": len(entries)})
            await self._claimer.admit(entries)

    def _knows(self, name: str) -> bool:
        return self._prefetch.knows(name) or name in self._asked_about

    async def _settle_left(self, in_flight: Mapping[str, Attempt]) -> None:
        left = [name for name in in_flight if not self._knows(name)]
        entries = {entry.name: entry for entry in await self._queue.reclaim(left)}
        # All at once: a round trip for each would delay the start.
        await asyncio.gather(
            *(self._take_up(name, entries.get(name), in_flight[name]) for name in left)
        )

    async def _take_up(self, name: str, entry: Entry | None, attempt: Attempt) -> None:
        with suppress(Refused):  # its record stays, and the next round finds it
            if entry is None:  # settled, or deleted by hand
                await self._queue.release(name, attempt)
            else:
                await self._take_up_in_doubt(entry, attempt)

    async def _take_up_in_doubt(self, entry: Entry, attempt: Attempt) -> None:
        """Settle a message that somebody who is gone was sending, or see that it is asked about."""
        reason = self._reason(attempt)
        try:
            message = parse_entry(entry, self._context.limits, self._context.now_ms())
        except FieldError:  # the limits were lowered since
            fields = {"id": entry.message_id, "reason": DeadReason.IN_DOUBT, "detail": reason}
            log.warning("dead-lettered", extra=fields)
            await self._queue.bury(entry, attempt, None, reason=DeadReason.IN_DOUBT, detail=reason)
            return
        log.warning("in doubt", extra={"id": message.id, "attempt": attempt.number})
        submission = Submission(entry, attempt, message)
        if self._settler.asker.may_ask(attempt):
            self._asked_about.add(entry.name)
            self._to_ask.append(submission)
        else:  # nobody can tell what became of it
            await self._settle(submission, InDoubt(reason))

    def _reason(self, attempt: Attempt) -> str:
        if not attempt.started_ms:
            return UNREADABLE
        if attempt.owner == self._context.owner:
            return UNANSWERED
        same = attempt.gateway in ("", self._settler.asker.gateway)
        return STOPPED if same else OTHER_GATEWAY

    async def _settle(self, submission: Submission, outcome: Outcome) -> None:
        verdict = self._settler.decide(submission, outcome)
        await self._settler.perform(submission, outcome, verdict)

    async def _ask(self, submission: Submission) -> None:
        try:
            in_doubt = InDoubt(self._reason(submission.attempt))
            outcome = await self._settler.resolve(submission, in_doubt, in_recovery=True)
            await self._settle(submission, outcome)
        except (Unanswered, Refused, Away):
            pass  # its record stays, and whoever recovers next asks again
        finally:
            self._asked_about.discard(submission.entry.name)
