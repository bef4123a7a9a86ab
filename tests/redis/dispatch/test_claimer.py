"""The claimer. Rule: whatever Redis goes through, what is queued arrives."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.redis.dispatching import recovery
from tests.redis.ruins import delete_streams, destroy_groups, flush
from tests.support.proxy import Proxy
from tests.support.store import (
    Store,
    Wall,
    load_scripts,
    sha,
    soon,
)


@pytest.fixture
async def claiming(wired: Store) -> AsyncIterator[Store]:
    """The daemon's own claimer and recovery, at work."""
    parts = [
        asyncio.create_task(wired.claimer.run()),
        asyncio.create_task(recovery(wired).run()),
    ]
    yield wired
    for part in parts:
        assert not part.done(), part
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)


async def test_the_claimer_goes_on_through_all_of_it(
    claiming: Store, proxy: Proxy, wall: Wall
) -> None:
    store = claiming
    seen: set[str] = set()

    async def arrives(id_: str) -> None:
        while id_ not in seen:
            await store.prefetch.arrival()
            held = store.prefetch.take()
            seen.add(held.message.id)
            store.prefetch.forget(held.entry.name)
            await store.queue.suppress(held.entry, held.message)

    for disturb in (
        lambda: destroy_groups(store),
        lambda: delete_streams(store),
        lambda: flush(store),
        store.redis.script_flush,
    ):
        await disturb()
        [id_] = await store.append()
        await soon(arrives(id_))
        [id_] = await store.append(priority="high")
        await soon(arrives(id_))
    await load_scripts(store.redis)
    proxy.lose_reply(sha("claim"))
    [id_] = await store.append()
    await soon(arrives(id_))
    assert wall() > 0
