"""What tests of more than one kind begin with.

`SMSD_TEST_SERVER` names the server binary that all tests run, in place of the one that smsd finds.
"""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.redis.binary import find_server
from tests.support.redis_server import RedisServer

_first_on_path = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Put the chosen server on PATH, under the name that is looked for first."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # every daemon would compile smsd anew
    if not (chosen := os.environ.get("SMSD_TEST_SERVER")):
        return
    directory = config.stash[_first_on_path] = tempfile.TemporaryDirectory(prefix="smsd-server-")
    link = Path(directory.name) / "valkey-server"
    link.symlink_to(chosen)
    os.environ["PATH"] = f"{link.parent}{os.pathsep}{os.environ['PATH']}"
    if find_server() != str(link):
        raise pytest.UsageError(f"SMSD_TEST_SERVER={chosen}: smsd cannot use that server")


def pytest_unconfigure(config: pytest.Config) -> None:
    if directory := config.stash.get(_first_on_path, None):
        directory.cleanup()


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test alone: to be killed, stopped or spoiled."""
    server = RedisServer(tmp_path / "r").start()
    yield server
    server.kill()


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting comes from the machine that the tests run on."""
    for variable in os.environ:
        if variable.startswith("SMSD_") or variable == "CREDENTIALS_DIRECTORY":
            monkeypatch.delenv(variable)
