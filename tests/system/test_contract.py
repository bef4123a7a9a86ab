"""`/openapi.json`. Rule: every call is in the contract, and every answer is as it says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from tests.support.contract import contract, table
from tests.support.processes import Daemon, eventually

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    unsupported_method,
]


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("contract"), "[rate]\nsegments_per_second = 1000\n")
    daemon.start()
    yield daemon
    daemon.kill()


CONTRACT = contract()


def questions() -> Iterator[Any]:
    """Each operation, asked as it should be, and if there is anything to it, as it should not."""
    for found in schemathesis.openapi.from_dict(CONTRACT).get_all_operations():
        operation = cast("Any", found).ok()
        calls = CONTRACT["paths"][operation.path]
        yield pytest.param(operation, GenerationMode.POSITIVE, id=operation.label)
        if "parameters" in calls or {"parameters", "requestBody"} & calls[operation.method].keys():
            yield pytest.param(operation, GenerationMode.NEGATIVE, id=f"{operation.label} wrongly")


@pytest.mark.parametrize(("operation", "mode"), list(questions()))
def test_whatever_is_asked_is_answered_as_the_contract_says(
    smsd: Daemon, operation: Any, mode: GenerationMode
) -> None:
    @settings(
        max_examples=15 if "{name}" in operation.path else 60,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:
        case.call_and_validate(base_url=smsd.url, checks=CHECKS)

    smsd.call("POST", "/release")  # what was asked before may have held dispatch
    eventually(lambda: smsd.call("GET", "/readyz/dispatch")[0] == 200)
    ask()


@pytest.mark.parametrize(
    "name",
    [
        "Queued",
        "MessageStatus",
        "DeadLetterPage",
        "DeadLetter",
        "SweptAnswer",
        "Error",
        "ImportAnswer",
        "AudienceShown",
        "AudienceList",
        "ContactPage",
        "ContactShown",
        "Removed",
    ],
)
def test_the_contract_names_every_property_of_an_answer(name: str) -> None:
    assert CONTRACT["components"]["schemas"][name]["additionalProperties"] is False


LATER = "2100-01-01T00:00:00Z"
ALL_FIELDS = {"message": "Hi", "from": "smsd", "campaign": "c", "ref": "r", "expires_at": LATER}


def checked(smsd: Daemon, method: str, path: str, **asked: Any) -> Any:
    """What is answered to one call, after it was held against the contract."""
    operation = schemathesis.openapi.from_dict(CONTRACT)[path][method]
    return operation.Case(**asked).call_and_validate(base_url=smsd.url, checks=CHECKS)


@pytest.mark.parametrize(
    ("to", "state"),
    [
        ("+12025550101", "sent"),
        ("+12025550190", "dead"),
        ("+12025550194", "dead"),
        ("+12025550192", "deferred"),
    ],
)
def test_a_message_in_any_state_is_shown_as_the_contract_says(
    smsd: Daemon, to: str, state: str
) -> None:
    queued = smsd.send(to=to, **ALL_FIELDS)
    messages: list[Any] = []

    def came() -> bool:
        shown = checked(smsd, "GET", "/messages/{id}", path_parameters={"id": queued["id"]})
        messages.append(shown.json())
        return bool(messages[-1]["state"] == state)

    eventually(came, 30, f"{state}: {messages[-1:]}")
    for name in ("from", "campaign", "ref"):
        assert messages[-1][name] == ALL_FIELDS[name]


def test_dead_letters_are_shown_as_the_contract_says(smsd: Daemon) -> None:
    for to in ("+12025550190", "+12025550191"):
        smsd.send(to=to, priority="high", **ALL_FIELDS)

    def died() -> bool:
        asked = {"message": "true", "count": 1000, "campaign": "c"}
        found = checked(smsd, "GET", "/dead-letters", query=asked).json()["dead_letters"]
        return {"+12025550190", "+12025550191"} <= {dead_letter["to"] for dead_letter in found}

    eventually(died)
    asked = {"count": 1001}
    operation = CONTRACT["paths"]["/dead-letters"]["get"]
    [count] = [one for one in operation["parameters"] if one["name"] == "count"]
    assert checked(smsd, "GET", "/dead-letters", query=asked).status_code == 400
    assert count["schema"]["maximum"] == 1000


def test_an_audience_is_shown_as_the_contract_says(smsd: Daemon) -> None:
    rows = [{"number": "+12025550101", "plan": "tin"}, {"number": "+12025550102"}, {"number": "x"}]
    named: dict[str, Any] = {"path_parameters": {"name": "shown"}}
    file: dict[str, Any] = {"body": {"contacts": rows}, "media_type": "application/json"}
    for method in ("PUT", "PUT", "POST"):
        answer = checked(smsd, method, "/audiences/{name}", **named, **file).json()
        assert answer["rejected"]["first"][0]["reason"] == "not_a_number"
    none: dict[str, Any] = file | {"body": {"contacts": rows[2:]}}
    assert checked(smsd, "PUT", "/audiences/{name}", **named, **none).status_code == 400
    assert checked(smsd, "GET", "/audiences/{name}", **named).json()["imports"]
    path = "/audiences/{name}/contacts"
    page = checked(smsd, "GET", path, query={"count": 1}, **named).json()
    assert page["contacts"][0]["number"] in ("+12025550101", "+12025550102")
    csv = checked(smsd, "GET", path, headers={"Accept": "text/csv"}, **named)
    assert csv.headers["content-type"] == ["text/csv; charset=utf-8"]
    assert checked(smsd, "GET", "/audiences/{name}/rejects", **named).status_code == 200
    assert len(checked(smsd, "GET", "/audiences").json()["audiences"]) == 2


def test_faults_in_a_list_are_shown_as_the_contract_says(smsd: Daemon) -> None:
    body = {"to": ["1", "+12025550101", "2"], "message": "Hi"}
    refused = checked(smsd, "POST", "/send", body=body, media_type="application/json")
    assert refused.json()["error"]["fault_count"] == 2


def test_a_repetition_is_answered_as_the_contract_says(smsd: Daemon) -> None:
    asked: dict[str, Any] = {
        "body": {"to": "+12025550101", "message": "Hé 😀"},
        "headers": {"Idempotency-Key": "once"},
        "media_type": "application/json",
    }
    checked(smsd, "POST", "/send", **asked)
    again = checked(smsd, "POST", "/send", **asked)
    promised = CONTRACT["paths"]["/send"]["post"]["responses"]["200"]["headers"]
    own = {name for name in again.headers if name.startswith("idempotent")}
    assert own == {name.lower() for name in promised}


def test_the_daemon_serves_this_contract_and_it_has_every_call_and_no_other(smsd: Daemon) -> None:
    status, served = smsd.call("GET", "/openapi.json")
    assert (status, served) == (200, CONTRACT)
    promised = {
        (method.upper(), path) for path, calls in served["paths"].items() for method in calls
    }
    assert promised == {(route.method, route.path) for route in table()}


def test_it_is_served_without_a_token(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, '[http]\ntokens = ["a-long-enough-token-of-some-kind"]\n')
    daemon.start()
    try:
        status, served = daemon.call("GET", "/openapi.json")
        assert (status, served["openapi"]) == (200, "3.1.0")
        assert daemon.call("GET", "/metrics")[0] == 401
    finally:
        daemon.kill()
