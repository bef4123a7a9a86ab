"""Durable state, put together once. Rule: daemon, commands and tests are handed the same parts.

A command opens a `Store`, with one client. The daemon opens a `DaemonStore`, with three: waiting
for arrivals occupies a connection, and a busy pool must not cost the lease.
"""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import NamedTuple, Self

from redis.asyncio import Redis

from smsd.redis.availability import Availability
from smsd.redis.client import CONNECTIONS
from smsd.redis.connection import Examine, connect
from smsd.redis.damage import Damage
from smsd.store.arrivals import Arrivals
from smsd.store.audiences import Audiences
from smsd.store.campaigns import Campaigns
from smsd.store.census import Census, take_census
from smsd.store.client import StoreClient
from smsd.store.dead_letters import DeadLetters
from smsd.store.events import Events
from smsd.store.identity import Identity
from smsd.store.keys import Keys
from smsd.store.lease import Lease
from smsd.store.lookup import Lookup
from smsd.store.lost_writes import Loss, LostWrites
from smsd.store.operator_hold import HeldBy, Operator, OperatorHold
from smsd.store.opt_outs import OptOuts
from smsd.store.queue import Queue
from smsd.store.reconcile import Reconciler
from smsd.store.unsettled import Unsettled


class Bounds(NamedTuple):
    """How much the store keeps, for how long, and how safely."""

    max_length: int  # messages that may wait
    max_events: int
    keep_status_ms: int  # after a message is finished
    keep_idempotency_ms: int
    replicas_ack: int  # replicas that must have what a caller is promised


class Store:
    """All durable state, over one client that connects when it is first used.

    An async context manager: its end closes the connections.
    """

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        owner: str,
        now_ms: Callable[[], int],
        bounds: Bounds,
        availability: Availability,
        damage: Damage,
        identity: Identity | None = None,
        lost_writes: LostWrites | None = None,
    ) -> None:
        self.owner = owner
        self.keys = Keys(prefix)
        self.availability = availability
        self.damage = damage
        self.identity = identity or Identity()
        self._url = url
        self._now_ms = now_ms
        self._bounds = bounds
        self._connections = AsyncExitStack()
        examine = lost_writes.compare if lost_writes else None
        redis = self._connect(connections=CONNECTIONS, timeout_s=3.0, examine=examine)
        self.client = self._client(redis, availability, lost_writes)
        self.queue = Queue(
            self.client,
            max_length=bounds.max_length,
            keep_idempotency_ms=bounds.keep_idempotency_ms,
        )
        self.unsettled = Unsettled(self.client, settle_all=self.queue.settle_all)
        self.lookup = Lookup(self.client)
        self.dead_letters = DeadLetters(self.client, self.queue)
        self.audiences = Audiences(self.client)
        self.campaigns = Campaigns(self.client, keep_idempotency_ms=bounds.keep_idempotency_ms)
        self.opt_outs = OptOuts(self.client)
        self.events = Events(self.client)
        self.operator_hold = OperatorHold(self.client)

    async def census(self) -> Census:
        """Count every message."""
        return await take_census(self.client)

    async def queue_length(self) -> int:
        """Count the messages in line, claimed or not."""
        keys = self.keys
        high = await self.client.read(lambda redis: redis.xlen(keys.high))
        return int(high + await self.client.read(lambda redis: redis.xlen(keys.queue)))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._connections.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def _connect(
        self, *, connections: int, timeout_s: float, examine: Examine | None = None
    ) -> Redis:
        redis = connect(self._url, connections=connections, timeout_s=timeout_s, examine=examine)
        self._connections.push_async_callback(redis.aclose)
        return redis

    def _client(
        self, redis: Redis, availability: Availability, lost_writes: LostWrites | None = None
    ) -> StoreClient:
        return StoreClient(
            redis,
            self.keys,
            owner=self.owner,
            availability=availability,
            damage=self.damage,
            now_ms=self._now_ms,
            keep_status_ms=self._bounds.keep_status_ms,
            max_events=self._bounds.max_events,
            lost_writes=lost_writes,
            identity=self.identity,
            replicas_ack=self._bounds.replicas_ack,
        )


class DaemonStore(Store):
    """The same, with what only a daemon has: the lease, arrivals, and the repair of lost writes."""

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        owner: str,
        now_ms: Callable[[], int],
        clock: Callable[[], int],
        bounds: Bounds,
        availability: Availability,
        damage: Damage,
        identity: Identity,
        lease_s: float,
        on_operator: Callable[[Operator], HeldBy | None],
        on_loss: Callable[[Loss], None],
    ) -> None:
        """`clock` and `on_operator`: see `Lease`. `on_loss` is called with every lost write."""
        self.lost_writes = LostWrites(Keys(prefix), owner, report=on_loss, now_ms=now_ms)
        super().__init__(
            url,
            prefix,
            owner=owner,
            now_ms=now_ms,
            bounds=bounds,
            availability=availability,
            damage=damage,
            identity=identity,
            lost_writes=self.lost_writes,
        )
        self.arrivals = Arrivals(self.client, self._connect(connections=1, timeout_s=5.0))
        renewer = self._client(self._connect(connections=1, timeout_s=1.0), Availability())
        self.lease = Lease(renewer, life_s=lease_s, clock=clock, operator=on_operator)
        self.reconciler = Reconciler(
            self.client,
            self.lost_writes,
            self.operator_hold,
            leads=self.leads,
            settle_all=self.queue.settle_all,
            mark_again=self.queue.mark_again,
            lists_again=self.queue.long_lists.queue_again,
        )

    def leads(self) -> bool:
        """Whether this daemon may dispatch now."""
        return self.lease.held
