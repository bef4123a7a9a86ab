"""The clocks. Rule: whoever needs the time is handed one of these; nothing else reads a clock."""

import time
from functools import partial

# Monotonic nanoseconds that go on while the machine is suspended, where there are such.
clock = partial(time.clock_gettime_ns, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
