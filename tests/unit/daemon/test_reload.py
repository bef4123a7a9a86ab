"""SIGHUP. Rule: the rate and the log level are reloaded; any other change is named, not made."""

import logging
from pathlib import Path

import pytest

from smsd.config import Settings, load
from smsd.daemon.reload import reload

pytestmark = pytest.mark.usefixtures("clean_environment")


class Reload:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.rates: list[float] = []

    def __call__(self, used: Settings, toml: str) -> Settings:
        self._path.write_text(toml, "utf-8")
        return reload(used, self._path, set_rate=self.rates.append)


@pytest.fixture
def read(tmp_path: Path) -> Reload:
    return Reload(tmp_path / "config.toml")


@pytest.fixture(autouse=True)
def _same_level_afterwards() -> object:
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


def test_the_rate_and_the_level_are_in_use_at_once(
    read: Reload, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read(Settings(), '[rate]\nsegments_per_second = 9\n[log]\nlevel = "info"\n')

    assert read.rates == [9.0]
    assert settings.rate.segments_per_second == 9
    assert logging.getLogger().level == logging.INFO
    assert [record.message for record in caplog.records] == ["reloaded"]


def test_another_change_is_named_and_not_in_use(
    read: Reload, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read(Settings(), "[http]\nport = 1\n[audiences]\ndemo = []\nvip = []\n"
                    '[campaign]\ndefault_audience = ""\n')  # fmt: skip

    assert settings == Settings()
    [keys] = [vars(one)["keys"] for one in caplog.records if "restart" in one.message]
    assert keys == "http.port,campaign.default_audience,audiences"


def test_a_change_that_was_named_is_named_again_until_it_is_in_use(
    read: Reload, caplog: pytest.LogCaptureFixture
) -> None:
    settings = read(Settings(), "[http]\nport = 1\n")
    read(settings, "[http]\nport = 1\n")

    assert [one.message for one in caplog.records].count("a change needs a restart") == 2


def test_a_file_with_faults_changes_nothing(read: Reload, caplog: pytest.LogCaptureFixture) -> None:
    used = Settings()

    assert read(used, "[rate]\nsegments_per_second = 0\n") is used
    assert read.rates == []
    assert [record.message for record in caplog.records] == ["not reloaded"]


def test_what_is_reloaded_is_what_a_start_would_use(read: Reload, tmp_path: Path) -> None:
    settings = read(Settings(), "[rate]\nsegments_per_second = 9\n")

    assert settings == load(tmp_path / "config.toml")
