"""Redis with replicas and sentinels, and callers without patience."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd.store import queue as queue_module
from tests.support.topologies import Replicated, Sentinels


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Replicated]:
    pair = Replicated(tmp_path)
    try:
        yield pair.start()
    finally:
        pair.stop()


@pytest.fixture
def sentinels(tmp_path: Path, pair: Replicated) -> Iterator[Sentinels]:
    sentinels = Sentinels(tmp_path, pair)
    try:
        yield sentinels.start()
    finally:
        sentinels.stop()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An append gives up soon."""
    monkeypatch.setattr(queue_module, "APPEND_PATIENCE_S", 0.3)
