"""How this package talks to Redis. Rule: idempotent calls are repeated, others asked once."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from smsd.store import scripts
from smsd.store.connection import Availability, is_group_missing, observed, persevere
from smsd.store.keys import GROUP, Keys
from smsd.store.scripts import Argument, Call

T = TypeVar("T")


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
        self._keep_status_ms = keep_status_ms
        self._max_events = max_events
        self._common_keys = (
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
        )

    def call(self, script: str, *args: Argument, keys: Sequence[str] = ()) -> Call:
        """A script run; `keys` follow the common ones."""
        common = (self.owner, self.now_ms(), self._keep_status_ms, self._max_events)
        return Call(script, (*self._common_keys, *keys), (*common, *args))

    async def ask(self, call: Call) -> object:
        """Run a script once. Raises its error; if the connection broke, it may have run."""
        return await self.read(lambda client: scripts.run_one(client, call))

    async def ask_all(self, calls: Sequence[Call]) -> list[object]:
        """Run scripts in one round trip; the reply to each, or its error."""
        return await self.read(lambda client: scripts.run(client, calls))

    async def insist(self, call: Call) -> object:
        """Run an idempotent script until it has been answered."""
        [reply] = await self.insist_all([call])
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def insist_all(self, calls: Sequence[Call]) -> list[object]:
        """Run idempotent scripts in one round trip, until Redis has answered all of them."""
        return await persevere(
            lambda: scripts.run(self.client, calls), self.client, self._availability
        )

    async def read(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run any operation once, noting whether Redis was there."""
        return await observed(lambda: operation(self.client), self.client, self._availability)

    async def with_groups(self, operation: Callable[[Redis], Awaitable[T]]) -> T:
        """Run an operation that needs the consumer groups, making them again if they are gone."""
        try:
            return await self.read(operation)
        except ResponseError as error:
            if not is_group_missing(error):
                raise
        await self.ensure_groups()
        return await self.read(operation)

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


def counted(values: Sequence[Argument]) -> list[Argument]:
    """A list as scripts take it: its length, then its values."""
    return [len(values), *values]


def text(raw: object) -> str:
    """A reply as text."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)
