"""A client of Redis. Rule: idempotent calls are repeated, others are made once.

A call goes down from here to `scripts` and `connection`, and its reply comes back the same way:
errors are ours (`errors`), `availability` knows whether Redis answered, and `damage` what it
refused.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from redis.asyncio import Redis

from smsd.redis.availability import Availability, observed, persevere
from smsd.redis.connection import single_connection
from smsd.redis.damage import Damage
from smsd.redis.errors import (
    Away,
    OutOfMemory,
    RedisError,
    Refused,
    TooFewReplicas,
    meaning,
    response,
)
from smsd.redis.replicas import Replicas
from smsd.redis.scripts import Call, Common, Scripts

T = TypeVar("T")

# Scripts under way at once, and as many other commands: two queues, since a flood of reads must not
# keep a message from its slot.
PLACES = 8
CONNECTIONS = 2 * PLACES
ACK_MS = 1000  # what a replica may take to have a write
PROBE_MS = 100  # the same, to find out whether there are enough again

Observer = Callable[[Sequence[Call], Sequence[object]], None]


@dataclass(frozen=True, slots=True)
class Policy:
    """What is special about some scripts, by their names."""

    on_demand: frozenset[str]  # asked for as often as a person likes: they wait among the reads
    replicated: frozenset[str]  # what they do counts only when enough replicas have it
    writing: frozenset[str]  # never succeed without a write
    undo: Callable[[Call], Call | None]  # what takes back a call that too few replicas have


class RedisClient:
    """Runs scripts and commands over one pool of connections."""

    def __init__(
        self,
        redis: Redis,
        scripts: Scripts,
        *,
        common: Callable[[], Common],
        policy: Policy,
        probe_key: str,
        availability: Availability,
        damage: Damage,
        observer: Observer | None = None,
        replicas_ack: int = 0,
    ) -> None:
        """`common` is what every script is given, at the time of a call.

        `probe_key` is written to find out whether Redis takes writes and whether its replicas
        follow. `observer` is called with calls and their replies. `replicas_ack`: see `replicas`.
        """
        self.redis = redis
        self.damage = damage
        self._scripts = scripts
        self._common = common
        self._policy = policy
        self._probe_key = probe_key
        self._availability = availability
        self._observer = observer
        self._replicas = Replicas(replicas_ack)
        self._script_places = asyncio.Semaphore(PLACES)
        self._read_places = asyncio.Semaphore(PLACES)

    # -- scripts ----------------------------------------------------------------------------------

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
        if patience_s is not None and not self._replicas.enough:
            patience_s = 0.0  # it is known; those behind need not wait as long
        again = itertools.count()
        return await persevere(
            lambda: self._run(calls, again=next(again) > 0), patience_s=patience_s
        )

    async def repeat(self, calls: Sequence[Call]) -> list[object]:
        """Run idempotent scripts until Redis has answered; the observer is not called.

        Raises the first error of any of them.
        """

        async def once() -> list[object]:
            async with self._script_places:
                return await observed(
                    lambda: self._evaluate(calls, self.redis), self.redis, self._availability
                )

        replies = await persevere(once)
        for error in _errors(replies):
            self.damage.met(error)
            raise error
        return replies

    def error_of(self, message: str) -> RedisError:
        """The error that a script met and put into its answer."""
        error = response(message)
        self._note(error)
        return error

    async def _run(self, calls: Sequence[Call], *, again: bool = False) -> list[object]:
        script = calls[0].script  # those that are special come by themselves
        # Who waits for a place waits for us and not for Redis: that is not observed. Nobody waits
        # for ever, since whoever has a place leaves it when the time for the reply is over.
        async with self._read_places if script in self._policy.on_demand else self._script_places:
            return await observed(
                lambda: self._answered(calls, again=again),
                self.redis,
                self._availability,
                wrote=script in self._policy.writing,
            )

    async def _answered(self, calls: Sequence[Call], *, again: bool) -> list[object]:
        if self._replicas.needed and calls[0].script in self._policy.replicated:
            replies = await self._replicated(calls, again=again)
        else:
            replies = await self._evaluate(calls, self.redis)
        for error in _errors(replies):
            self._note(error)
        if self._observer is not None:
            self._observer(calls, replies)
        return replies

    def _note(self, error: RedisError) -> None:
        if isinstance(error, OutOfMemory):
            self._availability.saw_room(full=True)
        self.damage.met(error)

    async def _evaluate(self, calls: Sequence[Call], redis: Redis) -> list[object]:
        return await self._scripts.run(redis, self._common(), calls)

    # -- replicas ---------------------------------------------------------------------------------

    async def _replicated(self, calls: Sequence[Call], *, again: bool) -> list[object]:
        """Run scripts and wait for the replicas, over one connection: WAIT looks no further."""
        async with single_connection(self.redis) as connection:
            if again or not self._replicas.enough:
                # A repetition may write nothing, and then WAIT looks at nothing. And while there
                # are too few replicas, nothing is written that they would have to have.
                await self._confirm(connection)
            replies = await self._evaluate(calls, connection)
            _errors(replies)  # WAIT on a replica fails with an error that does not say why
            try:
                await self._replicas.wait(connection, ACK_MS)
            except TooFewReplicas:
                undone = filter(None, map(self._policy.undo, calls))
                await self._evaluate(list(undone), connection)
                raise
        return replies

    async def confirm(self) -> None:
        """Return when the replicas have all there is. Raises `TooFewReplicas`."""
        if self._replicas.needed:
            await self.read(self._confirm_over_one)

    async def _confirm_over_one(self, redis: Redis) -> None:
        async with single_connection(redis) as connection:
            await self._confirm(connection)

    async def _confirm(self, connection: Redis) -> None:
        touch = Call("touch", {"life_ms": ACK_MS}, [self._probe_key])
        [reply] = await self._evaluate([touch], connection)
        _raised(reply)
        await self._replicas.wait(connection, PROBE_MS)

    # -- commands ---------------------------------------------------------------------------------

    async def read(self, operation: Callable[[Redis], Awaitable[T]], *, wrote: bool = False) -> T:
        """Run any operation once, noting whether Redis was there; `wrote`: see `observed`."""
        async with self._read_places:
            try:
                return await observed(
                    lambda: operation(self.redis), self.redis, self._availability, wrote=wrote
                )
            except Refused as error:
                self.damage.met(error)
                raise

    async def field_of_each(self, name: str, keys: Sequence[str]) -> list[object]:
        """A field of several hashes, in one round trip; None, or an error, where there is none."""

        async def ask(redis: Redis) -> list[object]:
            pipeline = redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hget(key, name)
            found = cast("list[object]", await pipeline.execute(raise_on_error=False))
            values = [meaning(one) if isinstance(one, Exception) else one for one in found]
            _errors(values)
            return values

        return await self.read(ask)

    async def try_to_write(self) -> None:
        """Write what nobody reads, and note whether Redis takes it. Raises its error.

        A plain command, unlike `touch`: a full Redis is to refuse it.
        """
        await self.read(lambda redis: redis.set(self._probe_key, "", px=ACK_MS), wrote=True)


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
