"""Whether Redis answers. Rule: what is safe to repeat is repeated until it does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from redis.asyncio import Redis
from tenacity import (
    AsyncRetrying,
    retry_if_exception_type,
    stop_after_delay,
    stop_never,
    wait_exponential,
    wait_random,
)

from smsd.redis.errors import Away, NoReply, OutOfMemory, RefusesWrites, TooFewReplicas, mapped

T = TypeVar("T")

REPLY_S = 3.0  # an answer that is later than this is none
NOT_YET = "not connected yet"


@dataclass(slots=True)
class Availability:
    """Whether Redis answers, as last seen, and has room. Every change is reported once.

    Where it refused a write, reads prove nothing: it is away until a write has succeeded.
    """

    changed: Callable[[bool, str], None] = field(default=lambda _up, _why: None)
    filled: Callable[[bool], None] = field(default=lambda _full: None)
    up: bool = False
    reason: str = NOT_YET
    refuses_writes: bool = False
    full: bool = False  # out of memory: it takes no more messages, and all else goes on
    found_full: int = 0  # how often

    def saw(self, error: Away | None, *, wrote: bool = True) -> None:
        """Note how a command went; None is success, of one that `wrote` or of a read."""
        if error is None and self.refuses_writes and not wrote:
            return
        up = error is None
        reason = "" if error is None else error.reason
        self.refuses_writes = error is not None and (
            self.refuses_writes or isinstance(error, RefusesWrites)
        )
        if up != self.up or self.reason == NOT_YET:
            self.up, self.reason = up, reason
            self.changed(up, reason)
        self.reason = reason

    def saw_room(self, *, full: bool) -> None:
        """Note that Redis is out of memory, or is so no more."""
        self.found_full += full
        if full != self.full:
            self.full = full
            self.filled(full)


@asynccontextmanager
async def within(seconds: float) -> AsyncIterator[None]:
    """Raise `NoReply` where what is asked of Redis inside takes longer in all."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        raise NoReply from None


async def persevere(operation: Callable[[], Awaitable[T]], *, patience_s: float | None = None) -> T:
    """Repeat an idempotent operation until Redis has answered it, or for `patience_s` at least.

    `operation` is to be `observed`: that bounds each try.
    """

    async def once() -> T:  # the library awaits only what it knows to be `async`
        return await operation()

    try:
        return await once()
    except Away:
        pass
    return await AsyncRetrying(
        retry=retry_if_exception_type(Away),
        stop=stop_never if patience_s is None else stop_after_delay(patience_s),
        wait=wait_exponential(multiplier=0.05, max=2.0) + wait_random(0, 0.1),
        reraise=True,
    )(once)


async def observed(
    operation: Callable[[], Awaitable[T]],
    redis: Redis,
    availability: Availability,
    *,
    wrote: bool = False,
) -> T:
    """Run once, for `REPLY_S` at most, and note whether Redis was there.

    `wrote`: it cannot succeed without having written. Whatever it raises is of `smsd.redis.errors`.
    """
    try:
        with mapped():
            async with asyncio.timeout(REPLY_S):
                result = await operation()
    except TooFewReplicas:  # Redis itself answers
        raise
    except Away as error:
        availability.saw(error)
        # A demoted or restarted server must be looked up anew, not asked again.
        await redis.connection_pool.disconnect(inuse_connections=False)
        raise
    except OutOfMemory:
        availability.saw_room(full=True)
        raise
    availability.saw(None, wrote=wrote)
    return result
