"""The embedded server. Rule: one daemon a directory; what was answered is on disk."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from smsd.redis import aof as append_only
from smsd.redis import embedded as module
from smsd.redis.binary import EmbeddedError, find_server
from smsd.redis.connection import connect
from smsd.redis.embedded import Embedded
from tests.support.redis_server import RedisServer
from tests.support.store import OpenStore, soon, until


@pytest.fixture
async def embed() -> AsyncIterator[Callable[[Path], Embedded]]:
    """Embedded servers that are stopped whatever happens."""
    made: list[Embedded] = []

    def make(directory: Path) -> Embedded:
        made.append(Embedded(directory))
        return made[-1]

    yield make
    for one in made:
        await one.stop()


Embed = Callable[[Path], Embedded]


def _client(server: Embedded) -> Redis:
    return connect(server.url, connections=1, timeout_s=3.0)


def _client_of(socket: Path) -> Redis:
    return connect(f"unix://{socket}", connections=1, timeout_s=3.0)


async def _pid(server: Embedded) -> int:
    async with _client(server) as client:
        return int((await client.info("server"))["process_id"])


# -- start and stop --------------------------------------------------------------------------------


async def test_it_starts_and_keeps_everything_on_every_write(embed: Embed, tmp_path: Path) -> None:
    server = embed(tmp_path / "var")
    await server.start()
    async with _client(server) as client:
        wanted = {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "save": "",
        }
        assert await client.config_get(*wanted) == wanted
    assert (tmp_path / "var").stat().st_mode & 0o777 == 0o700
    assert (tmp_path / "var" / "redis.sock").stat().st_mode & 0o777 == 0o700


async def test_a_stop_leaves_no_process_and_the_data_for_the_next_start(
    embed: Embed, tmp_path: Path
) -> None:
    for n in range(3):
        server = embed(tmp_path)
        await server.start()
        async with _client(server) as client:
            assert await client.incr("starts") == n + 1
        pid = await _pid(server)
        await server.stop()
        assert not _runs(pid)


async def test_stopping_twice_or_before_a_start_is_harmless(embed: Embed, tmp_path: Path) -> None:
    server = embed(tmp_path)
    await server.stop()
    other = embed(tmp_path)
    await other.start()
    await other.stop()
    await other.stop()


async def test_a_second_daemon_on_the_directory_is_refused_and_told_who_has_it(
    embed: Embed, tmp_path: Path
) -> None:
    first, second = embed(tmp_path), embed(tmp_path)
    await first.start()
    with pytest.raises(EmbeddedError) as caught:
        await second.start()
    assert f"process {os.getpid()}" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    await second.stop()
    async with _client(first) as client:
        assert await client.ping()
    await first.stop()
    third = embed(tmp_path)
    await third.start()


@pytest.mark.parametrize("place", ["file/var", "file", "/proc/smsd", "/proc/self/smsd/var"])
async def test_a_directory_that_cannot_be_written_is_named_with_its_setting(
    embed: Embed, tmp_path: Path, place: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedError) as caught:
        await embed(tmp_path / place).start()
    assert str(tmp_path / place) in str(caught.value)
    assert "[redis] data_dir" in str(caught.value)


async def test_files_that_cannot_be_loaded_are_told_in_the_servers_own_words(
    embed: Embed, tmp_path: Path
) -> None:
    files = tmp_path / "appendonlydir"
    files.mkdir()
    (files / "appendonly.aof.manifest").write_text("nonsense\n")
    with pytest.raises(EmbeddedError) as caught:
        await soon(embed(tmp_path).start())
    assert "did not start" in str(caught.value)
    assert "manifest" in str(caught.value)


async def test_nobody_else_can_read_what_lies_in_a_directory_that_anybody_can(
    embed: Embed, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        server = embed(tmp_path)
        await server.start()
        async with _client(server) as client:
            await client.bgrewriteaof()
            await _until_rewritten(client)
        await server.stop()
    finally:
        os.umask(before)
    assert _readable_by_others(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} == {
        "appendonlydir",
        "redis.log",
        "server",
        "smsd.lock",
    }


async def test_files_that_an_earlier_version_made_readable_are_so_no_more(
    embed: Embed, tmp_path: Path
) -> None:
    (tmp_path / "appendonlydir").mkdir(mode=0o755)
    (tmp_path / "redis.log").touch(mode=0o644)
    await embed(tmp_path).start()
    assert _readable_by_others(tmp_path) == []


def _readable_by_others(directory: Path) -> list[str]:
    """What another user can get at."""
    found: list[str] = []
    for path in directory.iterdir():
        if path.stat().st_mode & 0o077:
            found += [path.name, *(_readable_by_others(path) if path.is_dir() else [])]
    return found


async def _until_rewritten(client: Any) -> None:
    async with asyncio.timeout(20):
        while (await client.info("persistence"))["aof_rewrite_in_progress"]:
            await asyncio.sleep(0.02)


# -- paths -----------------------------------------------------------------------------------------


async def test_a_very_long_path_works_and_leaves_nothing_behind(
    embed: Embed, tmp_path: Path
) -> None:
    place = tmp_path / ("long" * 50) / ("longer" * 20)
    server = embed(place)
    await server.start()
    socket = Path(server.url.removeprefix("unix://"))
    assert len(os.fsencode(socket)) <= 107
    async with _client(server) as client:
        await client.set("x", 1)
    await server.stop()
    assert not socket.parent.exists()
    again = embed(place)
    await again.start()
    async with _client(again) as client:
        assert await client.get("x") == b"1"


@pytest.mark.parametrize(
    "name", ["with spaces", "\u00fcml\u00e4ut", "quote'\"s", "%41#?&", "$HOME"]
)
async def test_a_directory_may_have_any_name(embed: Embed, tmp_path: Path, name: str) -> None:
    server = embed(tmp_path / name)
    await server.start()
    async with _client(server) as client:
        assert await client.ping()
    assert (tmp_path / name / "appendonlydir").is_dir()


async def test_a_relative_path_is_meant_from_where_the_daemon_starts(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    server = embed(Path("var"))
    monkeypatch.chdir("/")
    await server.start()
    assert (tmp_path / "var" / "redis.sock").exists()


# -- deaths ----------------------------------------------------------------------------------------


async def test_a_killed_server_is_started_again_with_everything_it_was_told(
    embed: Embed, tmp_path: Path, open_store: OpenStore
) -> None:
    server = embed(tmp_path)
    await server.start()
    supervisor = asyncio.create_task(server.supervise())
    store = await open_store(url=server.url).lead()
    for n in range(3):
        life = await store.sending()
        pid = await _pid(server)
        os.kill(pid, signal.SIGKILL)
        await until(lambda pid=pid: not _runs(pid), "it died")  # type: ignore[misc]
        assert await soon(store.queue.ack(*life, "p"))
        census = await store.census()
        assert (census.finished["sent"], census.difference) == (n + 1, 0)
        assert await _pid(server) != pid
    supervisor.cancel()
    await asyncio.gather(supervisor, return_exceptions=True)


async def test_a_server_that_cannot_be_started_for_now_is_tried_until_it_can(
    embed: Embed, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    here, gone = tmp_path / "var", tmp_path / "gone"
    server = embed(here)
    await server.start()
    supervisor = asyncio.create_task(server.supervise())
    async with _client(server) as client:
        await client.set("x", "told durable")
    pid = await _pid(server)
    here.rename(gone)
    os.kill(pid, signal.SIGKILL)
    await until(lambda: _refusals(caplog) != [], "a start was refused")
    gone.rename(here)
    async with _client(server) as client:
        await _until_it_answers(client)
        assert await client.get("x") == b"told durable"
    await server.stop()
    await soon(supervisor)


@pytest.mark.parametrize(
    "error", [OSError(errno.EROFS, "read-only"), subprocess.SubprocessError("in preexec_fn")]
)
async def test_whatever_hinders_a_start_is_told_and_tried_again(
    embed: Embed,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
) -> None:
    server = embed(tmp_path)
    await server.start()
    supervisor = asyncio.create_task(server.supervise())
    os.kill(await _pid(server), signal.SIGKILL)
    with monkeypatch.context() as hindered:
        hindered.setattr(asyncio, "create_subprocess_exec", AsyncMock(side_effect=error))
        await until(lambda: _refusals(caplog) != [], "a start was refused")
    assert str(error) in _refusals(caplog)[0]
    async with _client(server) as client:
        await _until_it_answers(client)
    await server.stop()
    await soon(supervisor)


def _refusals(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What hindered each start that the supervisor has told of."""
    return [record.reason for record in caplog.records if hasattr(record, "reason")]


async def test_a_server_is_given_the_time_it_needs_to_load(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed(tmp_path)
    await first.start()
    async with _client(first) as client, client.pipeline(transaction=False) as pipeline:
        for n in range(20_000):  # it looks up from loading every 1024 commands
            pipeline.set(f"filler:{n % 10}", n)
        await pipeline.execute()
    await first.stop()
    monkeypatch.setitem(module.OPTIONS, "key-load-delay", "300")  # microseconds
    monkeypatch.setattr(module, "START_S", 2.0)
    monkeypatch.setattr(module, "LOADING_S", 0.05)
    told: list[int] = []
    server = Embedded(tmp_path, loading=lambda: told.append(1))
    try:
        await soon(server.start())
        async with _client(server) as client:
            assert await client.get("filler:9") == b"19999"
    finally:
        await server.stop()
    assert told


TORN = b"*1\r\n$5\r\nMULTI\r\n*3\r\n$3\r\nSET\r\n$1\r\nx"


async def _killed_after_writing(server: Embedded, name: str) -> None:
    await server.start()
    async with _client(server) as client:
        await client.set(name, "told durable")
    os.kill(await _pid(server), signal.SIGKILL)
    await server.stop()


async def test_what_is_written_after_a_torn_transaction_outlives_the_next_crash(
    embed: Embed, tmp_path: Path
) -> None:
    await _killed_after_writing(embed(tmp_path), "before")
    [written] = tmp_path.glob("appendonlydir/*.incr.aof")
    with written.open("ab") as file:
        file.write(TORN)
    await _killed_after_writing(embed(tmp_path), "after")
    server = embed(tmp_path)
    await server.start()
    async with _client(server) as client:
        assert await client.mget("before", "after") == [b"told durable"] * 2


async def test_damage_that_is_no_torn_end_is_left_for_a_person_to_look_at(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _killed_after_writing(embed(tmp_path), "before")
    [written] = tmp_path.glob("appendonlydir/*.incr.aof")
    with written.open("ab") as file:
        file.write(TORN)
    before = written.read_bytes()
    monkeypatch.setattr(append_only, "LARGEST_TEAR", len(TORN) - 1)
    with pytest.raises(EmbeddedError, match="is damaged"):
        await embed(tmp_path).start()
    assert written.read_bytes() == before


CHECKER = """#!/bin/sh
case $0$1 in
*--version) exec SERVER --version ;;
*) echo $$ > checking; exec sleep 60 ;;
esac
"""


async def test_while_a_large_file_is_checked_time_is_asked_for_and_a_stop_does_not_wait(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _killed_after_writing(embed(tmp_path), "before")
    slow = tmp_path / "valkey-server"
    slow.write_text(CHECKER.replace("SERVER", find_server()))
    slow.chmod(0o755)
    version, _ = (tmp_path / "server").read_text().rsplit(" ", 1)
    (tmp_path / "server").write_text(f"{version} {slow}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(append_only, "CHECKING_S", 0.02)
    asked: list[int] = []
    server = Embedded(tmp_path, loading=lambda: asked.append(1))
    starting = asyncio.create_task(server.start())
    await until(lambda: len(asked) > 2 and (tmp_path / "checking").exists(), "time is asked for")
    starting.cancel()
    await soon(asyncio.wait([starting]))
    assert starting.cancelled()
    await soon(server.stop())
    assert not _runs(int((tmp_path / "checking").read_text()))


async def test_a_start_that_is_given_up_does_not_wait_for_the_load(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = embed(tmp_path)
    await first.start()
    async with _client(first) as client, client.pipeline(transaction=False) as pipeline:
        for n in range(20_000):
            pipeline.set(f"filler:{n % 10}", n)
        await pipeline.execute()
    await first.stop()
    loads_s = 20
    monkeypatch.setitem(module.OPTIONS, "key-load-delay", str(loads_s * 1_000_000 // 20_000))
    loading = asyncio.Event()
    server = Embedded(tmp_path, loading=loading.set)
    starting = asyncio.create_task(server.start())
    await soon(loading.wait())
    started_at = asyncio.get_running_loop().time()
    starting.cancel()
    await asyncio.wait([starting])
    await server.stop()
    assert asyncio.get_running_loop().time() - started_at < loads_s / 4
    assert not (tmp_path / "unclean").exists()


async def test_a_stop_ends_the_supervision_too(embed: Embed, tmp_path: Path) -> None:
    server = embed(tmp_path)
    await server.start()
    supervisor = asyncio.create_task(server.supervise())
    await asyncio.sleep(0)
    await server.stop()
    await soon(supervisor)


def _orphan(directory: Path, socket: Path) -> "subprocess.Popen[bytes]":
    """A server whose daemon is gone, over the files of `directory`."""
    for needed in (directory, socket.parent):
        needed.mkdir(parents=True, exist_ok=True)
    options = ("--port", "0", "--appendonly", "yes", "--appendfsync", "always", "--save", "")
    return subprocess.Popen(
        [find_server(), *options, "--unixsocket", str(socket)],
        cwd=directory,
        stdout=subprocess.DEVNULL,
    )


async def test_an_orphaned_server_is_ended_and_its_data_taken_over(
    embed: Embed, tmp_path: Path
) -> None:
    with _orphan(tmp_path, tmp_path / "redis.sock") as orphan:
        try:
            server = embed(tmp_path)
            async with _client(server) as client:
                await _until_it_answers(client)
                await client.set("x", 1)
            await server.start()
            assert await asyncio.to_thread(orphan.wait, 10) == 0
        finally:
            orphan.kill()
    async with _client(server) as client:
        assert await client.get("x") == b"1"


async def test_the_orphan_of_a_very_long_path_is_ended_too(embed: Embed, tmp_path: Path) -> None:
    place = tmp_path / ("long" * 50)
    with _orphan(place, tmp_path / "t" / "redis.sock") as orphan:
        (place / "redis.sock").symlink_to(tmp_path / "t" / "redis.sock")
        try:
            async with _client_of(tmp_path / "t" / "redis.sock") as client:
                await _until_it_answers(client)
            await embed(place).start()
            assert await asyncio.to_thread(orphan.wait, 10) == 0
        finally:
            orphan.kill()
    assert not (tmp_path / "t").exists()


async def test_no_second_server_is_started_beside_an_orphan_that_does_not_end(
    embed: Embed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.3)
    with _orphan(tmp_path, tmp_path / "redis.sock") as orphan:
        try:
            async with _client_of(tmp_path / "redis.sock") as client:
                await _until_it_answers(client)
            orphan.send_signal(signal.SIGSTOP)
            with pytest.raises(EmbeddedError, match="does not end"):
                await embed(tmp_path).start()
        finally:
            orphan.kill()


async def _until_it_answers(client: Redis) -> None:
    async def answers() -> None:
        while True:
            try:
                await client.ping()
            except RedisError:
                await asyncio.sleep(0.02)
            else:
                return

    await soon(answers())


async def test_a_socket_that_nobody_listens_on_is_no_hindrance(
    embed: Embed, tmp_path: Path
) -> None:
    server = RedisServer(tmp_path).start()
    server.kill()
    server.socket.rename(tmp_path / "redis.sock")
    one = embed(tmp_path)
    await one.start()
    async with _client(one) as client:
        assert await client.ping()


DAEMON = """
import asyncio, sys
from pathlib import Path
from smsd.redis.embedded import Embedded

async def main():
    server = Embedded(Path(sys.argv[1]))
    await server.start()
    print(server._process.pid, flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("deep", [False, True])
async def test_the_server_of_a_killed_daemon_dies_with_it_and_the_next_one_starts(
    embed: Embed, tmp_path: Path, *, deep: bool
) -> None:
    directory = tmp_path / "d" / ("long" * 50) if deep else tmp_path / "d"
    with subprocess.Popen(
        [sys.executable, "-c", DAEMON, str(directory)], stdout=subprocess.PIPE, text=True
    ) as daemon:
        assert daemon.stdout is not None
        pid = int(await asyncio.to_thread(daemon.stdout.readline))
        assert _runs(pid)
        daemon.kill()
    await embed(directory).start()
    await until(lambda: not _runs(pid), "the server has gone")


def _runs(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"
