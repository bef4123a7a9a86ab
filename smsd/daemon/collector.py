"""The garbage collector. Rule: it stops the loop briefly, at moments that we choose.

Nearly all of what the daemon makes dies by its reference count. What does not are errors, which
hold each other through their tracebacks: an outage leaves ten thousand objects behind.

Left to itself, Python looks at the young objects when there are so many more of them than have
died. Under a flood as many die as are made, and hundreds of thousands gather, to be looked at in
one step of 60 ms. So it is done by the clock: what was made in 0.2 s is looked at in 10 ms at most.
"""

import asyncio
import gc

from smsd.core.pacer import SECOND
from smsd.daemon.clocks import clock

YOUNG_S = 0.2  # between looks at what was made since the last one
OLD_S = 10.0  # between looks at everything
APART = 500  # times what the last of those took: it costs the pace at most this part of the time


def tune() -> None:
    """Once all is set up: what exists now exists for good."""
    gc.collect()
    gc.freeze()
    gc.disable()


async def collect() -> None:
    """Look for what died in a circle, now and then, until cancelled.

    A look at everything takes 2 to 8 ms; with 10,000 connections some 30 ms, about one slot at
    45/s, and where they pipeline what nobody reads, 100 ms: then it is done less often.
    """
    old_at = clock() + round(OLD_S * SECOND)
    while True:
        await asyncio.sleep(YOUNG_S)
        if (began := clock()) < old_at:
            gc.collect(0)
        else:
            gc.collect()
            took = clock() - began
            old_at = began + max(round(OLD_S * SECOND), APART * took)
