"""Wrong requests. Rule: what is wrong is named by its field, and nothing is started."""

import json
from collections.abc import Mapping

import pytest

from tests.support.calls import JSON, answer_on, call, connect, number
from tests.support.campaign_calls import (
    good,
    refused,
    start,
    verb,
)
from tests.support.processes import Daemon

WRONG: dict[str, tuple[Mapping[str, object], str]] = {
    "no message": ({"message": None}, "message"),
    "message of another type": ({"message": ["Zebra"]}, "message"),
    "empty message": ({"message": " "}, "message"),
    "long message": ({"message": "Zebra" * 1000}, "message"),
    "very long message": ({"message": "Zebra" * 10_000}, "message"),
    "control character": ({"message": "Zebra\u0000"}, "message"),
    "half a pair": ({"message": "Zebra\ud83d"}, "message"),
    "tags": ({"message": "Zebra {% if x %}"}, "message"),
    "no recipients": ({"audience": None}, "audience"),
    "no such audience": ({"audience": "nobody"}, "audience"),
    "audience of another type": ({"audience": 1}, "audience"),
    "hostile audience": ({"audience": "../people\n"}, "audience"),
    "braces": ({"message": "Zebra {first_name}"}, "message"),
    "a column in brackets": ({"message": "Zebra [Note]", "audience": "long"}, "message"),
    "no such column": ({"message": "Zebra {{ last_name }}"}, "message"),
    "no columns at all": ({"message": "Zebra {{ x }}", "audience": "demo"}, "message"),
    "empty to": ({"to": []}, "to"),
    "null to": ({"to": None}, "to"),
    "to of another type": ({"to": {"+12025560100": 1}}, "to"),
    "bad number": ({"to": [number(1), "nobody"]}, "to[1]"),
    "too many numbers": ({"to": [number(n) for n in range(1001)]}, "to"),
    "name of another type": ({"name": 5}, "name"),
    "capital name": ({"name": "Spring"}, "name"),
    "empty name": ({"name": ""}, "name"),
    "long name": ({"name": "a" * 65}, "name"),
    "hostile name": ({"name": "../../etc"}, "name"),
    "kind": ({"kind": "spam"}, "kind"),
    "priority": ({"priority": "urgent"}, "priority"),
    "sender": ({"from": "far too long a sender"}, "from"),
    "send_at": ({"send_at": "tomorrow"}, "send_at"),
    "far send_at": ({"send_at": "2199-01-01T00:00:00Z"}, "send_at"),
    "past expiry": ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    "expiry before send_at": (
        {"send_at": "2027-03-01T00:00:00Z", "expires_at": "2027-02-01T00:00:00Z"},
        "expires_at",
    ),
    "no weight": ({"weight": 0}, "weight"),
    "too much weight": ({"weight": 1001}, "weight"),
    "a weight that is true": ({"weight": True}, "weight"),
    "a fraction of weight": ({"weight": 1.5}, "weight"),
    "transliterate": ({"transliterate": "yes"}, "transliterate"),
    "ref": ({"ref": "a\nb"}, "ref"),
    "unknown": ({"recipients": [number(1)]}, "recipients"),
    "campaign": ({"campaign": "spring"}, "campaign"),
}


@pytest.mark.parametrize("query", ["", "?dry_run=1"])
@pytest.mark.parametrize(("wrong", "field"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_and_nothing_is_started(
    smsd: Daemon, wrong: Mapping[str, object], field: str, query: str
) -> None:
    before = good(call(smsd, "GET", "/campaigns?count=1"))["campaigns"][:1]
    asked = {"audience": "people", "message": "Zebra"} | dict(wrong)
    refused(start(smsd, query, **asked), 400, "invalid_field", field)
    after = good(call(smsd, "GET", "/campaigns?count=1"))["campaigns"][:1]
    assert [one["id"] for one in after] == [one["id"] for one in before]


@pytest.mark.parametrize(
    ("verb_", "wrong", "field"),
    [
        ("pause", {"reason": 5}, "reason"),
        ("pause", {"reason": "a" * 201}, "reason"),
        ("pause", {"reason": "a\nb"}, "reason"),
        ("pause", {"expect": -1}, "expect"),
        ("resume", {"expect": True}, "expect"),
        ("cancel", {"expect": "5"}, "expect"),
        ("cancel", {"in_doubt": True}, "in_doubt"),
        ("retry-failed", {"in_doubt": 1}, "in_doubt"),
        ("retry-failed", {"after": "x"}, "after"),
        ("retry-failed", {"until": 5}, "until"),
    ],
)
def test_a_wrong_field_of_a_verb_is_named(
    smsd: Daemon, verb_: str, wrong: dict[str, object], field: str
) -> None:
    refused(verb(smsd, "whatever", verb_, **wrong), 400, "invalid_field", field)


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({}, "weight"),
        ({"weight": 0}, "weight"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"message": "Zebra"}, "message"),
    ],
)
def test_a_wrong_field_of_an_edit_is_named(
    smsd: Daemon, wrong: dict[str, object], field: str
) -> None:
    answer = call(smsd, "PATCH", "/campaigns/whatever", json.dumps(wrong))
    refused(answer, 400, "invalid_field", field)


@pytest.mark.parametrize("query", ["dry_run=2", "dry=1", "dry_run=1&dry_run=0"])
def test_a_wrong_parameter_of_a_start_is_named(smsd: Daemon, query: str) -> None:
    field = query.partition("=")[0]
    refused(start(smsd, f"?{query}", to=number(1), message="Zebra"), 400, "invalid_field", field)


def test_a_recipient_without_a_value_is_named_before_anything_is_sent(
    smsd: Daemon, name: str
) -> None:
    answer = start(smsd, name=name, audience="people", message="Hi {{ first_name }}, Zebra")
    message = refused(answer, 400, "missing_value", "message")
    assert (answer.error["column"], answer.error["number"]) == ("first_name", number(3002))
    assert answer.error["missing"] == 1
    assert 'give it a default: {{ first_name | default: "…" }}' in message
    refused(call(smsd, "GET", f"/campaigns/{name}"), 404, "not_found")


def test_a_body_of_ten_megabytes_is_refused(smsd: Daemon) -> None:
    connection = connect(smsd)
    connection.putrequest("POST", "/campaigns")
    for header, value in (JSON | {"Content-Length": "10000000"}).items():
        connection.putheader(header, value)
    connection.endheaders(b'{"message": "Zebra')
    refused(answer_on(connection), 413, "body_too_large")
    connection.close()


def test_octets_that_are_no_text_are_refused(smsd: Daemon) -> None:
    answer = call(smsd, "POST", "/campaigns", b'{"message": "\xff", "to": "+12025560100"}')
    refused(answer, 400, "invalid_json")
    assert call(smsd, "POST", "/campaigns", "{}", {"Content-Type": "text/plain"}).status == 415
