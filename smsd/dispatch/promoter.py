"""Moves due texts back into the queue. Rule: sleep until the next is due, or look again."""

import asyncio

from smsd.dispatch.context import Context
from smsd.redis.errors import Away, Refused

LONGEST_SLEEP_S = 0.5  # a text deferred meanwhile may be due earlier than the one waited for


class Promoter:
    """The other half of `defer`."""

    def __init__(self, context: Context) -> None:
        self._queue = context.queue
        self._now_ms = context.now_ms

    async def run(self) -> None:
        """Promote until cancelled."""
        while True:
            try:
                await asyncio.sleep(await self._promote())
            except Refused:  # by some of them: the others were promoted
                await asyncio.sleep(LONGEST_SLEEP_S)
            except Away:
                await asyncio.sleep(LONGEST_SLEEP_S)

    async def _promote(self) -> float:
        """Promote what is due; seconds until there may be more."""
        if await self._queue.promote():
            return 0.0
        due = await self._queue.next_due()
        if due is None:
            return LONGEST_SLEEP_S
        return min(max(due - self._now_ms(), 1) / 1000, LONGEST_SLEEP_S)
