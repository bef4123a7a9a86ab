"""The garbage collector. Rule: it runs often, so that each run stops the loop for a short time.

Reference counts free nearly everything that the daemon makes. The exceptions are errors, which
refer to each other through their tracebacks: an outage leaves ten thousand objects behind.

By default Python collects the young objects once enough more were made than freed. Under a flood
as many are freed as are made, so hundreds of thousands gather and are collected in one step of
60 ms. Collected every 0.2 s, they take 10 ms at most.
"""

import asyncio
import gc

from smsd.core.pacer import SECOND
from smsd.daemon.clocks import clock

YOUNG_S = 0.2  # between collections of the youngest objects
OLD_S = 10.0  # between collections of all objects
APART = 500  # at least this many times as long as the last of those took


def tune() -> None:
    """Exempt all objects that exist now, once the daemon is set up; switch automatic runs off."""
    gc.collect()
    gc.freeze()
    gc.disable()


async def collect() -> None:
    """Collect now and then, until cancelled.

    A collection of all objects takes 2 to 8 ms; with 10,000 connections some 30 ms, about one slot
    at 45/s, and where those pipeline requests without reading answers, 100 ms: then it runs less
    often.
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
