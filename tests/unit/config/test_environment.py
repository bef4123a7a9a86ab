"""Variables. Rule: `SMSD_<TABLE>__<KEY>` is ours, any other is left alone."""

from pathlib import Path

import pytest

from smsd.config import Settings, load
from tests.support.config import HUSH, fault

pytestmark = pytest.mark.usefixtures("clean_environment")


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
