"""The configured gateway. Rule: the first rule that matches decides, else the status."""

import json
from typing import Any

import pytest
from multidict import CIMultiDict

from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from smsd.provider.generic.rules import Rule
from smsd.provider.wire.answer import Answer
from tests.support.generic import TEXT, gateway, message, request


def judge(
    status: int, body: bytes | object = b"", headers: dict[str, str] | None = None, **changes: Any
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway(**changes).outcome(Answer(status, CIMultiDict(headers or {}), raw), message())


MOVED = (301, 307, 308)
ELSEWHERE = (300, 302, 303, 304, 305, 399)  # it may have acted on the request
REDIRECT = "HTTP {}: a redirect, and none is followed; correct the URL"
RULES = [
    {"body": "re:^BUSY", "outcome": "throttled"},
    {"json": "code", "in": [1007, "1008"], "outcome": "halted"},
    {"json": "code", "in": [21], "outcome": "rejected:recipient:opted_out"},
    {"json": "ok", "in": ["false"], "status": 200, "outcome": "rejected:message"},
]
STRICT = [*RULES, {"status": 200, "body": "re:^OK", "outcome": "accepted"}]


@pytest.mark.parametrize(
    ("status", "body", "rules", "expected"),
    [
        (200, b"BUSY", RULES, Throttled(None, "HTTP 200")),
        (200, {"code": 1007}, RULES, Halted("1007", "HTTP 200: 1007")),
        (400, {"code": "1008"}, RULES, Halted("1008", "HTTP 400: 1008")),
        (200, {"code": 21}, RULES, Rejected("21", "HTTP 200: 21", "recipient", opted_out=True)),
        (200, {"ok": False}, RULES, Rejected("false", "HTTP 200: false", "message")),
        (201, {"ok": False}, RULES, Accepted()),
        (200, {"code": 0}, RULES, Accepted()),
        (200, b"OK 1", STRICT, Accepted()),
        (200, b"who knows", STRICT, InDoubt("HTTP 200, but no rule matches this answer")),
        (201, b"OK 1", STRICT, InDoubt("HTTP 201, but no rule matches this answer")),
        (500, b"", [{"status": 500, "outcome": "unavailable"}], Unavailable("HTTP 500")),
        (200, b"", [{"outcome": "in_doubt"}], InDoubt("HTTP 200")),
        (302, b"", [{"status": 302, "outcome": "accepted"}], Accepted()),
    ],
)
def test_the_first_rule_that_matches_decides(
    status: int, body: object, rules: list[dict[str, Any]], expected: Outcome
) -> None:
    assert judge(status, body, rules=rules) == expected


@pytest.mark.parametrize(
    ("wanted", "matching", "others"),
    [
        (True, [b"true"], [b"false", b"1", b"1.0", b'"true"', b'"True"', b'"1"', b"[true]"]),
        (False, [b"false"], [b"true", b"0", b"0.0", b'"false"', b'"0"', b'""', b"null", b"[]"]),
        (7, [b"7", b"7.0", b'"7"'], [b"7.5", b'"7.0"', b"true", b"null", b"[7]"]),
        (1, [b"1", b"1.0"], [b"true", b'"true"']),
        (0, [b"0", b"0.0"], [b"false", b'""', b"null"]),
        ("7", [b"7", b'"7"'], [b"7.0", b"7.5"]),
        ("1.5", [b"1.5", b'"1.5"'], [b"1"]),
        ("true", [b"true", b'"true"'], [b"1", b'"True"']),
    ],
)
def test_a_rule_matches_a_string_a_whole_number_or_a_boolean(
    wanted: str | int, matching: list[bytes], others: list[bytes]
) -> None:
    rule = Rule.model_validate({"json": "a", "in": ["no", wanted], "outcome": "accepted"})

    def matches(value: bytes) -> bool:
        return rule.match(Answer(200, CIMultiDict(), b'{"a": %b}' % value)) is not None

    assert [value for value in (*matching, *others) if matches(value)] == matching


@pytest.mark.parametrize(
    ("status", "headers", "expected"),
    [
        (200, {}, Accepted()),
        (202, {}, Accepted()),
        *[(status, {}, Halted(str(status), REDIRECT.format(status))) for status in MOVED],
        *[(status, {}, InDoubt(f"HTTP {status}")) for status in ELSEWHERE],
        (400, {}, Rejected("400", "HTTP 400", known=False)),
        (401, {}, Halted("401", "HTTP 401", known=False)),
        (402, {}, Halted("402", "HTTP 402", known=False)),
        (403, {}, Halted("403", "HTTP 403", known=False)),
        (404, {}, Rejected("404", "HTTP 404", known=False)),
        (408, {}, InDoubt("HTTP 408")),
        (429, {}, Throttled(None, "HTTP 429")),
        (429, {"Retry-After": "3"}, Throttled(3.0, "HTTP 429")),
        (500, {}, InDoubt("HTTP 500")),
        (503, {}, Unavailable("HTTP 503")),
        (503, {"Retry-After": "3"}, Throttled(3.0, "HTTP 503")),
        (503, {"Retry-After": "soon"}, Throttled(None, "HTTP 503")),
        (504, {}, InDoubt("HTTP 504")),
    ],
)
def test_without_a_rule_the_status_decides(
    status: int, headers: dict[str, str], expected: Outcome
) -> None:
    assert judge(status, b"whatever", headers) == expected


def test_a_rule_overrides_a_503_that_was_forwarded() -> None:
    body = b"upstream connect error or disconnect/reset before headers. reset reason: remote reset"
    rule = {"status": 503, "body": "re:remote reset", "outcome": "unavailable"}
    assert judge(503, body) == InDoubt("HTTP 503: forwarded, then remote reset")
    assert judge(503, body, rules=[rule]) == Unavailable("HTTP 503")


@pytest.mark.parametrize(
    ("settings", "body", "expected"),
    [
        ({"id": "json:m.0.id", "segments": "json:m.0.parts"}, {"m": [{"id": 7, "parts": "2"}]}, 2),
        ({"id": "re:id=([0-9]+)", "segments": "re:parts=([0-9]+)"}, b"id=7 parts=2", 2),
        ({"id": "re:[0-9]+"}, b"OK 7", None),
        ({"id": "header:x-id"}, b"", None),
        ({"id": "json:id", "segments": "json:parts"}, {"id": "7", "parts": 0}, None),
    ],
)
def test_id_and_segments_are_read_where_configured(
    settings: dict[str, Any], body: object, expected: int | None
) -> None:
    assert judge(200, body, {"X-Id": "7"}, **settings) == Accepted("7", expected)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", {"m": []}, {"m": {"0": 1}}, [1], b"[" * 60_000, b"NaN"]
)
def test_a_success_without_the_id_it_should_hold_is_in_doubt(body: object) -> None:
    assert judge(200, body, id="json:m.0.id") == InDoubt("HTTP 200, but no id where one should be")


@pytest.mark.parametrize("said", [False, True, None, "", [], {}])
def test_an_id_is_a_string_or_a_number(said: object) -> None:
    body = {"id": said, "error": "no such sender"}
    assert judge(200, body, id="json:id") == InDoubt("HTTP 200, but no id where one should be")


def test_an_id_keeps_all_its_digits() -> None:
    assert judge(200, b'{"id": 123456789012345678901234567890}', id="json:id") == Accepted(
        "123456789012345678901234567890"
    )


def test_a_gateways_reason_is_kept_only_if_configured_and_redacted() -> None:
    said = {"error": f"cannot send {TEXT} to +12025550123 with hush"}
    assert judge(400, said) == Rejected("400", "HTTP 400", known=False)
    assert judge(400, said, reason="json:error", secrets={"K": "hush"}) == Rejected(
        "400", "HTTP 400: cannot send … to … with …", known=False
    )


def test_a_request_that_the_reason_repeats_is_redacted() -> None:
    basic: dict[str, Any] = {"user": "u", "password": "passw0rd+long", "reason": "json:error"}
    sent = request(**basic)
    said = {"error": f"{sent.body.decode()} {sent.headers['authorization']} passw0rd%2Blong"}
    told = judge(401, said, **basic)
    assert told == Halted("401", "HTTP 401: to=…23&text=… Basic … …", known=False)
