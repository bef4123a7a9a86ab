"""One real server for all; for each test keys of its own, and stores built as the daemon does."""

import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.redis.scripts import Call, Common, Scripts
from tests.redis.calls import Watched
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import OpenStore, Store, Ticks, Wall, load_scripts

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """The server; if it does not start, every test fails."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """Each test holds every call of a script against what the script says of itself."""
    watched, run = Watched(), Scripts.run

    async def run_and_note(
        self: Scripts, redis: Redis, common: Common, calls: Sequence[Call]
    ) -> list[object]:
        replies = await run(self, redis, common, calls)
        watched.note(calls, replies, common.keys[0])
        return replies

    monkeypatch.setattr(Scripts, "run", run_and_note)
    yield watched
    assert watched.faults == []


@pytest.fixture
def prefix() -> str:
    return f"t{next(_numbers)}:"


@pytest.fixture
def wall() -> Wall:
    return Wall()


@pytest.fixture
def ticks() -> Ticks:
    return Ticks()


@pytest.fixture
async def open_store(
    redis_server: RedisServer, prefix: str, wall: Wall, ticks: Ticks
) -> AsyncIterator[OpenStore]:
    stores: list[Store] = []

    def open_(
        owner: str = "a",
        *,
        url: str = redis_server.url,
        max_length: int = 5_000_000,
        lease_s: float = 10.0,
    ) -> Store:
        store = Store(
            url,
            prefix,
            owner=owner,
            wall=wall,
            ticks=ticks,
            max_length=max_length,
            lease_s=lease_s,
        )
        stores.append(store)
        return store

    yield open_
    for store in stores:
        await store.aclose()


@pytest.fixture
async def store(open_store: OpenStore) -> Store:
    """The daemon that leads."""
    return await open_store().lead()


@pytest.fixture
async def proxy(redis_server: RedisServer, tmp_path: Path) -> AsyncIterator[Proxy]:
    """A wire to the common server, which knows all scripts."""
    proxy = await Proxy(redis_server.socket, tmp_path / "p").start()
    yield proxy
    await proxy.stop()


@pytest.fixture
async def wired(proxy: Proxy, open_store: OpenStore) -> Store:
    """The daemon that leads, connected by the proxy."""
    store = await open_store(url=proxy.url).lead()
    await load_scripts(store.redis)
    return store
