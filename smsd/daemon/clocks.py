"""The clocks. Rule: whoever needs the time is handed one of these; nothing else reads a clock."""

import time

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def clock() -> int:
    """Monotonic nanoseconds that go on while the machine is suspended, where there are such."""
    return time.clock_gettime_ns(_CLOCK)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000
