"""Connections to Redis. Rule: the library repeats nothing; we repeat what is safe.

redis-py would send a command again after a lost reply, and an XADD sent twice is a message sent
twice. So its retries are off; `availability.persevere` repeats what its caller knows to be safe.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import hiredis
from redis.asyncio import Redis

from smsd.redis import endpoint
from smsd.redis.sentinel import Greet, build


def connect(url: str, *, connections: int, timeout_s: float, greet: Greet | None = None) -> Redis:
    """A client with a pool of its own, which repeats nothing. `observed` times its commands.

    `greet` makes every new connection ready (`on_connect`), before anything is asked over it.
    """
    where = endpoint.parse(url)
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


async def command(redis: Redis, words: tuple[str | bytes | int, ...]) -> object:
    """Ask for one thing, at half of what `execute_command` costs, which counts for OpenTelemetry.

    Raises what the server or the connection raises; a broken connection is closed.
    """
    pool = redis.connection_pool
    connection = redis.connection
    if connection is None:
        connection = await pool.get_connection()  # type: ignore[no-untyped-call]
    try:
        packed = hiredis.pack_command(words)  # type: ignore[arg-type] # says tuples of one
        await connection.send_packed_command([packed])
        return await connection.read_response()
    finally:
        if connection is not redis.connection:
            await pool.release(connection)
