"""Settings. Rule: every key has a case here, and a key without one fails the first test."""

import re
import tomllib
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import pytest
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator

from smsd.config import ConfigError, Settings, explain, is_loopback, load
from smsd.core.outcome import RetryPolicy
from smsd.provider.generic.http import Http
from smsd.provider.sandbox import Sandbox
from smsd.provider.twilio.provider import Twilio

CONFIG_TOML = Path(__file__).parents[2] / "config.toml"
OPENAPI = Path(__file__).parents[2] / "smsd/web/openapi.json"
HUSH = "hush-hush-hush-hush"  # what no text may ever show
TOKEN = "a-token-of-24-characters"


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
LONG_TOKENS = "expected at least 16 visible ASCII characters"
REDIS_URL = (
    'expected "embedded", or a URL with redis://, rediss://, unix://, redis+sentinel://,'
    " rediss+sentinel://"
)
UNENCODED = "(:, /, ?, #, @ and % in a name or password: percent-encoded)"

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


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.touch()
    return path


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


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


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == "\n".join(caught.value.faults)
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    return caught.value.faults


def fault(path: Path) -> str:
    (only,) = faults(path)
    return only


def test_every_key_of_the_models_has_a_case() -> None:
    assert list(KEYS) == list(leaves())


def test_config_toml_holds_exactly_the_defaults_and_shows_every_key_in_order() -> None:
    shown = tomllib.loads(CONFIG_TOML.read_text("utf-8"))

    assert load(CONFIG_TOML) == Settings()
    assert [f"{table}.{key}" for table, keys in shown.items() for key in keys] == list(leaves())


@pytest.mark.parametrize(
    ("name", "model"),
    [("sandbox", Sandbox.Settings), ("twilio", Twilio.Settings), ("http", Http.Settings)],
)
def test_the_examples_for_providers_in_config_toml_are_right(
    file: Path, name: str, model: type[BaseModel]
) -> None:
    text = CONFIG_TOML.read_text("utf-8")
    example = text[text.index(f"# [provider.{name}]") :].split("\n\n")[0]
    file.write_text(re.sub("^# ", "", example, flags=re.MULTILINE), "utf-8")

    model.model_validate(load(file).provider.options(name))


def test_openapi_says_how_long_a_key_is_remembered_by_default() -> None:
    said = OPENAPI.read_text("utf-8")

    hours = Settings().queue.keep_idempotency // 3600
    assert f"keep_idempotency of [queue] says: {hours} hours by default" in said


def test_every_key_of_config_toml_has_a_comment_beside_it() -> None:
    keys = re.findall(r"^\w+ = .*$", CONFIG_TOML.read_text("utf-8"), re.MULTILINE)

    assert [line for line in keys if " # " not in line] == [
        'demo = ["+12025550101", "+12025550102"]'
    ]


def test_an_empty_file_is_the_defaults(file: Path) -> None:
    assert load(file) == Settings()


def test_settings_without_load_read_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSD_HTTP__PORT", "1")

    assert Settings().http.port == 8080


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


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[rate]\nsegments_per_secnod = 45", "[rate] segments_per_secnod: unknown key; "
         "did you mean segments_per_second?"),
        ("[raet]\nx = 1", "[raet]: unknown key; did you mean rate?"),
        ("[provider]\nnaem = 1", "[provider] naem: unknown key; did you mean name?"),
        ("_env_file = 1", "[_env_file]: unknown key; known: http, redis, "),
        ('"a\\nb\\u001b" = 1', "[a\\nb\\x1b]: unknown key; known: "),
    ],
)  # fmt: skip
def test_an_unknown_name_brings_the_nearest_known_one(file: Path, text: str, line: str) -> None:
    file.write_text(text, "utf-8")

    assert fault(file).startswith(f"{file}: {line}")


def test_all_faults_are_reported_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('[http]\nport = "1"\n[rate]\nceiling = 2\n', "utf-8")
    monkeypatch.setenv("SMSD_RAET__X", "1")
    monkeypatch.setenv("SMSD_LOG__LEVEL", "loud")

    assert [line.split(": ")[0] for line in faults(file)] == [
        "SMSD_RAET__X",
        str(file),
        str(file),
        "SMSD_LOG__LEVEL",
    ]


def test_a_variable_of_an_unknown_table_is_never_passed_over(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_RAET__X", HUSH)

    assert fault(file).startswith("SMSD_RAET__X: expected SMSD_<TABLE>__<KEY>, got [raet]")


def test_variables_that_kubernetes_gives_beside_a_service_are_left_alone(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for service in ("SMSD", "SMSD_REDIS", "SMSD_HTTP"):
        monkeypatch.setenv(f"{service}_SERVICE_HOST", "10.0.0.1")
        monkeypatch.setenv(f"{service}_SERVICE_PORT", "8080")
        monkeypatch.setenv(f"{service}_PORT", "tcp://10.0.0.1:8080")
        monkeypatch.setenv(f"{service}_PORT_8080_TCP", "tcp://10.0.0.1:8080")
        monkeypatch.setenv(f"{service}_PORT_8080_TCP_PROTO", "tcp")
    for name in ("SMSD_", "SMSD___X", "SMSD_RATE_CEILING", "SMSDX__Y"):
        monkeypatch.setenv(name, HUSH)

    assert load(file) == Settings()


@pytest.mark.parametrize(
    ("variable", "key"),
    [
        ("FIELDS__To", "To"),
        ("FIELDS__toNumber", "toNumber"),
        ("FIELDS__TO", "to"),  # as variables are spelled
        ("FIELDS__to", "to"),
        ("fields__X_1", "x_1"),
    ],
)
def test_names_of_the_users_own_keep_their_case(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, key: str
) -> None:
    monkeypatch.setenv(f"SMSD_Provider__HTTP__{variable}", "{to}")

    assert load(file).provider.options("http") == {"fields": {key: "{to}"}}


def test_an_audience_keeps_the_case_of_its_name(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_AUDIENCES__DEMO", '["+12025550123"]')
    monkeypatch.setenv("SMSD_AUDIENCES__Staff", '["+12025550124"]')

    assert load(file).audiences == {"demo": ("+12025550123",), "Staff": ("+12025550124",)}


def test_a_fault_names_the_variable_as_it_is_spelled(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_Audiences__Staff", '["1"]')
    monkeypatch.setenv("SMSD_AUDIENCES__DEMO", '["+12025550123"]')

    assert fault(file).startswith("SMSD_Audiences__Staff: [audiences] Staff[0]: must start with +")


def test_a_provider_s_table_as_json_goes_together_with_its_single_keys(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('[provider.http]\nurl = "a"\nmethod = "GET"\n', "utf-8")
    monkeypatch.setenv("SMSD_PROVIDER__HTTP", '{"url": "b", "fields": {"To": "{to}"}}')
    monkeypatch.setenv("SMSD_PROVIDER__HTTP__FIELDS__Text", "{text}")
    monkeypatch.setenv("SMSD_PROVIDER__HTTP__HEADERS", '{"X": "1"}')
    monkeypatch.setenv("SMSD_PROVIDER__HTTP__HEADERS__Yz", "2")

    assert load(file).provider.options("http") == {
        "url": "b",
        "method": "GET",
        "fields": {"To": "{to}", "Text": "{text}"},
        "headers": {"X": "1", "Yz": "2"},
    }


def test_a_variable_with_an_unknown_key_names_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_RATE__CIELING", HUSH)

    line = "SMSD_RATE__CIELING: [rate] cieling: unknown key; did you mean ceiling?"
    assert fault(file) == line


@pytest.mark.parametrize(
    ("variable", "words"),
    [
        ("SMSD_QUEUE", '[queue]: expected a table as JSON, got "a, b"'),
        ("SMSD_HTTP__TOKENS", "[http] tokens: expected a list"),
        ("SMSD_AUDIENCES__DEMO", '[audiences] demo: expected a list as JSON, got "a, b"'),
        (
            "SMSD_PROVIDER__TWILIO",
            "[provider] twilio: expected a table as JSON, since it is no key;",
        ),
        ("SMSD_PROVIDER__NAEM", "[provider] naem: unknown key; did you mean name?"),
    ],
)
def test_a_variable_that_is_no_json_is_a_fault_where_a_list_or_table_should_be(
    file: Path, monkeypatch: pytest.MonkeyPatch, variable: str, words: str
) -> None:
    monkeypatch.setenv(variable, "a, b")

    assert fault(file).startswith(f"{variable}: {words}")


def test_a_table_whose_json_is_broken_is_a_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__HTTP", '{"password":"hush"')

    words = "[provider] http: expected a table as JSON, since it is no key; known: name, timeout, "
    assert fault(file).startswith(f"SMSD_PROVIDER__HTTP: {words}")


def test_a_variable_may_hold_a_whole_table_as_json(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_AUDIENCES", '{"demo": ["+12025550123"], "vip": []}')

    assert load(file).audiences == {"demo": ("+12025550123",), "vip": ()}


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


class Rule(BaseModel):
    model_config = ConfigDict(extra="forbid")

    status: int


class Plugin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    auth_token: SecretStr
    sender: str = Field("", alias="from")
    weight: int = 1
    rules: tuple[Rule, ...] = ()

    @model_validator(mode="after")
    def _weighty(self) -> Self:
        if self.weight < 0:
            raise ValueError("needs a weight")
        return self


@pytest.mark.parametrize(
    ("options", "lines"),
    [
        ({}, ["[provider.plugin] auth_token: is required, and not set"]),
        ({"auth_token": HUSH, "weight": -1}, ["[provider.plugin]: needs a weight"]),
        ({"auth_token": ["hush"]}, ["[provider.plugin] auth_token: expected a string"]),
        (
            {"auth_token": HUSH, "form": "hush", "weight": {"hush": 1}},
            [
                "[provider.plugin] weight: expected a whole number, got a table",
                "[provider.plugin] form: unknown key; did you mean from?",
            ],
        ),
        (
            {"auth_token": HUSH, "from": 3, "weight": "x" * 99},
            [
                "[provider.plugin] from: expected a string, got 3",
                f'[provider.plugin] weight: expected a whole number, got "{"x" * 59}…',
            ],
        ),
        (
            {"auth_token": HUSH, "rules": [{"status": 1}, {"status": "x", "stauts": HUSH}]},
            [
                '[provider.plugin] rules[1].status: expected a whole number, got "x"',
                "[provider.plugin] rules[1].stauts: unknown key; did you mean status?",
            ],
        ),
        (
            {"auth_token": HUSH, "weight": 1, "deep": {"hush": 1}},
            ["[provider.plugin] deep: unknown key; known: auth_token, from, weight, rules"],
        ),
    ],
)
def test_the_faults_of_a_providers_own_table_are_told_the_same_way(
    options: dict[str, Any], lines: list[str]
) -> None:
    with pytest.raises(ValidationError) as caught:
        Plugin.model_validate(options)

    error = explain(caught.value, Plugin, Path("c.toml"), ("provider", "plugin"))

    assert list(error.faults) == [f"c.toml: {line}" for line in lines]


def test_a_providers_fault_names_the_variable_it_came_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__PLUGIN__WEIGHT", "many")
    with pytest.raises(ValidationError) as caught:
        Plugin.model_validate({"auth_token": HUSH, "weight": "many"})

    error = explain(caught.value, Plugin, Path("c.toml"), ("provider", "plugin"))

    line = "SMSD_PROVIDER__PLUGIN__WEIGHT: [provider.plugin] weight: expected a whole number"
    assert str(error) == f'{line}, got "many"'
