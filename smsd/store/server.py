"""How this package talks to Redis. Rule: idempotent calls are repeated, others asked once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from smsd.store import scripts
from smsd.store.connection import (
    Availability,
    is_away,
    is_group_missing,
    observed,
    persevere,
)
from smsd.store.keys import GROUP, Keys
from smsd.store.scripts import Call, Common

T = TypeVar("T")

PLACES = 8  # commands under way at once; a client needs as many connections


class Server:
    """One Redis, one prefix, one daemon: what every script gets to know about them."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        *,
        owner: str,
        availability: Availability,
        now_ms: Callable[[], int],
        keep_status_ms: int,
        max_events: int,
    ) -> None:
        self.client = client
        self.keys = keys
        self.owner = owner
        self.now_ms = now_ms
        self._availability = availability
        self._places = asyncio.Semaphore(PLACES)
        self._common_keys = [
            key.encode()
            for key in (
                keys.queue,
                keys.high,
                keys.deferred,
                keys.deferred_messages,
                keys.inflight,
                keys.dead,
                keys.events,
                keys.counters,
                keys.optouts,
                keys.lease,
                keys.intake(owner),
            )
        ]
        self._kept = (str(keep_status_ms).encode(), str(max_events).encode())

    async def ask(self, call: Call) -> object:
        """Run a script once. Raises its error; if the connection broke, it may have run."""
        [reply] = await self.ask_all([call])
        return _raised(reply)

    async def ask_all(self, calls: Sequence[Call]) -> list[object]:
        """Run scripts once; the reply to each, or its error."""
        return await observed(lambda: self._run(calls), self.client, self._availability)

    async def insist(self, call: Call) -> object:
        """Run an idempotent script until it has been answered. Raises its error."""
        [reply] = await self.insist_all([call])
        return _raised(reply)

    async def insist_all(
        self, calls: Sequence[Call], *, patience_s: float | None = None
    ) -> list[object]:
        """Run idempotent scripts until Redis has answered all of them, or patience ends."""
        return await persevere(
            lambda: self._run(calls), self.client, self._availability, patience_s=patience_s
        )

    async def _run(self, calls: Sequence[Call]) -> list[object]:
        common = Common(self._common_keys, (self.owner, self.now_ms(), *self._kept))
        async with self._places:
            replies = await scripts.run(self.client, common, calls)
        for reply in replies:
            if isinstance(reply, Exception) and is_away(reply):
                raise reply  # READONLY and its like: true of the server, not of the call
        return replies

    async def read(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run any operation once, noting whether Redis was there."""
        async with self._places:
            return await observed(lambda: operation(self.client), self.client, self._availability)

    async def with_groups(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation that needs the consumer groups, making them again if they are gone."""
        try:
            return await operation()
        except ResponseError as error:
            if not is_group_missing(error):
                raise
        await self.ensure_groups()
        return await operation()

    async def ensure_groups(self) -> None:
        """Create what is missing of streams and groups; from 0, so that no entry is skipped."""
        for stream in (self.keys.high, self.keys.queue):
            try:
                await self.read(
                    lambda client, stream=stream: client.xgroup_create(  # type: ignore[misc]
                        stream, GROUP, id="0", mkstream=True
                    )
                )
            except ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise


def _raised(reply: object) -> object:
    if isinstance(reply, Exception):
        raise reply
    return reply


def text(raw: object) -> str:
    """A reply as text."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
