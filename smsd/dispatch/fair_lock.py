"""A fair lock. Rule: one holder at a time, in the order of arrival.

An `asyncio.Lock` is handed over once in a turn of the event loop, so no more than some 10,000 could
leave in a second. Here several waiters are woken in one turn, if as many may leave in it. A waiter
that is woken while the lock is held goes back to its place.
"""

import asyncio
import itertools
from heapq import heappop, heappush


class FairLock:
    """A lock whose waiters are woken together."""

    def __init__(self) -> None:
        self._tickets = itertools.count()
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []  # a heap, by arrival
        self._woken = 0  # waiters that have not run since
        self._held = False

    def try_acquire(self) -> bool:
        """Acquire the lock if it is free and nobody waits; whether that was so."""
        if self._held or self._woken or self._waiters:
            return False
        self._held = True
        return True

    async def acquire(self, together: int) -> None:
        """Wait for the lock; `release` must follow. `together`: how many to wake at once."""
        if self.try_acquire():
            return
        ticket = next(self._tickets)
        await self._wait(ticket, together)
        while self._held:
            await self._wait(ticket, together)
        self._held = True

    def release(self, together: int) -> None:
        """Give the lock to the next."""
        self._held = False
        self._wake(together)

    async def _wait(self, ticket: int, together: int) -> None:
        woken = asyncio.get_running_loop().create_future()
        heappush(self._waiters, (ticket, woken))
        try:
            await woken
        except asyncio.CancelledError:
            if not woken.cancelled():  # it was woken, too
                self._woken -= 1
                self._wake(together)
            raise
        self._woken -= 1

    def _wake(self, together: int) -> None:
        while self._waiters and self._woken < together and not self._held:
            _, woken = heappop(self._waiters)
            if not woken.done():
                woken.set_result(None)
                self._woken += 1
