"""What settings mean together. Rule: a value that passes cannot stop a part later."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from smsd.config import Settings, is_loopback, load
from smsd.core.outcome import RetryPolicy
from tests.support.config import TOKEN, fault, faults

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_settings_without_load_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSD_HTTP__PORT", "1")

    assert Settings().http.port == 8080


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_loopback_host_needs_no_token(file: Path, host: str) -> None:
    file.write_text(f'[http]\nhost = "{host}"\n', "utf-8")

    assert is_loopback(host)
    assert load(file).http.tokens == ()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "sms.example"])
def test_any_other_host_needs_a_token(file: Path, credentials: Path, host: str) -> None:
    file.write_text(f'[http]\nhost = "{host}"\n', "utf-8")

    words = f"[http] tokens: expected at least one token, since host {host} is not loopback"
    assert fault(file) == f"{file}: {words}"

    (credentials / "http.tokens").write_text(f"{TOKEN}\n")
    assert load(file).http.host == host


def test_a_default_audience_must_be_one_of_the_tables(file: Path) -> None:
    file.write_text("[audiences]\nstaff = []\n", "utf-8")

    words = 'expected "" or a name under [audiences] (there: staff), got "demo"'
    assert fault(file) == f"{file}: [campaign] default_audience: {words}"


def test_a_default_audience_must_hold_a_number(file: Path) -> None:
    file.write_text("[audiences]\ndemo = []\n", "utf-8")

    words = 'expected "" or a name with numbers under [audiences], but demo has none'
    assert fault(file) == f"{file}: [campaign] default_audience: {words}"


def test_a_wrong_default_audience_is_told_beside_other_faults(file: Path) -> None:
    file.write_text("[http]\nport = -1\n[audiences]\nstaff = []\n[log]\nlevel = 1\n", "utf-8")

    assert [line.split(": ")[1] for line in faults(file)] == [
        "[http] port",
        "[campaign] default_audience",
        "[log] level",
    ]


def test_a_wrong_table_of_the_campaign_is_told_alone(file: Path) -> None:
    file.write_text("[campaign]\ndefault_audience = 1\n[audiences]\nstaff = []\n", "utf-8")

    assert fault(file).endswith("[campaign] default_audience: expected a string, got 1")


def test_retry_says_the_same_in_the_words_of_the_core(file: Path) -> None:
    file.write_text(
        '[retry]\nmax_attempts = 2\nmax_delay = 5\nin_doubt = "resend"\n'
        'in_doubt_high = "dead-letter"\n',
        "utf-8",
    )

    assert Settings().retry.policy == RetryPolicy()
    assert load(file).retry.policy == RetryPolicy(2, 1.0, 5.0, "resend", "dead-letter")


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().rate.ceiling = "message"  # type: ignore[misc]
