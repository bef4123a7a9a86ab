"""How this package talks to Redis. Rule: idempotent calls are repeated, others asked once.

With `replicas_ack`, what a caller is promised (`append`, `append_part`) and what permits a send
(`begin`) counts only when so many replicas have it. Too few is as if Redis were away: it is asked
again.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from smsd.redis import scripts
from smsd.redis.availability import Availability, observed, persevere
from smsd.redis.connection import single_connection
from smsd.redis.damage import Damage
from smsd.redis.errors import (
    Away,
    GroupMissing,
    OutOfMemory,
    RedisError,
    Refused,
    TooFewReplicas,
    meaning,
    response,
)
from smsd.redis.scripts import Call, Common
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import Witness

T = TypeVar("T")
log = logging.getLogger("smsd.redis")

# Scripts under way at once, and as many other commands: two queues, since a flood of look-ups must
# not keep a text from its slot.
PLACES = 8
CONNECTIONS = 2 * PLACES
# Scripts that a person may ask for, as often as he likes: they wait among the look-ups.
ASKED_FOR = frozenset({"cancel", "replay", "drop", "letters"})
REPLICATED = ("append", "append_part", "begin")  # what `replicas_ack` is for
# Scripts that never end well without a write.
WRITING = frozenset({"append", "begin", "claim", "groups"})
ACK_MS = 1000  # what a replica may take to have it
PROBE_MS = 100  # the same, to find out whether there are enough again


class RedisClient:
    """One Redis, one prefix, one daemon: what every script gets to know about them."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        owner: str,
        availability: Availability,
        damage: Damage,
        now_ms: Callable[[], int],
        keep_status_ms: int,
        max_events: int,
        witness: Witness | None = None,
        identity: Identity | None = None,
        replicas_ack: int = 0,
    ) -> None:
        """`witness` needs to greet the client's connections.

        `identity` is what all clients of one daemon know together.
        """
        self.identity = identity or Identity()
        self.redis = redis
        self.keys = keys
        self.owner = owner
        self.now_ms = now_ms
        self.damage = damage
        self._availability = availability
        self._scripts = asyncio.Semaphore(PLACES)
        self._reads = asyncio.Semaphore(PLACES)
        self._witness = witness
        self._replicas_ack = replicas_ack
        self._acked = True  # the last time replicas were waited for, there were enough
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
                keys.store,
            )
        ]
        self._kept = (str(keep_status_ms).encode(), str(max_events).encode())

    async def ask(self, call: Call) -> object:
        """Run a script once. Raises its error; if the connection broke, it may have run."""
        [reply] = await self._run([call])
        return _raised(reply)

    async def insist(self, call: Call) -> object:
        """Run an idempotent script until it has been answered. Raises its error."""
        [reply] = await self.insist_all([call])
        return _raised(reply)

    async def insist_all(
        self, calls: Sequence[Call], *, patience_s: float | None = None
    ) -> list[object]:
        """Run idempotent scripts until Redis has answered all of them, or patience ends."""
        if patience_s is not None and not self._acked:
            patience_s = 0.0  # it is known; those behind need not wait as long
        again = itertools.count()
        return await persevere(
            lambda: self._run(calls, again=next(again) > 0), patience_s=patience_s
        )

    async def repeat(self, calls: Sequence[Call]) -> list[object]:
        """Make settlements that were made before, until Redis has answered; none is remembered.

        Raises the first error of any of them: without it, the data is not as it was.
        """

        async def once() -> list[object]:
            async with self._scripts:
                return await observed(
                    lambda: self._evaluate(calls), self.redis, self._availability, wrote=False
                )

        replies = await persevere(once)
        for error in _errors(replies):
            self.damage.met(error)
            raise error
        return replies

    async def _run(self, calls: Sequence[Call], *, again: bool = False) -> list[object]:
        # Who waits for a place waits for us and not for Redis: that is not observed. Nobody waits
        # for ever, since whoever has a place leaves it when the time for his reply is over.
        async with self._reads if calls[0].script in ASKED_FOR else self._scripts:
            return await observed(
                lambda: self._answered(calls, again=again),
                self.redis,
                self._availability,
                wrote=_writes(calls),
            )

    async def _answered(self, calls: Sequence[Call], *, again: bool) -> list[object]:
        if self._replicas_ack and calls[0].script in REPLICATED:
            replies = await self._replicated(calls, again=again)
        else:
            replies = await self._evaluate(calls)
        for error in _errors(replies):
            self._note(error)
        if self._witness is not None:
            self._witness.told(calls, replies, self.identity)
        return replies

    def _note(self, error: RedisError) -> None:
        if isinstance(error, OutOfMemory):
            self._availability.saw_room(full=True)
        self.damage.met(error)

    def error_of(self, message: str) -> RedisError:
        """The error that a script met and put into its answer."""
        error = response(message)
        self._note(error)
        return error

    async def _evaluate(self, calls: Sequence[Call], redis: Redis | None = None) -> list[object]:
        known = self.identity.known
        common = Common(
            self._common_keys,
            (self.owner, self.now_ms(), *self._kept, known.id, known.settled),
            saw=lambda found: self.identity.saw(Data.read(found), known),
        )
        return await scripts.run(redis or self.redis, common, calls)

    async def _replicated(self, calls: Sequence[Call], *, again: bool) -> list[object]:
        """Run scripts and wait for the replicas, over one connection: WAIT looks no further."""
        async with single_connection(self.redis) as connection:
            if again or not self._acked:
                # A repetition may write nothing, and then WAIT looks at nothing. And while there
                # are too few replicas, nothing is written that they would have to have.
                await self._confirm(connection)
            replies = await self._evaluate(calls, connection)
            _errors(replies)  # a replica refuses to WAIT, in words that do not tell
            try:
                await self._wait(connection, ACK_MS)
            except TooFewReplicas:
                marks = [call.request for call in calls if call.script == "begin"]
                await self._evaluate([Call("release", mark) for mark in marks], connection)
                raise
        return replies

    async def confirm(self) -> None:
        """Return when the replicas have all there is. Raises `TooFewReplicas`, which is away."""
        if self._replicas_ack:
            await self.read(self._confirm)

    async def _confirm(self, redis: Redis) -> None:
        async with single_connection(redis) as connection:
            touch = Call("touch", {"life_ms": ACK_MS}, [self.keys.ack])
            [reply] = await self._evaluate([touch], connection)
            _raised(reply)
            await self._wait(connection, PROBE_MS)

    async def _wait(self, connection: Redis, patience_ms: int) -> None:
        have, needed = await connection.wait(self._replicas_ack, patience_ms), self._replicas_ack
        if (have >= needed) != self._acked:
            self._acked = have >= needed
            tell = log.info if self._acked else log.error
            tell("replicas", extra={"enough": self._acked, "have": have, "needed": needed})
        if not self._acked:
            raise TooFewReplicas(f"{have} of {needed} replicas have it")

    async def read(self, operation: Callable[[Redis], Awaitable[T]], *, wrote: bool = False) -> T:
        """Run any operation once, noting whether Redis was there; `wrote`: see `observed`.

        Raises `Refused` for what Redis refuses and will refuse again.
        """
        async with self._reads:
            try:
                return await observed(
                    lambda: operation(self.redis), self.redis, self._availability, wrote=wrote
                )
            except Refused as error:
                self.damage.met(error)
                raise

    async def fact_of_each(self, name: str, statuses: Sequence[str]) -> list[object]:
        """One fact of several texts, in one round trip; None, or an error, where there is none."""

        async def ask(redis: Redis) -> list[object]:
            pipeline = redis.pipeline(transaction=False)
            for status in statuses:
                pipeline.hget(status, name)
            found = cast("list[object]", await pipeline.execute(raise_on_error=False))
            facts = [meaning(one) if isinstance(one, Exception) else one for one in found]
            _errors(facts)
            return facts

        return await self.read(ask)

    async def try_to_write(self) -> None:
        """Write what nobody reads, and note whether Redis takes it. Raises its error.

        A plain command, unlike `touch`: a full Redis is to refuse it.
        """
        await self.read(lambda redis: redis.set(self.keys.ack, "", px=ACK_MS), wrote=True)

    async def with_groups(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation that needs the consumer groups, making them again if they are gone."""
        try:
            return await operation()
        except GroupMissing:
            pass
        await self.ensure_groups()
        return await operation()

    async def ensure_groups(self) -> None:
        """Create what is missing of streams and groups, and the id of the data."""
        await self.ask(Call("groups", {"store_id": secrets.token_hex(8)}))


def _writes(calls: Sequence[Call]) -> bool:
    return calls[0].script in WRITING  # those come by themselves


def _errors(replies: Sequence[object]) -> list[RedisError]:
    """Those of single calls. Raises one that is true of the server: READONLY and its like."""
    errors = [reply for reply in replies if isinstance(reply, RedisError)]
    for error in errors:
        if isinstance(error, Away):
            raise error
    return errors


def _raised(reply: object) -> object:
    if isinstance(reply, Exception):
        raise reply
    return reply


def text(raw: object) -> str:
    """A reply as text."""
    return raw.decode("utf-8", "replace") if isinstance(raw, bytes) else str(raw)


def decode_fields(fields: Mapping[Any, Any] | None) -> dict[str, str]:
    """The fields of a hash or of an entry as text; none of what is not there."""
    return {text(name): text(value) for name, value in (fields or {}).items()}
