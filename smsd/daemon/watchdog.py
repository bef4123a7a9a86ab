"""systemd's watchdog. Rule: it is fed for as long as dispatch moves, or need not move."""

import asyncio
from collections.abc import Callable

from smsd import systemd
from smsd.core.pacer import SECOND
from smsd.daemon.clocks import clock
from smsd.dispatch.in_doubt import WITHIN_S

STUCK_S = 20.0  # without progress, beyond what one submission may take: dispatch is dead


async def feed(last_alive_at: Callable[[int], int], *, timeout_s: float) -> None:
    """Feed the watchdog until cancelled; without a watchdog do nothing.

    `last_alive_at` answers when dispatch was last seen to move. A submission waits up to
    `timeout_s`, the provider's, for its slot's lock, and as long again for the answer.
    """
    interval = systemd.watchdog_interval()
    if interval is None:
        await asyncio.Event().wait()
        return
    patience, seen_at = round((STUCK_S + 2 * timeout_s + WITHIN_S) * SECOND), clock()
    while True:
        now = clock()
        seen_at = max(seen_at, last_alive_at(now))
        if now - seen_at <= patience:
            systemd.notify("WATCHDOG=1")
        await asyncio.sleep(interval / 3)
