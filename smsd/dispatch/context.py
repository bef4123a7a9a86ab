"""What the parts of a term share. Rule: values and sources of values; it does nothing by itself."""

from collections.abc import Callable
from dataclasses import dataclass

from smsd.core.message import Limits
from smsd.core.outcome import RetryPolicy
from smsd.metrics import Metrics
from smsd.store.queue import Queue


@dataclass(frozen=True, slots=True)
class Context:
    """The queue and the policy, clocks and chance, and the way to and from the lease."""

    queue: Queue
    limits: Limits
    policy: RetryPolicy
    metrics: Metrics
    owner: str  # this daemon's name, for the in-flight records
    clock: Callable[[], int]  # monotonic nanoseconds
    now_ms: Callable[[], int]  # Unix milliseconds
    chance: Callable[[], float]  # in [0, 1)
    may_send: Callable[[], bool]  # whether the lease is held and the data is trusted right now
    on_fenced: Callable[[], None]  # called when another daemon proves to hold the lease
