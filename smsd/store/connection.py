"""Connections to Redis. Rule: the library repeats nothing; we repeat what is safe.

redis-py would send a command again after a lost reply, and an XADD sent twice is a text sent
twice. So its retries are off, and `persevere` repeats only what its caller knows to be idempotent.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import hiredis
from redis.asyncio import Redis
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
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

from smsd.core import endpoint
from smsd.store.pool import Greet, build
from smsd.store.version import too_old

T = TypeVar("T")

REPLY_S = 3.0  # an answer that is later than this is none
NOT_YET = "not connected yet"

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
_REFUSES_WRITES = (ReadOnlyError, ClusterDownError)  # and may answer reads all the same
_REFUSES_WRITES_PREFIXES = ("MISCONF", "NOREPLICAS")
_MISSING_PREFIXES = ("NOGROUP", "no such key", "UNBLOCKED")


class TooFewReplicas(RedisConnectionError):  # noqa: N818 - a state, named as users see it
    """Fewer replicas have it than `replicas_ack`: it is not durable yet."""


class OlderData(RedisConnectionError):  # noqa: N818 - a state, named as users see it
    """Newer or other data was known: nothing is handed out of this until that is dealt with."""


def is_away(error: BaseException) -> bool:
    """Whether Redis cannot serve now, but may soon."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_AWAY_PREFIXES)


def is_loading(error: BaseException) -> bool:
    """Whether the server reads what it has on disk; the greeting of a connection may say so."""
    return isinstance(error, BusyLoadingError) or isinstance(error.__cause__, BusyLoadingError)


def is_refusal_to_write(error: BaseException) -> bool:
    """Whether Redis takes no writes now, whatever it answers to reads."""
    if isinstance(error, _REFUSES_WRITES):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSES_WRITES_PREFIXES)


def is_out_of_memory(error: BaseException) -> bool:
    """Redis refuses writes that need memory (`maxmemory` reached, `noeviction`)."""
    return isinstance(error, OutOfMemoryError)


def is_group_missing(error: BaseException) -> bool:
    """The stream or its group is gone: somebody flushed, or a failover lost it."""
    return isinstance(error, ResponseError) and str(error).startswith(_MISSING_PREFIXES)


@dataclass(slots=True)
class Availability:
    """Whether Redis answers, as last seen, and has room. Every change is told once.

    Where it refused a write, reads tell nothing: it is away until a write has succeeded.
    """

    changed: Callable[[bool, str], None] = field(default=lambda _up, _why: None)
    filled: Callable[[bool], None] = field(default=lambda _full: None)
    up: bool = False
    reason: str = NOT_YET
    refuses_writes: bool = False
    full: bool = False  # out of memory: it takes no more texts, and all else goes on
    found_full: int = 0  # how often

    def saw(self, error: BaseException | None, *, wrote: bool = True) -> None:
        """Note how a command went; None is success, of one that `wrote` or of a read."""
        if error is None and self.refuses_writes and not wrote:
            return
        up = error is None
        reason = "" if error is None else _reason(error)
        self.refuses_writes = error is not None and (
            self.refuses_writes or is_refusal_to_write(error)
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


def _reason(error: BaseException) -> str:
    return ": ".join(filter(None, (type(error).__name__, str(error))))


def connect(url: str, *, connections: int, timeout_s: float, greet: Greet | None = None) -> Redis:
    """A client with a pool of its own, which repeats nothing. `observed` times its commands.

    `greet` makes every new connection ready (`on_connect`), before anything is asked over it.
    """
    where = endpoint.parse(url)
    pool = build(where, connections=connections, timeout_s=timeout_s, greet=greet)
    return Redis.from_pool(pool)  # and whoever closes the client closes the pool


async def command(client: Redis, words: tuple[str | bytes | int, ...]) -> object:
    """Ask for one thing, at half of what `execute_command` costs, which counts for OpenTelemetry.

    Raises what the server or the connection raises; a broken connection is closed.
    """
    pool = client.connection_pool
    connection = client.connection
    if connection is None:
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        packed = hiredis.pack_command(words)  # type: ignore[arg-type] # says tuples of one
        await connection.send_packed_command([packed])
        return await connection.read_response()
    finally:
        if connection is not client.connection:
            await pool.release(connection)


async def persevere(operation: Callable[[], Awaitable[T]], *, patience_s: float | None = None) -> T:
    """Repeat an idempotent operation until Redis has answered it, or for `patience_s` at least.

    `operation` is to be `observed`: that bounds each try.
    """

    async def once() -> T:  # the library awaits only what it knows to be `async`
        return await operation()

    try:
        return await once()
    except Exception as error:
        if not is_away(error):
            raise
    return await AsyncRetrying(
        retry=retry_if_exception(is_away),
        stop=stop_never if patience_s is None else stop_after_delay(patience_s),
        wait=wait_exponential(multiplier=0.05, max=2.0) + wait_random(0, 0.1),
        reraise=True,
    )(once)


async def observed(
    operation: Callable[[], Awaitable[T]],
    client: Redis,
    availability: Availability,
    *,
    wrote: bool = False,
) -> T:
    """Run once, for `REPLY_S` at most, and note whether Redis was there.

    `wrote`: it cannot succeed without having written.
    """
    try:
        async with asyncio.timeout(REPLY_S):
            result = await operation()
    except Exception as error:
        if is_away(error) and not isinstance(error, TooFewReplicas):
            availability.saw(error)
            # A demoted or restarted server must be looked up anew, not asked again.
            await client.connection_pool.disconnect(inuse_connections=False)
        elif is_out_of_memory(error):
            availability.saw_room(full=True)
        raise
    availability.saw(None, wrote=wrote)
    return result


@dataclass(frozen=True, slots=True)
class Persistence:
    """What a server says it keeps. With a `fault` it cannot be used."""

    version: str
    warnings: tuple[str, ...]
    fault: str = ""


async def persistence(client: Redis, *, prefix: str = "", replicas_ack: int = 0) -> Persistence:
    """Read how durable an external server is, in words for the log."""
    told: dict[str, str] = {}
    for section in ("server", "replication", "cluster"):
        told |= await _answers(lambda section=section: client.info(section))  # type: ignore[misc]
    settings = await _answers(
        lambda: client.config_get("appendonly", "appendfsync", "maxmemory*", "min-replicas*")
    )
    warnings = _role_warnings(told)
    if not settings:
        warnings.append("its persistence settings cannot be read (CONFIG refused)")
    else:
        warnings += _disk_warnings(settings)
        warnings += _memory_warnings(settings)
        warnings += _replica_warnings(told, settings, replicas_ack)
    version = told.get("valkey_version") or told.get("redis_version", "unknown")
    return Persistence(version, tuple(warnings), too_old(told) or _cluster_fault(told, prefix))


async def _answers(ask: Callable[[], Awaitable[Mapping[Any, Any]]]) -> dict[str, str]:
    """What the server tells, or nothing when it refuses to."""
    try:
        return {_text(name): _text(value) for name, value in (await ask()).items()}
    except ResponseError as error:
        if is_away(error):
            raise
        return {}


def _cluster_fault(told: Mapping[str, str], prefix: str) -> str:
    tagged = re.match(r"[^{]*\{[^}]+\}", prefix)
    if told.get("cluster_enabled") != "1" or not prefix or tagged:
        return ""
    return (
        f'Redis runs as a cluster: [redis] prefix needs a hash tag, "{{smsd}}:" in place of'
        f' "{prefix}", so that one node holds all keys'
    )


def _role_warnings(told: Mapping[str, str]) -> list[str]:
    if told.get("role") != "slave":
        return []
    return ["it is a replica and refuses writes: name the master, or the sentinels that know it"]


def _disk_warnings(settings: Mapping[str, str]) -> list[str]:
    if settings.get("appendonly") == "no":
        return ["appendonly is no: a crash of Redis loses every text since its last snapshot"]
    if (fsync := settings.get("appendfsync")) != "always":
        return [
            f"appendfsync is {fsync}: a power cut loses the last second or"
            " two of accepted texts, and may send as much again; set it to always"
        ]
    return []


def _memory_warnings(settings: Mapping[str, str]) -> list[str]:
    policy, limit = settings.get("maxmemory-policy", "noeviction"), settings.get("maxmemory", "0")
    if policy == "noeviction":
        return []
    when = "a full Redis" if limit == "0" else f"above maxmemory ({limit} bytes) Redis"
    return [f"maxmemory-policy is {policy}: {when} may evict texts; set it to noeviction"]


def _replica_warnings(
    told: Mapping[str, str], settings: Mapping[str, str], replicas_ack: int
) -> list[str]:
    attached = int(told.get("connected_slaves", "0"))
    if attached < replicas_ack:
        return [
            f"replicas_ack is {replicas_ack} and {attached} replicas are attached:"
            " nothing is taken in or sent until there are enough"
        ]
    if not attached or replicas_ack:
        return []
    loss = "a failover may lose the last accepted texts and send the last ones again"
    if settings.get("min-replicas-to-write", "0") != "0":
        lag = settings.get("min-replicas-max-lag", "10")
        return [f"{loss}, those of up to {lag} s: set [redis] replicas_ack"]
    return [f"{loss}: set [redis] replicas_ack, and on Redis min-replicas-to-write"]


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
