"""What most journeys need: a gateway that takes every text, and smsd, started by the test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

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
