"""Pools of connections. Rule: a pool repeats nothing, and connects to whoever is master by now.

redis-py asks one sentinel after the other and believes the first: one that hangs would cost every
new connection its time-out, and one that was cut off may name a master that is none any more. We
ask all at once, and believe the newest word of a majority.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import (
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel, SentinelConnectionPool
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from smsd.core.endpoint import Endpoint, Login

Greet = Callable[[AbstractConnection], Awaitable[None]]

ANSWER_S = 1.0  # what a sentinel may take
HEALTH_S = 15  # idle longer than this, a connection is tried before it is used


def build(
    where: Endpoint, *, connections: int, timeout_s: float, greet: Greet | None
) -> ConnectionPool:
    """A pool of `connections` at most. `timeout_s`: to connect; commands are timed by others.

    redis-py's own time-outs would cost a task and three timers a command.
    """
    options = _options(where, where.login, timeout_s) | {
        "max_connections": connections,
        "socket_timeout": None,
        "db": where.db,
        "client_name": "smsd",
        "redis_connect_func": greet,
    }
    if where.service:
        asking = _options(where, where.sentinel_login, ANSWER_S)
        sentinels = Sentinels(where.nodes, sentinel_kwargs=asking)  # type: ignore[no-untyped-call]
        return SentinelPool(where.service, sentinels, **options)  # type: ignore[no-untyped-call]
    tls = options.pop("ssl")
    if where.path:
        kind: type[AbstractConnection] = UnixDomainSocketConnection
        options["path"] = where.path
    else:
        kind = SSLConnection if tls else Connection
        [(options["host"], options["port"])] = where.nodes
    return ConnectionPool(connection_class=kind, **options)


def _options(where: Endpoint, login: Login, timeout_s: float) -> dict[str, Any]:
    """What connections to servers and to sentinels have in common."""
    return {
        "username": login.username or None,
        "password": login.password or None,
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(NoBackoff(), 0),
        "retry_on_error": [],
        "health_check_interval": HEALTH_S,
        "ssl": where.tls is not None,
        **(where.tls or {}),
    }


class Sentinels(Sentinel):
    """The sentinels of one master."""

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the master is. Raises `MasterNotFoundError`."""
        asked = [asyncio.ensure_future(_ask(one, service_name)) for one in self.sentinels]
        answers: list[dict[str, Any]] = []
        faults = ["no answer in time"]
        try:
            async with asyncio.timeout(ANSWER_S):
                for answer in asyncio.as_completed(asked):
                    try:
                        answers.append(await answer)
                    except (RedisError, OSError) as error:
                        faults.append(f"{type(error).__name__}: {error}")
                    if len(answers) > len(asked) // 2:
                        break
        except TimeoutError:
            pass  # what there is must do
        finally:
            for task in asked:
                task.cancel()
            await asyncio.gather(*asked, return_exceptions=True)
        masters = [state for state in answers if self.check_master_state(state, service_name)]
        if not masters:
            why = "it is down" if answers else faults[-1]
            raise MasterNotFoundError(f"the sentinels name no master {service_name!r}: {why}")
        newest = max(masters, key=lambda state: int(state.get("config-epoch", 0)))
        return str(newest["ip"]), int(newest["port"])


class SentinelPool(SentinelConnectionPool):
    """Connections to whoever is the master when each is made. Closes the sentinels' own too."""

    async def aclose(self) -> None:
        """Close everything."""
        await super().aclose()
        await self.sentinel_manager.aclose()


async def _ask(sentinel: Redis, service: str) -> dict[str, Any]:
    masters = cast("dict[str, dict[str, Any]]", await sentinel.sentinel_masters())
    if service not in masters:
        raise RedisConnectionError("a sentinel does not know it")
    return masters[service]
