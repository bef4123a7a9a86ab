"""The clocks. Rule: a part that needs the time is given one of these; no other file reads one."""

import time
from functools import partial

# Monotonic nanoseconds, which go on while the machine is suspended, where the system has them.
clock = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
