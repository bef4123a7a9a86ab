"""Connections to Redis. Rule: the library repeats nothing; we repeat what is safe.

redis-py would send a command again after a lost reply, and an XADD sent twice is a message sent
twice. So its retries are off; `availability.persevere` repeats what its caller knows to be safe.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import cast

import hiredis
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from smsd.redis import endpoint
from smsd.redis.sentinel import Greet, build

# A field of a hash, None where there is none, and b"" where the key is no hash.
ReadField = Callable[[str, str], Awaitable[bytes | None]]
Examine = Callable[[ReadField], Awaitable[None]]


def connect(
    url: str, *, connections: int, timeout_s: float, examine: Examine | None = None
) -> Redis:
    """A client with a pool of its own, which repeats nothing. `observed` times its commands.

    `examine` looks at what the server knows over every new connection, before that is used.
    """
    where = endpoint.parse(url)
    greet = greeting(examine) if examine else None
    pool = build(where, connections=connections, timeout_s=timeout_s, greet=greet)
    return Redis.from_pool(pool)  # and whoever closes the client closes the pool


@asynccontextmanager
async def single_connection(redis: Redis) -> AsyncIterator[Redis]:
    """A client with one connection of its own, which goes back to the pool whatever happens.

    redis-py's own `async with` keeps it for good where it is cancelled while it ends.
    """
    single = redis.client()
    await single.initialize()
    try:
        yield single
    finally:
        await asyncio.shield(single.aclose())


def greeting(examine: Examine) -> Greet:
    """What makes a new connection ready, and looks at what its server knows."""

    async def greet(connection: AbstractConnection) -> None:
        await connection.on_connect()
        await examine(partial(_field, connection))

    return greet


async def examine_again(redis: Redis, examine: Examine) -> None:
    """Look at what the server knows over a connection that has been there before."""
    async with single_connection(redis) as one:
        if one.connection is not None:
            await examine(partial(_field, one.connection))


async def _field(connection: AbstractConnection, key: str, name: str) -> bytes | None:
    await connection.send_command("HGET", key, name)
    try:
        return cast("bytes | None", await connection.read_response())
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return b""


async def command(redis: Redis, parts: tuple[str | bytes | int, ...]) -> object:
    """Ask for one thing, at half of what `execute_command` costs, which counts for OpenTelemetry.

    Raises what the server or the connection raises; a broken connection is closed.
    """
    pool = redis.connection_pool
    connection = redis.connection
    if connection is None:
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        packed = hiredis.pack_command(parts)  # type: ignore[arg-type] # says tuples of one
        await connection.send_packed_command([packed])
        return await connection.read_response()
    finally:
        if connection is not redis.connection:
            await pool.release(connection)
