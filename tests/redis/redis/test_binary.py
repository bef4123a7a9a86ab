"""Which server is run: a new directory's, and that of files which some server has written."""

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from smsd.redis.binary import EmbeddedError, find_server, record, server_for
from smsd.redis.embedded import Embedded
from smsd.redis.version import Version

REDIS_62 = "Redis server v=6.2.14 sha=00000000:0 malloc=jemalloc-5.1.0 bits=64"
REDIS_70 = "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.2.1 bits=64"
REDIS_82 = "Redis server v=8.2.3 sha=b5d43ceb:0 malloc=jemalloc-5.3.0 bits=64"
VALKEY_81 = "Valkey server v=8.1.8 sha=00000000:1 malloc=libc bits=64"
VALKEY_91 = "Valkey server v=9.1.2 sha=00000000:1 malloc=libc bits=64"
DUMP_OF_VALKEY_81 = b"REDIS0011\xfa\x0avalkey-ver\x058.1.8\xfa\x0aredis-bits\xc0@"
DUMP_OF_REDIS_70 = b"REDIS0010\xfa\x09redis-ver\x067.0.15\xfa\x0aredis-bits\xc0@"
DUMP_OF_VALKEY_91 = b"VALKEY080\xfa\x0avalkey-ver\x059.1.2\xfa\x0aredis-bits\xc0@"


def fake(directory: Path, name: str, says: str) -> str:
    """A binary that tells its version, and nothing else."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\necho '{says}'\n")
    path.chmod(0o755)
    return str(path)


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if smsd had been installed without its extra `embedded`."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is all there is on PATH."""
    path = tmp_path / "bin"
    path.mkdir()
    monkeypatch.setenv("PATH", str(path))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "var"
    (path / "appendonlydir").mkdir(parents=True)
    return path


# -- a new directory -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["valkey-server", "redis-server"])
def test_a_server_on_path_is_preferred(on_path: Path, name: str) -> None:
    there = fake(on_path, name, REDIS_70)
    assert find_server() == there


@pytest.mark.usefixtures("on_path")
def test_without_one_on_path_the_extra_brings_one() -> None:
    assert Path(find_server()).name == "valkey-server"


def test_one_on_path_that_is_too_old_is_passed_over(on_path: Path) -> None:
    old = fake(on_path, "redis-server", REDIS_62)
    assert find_server() != old


@pytest.mark.usefixtures("on_path", "no_extra")
def test_without_any_it_is_said_what_to_install() -> None:
    with pytest.raises(EmbeddedError) as caught:
        find_server()
    assert "pip install 'smsd[embedded]'" in str(caught.value)


@pytest.mark.usefixtures("no_extra")
@pytest.mark.parametrize("said", [REDIS_62, "what?", ""])
def test_one_that_is_too_old_or_tells_no_version_is_named(on_path: Path, said: str) -> None:
    old = fake(on_path, "redis-server", said)
    with pytest.raises(EmbeddedError) as caught:
        find_server()
    assert old in str(caught.value)
    assert ("Redis 6.2" if "6.2" in said else "unknown version") in str(caught.value)


@pytest.mark.usefixtures("no_extra", "on_path")
async def test_a_start_without_any_server_fails_and_can_be_stopped(tmp_path: Path) -> None:
    server = Embedded(tmp_path / "var")
    with pytest.raises(EmbeddedError):
        await server.start()
    await server.stop()


# -- files that a server has written ---------------------------------------------------------------


def written_by_record(data: Path, version: Version, path: str = "/gone/valkey-server") -> None:
    (data / "server").write_text(f"{version.record} {path}\n")


def written_by_dump(dump: bytes) -> Callable[[Path], None]:
    def write(data: Path) -> None:
        (data / "appendonlydir" / "appendonly.aof.1.base.rdb").write_bytes(dump)

    return write


@pytest.mark.parametrize(
    "write",
    [
        lambda data: written_by_record(data, Version("valkey", (8, 1))),
        written_by_dump(DUMP_OF_VALKEY_81),
    ],
    ids=["recorded", "in the files"],
)
def test_redis_7_0_that_has_come_onto_path_is_passed_over_for_the_extras_server(
    on_path: Path, data: Path, write: Callable[[Path], None]
) -> None:
    write(data)
    fake(on_path, "redis-server", REDIS_70)
    assert Path(server_for(data).path).name == "valkey-server"


def test_what_wrote_the_files_goes_on_serving_them(on_path: Path, data: Path) -> None:
    theirs = fake(data.parent / "venv", "valkey-server", VALKEY_81)
    record(data, server_for(data)._replace(path=theirs, version=Version("valkey", (8, 1))))
    fake(on_path, "valkey-server", VALKEY_91)
    assert server_for(data).path == theirs


@pytest.mark.usefixtures("no_extra")
@pytest.mark.parametrize(
    ("dump", "newer"),
    [
        (DUMP_OF_VALKEY_81, VALKEY_81),
        (DUMP_OF_VALKEY_81, VALKEY_91),
        (DUMP_OF_REDIS_70, REDIS_70),
        (DUMP_OF_REDIS_70, REDIS_82),
        (DUMP_OF_REDIS_70, VALKEY_81),
    ],
)
def test_one_that_knows_the_format_may_take_over(
    on_path: Path, data: Path, dump: bytes, newer: str
) -> None:
    written_by_dump(dump)(data)
    there = fake(on_path, "redis-server", newer)
    assert server_for(data).path == there


@pytest.mark.usefixtures("no_extra")
@pytest.mark.parametrize(
    ("dump", "other"),
    [
        (DUMP_OF_VALKEY_81, REDIS_70),
        (DUMP_OF_VALKEY_81, REDIS_82),
        (DUMP_OF_VALKEY_91, VALKEY_81),
        (DUMP_OF_VALKEY_91, REDIS_70),
    ],
)
def test_without_one_that_does_it_is_said_which_there_is_and_what_to_do(
    on_path: Path, data: Path, dump: bytes, other: str
) -> None:
    written_by_dump(dump)(data)
    there = fake(on_path, "redis-server", other)
    with pytest.raises(EmbeddedError) as caught:
        server_for(data)
    said = str(caught.value)
    writer = "Valkey 8.1" if dump == DUMP_OF_VALKEY_81 else "Valkey 9.1"
    assert said.startswith(f"{writer} wrote the files in {data}")
    assert there in said
    assert f"Install {writer} or a newer one" in said
    assert "pip install 'smsd[embedded]'" in said


@pytest.mark.usefixtures("no_extra")
def test_the_record_counts_where_a_newer_one_has_taken_over(on_path: Path, data: Path) -> None:
    written_by_dump(DUMP_OF_VALKEY_81)(data)
    written_by_record(data, Version("valkey", (9, 1)))
    fake(on_path, "valkey-server", VALKEY_81)
    with pytest.raises(EmbeddedError, match=r"Valkey 9\.1 wrote the files"):
        server_for(data)


@pytest.mark.usefixtures("no_extra")
@pytest.mark.parametrize(
    "junk", ["", "\n", "valkey", "valkey 8.1", "valkey x.y /bin/false\n", "\0"]
)
def test_a_record_that_nobody_can_read_is_as_none(on_path: Path, data: Path, junk: str) -> None:
    there = fake(on_path, "valkey-server", VALKEY_91)
    (data / "server").write_text(junk)
    assert server_for(data).path == there


async def test_a_server_that_has_loaded_the_files_is_recorded(tmp_path: Path) -> None:
    server = Embedded(tmp_path)
    try:
        await server.start()
        used = server_for(tmp_path)
        assert used.path == find_server()
        assert used.version is not None
        line = (tmp_path / "server").read_text()
        assert line == f"{used.version.record} {used.path}\n"
    finally:
        await server.stop()
