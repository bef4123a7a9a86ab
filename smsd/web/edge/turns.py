"""Turns of the event loop. Rule: callers take a bounded part of each turn, however many they are.

The pacer waits on the same loop. Everything that reads a caller's octets or begins a request asks
here first, and waits in line where this turn has no time left for callers.
"""

import asyncio
from collections import deque
from collections.abc import Callable

STEPS_PER_TURN = 16
BUDGET_S = 0.001  # after which no further step begins in this turn


class Turns:
    """Lets steps begin in the order they came, a few in each turn."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._clock = clock
        self._steps_left = 0
        self._deadline = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self._ticking = False

    def take(self) -> bool:
        """Take one step of this turn, if it has any left. False: the step has to wait."""
        if not self._ticking:
            self._ticking = True
            self._begin_turn()
            asyncio.get_running_loop().call_soon(self._tick)
        elif self._waiting or not self._has_time():
            return False
        self._steps_left -= 1
        return True

    def later(self, step: Callable[[], None]) -> None:
        """Call `step` as soon as its turn has come; for a step that could not be taken."""
        self._waiting.append(step)

    def wait(self) -> "asyncio.Future[None] | None":
        """What to wait for before a step may begin; None where it may begin at once."""
        if self.take():
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.later(lambda: None if turn.done() else turn.set_result(None))
        return turn

    def _begin_turn(self) -> None:
        self._steps_left = STEPS_PER_TURN
        self._deadline = self._clock() + BUDGET_S

    def _has_time(self) -> bool:
        return self._steps_left > 0 and self._clock() < self._deadline

    def _tick(self) -> None:
        """Begin the next turn, and one more after it while there are callers."""
        idle = self._steps_left == STEPS_PER_TURN
        self._begin_turn()
        if idle and not self._waiting:
            self._ticking = False
            return
        while self._waiting and self._has_time():
            self._steps_left -= 1
            self._waiting.popleft()()
        asyncio.get_running_loop().call_soon(self._tick)
