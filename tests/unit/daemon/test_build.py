"""The provider's tables. Rule: what nobody would read is a fault, whichever provider is chosen."""

import json
import traceback
from pathlib import Path

import pytest

from smsd.config import ConfigError, load
from smsd.daemon import build_provider
from smsd.provider.generic.http import Http
from smsd.provider.sandbox import Sandbox
from smsd.provider.twilio.provider import Twilio
from smsd.provider.twilio.settings import TwilioSettings
from tests.support.provider import ScriptedProvider

HUSH = "hush-hush-hush-hush"  # what no text may ever show
SID = "AC" + "0" * 32

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def faults(file: Path, text: str) -> list[str]:
    """What is said of it, without the name of the file."""
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        build_provider(load(file), file)
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    return [line.removeprefix(f"{file}: ") for line in caught.value.faults]


@pytest.mark.parametrize(
    ("table", "hint"),
    [
        ("sandbx", "did you mean sandbox?"),
        ("Twilio", "did you mean twilio?"),
        ("xyzzy", "known: http, jasmin, kannel, sandbox, twilio"),
    ],
)
def test_a_table_of_no_provider_is_a_fault(file: Path, table: str, hint: str) -> None:
    line = f"[provider.{table}]: unknown provider; {hint}"
    assert faults(file, f'[provider.{table}]\nlatency = "{HUSH}"\n') == [line]


def test_a_variable_for_no_provider_names_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__SANDBX__LATENCY", "1")

    line = "[provider.sandbx]: unknown provider; did you mean sandbox?"
    assert faults(file, "") == [f"SMSD_PROVIDER__SANDBX__LATENCY: {line}"]


def test_a_credential_for_no_provider_names_itself(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "credentials"
    directory.mkdir()
    credential = directory / "provider.twillio.auth_token"
    credential.write_text(HUSH)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))

    line = "[provider.twillio]: unknown provider; did you mean twilio?"
    assert faults(file, "") == [f"{credential}: {line}"]


def test_a_table_beside_the_chosen_one_is_looked_at_too(file: Path) -> None:
    text = f'[provider.twilio]\naccount_sid = "x"\nauth_tokn = "{HUSH}"\n'

    sid = 'expected a string that matches ^AC[0-9a-fA-F]{32}$, got "x"'
    assert faults(file, text) == [
        f"[provider.twilio] account_sid: {sid}",
        "[provider.twilio] auth_tokn: unknown key; did you mean auth_token?",
    ]


def test_it_may_wait_for_its_other_half(file: Path) -> None:
    """A credential, say, of a provider that will be chosen later."""
    file.write_text(f'[provider.twilio]\nauth_token = "{HUSH}"\n', "utf-8")

    assert isinstance(build_provider(load(file), file), Sandbox)


def test_all_that_a_chosen_provider_misses_is_told_at_once(file: Path) -> None:
    assert faults(file, '[provider]\nname = "twilio"\n') == [
        "[provider.twilio] account_sid: is required, and not set",
        "[provider.twilio] api_secret: needs either auth_token or api_key and api_secret",
        "[provider.twilio] messaging_service_sid: needs either from or messaging_service_sid,"
        " or else [message] default_from",
    ]


FIELDS = 'fields = {{to = "{{to}}", text = "{{text}}", from = "{}"}}'


@pytest.mark.parametrize("sender", ["{from}", "{from_no_plus}", "tel:{from}"])
def test_a_sender_that_nobody_gives_is_a_fault(file: Path, sender: str) -> None:
    table = f'url = "https://gw.example/"\n{FIELDS.format(sender)}\n'
    text = f'[provider]\nname = "http"\n[provider.http]\n{table}'
    assert faults(file, text) == [
        "[provider.http]: fields: {from} is empty where a message names no sender;"
        " set [message] default_from"
    ]
    for fine in (
        f'{text}[message]\ndefault_from = "Acme"\n',
        f"[provider.http]\n{table}",  # beside the chosen one
        text.replace(sender, "Acme"),
    ):
        file.write_text(fine, "utf-8")
        build_provider(load(file), file)


def test_the_default_sender_alone_satisfies_twilio(file: Path) -> None:
    table = f'[provider.twilio]\naccount_sid = "{SID}"\nauth_token = "{HUSH}"\n'
    text = f'[provider]\nname = "twilio"\n{table}'
    assert len(faults(file, text)) == 1
    file.write_text(f'{text}[message]\ndefault_from = "+12025550100"\n', "utf-8")
    assert isinstance(build_provider(load(file), file), Twilio)


def test_one_that_is_right_changes_nothing(file: Path) -> None:
    text = f'[provider.twilio]\naccount_sid = "{SID}"\nauth_token = "{HUSH}"\nfrom = "Acme"\n'
    file.write_text(text, "utf-8")

    assert isinstance(build_provider(load(file), file), Sandbox)


def test_the_faults_of_all_tables_are_told_at_once(file: Path) -> None:
    text = "[provider.sandbox]\nlatency = -1\n[provider.sandbx]\n[provider.twilio]\nx = 1\n"

    assert [line.split(":")[0] for line in faults(file, text)] == [
        "[provider.sandbox] latency",
        "[provider.sandbx]",
        "[provider.twilio] x",
    ]


def test_an_unknown_provider_is_told_once_though_it_has_a_table(file: Path) -> None:
    [line] = faults(file, '[provider]\nname = "nobody"\n[provider.nobody]\nx = 1\n')

    assert line.startswith("[provider] name: no provider 'nobody'")


@pytest.mark.parametrize("name", ["twilio", "http"])
@pytest.mark.parametrize(
    ("octets", "words"),
    [
        (b"", "must be a PEM file with certificates"),
        (b"a-host\n", "must be a PEM file with certificates"),
        (b"\x30\x82\x01\x00", "must be a PEM file with certificates"),
    ],
)
def test_authorities_that_are_none_are_a_fault_of_their_key(
    file: Path, tmp_path: Path, name: str, octets: bytes, words: str
) -> None:
    (pem := tmp_path / "ca.pem").write_bytes(octets)
    text = f'[provider]\nname = "{name}"\n[provider.{name}]\nca_file = "{pem}"\n'

    said = [line for line in faults(file, text) if "not set" not in line and "needs" not in line]
    assert [line.split(", got")[0] for line in said] == [f"[provider.{name}] ca_file: {words}"]


def test_a_wrong_code_is_named(file: Path) -> None:
    [line] = faults(file, '[provider.twilio]\ncodes = {abc = "halted:sender"}\n')

    words = "must be one of Twilio's codes, like 30034"
    assert line == f'[provider.twilio] codes.abc: {words}, got "abc"'


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ('json = "a", in = [1.5]', ".in[0]: expected a string, a whole number, or true or false, "
         "got 1.5"),
        ('json = "a", in = ["b", ["c"]]', ".in[1]: expected a string, a whole number, or true or "
         "false, got a list"),
        ('json = "a", in = "b"', '.in: expected a list, got "b"'),
        ('json = "a"', ": `json` and `in` go together"),
        ('in = ["b"]', ": `json` and `in` go together"),
        ('status = "200"', '.status: expected a whole number, got "200"'),
        ("status = true", ".status: expected a whole number, got true"),
        ("status = 200.0", ".status: expected a whole number, got 200.0"),
        ('body = {re = "OK"}', '.body: must be written "re:" and a regular expression, '
         "got a table"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("table", ["", "look_up."])
def test_what_a_rule_cannot_mean_is_a_fault_of_its_key(
    file: Path, table: str, rule: str, said: str
) -> None:
    text = f'[provider.http]\n{table}rules = [{{{rule}, outcome = "accepted"}}]\n'

    assert faults(file, text) == [f"[provider.http] {table}rules[0]{said}"]


def test_what_a_table_in_a_table_misses_is_told_without_what_it_is(file: Path) -> None:
    text = '[provider.http]\nlook_up = {url = "https://gateway.example/{id}"}\n'

    said = "needs an `id`, or a rule whose outcome is accepted"
    assert faults(file, text) == [f"[provider.http] look_up: {said}"]


def test_a_variable_is_text_and_may_stand_for_a_number(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__SANDBOX__RATE", "5")
    monkeypatch.setenv("SMSD_PROVIDER__SANDBOX__LATENCY", "0.5")
    file.touch()

    assert isinstance(build_provider(load(file), file), Sandbox)


def test_a_variable_with_the_whole_table_may_hold_rules(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule = {"status": 200, "json": "a", "in": [True, 7, "b"], "outcome": "accepted"}
    table = {"url": "https://gw.example/", "fields": {"to": "{to}", "t": "{text}"}, "rules": [rule]}
    monkeypatch.setenv("SMSD_PROVIDER", json.dumps({"name": "http", "http": table}))
    file.touch()

    assert isinstance(build_provider(load(file), file), Http)


def test_variables_may_hold_lists_and_tables_as_json(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('[provider]\nname = "http"\n[provider.http]\nurl = "https://gw.example/"\n')
    monkeypatch.setenv(
        "SMSD_PROVIDER__HTTP__RULES",
        '[{"status": 200, "json": "a", "in": [1], "outcome": "accepted"}]',
    )
    monkeypatch.setenv("SMSD_PROVIDER__HTTP__FIELDS", '{"To": "{to}", "text": "{text}"}')
    monkeypatch.setenv("SMSD_PROVIDER__HTTP__HEADERS__X", '["no list here"]')

    assert isinstance(build_provider(load(file), file), Http)


def test_a_variable_that_is_no_list_where_one_should_be_names_itself(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given in ("status=200", '[{"status": 200]', '{"status": 200}'):
        monkeypatch.setenv("SMSD_PROVIDER__HTTP__RULES", given)

        [line] = faults(file, "")

        assert line.startswith("SMSD_PROVIDER__HTTP__RULES: [provider.http] rules: expected a list")


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (f" {HUSH}", "expected no blank at either end"),
        (f"'{HUSH}'", "expected no quotes around it"),
    ],
)
def test_blanks_and_quotes_around_a_provider_s_secret_are_refused_by_name(
    file: Path, monkeypatch: pytest.MonkeyPatch, secret: str, expected: str
) -> None:
    for name in ("HTTP__PASSWORD", "HTTP__SECRETS__TOKEN", "TWILIO__AUTH_TOKEN"):
        variable = f"SMSD_PROVIDER__{name}"
        monkeypatch.setenv(variable, secret)
        _, table, key = variable.lower().split("__", 2)

        key = key.replace("__", ".")
        assert faults(file, "") == [f"{variable}: [provider.{table}] {key}: {expected}"]

        monkeypatch.delenv(variable)


def test_line_ends_around_a_provider_s_secret_are_no_part_of_it() -> None:
    settings = TwilioSettings.model_validate(
        {"account_sid": SID, "auth_token": f"\ufeff{HUSH}\r\n", "from": "Acme"}
    )

    assert settings.auth_token.get_secret_value() == HUSH


def test_authorities_that_are_no_file_are_a_fault_of_their_key(file: Path) -> None:
    [line] = faults(file, '[provider.http]\nca_file = "/nowhere/ca.pem"\n')

    assert line.startswith("[provider.http] ca_file: ")


class OfEarlierVersion(ScriptedProvider):
    """A plugin whose look-up names no gateway."""

    stop_leaves_in_doubt = True

    async def look_up(self, *_: object) -> None: ...


def test_a_plugin_whose_look_up_would_never_be_asked_is_a_fault(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsd.provider.load", lambda _: OfEarlierVersion)
    line = "'sandbox' has look_up, but lacks gateway: see SupportsLookUp in smsd/provider/base.py"
    assert faults(file, "") == [f"[provider] name: {line}"]
    monkeypatch.setattr(OfEarlierVersion, "gateway", "gateway A", raising=False)
    assert isinstance(build_provider(load(file), file), OfEarlierVersion)
