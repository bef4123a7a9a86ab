"""How durable a server is. Rule: what a crash or a failover would lose is logged at the start."""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from smsd.redis.errors import Away, meaning
from smsd.redis.version import too_old


@dataclass(frozen=True, slots=True)
class Persistence:
    """How durable a server is. With a `fault` it cannot be used."""

    version: str
    warnings: tuple[str, ...]
    fault: str = ""


async def persistence(redis: Redis, *, prefix: str = "", replicas_ack: int = 0) -> Persistence:
    """Read how durable an external server is, in words for the log."""
    info: dict[str, str] = {}
    for section in ("server", "replication", "cluster"):
        info |= await _answers(lambda section=section: redis.info(section))  # type: ignore[misc]
    settings = await _answers(
        lambda: redis.config_get("appendonly", "appendfsync", "maxmemory*", "min-replicas*")
    )
    warnings = _role_warnings(info)
    if not settings:
        warnings.append("its persistence settings cannot be read (CONFIG refused)")
    else:
        warnings += _disk_warnings(settings)
        warnings += _memory_warnings(settings)
        warnings += _replica_warnings(info, settings, replicas_ack)
    version = info.get("valkey_version") or info.get("redis_version", "unknown")
    return Persistence(version, tuple(warnings), too_old(info) or _cluster_fault(info, prefix))


async def _answers(ask: Callable[[], Awaitable[Mapping[Any, Any]]]) -> dict[str, str]:
    """What the server answers, or nothing when it refuses to."""
    try:
        return {_text(name): _text(value) for name, value in (await ask()).items()}
    except ResponseError as error:
        if isinstance(meaning(error), Away):
            raise
        return {}


def _cluster_fault(info: Mapping[str, str], prefix: str) -> str:
    tagged = re.match(r"[^{]*\{[^}]+\}", prefix)
    if info.get("cluster_enabled") != "1" or not prefix or tagged:
        return ""
    return (
        f'Redis runs as a cluster: [redis] prefix needs a hash tag, "{{smsd}}:" in place of'
        f' "{prefix}", so that one node holds all keys'
    )


def _role_warnings(info: Mapping[str, str]) -> list[str]:
    if info.get("role") != "slave":
        return []
    return ["it is a replica and refuses writes: name the master, or the sentinels that know it"]


def _disk_warnings(settings: Mapping[str, str]) -> list[str]:
    if settings.get("appendonly") == "no":
        return ["appendonly is no: a crash of Redis loses every message since its last snapshot"]
    if (fsync := settings.get("appendfsync")) != "always":
        return [
            f"appendfsync is {fsync}: a power cut loses the last second or"
            " two of accepted messages, and may send as much again; set it to always"
        ]
    return []


def _memory_warnings(settings: Mapping[str, str]) -> list[str]:
    policy, limit = settings.get("maxmemory-policy", "noeviction"), settings.get("maxmemory", "0")
    if policy == "noeviction":
        return []
    when = "a full Redis" if limit == "0" else f"above maxmemory ({limit} bytes) Redis"
    return [f"maxmemory-policy is {policy}: {when} may evict messages; set it to noeviction"]


def _replica_warnings(
    info: Mapping[str, str], settings: Mapping[str, str], replicas_ack: int
) -> list[str]:
    attached = int(info.get("connected_slaves", "0"))
    if attached < replicas_ack:
        return [
            f"replicas_ack is {replicas_ack} and {attached} replicas are attached:"
            " nothing is taken in or sent until there are enough"
        ]
    if not attached or replicas_ack:
        return []
    loss = "a failover may lose the last accepted messages and send the last ones again"
    if settings.get("min-replicas-to-write", "0") != "0":
        lag = settings.get("min-replicas-max-lag", "10")
        return [f"{loss}, those of up to {lag} s: set [redis] replicas_ack"]
    return [f"{loss}: set [redis] replicas_ack, and on Redis min-replicas-to-write"]


def _text(raw: object) -> str:
    return raw.decode() if isinstance(raw, bytes) else str(raw)
