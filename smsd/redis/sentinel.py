"""Pools of connections. Rule: a pool repeats nothing, and connects to whoever is master by now.

redis-py asks one sentinel after the other and believes the first: one that hangs would cost every
new connection its time-out, and one that was cut off may name a master that is none any more. We
ask all at once, and believe the newest answer of a majority.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
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

from smsd.redis.endpoint import Endpoint, Login

Greet = Callable[[AbstractConnection], Awaitable[None]]

ANSWER_S = 1.0  # what a sentinel may take
BEHIND_S = 30.0  # how long a sentinel may not have heard of a failover; it hears every 2 s
ASK_EVERY_S = 1.0  # whether the master is still the same
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
    return Pool(connection_class=kind, **options)


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


class Pool(ConnectionPool):
    """Connections of which the idle can be closed beside others that are being taken.

    redis-py hands each to a task to close it, and by then somebody may ask something over it.
    """

    async def disconnect(self, inuse_connections: bool = True) -> None:  # noqa: FBT001, FBT002 - redis-py's
        """Close the idle ones in one step of the loop, or all."""
        if inuse_connections:
            await super().disconnect()
            return
        for connection in list(self._available_connections):
            await connection.disconnect(nowait=True)  # (it suspends nowhere)


class Sentinels(Sentinel):
    """The sentinels of one master, and the newest that was heard from them."""

    _epoch = -1
    _master: tuple[str, int] | None = None
    _heard_at = 0.0

    async def discover_master(self, service_name: str) -> tuple[str, int]:
        """Where the master is. Raises `MasterNotFoundError`."""
        answers, faults = await self._answers(service_name)
        now = asyncio.get_running_loop().time()
        if now - self._heard_at > BEHIND_S:
            self._epoch = -1  # they are not behind: they have started over
        for state in answers:
            epoch = int(state.get("config-epoch", 0))
            if epoch >= self._epoch and self.check_master_state(state, service_name):
                self._epoch, self._heard_at = epoch, now
                self._master = str(state["ip"]), int(state["port"])
        if self._master is None or self._heard_at < now:
            behind = any(int(state.get("config-epoch", 0)) < self._epoch for state in answers)
            if self._master is not None and behind:
                return self._master  # they have not heard of the last failover yet
            why = "it is down" if answers else faults[-1]
            raise MasterNotFoundError(f"the sentinels name no master {service_name!r}: {why}")
        return self._master

    async def _answers(self, service: str) -> tuple[list[dict[str, Any]], list[str]]:
        """What a majority says, or what there is in time; and why the others say nothing."""
        asked = [asyncio.ensure_future(_ask(one, service)) for one in self.sentinels]
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
        return answers, faults


class SentinelPool(SentinelConnectionPool, Pool):
    """Connections to the master, also after a change of roles that broke none of them.

    After a planned failover the old master goes on for up to ten seconds before it is demoted, and
    what it takes meanwhile is lost. So while the pool is used the sentinels are asked every second.
    """

    _asked_at = 0.0
    _asking: asyncio.Task[None] | None = None

    async def get_connection(self, *args: Any, **options: Any) -> AbstractConnection:
        """A connection to the master as last heard of."""
        self._ask_again()
        connection: Connection
        connection = await super().get_connection(*args, **options)  # type: ignore[no-untyped-call]
        if (connection.host, connection.port) != self.master_address:
            try:
                await connection.disconnect()
                await self.ensure_connection(connection)
            except BaseException:
                await self.release(connection)
                raise
        return connection

    def _ask_again(self) -> None:
        now = asyncio.get_running_loop().time()
        if now - self._asked_at > ASK_EVERY_S and (self._asking is None or self._asking.done()):
            self._asked_at = now
            self._asking = asyncio.create_task(self._ask())

    async def _ask(self) -> None:
        with suppress(RedisError, OSError):  # without sentinels the master is as good as before
            await self.get_master_address()  # type: ignore[no-untyped-call]

    async def aclose(self) -> None:
        """Close everything, the sentinels' own connections too."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])
        await super().aclose()
        await self.sentinel_manager.aclose()


async def _ask(sentinel: Redis, service: str) -> dict[str, Any]:
    masters = cast("dict[str, dict[str, Any]]", await sentinel.sentinel_masters())
    if service not in masters:
        raise RedisConnectionError("a sentinel does not know it")
    return masters[service]
