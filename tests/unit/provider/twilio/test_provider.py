"""Twilio's answers. Rule: each kind of answer has one outcome, and nothing secret is in it.

`test_an_answer_has_one_outcome` has a code of each ruling that `CODES` uses; a row of `CODES` with
another ruling gets a line there. `test_codes.py` looks at the whole table, `test_lookup.py` at
listed records.
"""

import json
from typing import Any
from urllib.parse import parse_qs

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
from smsd.provider.wire.answer import Answer
from tests.support.twilio import REDIRECT, SERVICE, SID, TEXT, message, twilio

FORWARDED = (
    b"upstream connect error or disconnect/reset before headers. reset reason:"
    b" connection termination"
)


def judge(
    status: int, body: object, headers: dict[str, str] | None = None, **changes: Any
) -> Outcome:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return twilio(**changes).outcome(Answer(status, CIMultiDict(headers or {}), raw), message())


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (201, {"sid": "SM1", "num_segments": "3"}, Accepted("SM1", 3)),
        (201, {"sid": "SM1", "num_segments": "0"}, Accepted("SM1", None)),
        (201, {"sid": "SM1"}, Accepted("SM1", None)),
        (201, {"sid": "SM1", "num_segments": 3}, Accepted("SM1", None)),
        (201, {}, InDoubt("HTTP 201, but no sid in the answer")),
        (201, [], InDoubt("HTTP 201, but no sid in the answer")),
        (200, b"<html>", InDoubt("HTTP 200, but no sid in the answer")),
        (204, b"", InDoubt("HTTP 204, but no sid in the answer")),
        (201, b"[" * 60_000, InDoubt("HTTP 201, but no sid in the answer")),
        (400, {"code": 21211}, Rejected("21211", "HTTP 400: 21211", "recipient")),
        (400, {"code": 21610}, Rejected("21610", "HTTP 400: 21610", "recipient", opted_out=True)),
        (400, {"code": 21617}, Rejected("21617", "HTTP 400: 21617", "message")),
        (400, {"code": 21408}, Rejected("21408", "HTTP 400: 21408", "recipient")),
        (400, {"code": 21606}, Rejected("21606", "HTTP 400: 21606", known=False)),
        (400, {"code": 21659}, Rejected("21659", "HTTP 400: 21659", known=False)),
        (400, {"code": 21661}, Halted("21661", "HTTP 400: 21661", "sender")),
        (400, {"code": 21611}, Throttled(None, "HTTP 400: 21611")),
        (429, {"code": 20429}, Throttled(None, "HTTP 429: 20429")),
        (401, {"code": 20003}, Halted("20003", "HTTP 401: 20003")),
        (404, {"code": 20404}, Halted("20404", "HTTP 404: 20404")),
        (400, {"code": 29999}, Rejected("29999", "HTTP 400: 29999", known=False)),
        (400, b"<html>", Rejected("400", "HTTP 400", known=False)),
        (404, b"", Rejected("404", "HTTP 404", known=False)),
        (401, b"", Halted("401", "HTTP 401", known=False)),
        (403, b"", Halted("403", "HTTP 403", known=False)),
        (408, b"", InDoubt("HTTP 408")),
        (429, b"", Throttled(None, "HTTP 429")),
        (500, {"code": 20500}, InDoubt("HTTP 500: 20500")),
        (502, b"bad gateway", InDoubt("HTTP 502")),
        (503, b"", Unavailable("HTTP 503")),
        (503, {"code": 20503}, Unavailable("HTTP 503: 20503")),
        (503, FORWARDED, InDoubt("HTTP 503: forwarded, then connection termination")),
        (504, b"", InDoubt("HTTP 504")),
        (307, b"", Halted("307", f"HTTP 307{REDIRECT}")),
        (308, {"code": 20001}, Halted("20001", f"HTTP 308: 20001{REDIRECT}")),
        (302, b"", InDoubt("HTTP 302")),
        (303, b"", InDoubt("HTTP 303")),
    ],
)
def test_an_answer_has_one_outcome(status: int, body: object, expected: Outcome) -> None:
    assert judge(status, body) == expected


def test_configuration_overrides_a_status_without_a_code() -> None:
    assert judge(503, FORWARDED, codes={"503": "unavailable"}) == Unavailable("HTTP 503")
    assert isinstance(judge(503, b"", codes={"503": "in_doubt"}), InDoubt)


def test_a_throttled_answer_carries_the_time_twilio_asks_for() -> None:
    assert judge(429, {"code": 20429}, {"retry-after": "7"}) == Throttled(7.0, "HTTP 429: 20429")
    assert judge(503, b"", {"Retry-After": "2"}) == Throttled(2.0, "HTTP 503")


def test_configuration_overrides_and_adds_codes() -> None:
    codes = {"21610": "rejected:recipient", "29999": "halted:sender"}
    opted_out = judge(400, {"code": 21610}, codes=codes)
    assert opted_out == Rejected("21610", "HTTP 400: 21610", "recipient")
    assert judge(302, {"code": 21610}, codes=codes) == Rejected(
        "21610", "HTTP 302: 21610", "recipient"
    )
    assert judge(400, {"code": 29999}, codes=codes) == Halted("29999", "HTTP 400: 29999", "sender")
    assert judge(400, {"code": 21211}, codes=codes) == judge(400, {"code": 21211})


def test_twilios_message_is_kept_without_number_text_or_line_breaks() -> None:
    said = f"The 'To' number +1 (202) 555-0123 is bad,\nFrom 12025550100 too: {TEXT}"
    outcome = judge(400, {"code": 21211, "message": said})
    assert isinstance(outcome, Rejected)
    assert outcome.reason == "HTTP 400: 21211: The 'To' number …23 is bad, From …00 too: …"


def test_a_request_that_twilios_message_repeats_is_redacted() -> None:
    sent = twilio().request(message())
    said = f"{sent.headers['Authorization']} s3cret-token {sent.body.decode()}"
    told = judge(401, {"code": 20003, "message": said})
    assert told == Halted("20003", "HTTP 401: 20003: Basic … … To=…&From=%2B…00&Body=…")


@pytest.mark.parametrize("code", [TEXT, "+12025550123", "12025550123", ["21211"], {"a": TEXT}])
def test_a_code_that_is_not_twilios_is_not_kept(code: object) -> None:
    assert judge(400, {"code": code}) == Rejected("400", "HTTP 400", known=False)


def test_a_long_message_of_twilios_is_cut() -> None:
    outcome = judge(400, {"code": 21211, "message": "x" * 5000})
    assert isinstance(outcome, Rejected)
    assert len(outcome.reason) < 230


def test_the_request_is_the_documented_form() -> None:
    request = twilio().request(message())
    assert request.method == "POST"
    assert str(request.url) == f"https://api.twilio.com/2010-04-01/Accounts/{SID}/Messages.json"
    assert parse_qs(request.body.decode(), strict_parsing=True) == {
        "To": ["+12025550123"],
        "From": ["+12025550100"],
        "Body": [TEXT],
    }
    assert request.headers["Authorization"].startswith("Basic QUMw")


def test_a_messaging_service_stands_in_for_a_sender_and_a_messages_own_sender_for_both() -> None:
    service = twilio(**{"from": "", "messaging_service_sid": SERVICE})
    assert b"MessagingServiceSid=" + SERVICE.encode() in service.request(message()).body
    own = service.request(message("+12025550111")).body
    assert b"From=%2B12025550111" in own
    assert b"MessagingServiceSid" not in own


def test_an_api_key_stands_in_for_the_auth_token() -> None:
    keyed = twilio(auth_token="", api_key="SK1", api_secret="hush")
    assert keyed.request(message()).headers["Authorization"] == "Basic U0sxOmh1c2g="
