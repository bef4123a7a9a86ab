"""Entries nobody is working on. Rule: unmarked means surely not sent, marked means in doubt.

A predecessor that died leaves them, and so does a claim whose reply was lost. Recovery runs on
start and on takeover, before anything is sent, and again now and then while running.
"""

import asyncio
import logging
from collections.abc import Callable

from smsd.core.message import FieldError, Limits
from smsd.core.outcome import Bury, Defer, InDoubt, RetryPolicy, decide
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.dispatch.window import Window
from smsd.store.connection import is_away
from smsd.store.queue import Attempt, Entry, Queue

log = logging.getLogger("smsd.recovery")
EVERY_S = 30.0
PAUSE_S = 0.5  # before Redis is asked again after it was away
WHY = "the daemon stopped while it was being sent"


class Recovery:
    """Settles what the journal holds for nobody, and takes in what is claimed by nobody."""

    def __init__(
        self,
        queue: Queue,
        claimer: Claimer,
        window: Window,
        *,
        limits: Limits,
        policy: RetryPolicy,
        now_ms: Callable[[], int],
        chance: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._claimer = claimer
        self._window = window
        self._limits = limits
        self._policy = policy
        self._now_ms = now_ms
        self._chance = chance

    async def run(self) -> None:
        """Recover every now and then, and soon after a claim whose reply was lost."""
        while True:
            try:
                async with asyncio.timeout(EVERY_S):
                    await self._claimer.missed.wait()
            except TimeoutError:
                pass
            self._claimer.missed.clear()
            await self.recover()

    async def recover(self) -> None:
        """Recover once, however often Redis goes away meanwhile."""
        while True:
            try:
                return await self._recover()
            except Exception as error:
                if not is_away(error):
                    raise
                await asyncio.sleep(PAUSE_S)

    async def _recover(self) -> None:
        await self._settle_journal()
        pending = [name for name in await self._queue.pending() if not self._window.knows(name)]
        if pending:
            entries = await self._queue.reclaim(pending)
            log.info("reclaimed", extra={"entries": len(entries)})
            await self._claimer.admit(entries)

    async def _settle_journal(self) -> None:
        journal = await self._queue.journal()
        lost = [name for name in journal if not self._window.knows(name)]
        entries = {entry.name: entry for entry in await self._queue.reclaim(lost)}
        for name in lost:
            if name in entries:
                await self._in_doubt(entries[name], journal[name])
            else:
                await self._queue.release(name, journal[name])  # settled, or deleted by hand

    async def _in_doubt(self, entry: Entry, attempt: Attempt) -> None:
        try:
            message = parse_entry(entry, self._limits, self._now_ms())
        except FieldError:  # the limits were lowered since
            await self._queue.bury(entry, attempt, None, reason="in_doubt", detail=WHY)
            return
        verdict = decide(
            InDoubt(WHY),
            attempt=attempt.number,
            now_ms=self._now_ms(),
            policy=self._policy,
            provider_down=False,
            chance=self._chance(),
        )
        log.warning("in doubt", extra={"id": message.id, "attempt": attempt.number})
        match verdict:
            case Bury(reason, code, detail):
                await self._queue.bury(
                    entry, attempt, message, reason=reason, code=code, detail=detail
                )
            case Defer(until, why):
                await self._queue.defer(
                    entry, attempt, message, until=until, attempts=attempt.number, why=why
                )
            case _:
                raise AssertionError(f"a text in doubt cannot be {verdict}")
