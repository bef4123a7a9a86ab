"""Every key. Rule: each has a case here, and a key without one fails the first test."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from pydantic import BaseModel, SecretStr

from smsd.config import Settings, load
from tests.support.config import HUSH, LONG_TOKENS, REDIS_URL, TOKEN, UNENCODED, fault, faults

CONFIG_TOML = Path(__file__).parents[3] / "config.toml"


class Key(NamedTuple):
    variable: str  # a good value, as the environment says it
    value: Any  # the same, as the settings hold it
    faults: dict[str, str]  # a bad value in TOML: what is said of it


WHOLE = "expected a whole number, got"
NUMBER = "expected a number, got"
STRING = "expected a string, got"
LEAST_1 = "expected greater than or equal to 1, got"
ABOVE_0 = "expected greater than 0, got"
COUNT = {'"8"': f'{WHOLE} "8"', "1.5": f"{WHOLE} 1.5", "true": f"{WHOLE} true", "0": f"{LEAST_1} 0"}
SECONDS = {
    '"8"': f'{NUMBER} "8"',
    "0": f"{ABOVE_0} 0",
    "inf": "expected a finite number, got Infinity",
}


def most(bound: float, literal: str = "1e300", shown: str = "") -> dict[str, str]:
    """A number above its bound: no part could bear it."""
    return {literal: f"expected less than or equal to {bound}, got {shown or literal}"}


HUGE = f"1{'0' * 29}"
HOUR = most(3600, shown="1e+300")
TEN_YEARS = most(315_360_000, HUGE)
ENTRIES = most(1_000_000_000, HUGE)
MONTH = most(2_592_000, "1e306", "1e+306")
SENDER = "must be a +number, a short code, or 1 to 11 letters, digits and spaces, got"

HOST = "expected a name or an address, without a port"

KEYS = {
    "http.host": Key("::1", "::1", {"1": f"{STRING} 1", '""': "at least 1 character"}),
    "http.port": Key(
        "0",
        0,
        {
            '"8080"': f'{WHOLE} "8080"',
            "-1": "expected greater than or equal to 0, got -1",
            "65536": "expected less than or equal to 65535, got 65536",
            f"0x{'f' * 5000}": "expected less than or equal to 65535, got a number far larger",
            "2026-12-24": f"{WHOLE} a date",
            "[1]": f"{WHOLE} a list",
        },
    ),
    "http.tokens": Key(
        f'["{TOKEN}"]',
        (SecretStr(TOKEN),),
        {
            f'"{HUSH}"': "expected a list",
            "[12345678901234567890]": "tokens[0]: expected a string",
            f'["{TOKEN}", "hush"]': f"tokens[1]: {LONG_TOKENS}",
            '["hush hush hush hush"]': f"tokens[0]: {LONG_TOKENS}",
        },
    ),
    "http.hosts": Key(
        '["sms.example", "::1"]',
        ("sms.example", "::1"),
        {
            '"sms.example"': "expected a list",
            "[1]": "hosts[0]: expected a string, got 1",
            '["http://a"]': f"hosts[0]: {HOST}",
            '["a", "a:80"]': f"hosts[1]: {HOST}",
            '[""]': f"hosts[0]: {HOST}",
        },
    ),
    "http.max_body": Key("7", 7, COUNT | most(16_777_216, HUGE)),
    "http.max_recipients": Key("7", 7, COUNT | most(10_000, HUGE)),
    "http.max_connections": Key(
        "7", 7, {**COUNT, "100001": "expected less than or equal to 100000, got 100001"}
    ),
    "http.header_timeout": Key("0.5", 0.5, SECONDS | HOUR),
    "http.body_timeout": Key("0.5", 0.5, SECONDS | HOUR),
    "upload.max_octets": Key("7", 7, COUNT | most(1_000_000_000_000, HUGE)),
    "upload.timeout": Key("0.5", 0.5, SECONDS | HOUR),
    "upload.max_at_once": Key("7", 7, COUNT | most(16, HUGE)),
    "redis.url": Key(
        f"redis://:{HUSH}@db/0",
        SecretStr(f"redis://:{HUSH}@db/0"),
        {
            "6379": "expected a string",
            f'"http://:{HUSH}@db"': REDIS_URL,
            '""': REDIS_URL,
            f'"redis://u:{HUSH}/{HUSH}@db"': f"expected a port of 1 to 65535 {UNENCODED}",
            f'"rediss://:{HUSH}@db?ssl_ca_certs=/none"': "ssl_ca_certs to name a file that can be",
            f'"redis+sentinel://:{HUSH}@a,b"': "expected the master's name after the sentinels",
        },
    ),
    "redis.prefix": Key(
        "{smsd}:",
        "{smsd}:",
        {
            "1": f"{STRING} 1",
            '""': "expected 1 to 64 visible ASCII characters",
            '"a b"': 'expected 1 to 64 visible ASCII characters, got "a b"',
            '"é:"': "expected 1 to 64 visible ASCII characters",
            f'"{"x" * 65}"': "expected 1 to 64 visible ASCII characters",
        },
    ),
    "redis.data_dir": Key("/var/lib/smsd", Path("/var/lib/smsd"), {"1": f"{STRING} 1"}),
    "redis.replicas_ack": Key(
        "0",
        0,
        {
            "true": f"{WHOLE} true",
            "-1": "expected greater than or equal to 0, got -1",
            "1": "expected 0, since the embedded server has no replicas, got 1",
        },
    ),
    "redis.lease": Key("30", 30.0, {'"8"': f'{NUMBER} "8"', "0.5": f"{LEAST_1} 0.5"} | HOUR),
    "queue.max_length": Key("7", 7, COUNT | ENTRIES),
    "queue.max_events": Key("7", 7, COUNT | ENTRIES),
    "queue.keep_status": Key("7", 7, COUNT | TEN_YEARS),
    "queue.keep_idempotency": Key("7", 7, COUNT | TEN_YEARS),
    "rate.segments_per_second": Key(
        "90",
        90.0,
        {
            **SECONDS,
            "0": "expected greater than or equal to 0.001, got 0",
            "1e-300": "expected greater than or equal to 0.001, got 1e-300",
            "100001": "expected less than or equal to 100000, got 100001",
        },
    ),
    "rate.ceiling": Key(
        "message",
        "message",
        {
            "1": "expected 'segment' or 'message', got 1",
            '"day"': "expected 'segment' or 'message', got \"day\"",
        },
    ),
    "provider.name": Key(
        "twilio", "twilio", {"1": f"{STRING} 1", '""': "expected at least 1 character"}
    ),
    "provider.timeout": Key("2.5", 2.5, SECONDS | HOUR),
    "provider.max_in_flight": Key(
        "9", 9, {**COUNT, "10001": "expected less than or equal to 10000, got 10001"}
    ),
    "provider.keep_alive": Key(
        "0",
        0.0,
        {
            "-1": "expected greater than or equal to 0, got -1",
            "21": "expected less than or equal to 20, got 21",
        },
    ),
    "provider.proxy": Key(
        f"http://me:{HUSH}@proxy:3128",
        SecretStr(f"http://me:{HUSH}@proxy:3128"),
        {
            "1": "expected a string",
            f'"socks5://:{HUSH}@proxy"': "expected http://host:port or https://host:port",
            f'"proxy:{HUSH}"': 'or "environment", or ""',
        },
    ),
    "retry.max_attempts": Key("1", 1, COUNT | most(1_000_000, HUGE)),
    "retry.initial_delay": Key("2", 2.0, SECONDS | MONTH),
    "retry.max_delay": Key(
        "60", 60.0, {**SECONDS, **MONTH, "0.5": "expected at least initial_delay (1), got 0.5"}
    ),
    "retry.in_doubt": Key(
        "resend",
        "resend",
        {"true": "got true", '"guess"': "expected 'dead-letter' or 'resend', got \"guess\""},
    ),
    "retry.in_doubt_high": Key(
        "resend",
        "resend",
        {"true": "got true", '"guess"': "expected 'dead-letter', 'resend' or '', got \"guess\""},
    ),
    "message.max_segments": Key(
        "255", 255, {**COUNT, "256": "expected less than or equal to 255, got 256"}
    ),
    "message.default_from": Key("ACME", "ACME", {"1": f"{STRING} 1", '"+é"': f'{SENDER} "+é"'}),
    "campaign.default_audience": Key(
        "",
        "",
        {
            "1": f"{STRING} 1",
            '"nobody"': 'expected "" or a name under [audiences] (there: demo), got "nobody"',
        },
    ),
    "campaign.price_per_segment": Key(
        "0.0079",
        0.0079,
        {'"1"': "expected a number", "-0.1": "expected greater than or equal to 0"},
    ),
    "campaign.currency": Key(
        "EUR",
        "EUR",
        {"1": f"{STRING} 1", '"euro"': "expected a code of three capitals"},
    ),
    "campaign.pause_on_failures": Key(
        "0", 0, {"-1": "expected greater than or equal to 0", "51": "less than or equal to 50"}
    ),
    "campaign.keep_days": Key("0.5", 0.5, {"0": "expected greater than 0", "3651.0": "3650"}),
    "audiences.demo": Key(
        '["+1 202 555 0111"]',
        ("+12025550111",),
        {
            '"+12025550111"': "expected a list",
            "[12025550111]": f"demo[0]: {STRING} 12025550111",
            '["+12025550111", "2025550111"]': "demo[1]: must start with +",
        },
    ),
    "log.level": Key("debug", "debug", {"1": "got 1", '"loud"': "expected 'debug', 'info', "}),
    "log.format": Key("json", "json", {"1": "got 1", '"xml"': "expected 'auto', 'text' or 'json'"}),
    "log.full_numbers": Key("true", True, {'"no"': 'expected true or false, got "no"'}),
}
TABLES = list(Settings.model_fields)

pytestmark = pytest.mark.usefixtures("clean_environment")


def leaves() -> Iterator[str]:
    for table, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from (f"{table}.{key}" for key in field.annotation.model_fields)
        else:
            yield from (f"{table}.{key}" for key in field.default)


def look_up(settings: Settings, key: str) -> Any:
    table, name = key.split(".")
    held = getattr(settings, table)
    return held[name] if isinstance(held, dict) else getattr(held, name)


def test_every_key_of_the_models_has_a_case() -> None:
    assert list(KEYS) == list(leaves())


@pytest.mark.parametrize(
    ("key", "literal", "words"),
    [(key, bad, words) for key, case in KEYS.items() for bad, words in case.faults.items()],
)
def test_a_wrong_value_names_the_file_the_key_and_what_was_expected(
    file: Path, key: str, literal: str, words: str
) -> None:
    table, name = key.split(".")
    file.write_text(f"[{table}]\n{name} = {literal}\n", "utf-8")

    line = fault(file)

    assert line.startswith(f"{file}: [{table}] {name}")
    assert words in line


@pytest.mark.parametrize("key", KEYS)
def test_the_environment_sets_every_key_over_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    table, name = key.split(".")
    bad = next(iter(KEYS[key].faults))
    file.write_text(f"[{table}]\n{name} = {bad}\n", "utf-8")
    monkeypatch.setenv(f"SMSD_{table}__{name}".upper(), KEYS[key].variable)

    assert look_up(load(file), key) == KEYS[key].value


@pytest.mark.parametrize("key", [key for key in KEYS if KEYS[key].faults.get("1.5")])
def test_a_wrong_variable_is_named_in_place_of_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    table, name = key.split(".")
    monkeypatch.setenv(f"SMSD_{table}__{name}".upper(), "many")

    assert fault(file) == f'SMSD_{key.replace(".", "__").upper()}: [{table}] {name}: {WHOLE} "many"'


@pytest.mark.parametrize("table", [table for table in TABLES if table != "audiences"])
def test_an_unknown_key_is_a_fault_in_every_table(file: Path, table: str) -> None:
    file.write_text(f'[{table}]\nxyzzy = "{HUSH}"\n', "utf-8")

    assert fault(file).startswith(f"{file}: [{table}] xyzzy: unknown key; known: ")


@pytest.mark.parametrize("table", TABLES)
def test_a_key_that_should_be_a_table_is_a_fault(file: Path, table: str) -> None:
    file.write_text(f"{table} = 3\n", "utf-8")

    assert f"{file}: [{table}]: expected a table, got 3" in faults(file)


def test_config_toml_holds_exactly_the_defaults_and_shows_every_key_in_order() -> None:
    shown = tomllib.loads(CONFIG_TOML.read_text("utf-8"))

    assert load(CONFIG_TOML) == Settings()
    assert [f"{table}.{key}" for table, keys in shown.items() for key in keys] == list(leaves())
