"""What most journeys need: a gateway that takes every message, and smsd, started by the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.lives import SLOW, assert_discreet
from tests.support.processes import Daemon, Recorder


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path, latency=0.05).start()
    yield recorder
    recorder.stop()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "smsd")
    yield daemon
    daemon.kill()


@pytest.fixture
def started() -> Iterator[list[Daemon]]:
    """Daemons that are ended with the test, and whose logs are searched."""
    daemons: list[Daemon] = []
    yield daemons
    for daemon in daemons:
        daemon.kill()
        assert_discreet(daemon.log)


@pytest.fixture
def smsd(tmp_path: Path, started: list[Daemon]) -> Daemon:
    """A daemon that has not been started yet; slow enough to be stopped in the middle."""
    started.append(Daemon(tmp_path / "smsd", SLOW))
    return started[0]
