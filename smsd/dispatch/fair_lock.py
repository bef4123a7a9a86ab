"""Where slots wait. Rule: one at a time, in the order of arrival.

An `asyncio.Lock` hands over once a turn of the loop, so that no more could leave than the loop
has turns: some 10,000 a second. Here several are called in one turn, if as many may leave in it.
Whoever was called and finds somebody inside goes back to its place.
"""

import asyncio
import itertools
from heapq import heappop, heappush


class FairLock:
    """A lock whose waiters are called together."""

    def __init__(self) -> None:
        self._tickets = itertools.count()
        self._line: list[tuple[int, asyncio.Future[None]]] = []  # a heap: by order of arrival
        self._called = 0  # on their way from the line
        self._inside = False

    def try_acquire(self) -> bool:
        """Enter if nobody is inside or before us, and `leave` must follow. False: not entered."""
        if self._inside or self._called or self._line:
            return False
        self._inside = True
        return True

    async def acquire(self, together: int) -> None:
        """Wait for one's turn; `leave` must follow. `together`: how many to call at once."""
        if self.try_acquire():
            return
        ticket = next(self._tickets)
        await self._in_line(ticket, together)
        while self._inside:
            await self._in_line(ticket, together)
        self._inside = True

    def release(self, together: int) -> None:
        """The next may enter."""
        self._inside = False
        self._call(together)

    async def _in_line(self, ticket: int, together: int) -> None:
        called = asyncio.get_running_loop().create_future()
        heappush(self._line, (ticket, called))
        try:
            await called
        except asyncio.CancelledError:
            if not called.cancelled():  # it had been called
                self._called -= 1
                self._call(together)
            raise
        self._called -= 1

    def _call(self, together: int) -> None:
        while self._line and self._called < together and not self._inside:
            _, called = heappop(self._line)
            if not called.done():
                called.set_result(None)
                self._called += 1
