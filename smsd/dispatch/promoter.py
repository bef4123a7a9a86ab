"""Moves due messages back into the queue. Rule: sleep until the next one is due, or look again."""

import asyncio

from smsd.dispatch.context import Context
from smsd.redis.errors import Away, Refused

LONGEST_SLEEP_S = 0.5  # a message that is deferred meanwhile may be due earlier


class Promoter:
    """Promotes deferred messages when they are due."""

    def __init__(self, context: Context) -> None:
        self._queue = context.queue
        self._now_ms = context.now_ms

    async def run(self) -> None:
        """Promote until cancelled."""
        while True:
            try:
                await asyncio.sleep(await self._promote())
            except (Refused, Away):  # (of those that are due, it refuses only some)
                await asyncio.sleep(LONGEST_SLEEP_S)

    async def _promote(self) -> float:
        """Promote what is due; seconds until there may be more."""
        if await self._queue.promote():
            return 0.0
        due = await self._queue.next_due()
        if due is None:
            return LONGEST_SLEEP_S
        return min(max(due - self._now_ms(), 1) / 1000, LONGEST_SLEEP_S)
