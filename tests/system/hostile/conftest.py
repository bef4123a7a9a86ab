"""A daemon that waits for nobody for long, and one that sends at its usual pace meanwhile."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hostile import IMPATIENT, Sending, running
from tests.support.processes import Daemon


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("smsd"), IMPATIENT) as daemon:
        yield daemon


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    made = Sending(tmp_path)
    yield made
    made.stop()
