"""Connections to Redis. Rule: the library repeats nothing; we repeat what is safe.

redis-py would send a command again after a lost reply, and an XADD sent twice is a text sent
twice. So its retries are off, and `persevere` repeats only what its caller knows to be idempotent.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)
from tenacity import (
    AsyncRetrying,
    retry_if_exception,
    stop_after_delay,
    stop_never,
    wait_exponential,
    wait_random,
)

T = TypeVar("T")

REPLY_S = 3.0  # an answer that is later than this is none

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
)
# Plain ResponseErrors that pass by themselves: no writes while a disk fills or a replica is lost.
_AWAY_PREFIXES = ("MISCONF", "NOREPLICAS", "BUSY ")
_MISSING_PREFIXES = ("NOGROUP", "no such key", "UNBLOCKED")


def is_away(error: BaseException) -> bool:
    """Whether Redis cannot serve now, but may soon."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_AWAY_PREFIXES)


def is_out_of_memory(error: BaseException) -> bool:
    """Redis refuses writes that need memory (`maxmemory` reached, `noeviction`)."""
    return isinstance(error, OutOfMemoryError)


def is_group_missing(error: BaseException) -> bool:
    """The stream or its group is gone: somebody flushed, or a failover lost it."""
    return isinstance(error, ResponseError) and str(error).startswith(_MISSING_PREFIXES)


@dataclass(slots=True)
class Availability:
    """Whether Redis answers, as last seen. `changed` is told every change."""

    changed: Callable[[bool, str], None] = field(default=lambda _up, _why: None)
    up: bool = False
    reason: str = "not connected yet"

    def saw(self, error: BaseException | None) -> None:
        """Note how a command went; None is success."""
        up = error is None
        reason = "" if error is None else f"{type(error).__name__}: {error}"
        if up != self.up:
            self.up, self.reason = up, reason
            self.changed(up, reason)
        self.reason = reason


def connect(url: str, *, connections: int, timeout_s: float) -> Redis:
    """A client with a pool of its own, which repeats nothing. `observed` times its commands.

    redis-py's own time-outs would cost a task and three timers a command.
    """
    pool = ConnectionPool.from_url(
        url,
        max_connections=connections,
        socket_timeout=None,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        retry_on_error=[],
        health_check_interval=15,
        client_name="smsd",
    )
    return Redis.from_pool(pool)  # and whoever closes the client closes the pool


async def persevere(
    operation: Callable[[], Awaitable[T]],
    client: Redis,
    availability: Availability,
    *,
    patience_s: float | None = None,
) -> T:
    """Repeat an idempotent operation until Redis has answered it, or for `patience_s` at least."""
    try:
        return await observed(operation, client, availability)
    except Exception as error:
        if not is_away(error):
            raise
    return await AsyncRetrying(
        retry=retry_if_exception(is_away),
        stop=stop_never if patience_s is None else stop_after_delay(patience_s),
        wait=wait_exponential(multiplier=0.05, max=2.0) + wait_random(0, 0.1),
        reraise=True,
    )(observed, operation, client, availability)


async def observed(
    operation: Callable[[], Awaitable[T]], client: Redis, availability: Availability
) -> T:
    """Run once, for `REPLY_S` at most, and note whether Redis was there."""
    try:
        async with asyncio.timeout(REPLY_S):
            result = await operation()
    except Exception as error:
        if is_away(error):
            availability.saw(error)
            # A demoted or restarted server must be looked up anew, not asked again.
            await client.connection_pool.disconnect(inuse_connections=False)
        raise
    availability.saw(None)
    return result


@dataclass(frozen=True, slots=True)
class Persistence:
    """What a server says it keeps."""

    version: str
    warnings: tuple[str, ...]


async def persistence(client: Redis) -> Persistence:
    """Read how durable an external server is, in words for the log."""
    try:
        server = await client.info("server")
    except NoPermissionError:
        server = {}
    version = str(server.get("valkey_version") or server.get("redis_version", "unknown"))
    try:
        config = await client.config_get("appendonly", "appendfsync", "maxmemory-policy")
    except ResponseError:
        return Persistence(version, ("its persistence settings cannot be read (CONFIG refused)",))
    settings = {_text(name): _text(value) for name, value in config.items()}
    return Persistence(version, tuple(_warnings(settings)))


def _warnings(settings: dict[str, str]) -> list[str]:
    warnings = []
    if settings.get("appendonly") == "no":
        warnings.append(
            "appendonly is no: a crash of Redis loses every text since its last snapshot"
        )
    elif settings.get("appendfsync") != "always":
        warnings.append(
            f"appendfsync is {settings.get('appendfsync')}: a power cut loses the last second or"
            " two of accepted texts, and may send as much again; set it to always"
        )
    if (policy := settings.get("maxmemory-policy", "noeviction")) != "noeviction":
        warnings.append(f"maxmemory-policy is {policy}: a full Redis may evict texts")
    return warnings


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
