"""Files and credentials. Rule: defaults < config.toml < systemd credentials < environment."""

from pathlib import Path

import pytest

from smsd.config import Settings, load
from tests.support.config import HUSH, LONG_TOKENS, REDIS_URL, TOKEN, fault

pytestmark = pytest.mark.usefixtures("clean_environment")


def test_an_empty_file_is_the_defaults(file: Path) -> None:
    assert load(file) == Settings()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"[rate]\nsegments_per_second =\n", "expected TOML: Invalid value (at line 2, column 22)"),
        (
            b"[rate]\n[rate]\n",
            "expected TOML: Cannot declare ('rate',) twice (at line 2, column 6)",
        ),
        (b"x = '\xff'", "expected UTF-8, got byte 0xff at 5"),
        (b"x = " + b"1" * 5000, "expected TOML: a number is too long"),
        (b"x = " + b"[" * 5000, "expected TOML: it is nested too deeply"),
    ],
)
def test_a_file_that_is_no_toml_says_where(file: Path, text: bytes, words: str) -> None:
    file.write_bytes(text)

    assert fault(file) == f"{file}: {words}"


def test_a_missing_or_unreadable_file_is_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "none.toml"

    assert fault(missing) == f"{missing}: cannot be read: No such file or directory"
    assert fault(tmp_path) == f"{tmp_path}: cannot be read: Is a directory"


def test_credentials_win_over_the_file_and_lose_to_the_environment(
    file: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(
        f'[redis]\nurl = "redis://file"\n[http]\ntokens = ["{TOKEN}"]\n'
        '[provider.twilio]\nauth_token = "file"\naccount_sid = "AC1"\n',
        "utf-8",
    )
    (credentials / "redis.url").write_text("redis://credential\n")
    (credentials / "http.tokens").write_text("0123456789abcdef\n\nfedcba9876543210\r\n")
    (credentials / "provider.twilio.auth_token").write_text("credential\r\n")
    (credentials / "provider.http.password").write_text(" with space ")
    (credentials / "provider.http.secrets.token").write_text("deep")

    settings = load(file)

    assert settings.redis.url.get_secret_value() == "redis://credential"
    assert [token.get_secret_value() for token in settings.http.tokens] == [
        "0123456789abcdef",
        "fedcba9876543210",
    ]
    assert settings.provider.options("twilio") == {"account_sid": "AC1", "auth_token": "credential"}
    assert settings.provider.options("http") == {
        "password": " with space ",
        "secrets": {"token": "deep"},
    }

    monkeypatch.setenv("SMSD_REDIS__URL", "redis://environment")
    monkeypatch.setenv("SMSD_PROVIDER__TWILIO__AUTH_TOKEN", "environment")

    assert load(file).redis.url.get_secret_value() == "redis://environment"
    assert load(file).provider.options("twilio")["auth_token"] == "environment"


def test_a_mounted_secret_is_a_directory_of_credentials(file: Path, credentials: Path) -> None:
    """As Kubernetes lays it out: each file a link into a directory that a link names."""
    behind = credentials / "..2026_11_26_08_00_00.1234567890"
    behind.mkdir()
    (behind / "redis.url").write_text("redis://mounted\n")
    (credentials / "..data").symlink_to(behind.name)
    (credentials / "redis.url").symlink_to("..data/redis.url")

    assert load(file).redis.url.get_secret_value() == "redis://mounted"


def test_byte_order_marks_and_line_ends_are_no_part_of_a_secret(
    file: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "http.tokens").write_bytes(f"\ufeff{TOKEN}\r\n{TOKEN}2\r\n".encode())
    (credentials / "provider.twilio.auth_token").write_bytes(b"\xef\xbb\xbfhush\r\n")
    monkeypatch.setenv("SMSD_REDIS__URL", "redis://environment\n")
    settings = load(file)

    assert [token.get_secret_value() for token in settings.http.tokens] == [TOKEN, f"{TOKEN}2"]
    assert settings.provider.options("twilio") == {"auth_token": "hush"}
    assert settings.redis.url.get_secret_value() == "redis://environment"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (f' "{TOKEN}"', "expected no blank at either end"),
        (f"{TOKEN}\t", "expected no blank at either end"),
        (f"{TOKEN}\u00a0", "expected no blank at either end"),
        (f'"{TOKEN}"', "expected no quotes around it"),
        (f"'{TOKEN}'", "expected no quotes around it"),
    ],
)
def test_blanks_and_quotes_around_a_secret_are_refused_by_name(
    file: Path, credentials: Path, raw: str, expected: str
) -> None:
    (credentials / "http.tokens").write_text(f"{raw}\n", "utf-8")

    assert fault(file) == f"{credentials / 'http.tokens'}: [http] tokens[0]: {expected}"


def test_a_byte_order_mark_before_the_file_is_passed_over(file: Path) -> None:
    file.write_bytes(b"\xef\xbb\xbf[http]\nport = 1\n")

    assert load(file).http.port == 1


def test_an_empty_credential_is_none_at_all(file: Path, credentials: Path) -> None:
    for name in ("http.tokens", "redis.url", "provider.twilio.auth_token"):
        (credentials / name).write_text("\n")

    assert load(file) == Settings()


@pytest.mark.parametrize("name", ["http.token", "redis.password", "provider.twilio", "tokens"])
def test_an_unknown_credential_is_never_passed_over(
    file: Path, credentials: Path, name: str
) -> None:
    (credentials / name).write_text(HUSH)

    assert fault(file).startswith(f"{credentials / name}: unknown credential; known: http.tokens, ")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("redis.url", b"hush", f"[redis] url: {REDIS_URL}"),
        ("http.tokens", b"0123456789abcdef\nhush\n", f"[http] tokens[1]: {LONG_TOKENS}"),
        ("redis.url", b"hush\xff", "expected UTF-8 text"),
        ("redis.url", None, "cannot be read: Is a directory"),
    ],
)
def test_a_wrong_credential_is_named_in_place_of_the_file(
    file: Path, credentials: Path, name: str, content: bytes | None, words: str
) -> None:
    path = credentials / name
    path.mkdir() if content is None else path.write_bytes(content)

    assert fault(file) == f"{path}: {words}"


def test_secrets_stand_in_no_repr_and_no_dump(file: Path) -> None:
    file.write_text(
        f'[http]\ntokens = ["{HUSH}"]\n[redis]\nurl = "redis://:{HUSH}@db"\n'
        f'[provider.twilio]\nauth_token = "{HUSH}"\n',
        "utf-8",
    )
    settings = load(file)

    assert HUSH not in f"{settings!r} {settings} {settings.model_dump()} {settings.provider}"
    assert HUSH not in settings.model_dump_json()
    assert settings.provider.options("twilio") == {"auth_token": HUSH}
