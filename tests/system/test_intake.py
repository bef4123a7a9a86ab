"""Texts in. Rule: the daemon is a process, spoken to by sockets; what it answers is what happens.

Every text here holds the word Zebra and every number begins alike, so that at the end the logs can
be searched for what must never stand in them.
"""

import http.client
import json
import re
import select
import socket
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from smsd.core.fields import shortened
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import RedisServer

TEXT = "Zebra"
ANYBODY = "+12025560100"
JSON = {"Content-Type": "application/json"}
TOKEN = "token-0123456789-abc"
FAST = """
    [rate]
    segments_per_second = 1000
    [provider.sandbox]
    rate = 1000
    latency = 0.02
    [log]
    level = "debug"
"""
# Nothing is ever sent: the bucket starts full, and at this rate it stays so.
STRICT = f"""
    [http]
    tokens = ["another-token-0123456", "{TOKEN}"]
    body_timeout = 0.3
    [queue]
    max_length = 3
    [rate]
    segments_per_second = 0.001
    [campaign]
    default_audience = ""
    [log]
    level = "debug"
"""

Redis = redis.Redis


def number(count: int) -> str:
    return f"+1202556{count:04}"


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.content["error"]


def connect(daemon: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=20)


def call(
    daemon: Daemon,
    method: str,
    path: str,
    body: str | bytes | None = None,
    headers: Mapping[str, str] = JSON,
) -> Answer:
    connection = connect(daemon)
    try:
        raw = body.encode() if isinstance(body, str) else body
        connection.request(method, path, raw, dict(headers))
        return answer_on(connection)
    finally:
        connection.close()


def answer_on(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, dict(response.getheaders()), response.read())


def post(daemon: Daemon, headers: Mapping[str, str] | None = None, /, **fields: object) -> Answer:
    return call(daemon, "POST", "/send", json.dumps(fields), JSON | dict(headers or {}))


def look_up(daemon: Daemon, message_id: str) -> dict[str, Any]:
    answer = call(daemon, "GET", f"/messages/{message_id}")
    assert answer.status == 200, answer
    found = answer.content
    assert isinstance(found, dict)
    return found


def becomes(daemon: Daemon, message_id: str, state: str) -> dict[str, Any]:
    """Wait until a text is in this state; what is known of it then."""
    seen: dict[str, Any] = {}

    def reached() -> bool:
        seen.update(look_up(daemon, message_id))
        return bool(seen["state"] == state)

    eventually(reached, what=f"{message_id} {state}")
    return seen


def cancel(daemon: Daemon, message_id: str) -> None:
    """Take a text back, however often it is being sent just now."""
    path = f"/messages/{message_id}"
    eventually(lambda: call(daemon, "DELETE", path).status == 200, what=f"cancel {message_id}")


def assert_discreet(daemon: Daemon) -> None:
    """Neither a text nor a whole number stands in the log, at its most talkative."""
    for line in daemon.log.splitlines():
        assert TEXT not in line, line
        assert not re.search(r"20255[56][0-9]{4}", line), line


def running(directory: Path, settings: str) -> Iterator[Daemon]:
    daemon = Daemon(directory, settings).start()
    try:
        yield daemon
        assert daemon.stop() == 0
        assert_discreet(daemon)
    finally:
        daemon.kill()


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from running(tmp_path_factory.mktemp("smsd"), FAST)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    yield from running(tmp_path_factory.mktemp("strict"), STRICT)


@pytest.fixture(scope="module")
def streams(smsd: Daemon) -> Iterator[Redis]:
    with Redis(unix_socket_path=str(smsd.directory / "var/redis.sock")) as client:
        yield client


# -- what is taken in ---------------------------------------------------------------------------


def test_a_message_alone_goes_to_the_demo_audience(smsd: Daemon) -> None:
    answer = call(smsd, "POST", "/send", '{"message": "Zebra: hello, world"}')

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    ids = answer.content.pop("ids")
    assert answer.content | {"ids": ids} == {
        "status": "queued",
        "messages": 2,
        "segments": 2,
        "segments_per_message": 1,
        "encoding": "gsm7",
        "ids": ids,
    }
    sent = [becomes(smsd, message_id, "sent") for message_id in ids]
    assert [text["to"] for text in sent] == ["+12025550101", "+12025550102"]
    assert all(text["provider_id"].startswith("sandbox-") for text in sent)


def test_one_recipient_is_answered_with_one_id(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY)

    assert answer.status == 200
    assert answer.content["messages"] == 1
    assert "ids" not in answer.content
    text = becomes(smsd, answer.content["id"], "sent")
    assert [change["state"] for change in text["history"]] == ["queued", "sending", "sent"]
    assert (text["to"], text["attempts"]) == (ANYBODY, 1)


def test_a_list_is_answered_with_an_id_for_each_in_its_order(smsd: Daemon) -> None:
    ids = post(smsd, message=TEXT, to=[number(3), number(1), number(2)]).content["ids"]

    told = [becomes(smsd, message_id, "sent")["to"] for message_id in ids]
    assert told == [number(3), number(1), number(2)]


def test_a_list_of_one_is_answered_as_one(smsd: Daemon) -> None:
    assert post(smsd, message=TEXT, to=[ANYBODY]).content["id"]


def test_a_thousand_recipients_are_taken(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=[number(count) for count in range(1_000)])

    assert answer.status == 200
    assert answer.content["messages"] == answer.content["segments"] == 1_000
    ids = answer.content["ids"]
    assert len(set(ids)) == 1_000
    becomes(smsd, ids[0], "sent")
    becomes(smsd, ids[-1], "sent")


def test_a_thousand_and_one_are_refused(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=[number(count) for count in range(1_001)])

    assert (answer.status, answer.error["field"]) == (400, "to")
    assert answer.error["message"] == "to must name 1 to 1000 numbers, not 1001"


def test_a_number_named_twice_is_told_and_sent_once(smsd: Daemon) -> None:
    to = [number(7), "+1 (202) 556-0007", number(8), number(7)]
    answer = post(smsd, message=TEXT, to=to)

    assert (answer.content["messages"], answer.content["duplicates"]) == (2, 2)
    sent = [becomes(smsd, message_id, "sent") for message_id in answer.content["ids"]]
    assert [text["to"] for text in sent] == [number(7), number(8)]


def test_every_field_there_is_can_be_used_together(smsd: Daemon) -> None:
    answer = post(
        smsd,
        **{"from": "Shop & Co"},
        message=TEXT,
        to=ANYBODY,
        priority="high",
        send_at=in_seconds(-5),
        expires_at=in_seconds(600),
        campaign="spring",
        ref="order 17",
    )

    text = becomes(smsd, answer.content["id"], "sent")
    assert (text["campaign"], text["ref"]) == ("spring", "order 17")


def test_a_field_that_is_null_is_a_field_that_is_not_there(smsd: Daemon) -> None:
    names = ("from", "priority", "send_at", "expires_at", "campaign", "ref")  # but for `to`
    assert post(smsd, message=TEXT, **dict.fromkeys(names)).content["messages"] == 2


@pytest.mark.parametrize(
    ("text", "encoding", "segments"),
    [
        ("Zebra" + "a" * 155, "gsm7", 1),
        ("Zebra" + "a" * 156, "gsm7", 2),
        ("Zebra" + "a" * 1_525, "gsm7", 10),
        ("Zebra" + "я" * 65, "ucs2", 1),
        ("Zebra" + "я" * 665, "ucs2", 10),
    ],
)
def test_the_answer_tells_what_will_be_billed(
    smsd: Daemon, text: str, encoding: str, segments: int
) -> None:
    told = post(smsd, message=text, to=[number(1), number(2)]).content

    assert told["encoding"] == encoding
    assert (told["segments_per_message"], told["segments"]) == (segments, 2 * segments)


@pytest.mark.parametrize(
    ("text", "character", "name", "position"),
    [
        ("Zebra\u2019s", "\u2019", "RIGHT SINGLE QUOTATION MARK", 6),
        ("Zebra ç", "ç", "LATIN SMALL LETTER C WITH CEDILLA", 7),
        ("Zebra \U0001f600", "\U0001f600", "GRINNING FACE", 7),
        ("Zebra\tя", "\t", "U+0009", 6),
    ],
)
def test_the_answer_says_which_character_made_the_text_longer(
    smsd: Daemon, text: str, character: str, name: str, position: int
) -> None:
    told = post(smsd, message=text, to=ANYBODY).content

    assert told["encoding"] == "ucs2"
    assert told["ucs2_because"] == {"character": character, "name": name, "position": position}


def test_a_text_of_the_plain_alphabet_has_no_such_character(smsd: Daemon) -> None:
    assert "ucs2_because" not in post(smsd, message="Zebra é€", to=ANYBODY).content


# -- what is refused ----------------------------------------------------------------------------

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
    ("text", "why"),
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
def test_a_text_that_cannot_be_sent_is_refused(smsd: Daemon, text: str, why: str | None) -> None:
    answer = post(smsd, message=text, to=ANYBODY)

    assert (answer.status, answer.error["field"]) == (400, "message")
    assert why is None or answer.error["message"] == f"message {why}"


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


def bearer(headers: Mapping[str, str], token: str = TOKEN) -> dict[str, str]:
    return dict(headers) | {"Authorization": f"Bearer {token}"}


def test_without_a_right_token_nothing_is_told(strict: Daemon) -> None:
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


# -- once and no more ---------------------------------------------------------------------------


def test_a_repeated_key_is_answered_alike_and_queues_nothing(smsd: Daemon, streams: Redis) -> None:
    key = {"Idempotency-Key": "order-17"}
    first = post(smsd, key, message="Zebra я", to=[number(1), number(2)])
    appended = streams.xinfo_stream("smsd:queue")["entries-added"]
    again = post(smsd, key, message="Zebra я", to=[number(1), number(2)])

    assert (first.status, again.status) == (200, 200)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert streams.xinfo_stream("smsd:queue")["entries-added"] == appended


def test_a_scheduled_text_is_repeated_alike_too(smsd: Daemon) -> None:
    key, body = {"Idempotency-Key": "later"}, {"message": TEXT, "send_at": in_seconds(60)}
    first, again = (post(smsd, key, to=ANYBODY, **body) for _ in range(2))

    assert first.body == again.body
    cancel(smsd, first.content["id"])


def test_a_key_with_another_body_is_a_conflict(smsd: Daemon) -> None:
    key = {"Idempotency-Key": "order-18"}
    assert post(smsd, key, message=TEXT, to=number(1)).status == 200

    answer = post(smsd, key, message=TEXT, to=number(2))
    assert (answer.status, answer.error["code"]) == (409, "idempotency_conflict")


def test_a_refused_request_leaves_its_key_unused(smsd: Daemon) -> None:
    key = {"Idempotency-Key": "order-19"}
    assert post(smsd, key, message="", to=ANYBODY).status == 400
    assert post(smsd, key, message=TEXT, to=ANYBODY).status == 200


def test_of_many_at_once_with_one_key_one_is_queued(smsd: Daemon, streams: Redis) -> None:
    def repeat(_: int) -> Answer:
        return post(smsd, {"Idempotency-Key": "at once"[:2]}, message=TEXT, to=ANYBODY)

    before = streams.xinfo_stream("smsd:queue")["entries-added"]
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(repeat, range(16)))

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert streams.xinfo_stream("smsd:queue")["entries-added"] == before + 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256, "\u00e9"])
def test_a_key_that_is_no_key_is_refused(smsd: Daemon, key: str) -> None:
    answer = post(smsd, {"Idempotency-Key": key}, message=TEXT, to=ANYBODY)

    assert (answer.status, answer.error["field"]) == (400, "Idempotency-Key")


# -- when ---------------------------------------------------------------------------------------


def test_a_text_for_later_waits_and_can_be_taken_back(smsd: Daemon) -> None:
    later = in_seconds(86_400)
    message_id = post(smsd, message=TEXT, to=ANYBODY, send_at=later, ref="r1").content["id"]

    text = look_up(smsd, message_id)
    assert (text["state"], text["to"]) == ("deferred", ANYBODY)
    assert text["due"] == round(datetime.fromisoformat(later).timestamp() * 1_000 - 0.5)

    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.content) == (200, {"status": "cancelled", "id": message_id})
    assert look_up(smsd, message_id)["state"] == "cancelled"


def test_a_text_for_soon_is_sent_then_and_not_before(smsd: Daemon) -> None:
    due = datetime.now(UTC) + timedelta(seconds=1.2)
    message_id = post(
        smsd, message=TEXT, to=ANYBODY, send_at=due.isoformat(), priority="high"
    ).content["id"]
    assert look_up(smsd, message_id)["state"] == "deferred"

    text = becomes(smsd, message_id, "sent")
    sending = next(change for change in text["history"] if change["state"] == "sending")
    assert sending["at"] >= int(due.timestamp() * 1_000)
    states = [change["state"] for change in text["history"]]
    assert states == ["deferred", "queued", "sending", "sent"]


def test_a_text_for_more_than_a_year_ahead_is_refused(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY, send_at=in_seconds(367 * 86_400))

    assert (answer.status, answer.error["field"]) == (400, "send_at")


def test_a_text_that_has_expired_already_is_refused(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY, expires_at=in_seconds(-1))

    assert (answer.status, answer.error["field"]) == (400, "expires_at")


def test_a_text_that_expires_before_it_is_due_is_refused(smsd: Daemon) -> None:
    times = {"send_at": in_seconds(60), "expires_at": in_seconds(59)}
    answer = post(smsd, message=TEXT, to=ANYBODY, **times)

    assert (answer.status, answer.error["field"]) == (400, "expires_at")


def test_a_text_that_expires_while_it_waits_is_not_sent(tmp_path: Path) -> None:
    # Started full, at this rate the bucket opens after 3 s.
    slow = "[rate]\nsegments_per_second = 0.5\n[message]\nmax_segments = 1\n"
    for daemon in running(tmp_path, slow):
        expiring = post(daemon, message=TEXT, to=ANYBODY, expires_at=in_seconds(1)).content["id"]
        lasting = post(daemon, message=TEXT, to=ANYBODY, expires_at=in_seconds(60)).content["id"]
        assert look_up(daemon, expiring)["state"] == "queued"

        becomes(daemon, lasting, "sent")
        text = look_up(daemon, expiring)
        assert text["state"] == "expired"
        assert "provider_id" not in text
        assert call(daemon, "DELETE", f"/messages/{expiring}").status == 409


# -- looking up and taking back -----------------------------------------------------------------


@pytest.mark.parametrize(
    "message_id",
    ["1-0", "h1-0", "s0123", "nonsense", "%00", "%ff", "%ED%A0%80", "a%2Fb", "x" * 4_000, "-", "*"],
)
def test_an_unknown_text_is_not_found(smsd: Daemon, message_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = call(smsd, method, f"/messages/{message_id}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("message_id", ["99999999999999999999999-1", "18446744073709551616-0"])
def test_an_id_beyond_what_redis_counts_is_not_found(smsd: Daemon, message_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert call(smsd, method, f"/messages/{message_id}").status == 404


def test_a_sent_text_cannot_be_taken_back(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to=ANYBODY).content["id"]
    becomes(smsd, message_id, "sent")

    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.error["code"]) == (409, "not_cancellable")
    assert answer.error["message"] == "the message is sent already"


def test_a_text_that_is_being_sent_cannot_be_taken_back(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550196").content["id"]  # answered after 5 s
    text = becomes(smsd, message_id, "sending")

    assert text["attempts"] == 1
    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.error["message"]) == (409, "the message is being sent")
    assert becomes(smsd, message_id, "sent")["provider_id"]


def test_taking_a_text_back_twice_is_taking_it_back_once(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to=ANYBODY, send_at=in_seconds(60)).content["id"]
    first, again = (call(smsd, "DELETE", f"/messages/{message_id}") for _ in range(2))

    assert (first.status, first.body) == (again.status, again.body)
    assert first.status == 200
    states = [change["state"] for change in look_up(smsd, message_id)["history"]]
    assert states == ["deferred", "cancelled"]


# -- streams as an intake -----------------------------------------------------------------------

Fields = dict[str | bytes, str | bytes | int]


def add(streams: Redis, fields: Fields, stream: str = "smsd:queue") -> str:
    entry = streams.xadd(stream, fields)  # type: ignore[arg-type] # its dict is invariant
    assert isinstance(entry, bytes)
    return ("h" if stream.endswith("high") else "") + entry.decode()


GOOD: Fields = {"to": ANYBODY, "message": TEXT}


class Bad(NamedTuple):
    fields: Fields
    field: str
    why: str

    def __str__(self) -> str:
        return f"{self.field} {self.why}"


BAD = [
    Bad({"message": TEXT}, "to", "is missing"),
    Bad({"to": ANYBODY}, "message", "is missing"),
    Bad({"a": "b"}, "to", "is missing"),
    Bad(GOOD | {"to": ""}, "to", "must start with +"),
    Bad(GOOD | {"to": "12025560100"}, "to", "must start with +"),
    Bad(GOOD | {"to": f"{ANYBODY},{number(1)}"}, "to", "may hold only digits"),
    Bad(GOOD | {"to": b"\xff"}, "to", "is not valid UTF-8"),
    Bad(GOOD | {"message": ""}, "message", "is empty"),
    Bad(GOOD | {"message": b"Zebra\xff"}, "message", "is not valid UTF-8"),
    Bad(GOOD | {"message": b"Zebra\xed\xa0\xbd"}, "message", "is not valid UTF-8"),
    Bad(GOOD | {"message": "Zebra\x00"}, "message", "must not hold NUL"),
    Bad(GOOD | {"message": "Zebra" * 400}, "message", "is 14 segments long"),
    Bad(GOOD | {"message": "Zebra" * 20_000}, "entry", "octets; at most 65536 are read"),
    Bad(GOOD | {"from": "A name too long"}, "from", "must be a +number"),
    Bad(GOOD | {"priority": "urgent"}, "priority", 'must be "high" or "normal"'),
    Bad(GOOD | {"send_at": "soon"}, "send_at", "must be an RFC 3339 time"),
    Bad(GOOD | {"send_at": 1_795_000_000}, "send_at", "must be an RFC 3339 time"),
    Bad(GOOD | {"expires_at": "never"}, "expires_at", "must be an RFC 3339 time"),
    Bad(GOOD | {"campaign": "a\nb"}, "campaign", "must be 1 to 128 printable characters"),
    Bad(GOOD | {"ref": "x" * 200}, "ref", "must be 1 to 128 printable characters"),
    Bad(GOOD | {"id": "my-own"}, "id", "is no known field"),
    Bad(GOOD | {"attempts": "5"}, "attempts", "is no known field"),
    Bad(GOOD | {"key": "a b"}, "key", "must be 1 to 255 visible ASCII characters"),
    Bad(GOOD | {"text": TEXT}, "text", "is no known field"),
    Bad(GOOD | {b"\xff\x00": TEXT}, "\\xff\x00", "is not valid UTF-8"),
    Bad(GOOD | {"": TEXT}, "", "is no known field"),
    Bad({f"field{count}": "x" for count in range(3_000)}, "entry", "of more than 500 fields"),
    Bad(GOOD | {f"{count}": "x" for count in range(600)}, "entry", "of more than 500 fields"),
]


def test_an_entry_that_its_producer_repeats_is_sent_once(smsd: Daemon, streams: Redis) -> None:
    fields: Fields = GOOD | {"key": "order-7", "from": "", "ref": "", "send_at": ""}
    first, again = add(streams, fields), add(streams, fields)

    assert becomes(smsd, first, "sent")["to"] == ANYBODY
    assert becomes(smsd, again, "duplicate")["detail"] == f"of {first}"


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("stream", ["smsd:queue", "smsd:queue:high"])
def test_a_bad_entry_is_buried_by_its_field_and_the_next_is_sent(
    smsd: Daemon, streams: Redis, bad: Bad, stream: str
) -> None:
    message_id = add(streams, bad.fields, stream)
    good = add(streams, GOOD, stream)

    becomes(smsd, good, "sent")
    text = becomes(smsd, message_id, "dead")
    assert text["reason"] == "invalid"
    assert text.get("code", "") == bad.field
    assert bad.why in text["detail"]


def test_a_field_given_twice_is_buried(smsd: Daemon, streams: Redis) -> None:
    words = ("to", ANYBODY, "message", TEXT, "to", number(1))
    bad = streams.execute_command("XADD", "smsd:queue", "*", *words).decode()  # type: ignore[no-untyped-call]

    text = becomes(smsd, bad, "dead")
    assert (text["code"], text["detail"]) == ("to", "is given twice")


def test_a_dead_letter_keeps_what_came(smsd: Daemon, streams: Redis) -> None:
    bad = add(streams, GOOD | {"note": "for later"})
    becomes(smsd, bad, "dead")

    found: Any = streams.xrange("smsd:dead")
    letters = [fields for _, fields in found if fields[b"id"] == bad.encode()]
    assert [(one[b"to"], one[b"message"], one[b"note"]) for one in letters] == [
        (ANYBODY.encode(), TEXT.encode(), b"for later")
    ]
    answer = call(smsd, "DELETE", f"/messages/{bad}")
    assert (answer.status, answer.error["message"]) == (409, "the message is dead already")


def test_an_entry_may_say_all_that_a_request_may(smsd: Daemon, streams: Redis) -> None:
    more: Fields = {
        "from": "Shop & Co",
        "priority": "high",
        "send_at": in_seconds(-60),
        "expires_at": in_seconds(60),
        "campaign": "spring",
        "ref": "order 17",
    }
    text = becomes(smsd, add(streams, GOOD | more), "sent")

    assert (text["to"], text["campaign"], text["ref"]) == (ANYBODY, "spring", "order 17")


def test_an_entry_is_known_by_the_id_that_redis_gave_it_whatever_it_says(
    smsd: Daemon, streams: Redis
) -> None:
    later: Fields = {"id": "order_17-a", "send_at": in_seconds(3_600)}
    first, second = (add(streams, GOOD | later) for _ in range(2))

    for entry in (first, second):
        assert becomes(smsd, entry, "dead")["code"] == "id"
    assert call(smsd, "DELETE", "/messages/order_17-a").status == 404


def test_an_entry_for_later_waits_for_its_time(smsd: Daemon, streams: Redis) -> None:
    soon = add(streams, GOOD | {"send_at": in_seconds(1.2), "priority": "high"})
    later = add(streams, GOOD | {"send_at": in_seconds(3_600)})

    becomes(smsd, soon, "deferred")
    becomes(smsd, later, "deferred")
    becomes(smsd, soon, "sent")
    cancel(smsd, later)
    assert look_up(smsd, later)["state"] == "cancelled"


def test_an_entry_that_has_expired_is_not_sent(smsd: Daemon, streams: Redis) -> None:
    text = becomes(smsd, add(streams, GOOD | {"expires_at": in_seconds(-1)}), "expired")

    assert "provider_id" not in text


def order_of_departure(tmp_path: Path, waiting: list[tuple[str, Fields]]) -> list[str]:
    """The refs of texts that wait in their streams when the daemon starts, as they are sent."""
    server = RedisServer(tmp_path / "redis").start()
    try:
        with server.client() as client:
            for stream, fields in waiting:
                add(client, GOOD | fields, stream)
            settings = FAST + f'[redis]\nurl = "{server.url}"\n'
            for _ in running(tmp_path / "smsd", settings):
                eventually(lambda: client.hget("smsd:counters", "sent") == b"%d" % len(waiting))
            found = [client.hgetall(key) for key in client.scan_iter("smsd:message:*")]
    finally:
        server.stop()
    found.sort(key=lambda text: int(text[b"provider_id"].removeprefix(b"sandbox-")))
    return [text[b"ref"].decode() for text in found]


def test_the_high_stream_goes_first(tmp_path: Path) -> None:
    waiting: list[tuple[str, Fields]] = [
        ("smsd:queue", {"ref": "a"}),
        ("smsd:queue", {"ref": "b"}),
        ("smsd:queue:high", {"ref": "c"}),
        ("smsd:queue:high", {"ref": "d"}),
    ]
    assert order_of_departure(tmp_path, waiting) == ["c", "d", "a", "b"]


def test_an_entry_that_says_high_goes_before_those_that_wait_with_it(tmp_path: Path) -> None:
    waiting: list[tuple[str, Fields]] = [
        ("smsd:queue", {"ref": "a"}),
        ("smsd:queue", {"ref": "b"}),
        ("smsd:queue", {"ref": "c", "priority": "high"}),
        ("smsd:queue:high", {"ref": "d"}),
        ("smsd:queue:high", {"ref": "e", "priority": "normal"}),
    ]
    assert order_of_departure(tmp_path, waiting)[:2] in (["c", "d"], ["d", "c"])


# -- what the sandbox's numbers stand for --------------------------------------------------------


def test_a_rejected_text_is_dead(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550190").content["id"]
    text = becomes(smsd, message_id, "dead")

    assert (text["reason"], text["code"]) == ("rejected", "invalid")
    assert text["detail"] == "not a valid number"
    assert call(smsd, "DELETE", f"/messages/{message_id}").status == 409


def test_whoever_opted_out_is_not_texted_again(smsd: Daemon) -> None:
    first = becomes(smsd, post(smsd, message=TEXT, to="+12025550191").content["id"], "dead")
    assert (first["reason"], first["code"]) == ("rejected", "opted_out")

    fields = {"message": TEXT, "to": "+12025550191", "from": "Acme"}
    message_id = post(smsd, **fields).content["id"]
    text = becomes(smsd, message_id, "suppressed")
    assert [change["state"] for change in text["history"]] == ["queued", "suppressed"]
    assert (text["reason"], text["from"]) == ("opted_out", "Acme")
    assert text["detail"] == "the recipient has opted out"
    assert abs(text["history"][1]["at"] / 1000 - time.time()) < 60
    assert call(smsd, "DELETE", f"/messages/{message_id}").status == 409


def test_a_throttled_text_is_deferred_and_its_attempt_is_free(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550192").content["id"]
    text = becomes(smsd, message_id, "deferred")

    change = next(change for change in text["history"] if change["state"] == "deferred")
    assert change["detail"] == "too many requests"
    cancel(smsd, message_id)


def test_a_text_that_cannot_be_handed_over_is_deferred(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550193").content["id"]
    text = becomes(smsd, message_id, "deferred")

    change = next(change for change in text["history"] if change["state"] == "deferred")
    assert change["detail"] == "down for maintenance"
    cancel(smsd, message_id)


def test_a_text_in_doubt_is_dead_and_says_so(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550194").content["id"]
    text = becomes(smsd, message_id, "dead")

    assert (text["reason"], text["detail"]) == ("in_doubt", "the answer was lost")


def test_without_funds_everything_waits_and_readiness_to_send_says_why(tmp_path: Path) -> None:
    def ready(daemon: Daemon) -> bool:
        return call(daemon, "GET", "/readyz/dispatch").status == 200

    for daemon in running(tmp_path, FAST):
        eventually(lambda daemon=daemon: ready(daemon), what="it has the lease")
        halted = post(daemon, message=TEXT, to="+12025550195").content["id"]
        eventually(lambda daemon=daemon: not ready(daemon), what="not ready")

        told = call(daemon, "GET", "/readyz/dispatch").content
        assert told["ready"] is False
        assert told["held"] == told["reason"] == "halted: no_funds the balance is used up"
        assert call(daemon, "GET", "/readyz").status == 200  # it takes all in meanwhile
        assert call(daemon, "GET", "/healthz").status == 200

        waiting = post(daemon, message=TEXT, to="+12025550195").content["id"]
        becomes(daemon, halted, "deferred")  # it makes room for other probes
        becomes(daemon, waiting, "deferred")  # it was one
        assert b"smsd_dispatch_held 1.0" in call(daemon, "GET", "/metrics").body
        cancel(daemon, waiting)
        assert look_up(daemon, waiting)["state"] == "cancelled"
        assert look_up(daemon, halted)["state"] == "deferred"


# -- operations ---------------------------------------------------------------------------------


def test_a_process_that_serves_is_healthy(smsd: Daemon) -> None:
    assert call(smsd, "GET", "/healthz").content == {"status": "ok"}
    assert call(smsd, "HEAD", "/healthz").status == 200


def test_readiness_says_what_it_rests_on(smsd: Daemon) -> None:
    answer = call(smsd, "GET", "/readyz")

    assert answer.status == 200
    assert answer.content == {
        "ready": True,
        "reason": "",
        "redis": {"up": True, "reason": ""},
        "damage": {},
        "stopping": False,
    }
    eventually(lambda: call(smsd, "GET", "/readyz/dispatch").status == 200, what="ready")
    dispatch = call(smsd, "GET", "/readyz/dispatch")
    holder = dispatch.content["this_daemon"]
    assert dispatch.status == 200
    assert dispatch.content == {
        "ready": True,
        "reason": "",
        "role": "active",
        "lease_holder": holder,
        "this_daemon": holder,
        "damage": {},
        "held": "",
        "stopping": False,
    }


@pytest.mark.parametrize("path", ["/readyz", "/readyz/dispatch"])
def test_readiness_is_one_word_to_strangers(strict: Daemon, path: str) -> None:
    eventually(lambda: call(strict, "GET", path).status == 200, what="ready")
    for headers in ({}, bearer({}, "wrong-token-01234567")):
        assert call(strict, "GET", path, headers=headers).content == {"ready": True}
    assert "reason" in call(strict, "GET", path, headers=bearer({})).content


def test_metrics_are_what_prometheus_reads(smsd: Daemon) -> None:
    becomes(smsd, post(smsd, message=TEXT, to=ANYBODY).content["id"], "sent")
    answer = call(smsd, "GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = dict(
        line.rsplit(" ", 1)
        for line in answer.body.decode().splitlines()
        if not line.startswith("#")
    )
    assert lines["smsd_pace_target_segments_per_second"] == "1000.0"
    assert lines["smsd_redis_up"] == lines["smsd_lease_held"] == "1.0"
    assert float(lines["smsd_segments_started_total"]) > 0
    assert float(lines["smsd_messages_difference"]) == 0


def test_submissions_under_way_are_counted_until_they_are_over(tmp_path: Path) -> None:
    def under_way(daemon: Daemon) -> int:
        body = call(daemon, "GET", "/metrics").body.decode()
        [count] = re.findall(r"^smsd_in_flight ([0-9.]+)$", body, re.MULTILINE)
        return int(float(count))

    for daemon in running(tmp_path, FAST):
        assert under_way(daemon) == 0
        ids = [post(daemon, message=TEXT, to="+12025550196").content["id"] for _ in range(3)]
        eventually(lambda daemon=daemon: under_way(daemon) == 3, what="three are under way")
        for id_ in ids:
            becomes(daemon, id_, "sent")
        assert under_way(daemon) == 0


def test_in_the_end_every_text_is_accounted_for(smsd: Daemon) -> None:
    def settled() -> bool:
        body = call(smsd, "GET", "/metrics").body.decode()
        places = dict(re.findall(r'smsd_messages\{place="(\w+)"\} ([0-9.]+)', body))
        return places.get("queued") == places.get("in_flight") == places.get("deferred") == "0.0"

    eventually(settled, what="an empty queue")
    assert "messages unaccounted for" not in smsd.log
