"""How many messages are where. Rule: one script counts them all in one instant.

From that the conservation of messages can be checked: each accepted one is waiting, dead or
finished, and is counted once.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

from smsd.core.life import ADJUSTED, FINISHED
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient

_COUNT = re.compile(r"-?[0-9]{1,15}")  # as in lua/fsck_keys.lua


@dataclass(frozen=True, slots=True)
class Census:
    """Where every message is, counted in one instant."""

    queued: int  # in flight included
    in_flight: int
    deferred: int
    dead: int
    accepted: int
    finished: Mapping[str, int]  # by core/life.FINISHED
    adjusted: int  # differences that `smsd fsck --repair` found and booked; 0 where all is well

    @property
    def waiting(self) -> int:
        """Messages that are accepted, and neither dead nor finished."""
        return self.queued + self.deferred

    @property
    def difference(self) -> int:
        """Accepted messages that are in no known place; 0, or Redis was changed by other hands."""
        finished = sum(self.finished.values())
        return self.accepted - self.waiting - self.dead - finished - self.adjusted


async def take_census(client: StoreClient) -> Census:
    """Count every message."""
    reply = cast("list[object]", await client.ask(Call("census")))
    names, values = map(text, reply[::2]), map(_count, reply[1::2])
    count = dict(zip(names, values, strict=True))
    moved = count.get("promoted", 0) + count.get("replayed", 0)
    return Census(
        queued=count["queued"],
        in_flight=count["inflight"],
        deferred=count["deferred"],
        dead=count["dead"],
        accepted=count["added"] + count.get("scheduled", 0) - moved,
        finished={state.value: count.get(state, 0) for state in FINISHED},
        adjusted=count.get(ADJUSTED, 0),
    )


def _count(value: object) -> int:
    """A number that was counted; 0 for what other hands wrote in its place."""
    return int(text(value)) if _COUNT.fullmatch(text(value)) else 0
