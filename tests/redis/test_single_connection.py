"""A client with one connection of its own. Rule: the connection goes back, whatever happens."""

import asyncio

from smsd.redis.connection import connect, single_connection
from tests.support.redis_server import RedisServer


async def test_one_that_is_cancelled_while_it_ends_gives_its_connection_back(
    redis_server: RedisServer,
) -> None:
    async with connect(redis_server.url, connections=1, timeout_s=3.0) as redis:
        for turns in range(5):
            ended = asyncio.Event()

            async def use(ended: asyncio.Event = ended) -> None:
                async with single_connection(redis) as single:
                    await single.ping()
                    ended.set()

            task = asyncio.create_task(use())
            await ended.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            async with asyncio.timeout(3):  # there is only one
                await redis.ping()
