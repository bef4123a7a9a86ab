"""A term: the time in which this daemon dispatches. Rule: recover, send while leading, drain.

A term begins when the lease is taken and ends when it is lost, or when the daemon stops. Each has a
pacer of its own that starts full: what a predecessor sent in the last second still counts.
"""

import asyncio
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any

from smsd.dispatch.auto_pause import AutoPause
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.dispatcher import Dispatcher
from smsd.dispatch.expander import Expander
from smsd.dispatch.hold import Hold
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery

log = logging.getLogger("smsd.term")
WATCH_S = 0.05  # how soon a lost lease is noticed; sending stops at once by itself


@dataclass(slots=True)
class Term:
    """The parts of one term."""

    prefetch: Prefetch
    pace: Pace
    claimer: Claimer
    recovery: Recovery
    dispatcher: Dispatcher
    promoter: Promoter
    expander: Expander
    auto_pause: AutoPause
    hold: Hold
    recovered: bool = field(default=False, init=False)

    async def run(self, may_go_on: Callable[[], bool], *, drain_s: float) -> None:
        """Dispatch while `may_go_on`; return when what was under way is settled."""
        parts = asyncio.create_task(self._work())
        while may_go_on() and not parts.done():
            await asyncio.wait([parts], timeout=WATCH_S)
            self.hold.set_idle_since(
                None if len(self.prefetch) else self.dispatcher.last_progress_at
            )
        parts.cancel()
        drained = await self.dispatcher.drain(drain_s)
        await asyncio.wait([parts])
        log.info("dispatch stopped", extra={"drained": drained, "prefetched": len(self.prefetch)})
        if not parts.cancelled():
            parts.result()  # a part that ended by itself has failed: raise its error

    def last_alive_at(self, now: int) -> int:
        """When dispatch last made progress (monotonic ns); `now` while it need not."""
        if not self.recovered:  # it may take long, and each of its steps has a time-out
            return now
        dispatched_at = now if self._may_rest(now) else self.dispatcher.last_progress_at
        return min(self.claimer.alive_at, dispatched_at)

    def _may_rest(self, now: int) -> bool:
        """Whether no message waits, or something other than dispatch holds those that do."""
        waiting = len(self.prefetch) + self.pace.waiting
        kept = self.hold.engaged or self.dispatcher.marking or self.pace.forbids(now)
        return waiting == 0 or kept

    def set_rate(self, segments_per_second: float) -> None:
        """Go on at another rate."""
        self.prefetch.set_rate(segments_per_second)
        self.pace.set_rate(segments_per_second)
        self.hold.set_rate(segments_per_second)

    async def _work(self) -> None:
        await self.recovery.recover()
        self.recovered = True
        log.info("dispatch begins")
        tasks = [
            asyncio.create_task(part.run(), name=type(part).__name__)
            for part in (
                self.claimer,
                self.dispatcher,
                self.promoter,
                self.expander,
                self.auto_pause,
                self.recovery,
            )
        ]
        try:
            ended, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
        finally:
            await end_all(tasks)


async def end_all(tasks: Collection["asyncio.Task[Any]"]) -> None:
    """Cancel tasks until all have ended: a library may swallow one cancellation."""
    while not all(task.done() for task in tasks):
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks, timeout=1.0)
