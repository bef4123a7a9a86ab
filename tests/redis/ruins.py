"""What other hands do to streams and groups."""

from collections.abc import Awaitable, Callable

import pytest

from smsd.store.identity import Data
from tests.support.store import Store


async def destroy_groups(store: Store) -> None:
    for stream in (store.keys.high, store.keys.queue):
        await store.redis.xgroup_destroy(stream, "smsd")


async def delete_streams(store: Store) -> None:
    await store.redis.delete(store.keys.high, store.keys.queue)


async def flush(store: Store) -> None:
    await store.redis.flushall()
    store.identity.accepted(Data())  # as for a daemon that has never seen what is gone


Ruin = Callable[[Store], Awaitable[None]]
ruins = pytest.mark.parametrize("ruin", [destroy_groups, delete_streams, flush])
