"""Readiness as the daemon knows it. Rule: taking messages in is one thing, sending is another.

A load balancer asks whether this daemon takes messages in: whatever holds dispatch, and whoever
holds the lease, is no reason to turn callers away.
"""

import asyncio

from smsd.daemon.storage import Storage
from smsd.dispatch.hold import Hold
from smsd.redis.damage import COMMANDS, among

FULL = "out of memory: it takes no more texts"


class Readiness:
    """Both answers, with what they rest on; `reason` is empty where `ready`."""

    def __init__(self, storage: Storage, hold: Hold, stopping: asyncio.Event, owner: str) -> None:
        self._storage = storage
        self._hold = hold
        self._stopping = stopping
        self._owner = owner

    def intake(self) -> dict[str, object]:
        """Whether this daemon takes messages in."""
        redis, keys = self._storage.availability, self._storage.client.keys
        damage, down = self._storage.damage.found, self._down()
        return _told(
            down or (f"redis: {FULL}" if redis.full else among(damage, keys.for_intake)),
            redis={"up": redis.up, "reason": redis.reason or (FULL if redis.full else "")},
            damage=dict(damage),
            stopping=self._stopping.is_set(),
        )

    def dispatch(self) -> dict[str, object]:
        """Whether this daemon sends, or another does while this one is its standby."""
        lease, keys = self._storage.lease, self._storage.client.keys
        damage = self._storage.damage.found
        held = self._hold.reason if lease.held else self._hold.operator_reason
        stands = "" if self._hold.unproven else held
        return _told(
            self._down()
            or among(damage, keys.for_dispatch | {COMMANDS})
            or stands
            or self._untrusted()
            or self._nobody(),
            role="active" if lease.held else "standby",
            lease_holder=lease.holder,  # as last seen
            this_daemon=self._owner,
            held=held,
            damage=dict(damage),
            stopping=self._stopping.is_set(),
        )

    def _untrusted(self) -> str:
        trusted = self._storage.identity.trusted
        return "" if trusted else "redis: it holds older or other data than was known"

    def _nobody(self) -> str:
        return "" if self._storage.lease.has_holder else "nobody holds the lease"

    def _down(self) -> str:
        """What keeps this daemon from doing either."""
        if self._stopping.is_set():
            return "stopping"
        redis = self._storage.availability
        return "" if redis.up else f"redis: {redis.reason}"


def _told(reason: str, **rests_on: object) -> dict[str, object]:
    return {"ready": not reason, "reason": reason, **rests_on}
