"""The garbage collector. Rule: it stops the loop seldom and briefly, and nothing stays for long.

Nearly all of what the daemon makes dies by its reference count. What does not are errors, which
hold each other through their tracebacks: an outage leaves ten thousand objects behind, and they
would be found after the next million.
"""

import asyncio
import gc

EVERY_S = 10.0


def tune() -> None:
    """Once all is set up: what exists now exists for good."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(1_000, 10, 1_000_000)  # a collection in the middle of a slot makes a text late


async def collect() -> None:
    """Look for all there is to find, now and then, until cancelled.

    It takes 2 to 8 ms each time; with 10,000 connections some 30 ms, about one slot at 45/s.
    """
    while True:
        await asyncio.sleep(EVERY_S)
        gc.collect()
