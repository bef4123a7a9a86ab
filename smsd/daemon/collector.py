"""The garbage collector. Rule: it stops the loop seldom and briefly, and nothing stays for long.

Nearly all of what the daemon makes dies by its reference count. What does not are errors, which
hold each other through their tracebacks: an outage leaves ten thousand objects behind, and they
would be found after the next million.
"""

import asyncio
import gc

from smsd.core.pacer import SECOND
from smsd.daemon.clocks import clock

EVERY_S = 10.0
APART = 500  # times what the last one took: it costs the pace at most this part of the time


def tune() -> None:
    """Once all is set up: what exists now exists for good."""
    gc.collect()
    gc.freeze()
    # A collection in the middle of a slot makes a message late. Floods of connections make a
    # hundred thousand objects a second: to look at so many young ones takes 1 ms, not 4.
    gc.set_threshold(3_000, 10, 1_000_000)  # the last: never by itself, that is for `collect`


async def collect() -> None:
    """Look for all there is to find, now and then, until cancelled.

    It takes 2 to 8 ms each time; with 10,000 connections some 30 ms, about one slot at 45/s, and
    where they pipeline what nobody reads, 100 ms: then it is done less often.
    """
    pause_s = EVERY_S
    while True:
        await asyncio.sleep(pause_s)
        began = clock()
        gc.collect()
        pause_s = max(EVERY_S, APART * (clock() - began) / SECOND)
