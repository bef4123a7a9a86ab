"""Long work in slices. Rule: no step of it holds the event loop for more than a millisecond."""

import asyncio

SLICE_S = 0.0004  # the pacer waits on the same loop
STEP = 16  # small pieces of work between two looks at the clock


class Slices:
    """Work that is done in one task, a slice in each turn of the loop."""

    def __init__(self) -> None:
        self._clock = asyncio.get_running_loop().time
        self._until = self._clock() + SLICE_S

    async def rest(self) -> None:
        """Give up the loop for a turn, if this slice is used up."""
        if self._clock() >= self._until:
            await asyncio.sleep(0)
            self._until = self._clock() + SLICE_S
