"""Daemons that take messages in: one that sends them fast, and one that refuses easily."""

from collections.abc import Iterator

import pytest
import redis

from tests.support.calls import FAST, STRICT, running
from tests.support.processes import Daemon


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from running(tmp_path_factory.mktemp("smsd"), FAST)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from running(tmp_path_factory.mktemp("strict"), STRICT)


@pytest.fixture(scope="module")
def streams(smsd: Daemon) -> Iterator[redis.Redis]:
    with redis.Redis(unix_socket_path=str(smsd.directory / "var/redis.sock")) as client:
        yield client
