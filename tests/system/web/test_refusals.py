"""Refused requests. Rule: each refusal names the field at fault, and nothing is queued."""

import json
import re
import select
import socket
from pathlib import Path

import pytest

from smsd.core.fields import shortened
from tests.support.calls import (
    ANYBODY,
    JSON,
    TEXT,
    TOKEN,
    answer_on,
    bearer,
    call,
    connect,
    in_seconds,
    number,
    post,
    running,
)
from tests.support.processes import Daemon

WRONG: list[object] = [0, 1, 1.5, True, False, {}, {"a": 1}, [], [[]], [1], ""]
FIELDS = ["to", "message", "from", "priority", "send_at", "expires_at", "campaign", "ref"]


@pytest.mark.parametrize("value", WRONG, ids=json.dumps)
@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_type_is_refused_in_every_field(smsd: Daemon, field: str, value: object) -> None:
    answer = post(smsd, **({"message": TEXT, "to": ANYBODY} | {field: value}))

    assert answer.status == 400
    assert answer.error["code"] == "invalid_field"
    assert re.fullmatch(rf"{field}(\[0\])?", answer.error["field"])
    assert answer.error["message"].startswith(answer.error["field"] + " ")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("priority", "HIGH"),
        ("priority", "urgent"),
        ("from", "A name too long"),
        ("from", "Grüße"),
        ("from", "+0123"),
        ("from", "a\r\nX: y"),
        ("send_at", "tomorrow"),
        ("send_at", "2026-12-24T18:00:00"),
        ("send_at", "2026-13-24T18:00:00Z"),
        ("send_at", "2026-12-24T25:00:00Z"),
        ("send_at", 1_795_000_000),
        ("expires_at", "0001-01-01T00:00:00+23:59"),
        ("expires_at", "9999-12-31T23:59:59-23:59"),
        ("ref", "x" * 129),
        ("campaign", "a\nb"),
        ("campaign", "\x1b[31m"),
        ("ref", "\ud83d"),
        ("from", "\ud83d"),
        ("priority", "\ud83d"),
        ("send_at", "\ud83d"),
        ("to", "\ud83d"),
    ],
)
def test_a_wrong_value_is_refused_by_its_field(smsd: Daemon, field: str, value: object) -> None:
    answer = post(smsd, **({"message": TEXT, "to": ANYBODY} | {field: value}))

    assert (answer.status, answer.error["field"]) == (400, field)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (None, "is missing"),
        ("", "is empty"),
        (" ", "is empty"),
        ("\n\t \u00a0\u3000\u2028", "is empty"),
        ("Zebra\x00", "must not hold NUL or ESC characters"),
        ("Zebra\x1b", "must not hold NUL or ESC characters"),
        ("Zebra\ud83d", "holds half a surrogate pair at character 6"),
        ("\ude00\ud83dZebra", "holds half a surrogate pair at character 1"),
        ("Zebra" + "a" * 1_526, "is 11 segments long; at most 10 are allowed"),
        ("Zebra" + "я" * 666, "is 11 segments long; at most 10 are allowed"),
        ("Zebra" + "a" * 200_000, None),
    ],
)
def test_a_message_that_cannot_be_sent_is_refused(
    smsd: Daemon, text: str, reason: str | None
) -> None:
    answer = post(smsd, message=text, to=ANYBODY)

    assert (answer.status, answer.error["field"]) == (400, "message")
    assert reason is None or answer.error["message"] == f"message {reason}"


def test_all_bad_numbers_of_a_list_are_named(smsd: Daemon) -> None:
    to = [number(1), "12025560100", number(2), "+999123456", None, 5, "+1202", number(1)]
    error = post(smsd, message=TEXT, to=to).error

    assert error["field"] == "to[1]"
    assert error["message"].startswith("to[1] must start with +")
    assert error["fault_count"] == 5
    assert [fault["field"] for fault in error["faults"]] == [
        *("to[1]", "to[3]", "to[4]", "to[5]", "to[6]")
    ]
    assert error["faults"][1]["message"] == "starts with no known country code"


def test_no_number_at_all_is_not_everybody(smsd: Daemon) -> None:
    error = call(smsd, "POST", "/send", body=b'{"message": "Hi", "to": null}').error

    assert (error["code"], error["field"]) == ("invalid_field", "to")


def test_of_very_many_bad_numbers_the_first_are_named_and_all_are_counted(smsd: Daemon) -> None:
    error = post(smsd, message=TEXT, to=["nobody"] * 1_000).error

    assert (len(error["faults"]), error["fault_count"]) == (20, 1_000)


def test_an_unknown_field_is_refused_with_those_that_are_known(smsd: Daemon) -> None:
    error = post(smsd, message=TEXT, text=TEXT).error

    assert (error["code"], error["field"]) == ("invalid_field", "text")
    assert "is no known field; known are campaign, expires_at, from, message" in error["message"]


@pytest.mark.parametrize(
    "name", ["", " ", "Message", "id", "attempts", "\ud83d", "\x00", "x" * 100_000]
)
def test_a_field_of_any_name_is_answered(smsd: Daemon, name: str) -> None:
    answer = post(smsd, message=TEXT, **{name: TEXT})

    assert (answer.status, answer.error["field"]) == (400, shortened(name))


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ('{"message": "Zebra", "message": "Zebra"}', "duplicate_field"),
        ('{"message": "Zebra", "\\ud83d": 1, "\\ud83d": 1}', "duplicate_field"),
        ('{"message": "Zebra", "to": [{"a": 1, "a": 2}]}', "duplicate_field"),
        ("", "invalid_json"),
        ("message=Zebra", "invalid_json"),
        ('{"message": "Zebra"', "invalid_json"),
        ('{"message": NaN}', "invalid_json"),
        ('["Zebra"]', "invalid_json"),
        ('"Zebra"', "invalid_json"),
        ("null", "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"message": ' + "1" * 100_000 + "}", "invalid_json"),
        (b'{"message": "Zebra\xff"}', "invalid_json"),
    ],
)
def test_what_is_no_json_object_is_refused(smsd: Daemon, body: str | bytes, code: str) -> None:
    answer = call(smsd, "POST", "/send", body)

    assert (answer.status, answer.error["code"]) == (400, code)


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "text/json"])
def test_another_content_type_is_refused(smsd: Daemon, kind: str) -> None:
    answer = call(smsd, "POST", "/send", '{"message": "Zebra"}', {"Content-Type": kind})

    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


def test_a_body_that_says_it_is_huge_is_refused_unread(smsd: Daemon) -> None:
    connection = connect(smsd)
    connection.putrequest("POST", "/send")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "100000000")
    connection.endheaders()  # and not one octet of it
    answer = answer_on(connection)
    connection.close()

    assert (answer.status, answer.error["code"]) == (413, "body_too_large")
    assert answer.headers["Connection"] == "close"


def test_a_body_that_turns_out_huge_is_refused_on_the_way(smsd: Daemon) -> None:
    connection = connect(smsd)
    connection.putrequest("POST", "/send")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Transfer-Encoding", "chunked")
    connection.endheaders()
    sent, size = 0, 1_000_000
    while sent < 100 * size and not select.select([connection.sock], [], [], 0)[0]:
        connection.send(b"%x\r\n" % size + b"x" * size + b"\r\n")
        sent += size
    answer = answer_on(connection)
    connection.close()

    assert (answer.status, answer.error["code"]) == (413, "body_too_large")


def test_a_body_that_drips_is_given_up(strict: Daemon) -> None:
    connection = connect(strict)
    connection.putrequest("POST", "/send")
    for name, value in (bearer(JSON) | {"Content-Length": "1000"}).items():
        connection.putheader(name, value)
    connection.endheaders()
    drops = 0
    while drops < 1_000 and not select.select([connection.sock], [], [], 0.02)[0]:
        connection.send(b" ")
        drops += 1
    answer = answer_on(connection)
    connection.close()

    assert (answer.status, answer.error["code"]) == (408, "body_timeout")
    assert answer.headers["Connection"] == "close"


def test_a_client_that_goes_away_in_the_middle_harms_nobody(smsd: Daemon) -> None:
    connection = connect(smsd)
    connection.putrequest("POST", "/send")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", "1000")
    connection.endheaders(b'{"message": "Zebra')
    connection.close()

    assert post(smsd, message=TEXT, to=ANYBODY).status == 200


def test_octets_that_are_no_http_are_answered_and_not_logged(tmp_path: Path) -> None:
    for daemon in running(tmp_path, ""):
        host, port = daemon.url.removeprefix("http://").split(":")
        head = b"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        with socket.create_connection((host, int(port)), timeout=20) as client:
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{}   Zebra\r\n")
            answer = client.makefile("rb").read()
        assert answer.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400"))
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]
        assert TEXT.encode() not in answer


def test_another_method_is_refused_with_those_that_are_allowed(smsd: Daemon) -> None:
    answer = call(smsd, "GET", "/send")

    assert (answer.status, answer.error["code"]) == (405, "method_not_allowed")
    assert answer.headers["Allow"] == "POST"
    assert call(smsd, "PUT", "/messages/1-0").headers["Allow"].split(",") == [
        *("DELETE", "GET", "HEAD")
    ]


@pytest.mark.parametrize(
    "path", ["/nowhere", "/send/", "/messages", "/messages/a/b", "/%00", "/.."]
)
def test_an_unknown_path_is_not_found(smsd: Daemon, path: str) -> None:
    answer = call(smsd, "GET", path)

    assert (answer.status, answer.error["code"]) == (404, "not_found")
    assert answer.headers["Content-Type"] == "application/json"


def test_without_a_right_token_nothing_is_shown(strict: Daemon) -> None:
    refusals = [
        call(strict, method, path, body, headers)
        for method, path, body in (
            ("POST", "/send", '{"message": "Zebra", "to": "+12025560100"}'),
            ("POST", "/send", "no json"),
            ("GET", "/messages/1-0", None),
            ("GET", "/metrics", None),
            ("GET", "/nowhere", None),
        )
        for headers in (JSON, bearer(JSON, "wrong-token-01234567"), JSON | {"Authorization": TOKEN})
    ]

    assert {answer.status for answer in refusals} == {401}
    [body] = {answer.body for answer in refusals}
    assert b"wrong-token" not in body
    assert TOKEN.encode() not in body
    assert refusals[0].headers["WWW-Authenticate"] == 'Bearer realm="smsd"'


def test_with_a_right_token_all_is_as_without_any(strict: Daemon) -> None:
    answer = post(strict, bearer({}), message=TEXT)

    assert (answer.status, answer.error["message"]) == (400, "to is missing")
    assert call(strict, "GET", "/healthz").status == 200
    assert call(strict, "GET", "/readyz").status == 200
    assert call(strict, "GET", "/metrics", headers=bearer({})).status == 200


def test_a_full_queue_says_so_and_when_to_try_again(strict: Daemon) -> None:
    headers, later = bearer({}), in_seconds(3_600)
    fitting = post(strict, headers, message=TEXT, to=[number(1), number(2)], send_at=later)
    assert fitting.status == 200

    answer = post(strict, headers, message=TEXT, to=[number(3), number(4)])
    assert (answer.status, answer.error["code"]) == (429, "queue_full")
    assert int(answer.headers["Retry-After"]) > 0

    # All or none: there is still room for one, and for one more when one is taken back.
    assert post(strict, headers, message=TEXT, to=number(3), send_at=later).status == 200
    assert post(strict, headers, message=TEXT, to=number(4), send_at=later).status == 429
    one = f"/messages/{fitting.content['ids'][0]}"
    assert call(strict, "DELETE", one, headers=headers).status == 200
    assert post(strict, headers, message=TEXT, to=number(4), send_at=later).status == 200
