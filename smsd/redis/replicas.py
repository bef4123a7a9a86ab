"""Replicas. Rule: with `replicas_ack`, a write counts only when so many replicas have it.

Too few is as if Redis were away: whoever asked for the write asks again.
"""

import logging

from redis.asyncio import Redis

from smsd.redis.errors import TooFewReplicas

log = logging.getLogger("smsd.redis")


class Replicas:
    """Waits until enough replicas have what one connection has written."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.enough = True  # the last time they were waited for

    async def wait(self, connection: Redis, patience_ms: int) -> None:
        """Return when enough have it. Raises `TooFewReplicas` when patience ends."""
        have = await connection.wait(self.needed, patience_ms)
        if (have >= self.needed) != self.enough:
            self.enough = have >= self.needed
            record = log.info if self.enough else log.error
            record("replicas", extra={"enough": self.enough, "have": have, "needed": self.needed})
        if not self.enough:
            raise TooFewReplicas(f"{have} of {self.needed} replicas have it")
