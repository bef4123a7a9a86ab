"""What tests of more than one kind begin with."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.redis_server import RedisServer


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
