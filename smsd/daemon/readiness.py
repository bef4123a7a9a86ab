"""Readiness. Rule: whether messages are taken in and whether they are sent are two answers.

A load balancer asks the first: neither a hold of dispatch nor the lease of another daemon is a
reason to turn callers away.
"""

import asyncio

from smsd.daemon.storage import Storage
from smsd.dispatch.hold import Hold
from smsd.redis.damage import COMMANDS, among

FULL = "out of memory: it takes no more messages"


class Readiness:
    """Both answers, with what they are based on; `reason` is empty if `ready`."""

    def __init__(self, storage: Storage, hold: Hold, stopping: asyncio.Event, owner: str) -> None:
        self._storage = storage
        self._hold = hold
        self._stopping = stopping
        self._owner = owner

    def intake(self) -> dict[str, object]:
        """Whether this daemon takes messages in."""
        redis, keys = self._storage.availability, self._storage.store.client.keys
        damage, down = self._storage.damage.found, self._down()
        return _answer(
            down or (f"redis: {FULL}" if redis.full else among(damage, keys.for_intake)),
            redis={"up": redis.up, "reason": redis.reason or (FULL if redis.full else "")},
            damage=dict(damage),
            stopping=self._stopping.is_set(),
        )

    def dispatch(self) -> dict[str, object]:
        """Whether this daemon sends messages, or is the standby of one that does."""
        lease, keys = self._storage.store.lease, self._storage.store.client.keys
        damage = self._storage.damage.found
        held = self._hold.reason if lease.held else self._hold.operator_reason
        blocking = "" if self._hold.unproven else held
        return _answer(
            self._down()
            or among(damage, keys.for_dispatch | {COMMANDS})
            or blocking
            or self._untrusted()
            or self._no_holder(),
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

    def _no_holder(self) -> str:
        return "" if self._storage.store.lease.has_holder else "nobody holds the lease"

    def _down(self) -> str:
        """What keeps this daemon from both; "" if nothing does."""
        if self._stopping.is_set():
            return "stopping"
        redis = self._storage.availability
        return "" if redis.up else f"redis: {redis.reason}"


def _answer(reason: str, **basis: object) -> dict[str, object]:
    return {"ready": not reason, "reason": reason, **basis}
