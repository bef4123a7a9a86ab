"""The configured gateway. Rule: fields are encoded by their body, answers are read by rules."""

import json
from typing import Any
from urllib.parse import parse_qsl

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from smsd.core.message import Content, Message
from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from smsd.core.segment import Segments
from smsd.provider.generic.http import GenericSettings, Http
from smsd.provider.generic.rules import Rule
from smsd.provider.wire import rulings as codes
from smsd.provider.wire.transport import Answer, Request

TEXT = 'Hi & bye = 50% + "q" {x} ${Y} é\n'
GOOD: dict[str, Any] = {
    "url": "https://gw.example/send",
    "fields": {"to": "{to_no_plus}", "text": "{text}"},
}


def gateway(**changes: Any) -> Http:
    settings = GenericSettings.model_validate(GOOD | changes)
    return Http.build(settings, timeout_s=1.0, max_in_flight=8)


def message() -> Message:
    content = Content(TEXT, Segments("ucs2", 33, 1), "Shop", None, None, None, "spring", "o-7")
    return Message("m1", "+12025550123", content)


def request(**changes: Any) -> Request:
    return gateway(**changes).request(message())


def judge(
    status: int, body: bytes | object = b"", headers: dict[str, str] | None = None, **changes: Any
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gateway(**changes).judge(Answer(status, CIMultiDict(headers or {}), raw), message())


# What is sent


def test_numbers_may_go_without_their_plus() -> None:
    fields = {"to": "{to_no_plus}", "from": "{from_no_plus}", "text": "{text}"}
    for sender, sent in (("+12025550100", b"12025550100"), ("Shop", b"Shop"), ("", b"")):
        content = message().content._replace(sender=sender)
        made = gateway(fields=fields).request(message()._replace(content=content))
        assert b"to=12025550123&from=" + sent + b"&" in made.body


def test_a_form_is_encoded_and_never_spliced() -> None:
    made = request()
    assert made.method == "POST"
    assert made.headers == {"content-type": "application/x-www-form-urlencoded"}
    assert parse_qsl(made.body.decode(), strict_parsing=True) == [
        ("to", "12025550123"),
        ("text", TEXT),
    ]


def test_every_placeholder_has_its_value() -> None:
    names = ["to", "to_no_plus", "from", "text", "id", "ref", "segments", "encoding"]
    made = request(body="json", fields={name: f"<{{{name}}}>" for name in names})
    assert json.loads(made.body) == {
        "to": "<+12025550123>",
        "to_no_plus": "<12025550123>",
        "from": "<Shop>",
        "text": f"<{TEXT}>",
        "id": "<m1>",
        "ref": "<o-7>",
        "segments": "<1>",
        "encoding": "<ucs2>",
    }


@pytest.mark.parametrize(
    ("encodings", "gsm7", "ucs2"),
    [
        ({"gsm7": "0", "ucs2": "2"}, "0", "2"),
        ({"ucs2": "{8}"}, "gsm7", "{8}"),
        ({}, "gsm7", "ucs2"),
    ],
)
def test_an_encoding_has_the_gateways_own_name(
    encodings: dict[str, str], gsm7: str, ucs2: str
) -> None:
    made = gateway(
        body="json",
        encodings=encodings,
        fields={**GOOD["fields"], "x": [{"coding": "c{encoding}"}]},
    )
    cyrillic = message()
    latin = cyrillic._replace(content=cyrillic.content._replace(segments=Segments("gsm7", 33, 1)))
    for sent, name in ((latin, gsm7), (cyrillic, ucs2)):
        assert json.loads(made.request(sent).body)["x"] == [{"coding": f"c{name}"}]


def test_json_fields_may_nest_and_keep_their_types() -> None:
    made = request(
        body="json",
        fields={
            "messages": [{"to": ["{to}"], "dlr": True, "ttl": 60, "x": None, "b": "{{{id}}}"}],
            "all": {"t": ["{text}"]},
        },
    )
    assert json.loads(made.body) == {
        "messages": [{"to": ["+12025550123"], "dlr": True, "ttl": 60, "x": None, "b": "{m1}"}],
        "all": {"t": [TEXT]},
    }
    assert made.headers["content-type"] == "application/json"


def test_a_get_puts_its_fields_into_the_query_behind_what_is_there() -> None:
    made = request(
        method="GET", url="https://gw.example/send?v=1", fields={"to": "{to}", "t": "{text}"}
    )
    assert made.body == b""
    assert "content-type" not in made.headers
    path, _, query = made.url.raw_path_qs.partition("?")
    assert path == "/send"
    assert parse_qsl(query, strict_parsing=True) == [
        ("v", "1"),
        ("to", "+12025550123"),
        ("t", TEXT),
    ]


def test_a_raw_body_is_the_text_alone_with_the_fields_in_the_query() -> None:
    made = request(body="raw", method="PUT", fields={"to": "{to}"})
    assert made.method == "PUT"
    assert made.body == TEXT.encode()
    assert made.url.raw_query_string == "to=%2B12025550123"
    assert made.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_list_repeats_its_key_in_a_form() -> None:
    fields = {"to": ["{to}", "{from}"], "dlr": False, "n": 3, "none": None, "t": "{text}"}
    made = request(fields=fields)
    assert made.body.startswith(b"to=%2B12025550123&to=Shop&dlr=false&n=3&none=&t=Hi")


def test_secrets_go_into_headers_fields_and_the_address_whatever_they_contain() -> None:
    secrets = {"TOKEN": "a{b}/${c}&"}
    made = request(
        url="https://gw.example/${TOKEN}/send",
        headers={"Authorization": "Bearer ${token}", "Idempotency-Key": "smsd-{id}"},
        fields={"key": "${TOKEN}", **GOOD["fields"]},
        secrets=secrets,
    )
    assert made.headers["authorization"] == "Bearer a{b}/${c}&"
    assert made.headers["idempotency-key"] == "smsd-m1"
    assert made.url.raw_parts == ("/", "a%7Bb%7D%2F$%7Bc%7D&", "send")
    assert parse_qsl(made.body.decode())[0] == ("key", "a{b}/${c}&")


def test_a_base_url_goes_before_the_url_and_basic_authentication_into_a_header() -> None:
    made = request(base_url="http://127.0.0.1:9", url="/send", user="me", password="pw")
    assert str(made.url) == "http://127.0.0.1:9/send"
    assert made.headers["authorization"] == "Basic bWU6cHc="


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"to": "{too}"}}, "fields.to: {too} is no placeholder; known here: {to}, "),
        ({"fields": {"to": "{to"}}, "fields.to: holds a single brace"),
        ({"fields": {"to": "${KEY}"}}, "fields.to: ${KEY} is not among the secrets"),
        ({"fields": {"to": {"a": "{to}"}}}, "fields.to: only a JSON body holds tables"),
        ({"fields": {"to": [["{to}"]]}}, "fields.to: only a JSON body holds tables"),
        ({"fields": {"to": {1, 2}}, "body": "json"}, "fields.to: holds a set"),
        ({"fields": {"n": 10**29}, "body": "json"}, "fields.n: holds a number that JSON cannot"),
        ({"fields": {"n": float("nan")}}, "fields.n: holds a number that JSON cannot"),
        ({"fields": {"to": "{to}", "text": "{{text}}"}}, "fields: must hold {text} somewhere"),
        ({"fields": {"text": "{text}", "from": "{from}"}}, "fields: must hold {to} or {to_no_"),
        ({"fields": {}, "body": "raw"}, "fields: must hold {to} or {to_no_plus} somewhere"),
        ({"encodings": {"gsm7": "0", "utf8": "1"}}, "Extra inputs are not permitted"),
        ({"headers": {"X": "{text}"}}, "headers.x: {text} is no placeholder; known here: {id}"),
        ({"headers": {"X Y": "z"}}, "headers.x y: is no name for a header"),
        ({"headers": {"X": "${K}"}, "secrets": {"K": "hu\nsh"}}, "holds a control character"),
        ({"url": "gw.example/send"}, "url: must be an address"),
        ({"url": "https://me:hush@gw.example/"}, "url: must hold neither"),
        ({"url": "https://gw.example/{to}"}, "url: {to} is no placeholder; known here: none"),
        ({"method": "GET", "body": "form"}, "body: a GET has none"),
        ({"method": "DELETE"}, "Input should be 'POST', 'GET' or 'PUT'"),
        ({"id": "xml:id"}, 'must begin with "json:", "re:" or "header:"'),
        ({"id": "re:(["}, "is no regular expression"),
        ({"rules": [{"body": "OK", "outcome": "accepted"}]}, 'must be written "re:"'),
        ({"rules": [{"json": "code", "outcome": "accepted"}]}, "`json` and `in` go together"),
        ({"rules": [{"status": 200, "outcome": "fine"}]}, "must be one of accepted, rejected"),
        ({"rules": [{"status": 2000, "outcome": "accepted"}]}, "less than or equal to 599"),
        ({"rules": [{"status": 200}]}, "Field required"),
        ({"base_url": "http://gw.example"}, 'url: must begin with "/", since base_url goes before'),
        ({"base_url": "http://gw.example", "url": ".org/"}, 'url: must begin with "/", since base'),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_with_the_place_and_without_a_secret(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        gateway(**changes)
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_no_secret_is_in_the_repr_of_settings() -> None:
    settings = GenericSettings.model_validate(
        GOOD | {"secrets": {"K": "hush"}, "password": "hush", "headers": {"X": "${K}"}}
    )
    assert "hush" not in repr(settings)


# What is answered

MOVED = (301, 307, 308)
ELSEWHERE = (300, 302, 303, 304, 305, 399)  # it may have acted on the request
REDIRECT = "HTTP {}: a redirect, and none is followed; mend the URL"
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
        (200, b"who knows", STRICT, InDoubt("HTTP 200, but no rule knows this answer")),
        (201, b"OK 1", STRICT, InDoubt("HTTP 201, but no rule knows this answer")),
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
def test_a_rule_can_ask_for_a_text_a_whole_number_or_a_truth_value(
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


def test_rules_say_otherwise_of_a_503_that_was_forwarded() -> None:
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
def test_id_and_segments_are_found_where_configuration_says(
    settings: dict[str, Any], body: object, expected: int | None
) -> None:
    assert judge(200, body, {"X-Id": "7"}, **settings) == Accepted("7", expected)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"\xff\xfe", {"m": []}, {"m": {"0": 1}}, [1], b"[" * 60_000, b"NaN"]
)
def test_a_success_without_the_id_it_should_hold_is_in_doubt(body: object) -> None:
    assert judge(200, body, id="json:m.0.id") == InDoubt("HTTP 200, but no id where one should be")


@pytest.mark.parametrize("said", [False, True, None, "", [], {}])
def test_what_is_neither_text_nor_number_is_no_id(said: object) -> None:
    body = {"id": said, "error": "no such sender"}
    assert judge(200, body, id="json:id") == InDoubt("HTTP 200, but no id where one should be")


def test_an_id_keeps_all_its_digits() -> None:
    assert judge(200, b'{"id": 123456789012345678901234567890}', id="json:id") == Accepted(
        "123456789012345678901234567890"
    )


def test_a_gateways_words_are_kept_only_where_asked_for_and_hide_text_number_and_secret() -> None:
    said = {"error": f"cannot send {TEXT} to +12025550123 with hush"}
    assert judge(400, said) == Rejected("400", "HTTP 400", known=False)
    assert judge(400, said, reason="json:error", secrets={"K": "hush"}) == Rejected(
        "400", "HTTP 400: cannot send … to … with …", known=False
    )


def test_the_words_hide_the_whole_request_that_they_repeat() -> None:
    basic: dict[str, Any] = {"user": "u", "password": "passw0rd+long", "reason": "json:error"}
    sent = request(**basic)
    said = {"error": f"{sent.body.decode()} {sent.headers['authorization']} passw0rd%2Blong"}
    told = judge(401, said, **basic)
    assert told == Halted("401", "HTTP 401: to=…23&text=… Basic … …", known=False)


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("3", "", 3.0),
        ("1.5", "", 1.5),
        ("0", "", 0.0),
        ("999999", "", codes.LONGEST_PAUSE_S),
        ("9" * 30, "", None),
        ("-1", "", None),
        ("nan", "", None),
        ("\u0663", "", None),
        ("", "", None),
        ("Fri, 01 Jan 2027 00:00:30 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", 30.0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", "Fri, 01 Jan 2027 00:00:30 GMT", 0.0),
        ("Fri, 01 Jan 2999 00:00:00 GMT", "Fri, 01 Jan 2027 00:00:30 GMT", codes.LONGEST_PAUSE_S),
        ("Fri, 01 Jan 2027 00:00:30 GMT", "", None),
        ("Fri, 99 Jan 2027 00:00:30 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    value: str, date: str, expected: float | None
) -> None:
    assert codes.retry_after(CIMultiDict({"Retry-After": value, "Date": date})) == expected


def test_no_retry_after_is_none() -> None:
    assert codes.retry_after(CIMultiDict()) is None
