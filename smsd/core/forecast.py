"""When campaigns are finished. Rule: they share the rate here as they do in dispatch.

Those of high priority go first; those of one priority share by their weights. What is computed is
an estimate, as if segments could be divided: exact would be exact to one turn.
"""

import heapq
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from smsd.core.fields import rfc3339

_LAST_MS = 253_402_300_799_999  # Unix ms at the end of the year 9999


def moment(unix_ms: float) -> str:
    """A time that was forecast, as RFC 3339; one that no calendar has is the last that it has."""
    return rfc3339(round(min(unix_ms, _LAST_MS)))


@dataclass(frozen=True, slots=True)
class Backlog:
    """What is left of one campaign, or of something else that is in line."""

    id: str
    segments: float
    weight: int = 1
    goes_first: bool = False  # high priority
    starts_at: float = 0.0  # in how many seconds


@dataclass(frozen=True, slots=True)
class Forecast:
    """What becomes of backlogs, by their ids."""

    finished: dict[str, float] = field(default_factory=dict)  # in how many seconds
    left: dict[str, float] = field(default_factory=dict)  # segments when the forecast ends


def forecast(backlogs: Iterable[Backlog], rate: float, *, until: float = math.inf) -> Forecast:
    """Follow `backlogs` at `rate` segments/s, to their ends or to `until` seconds from now."""
    made, now = Forecast(), 0.0
    arriving = sorted(backlogs, key=lambda one: one.starts_at, reverse=True)
    first, others = _Sharing(), _Sharing()
    while True:
        while arriving and arriving[-1].starts_at <= now:
            arrived = arriving.pop()
            (first if arrived.goes_first else others).add(arrived)
        arrives_at = arriving[-1].starts_at if arriving else math.inf
        sharing = first if first else others
        ends_at = now + sharing.seconds_to_next(rate)
        if min(ends_at, arrives_at) > until or (not sharing and not arriving):
            break
        if ends_at <= arrives_at:
            now = ends_at
            made.finished[sharing.pop()] = now
        else:
            sharing.advance((arrives_at - now) * rate)
            now = arrives_at
    if math.isfinite(until):
        (first if first else others).advance(max(0.0, until - now) * rate)
        made.left.update({one.id: one.segments for one in arriving})
        made.left.update(first.left() | others.left())
    return made


class _Sharing:
    """Backlogs that share by weight.

    All proceed alike in virtual time, so each has its end in that time from the beginning.
    """

    def __init__(self) -> None:
        self._virtual = 0.0
        self._weights = 0
        self._ends: list[tuple[float, int, str]] = []  # virtual end, weight, id

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, one: Backlog) -> None:
        heapq.heappush(self._ends, (self._virtual + one.segments / one.weight, one.weight, one.id))
        self._weights += one.weight

    def seconds_to_next(self, rate: float) -> float:
        if not self._ends:
            return math.inf
        return (self._ends[0][0] - self._virtual) * self._weights / rate

    def advance(self, segments: float) -> None:
        if self._ends:
            self._virtual += segments / self._weights

    def pop(self) -> str:
        self._virtual, weight, id_ = heapq.heappop(self._ends)
        self._weights -= weight
        return id_

    def left(self) -> dict[str, float]:
        return {id_: max(0.0, (end - self._virtual) * weight) for end, weight, id_ in self._ends}
