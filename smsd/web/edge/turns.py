"""Turns of the event loop. Rule: what callers want takes a bounded part of each, however many.

The pacer waits on the same loop. All that reads a caller's octets or begins a request asks here
first, and waits in line where this turn has no time left for callers.
"""

import asyncio
from collections import deque
from collections.abc import Callable

AT_ONCE = 16  # steps in one turn
BUDGET_S = 0.001  # after which no further step begins in this turn


class Turns:
    """Lets steps begin in the order they came, a few in each turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._free = 0
        self._until = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self._ticking = False

    def is_free(self) -> bool:
        """Whether a step may begin at once; if so, it counts."""
        if not self._ticking:
            self._ticking = True
            self._begin()
            asyncio.get_running_loop().call_soon(self._tick)
        elif self._waiting or not self._has_time():
            return False
        self._free -= 1
        return True

    def later(self, step: Callable[[], None]) -> None:
        """Do `step` as soon as its turn has come; after `is_free` said no."""
        self._waiting.append(step)

    def wait(self) -> "asyncio.Future[None] | None":
        """What to wait for before a step may begin, if it must wait."""
        if self.is_free():
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.later(lambda: None if turn.done() else turn.set_result(None))
        return turn

    def _begin(self) -> None:
        self._free = AT_ONCE
        self._until = self._clock() + BUDGET_S

    def _has_time(self) -> bool:
        return self._free > 0 and self._clock() < self._until

    def _tick(self) -> None:
        """Once a turn of the loop, while there are callers."""
        idle = self._free == AT_ONCE
        self._begin()
        if idle and not self._waiting:
            self._ticking = False
            return
        while self._waiting and self._has_time():
            self._free -= 1
            self._waiting.popleft()()
        asyncio.get_running_loop().call_soon(self._tick)
