"""An old server is refused by its version: at the start, when it comes later, by every command."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner

from smsd.cli import main
from smsd.config import Settings
from smsd.daemon.errors import StartError
from smsd.daemon.storage import Storage
from smsd.metrics import Metrics
from smsd.redis.version import Version, dumped, printed, recorded, too_old
from tests.support.old_server import old_server
from tests.support.redis_server import RedisServer
from tests.support.store import soon

REFUSAL = r"Redis is version 6\.2\.\d+, and smsd needs 7\.0 or newer"


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


def storage_at(directory: Path, url: str) -> Storage:
    settings = Settings.model_validate({"redis": {"url": url}})
    return Storage(settings, directory / "config.toml", "a", Metrics(), on_operator=lambda _: None)


async def test_an_old_server_is_refused_at_the_start(tmp_path: Path, stack: AsyncExitStack) -> None:
    with old_server(tmp_path / "r") as url, pytest.raises(StartError, match=REFUSAL):
        await soon(storage_at(tmp_path, url).open(stack))


async def test_an_old_server_that_comes_later_is_refused_then(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    storage = storage_at(tmp_path, f"unix://{tmp_path}/r/s")
    await soon(storage.open(stack))
    ready = asyncio.create_task(storage.ready())
    with old_server(tmp_path / "r"), pytest.raises(StartError, match=REFUSAL):
        await soon(ready)


async def test_an_old_server_in_the_place_of_a_new_one_is_refused(
    tmp_path: Path, stack: AsyncExitStack
) -> None:
    new = RedisServer(tmp_path / "r").start()
    try:
        storage = storage_at(tmp_path, new.url)
        await soon(storage.open(stack))
        watching = asyncio.create_task(storage.watch_server())
        counting = asyncio.create_task(_count(storage))
    finally:
        new.kill()
    new.socket.unlink()
    for part in (new.directory / "appendonlydir").iterdir():
        part.unlink()  # it could not read them
    while storage.availability.up:
        await asyncio.sleep(0.02)
    with old_server(tmp_path / "r"), pytest.raises(StartError, match=REFUSAL):
        await soon(watching)
    counting.cancel()
    await asyncio.wait([counting])


async def _count(storage: Storage) -> None:
    """What goes on all the time, and finds out that Redis is away, or back."""
    while True:
        await asyncio.gather(
            storage.store.client.read(lambda client: client.ping()), return_exceptions=True
        )
        await asyncio.sleep(0.05)


@pytest.mark.usefixtures("clean_environment")
@pytest.mark.parametrize("command", [["status"], ["fsck"], ["dead-letters", "list"]])
def test_every_command_refuses_an_old_server(tmp_path: Path, command: list[str]) -> None:
    config = tmp_path / "config.toml"
    with old_server(tmp_path / "r") as url:
        config.write_text(f'[redis]\nurl = "{url}"\n')
        result = CliRunner().invoke(main, [*command, "--config", str(config)])
    assert result.exit_code == 1
    assert result.output.startswith("Redis is version 6.2.")
    assert len(result.output.splitlines()) == 1


@pytest.mark.parametrize(
    ("info", "refused"),
    [
        ({"redis_version": "6.2.14"}, True),
        ({"redis_version": "5.0.3"}, True),
        ({"redis_version": "7.0.0"}, False),
        ({"redis_version": "7.2.4", "valkey_version": "8.1.8"}, False),
        ({"redis_version": "10.0.1"}, False),
        ({"redis_version": "255.255.255"}, False),  # as built from its repository
        ({}, False),  # INFO is refused
        ({"redis_version": "v=ly"}, False),
    ],
)
def test_the_oldest_is_redis_7_0(info: dict[str, str], refused: bool) -> None:
    assert bool(too_old(info)) is refused


def test_a_version_is_read_where_it_stands() -> None:
    assert printed("Redis server v=7.0.15 sha=0") == Version("redis", (7, 0))
    assert printed("Valkey server v=10.12.3 sha=0") == Version("valkey", (10, 12))
    assert printed("KeyDB server v=6.3.4") is None
    assert dumped(b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xfa") == Version("valkey", (9, 1))
    assert dumped(b"*2\r\n$6\r\nSELECT\r\n") is None
    assert recorded(Version("valkey", (8, 1)).record) == Version("valkey", (8, 1))
