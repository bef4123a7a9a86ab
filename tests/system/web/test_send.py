"""`POST /send`. Rule: the answer to a request is what happens to its messages."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
import redis

from tests.support.calls import (
    ANYBODY,
    TEXT,
    Answer,
    becomes,
    call,
    cancel,
    in_seconds,
    number,
    post,
)
from tests.support.processes import Daemon

Redis = redis.Redis


def test_a_message_alone_goes_to_the_demo_audience(smsd: Daemon) -> None:
    answer = call(smsd, "POST", "/send", '{"message": "Zebra: hello, world"}')

    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    ids, drains_at = answer.content["ids"], answer.content["drains_at"]
    assert answer.content == {
        "status": "queued",
        "messages": 2,
        "segments": 2,
        "segments_per_message": 1,
        "encoding": "gsm7",
        "drains_at": drains_at,
        "ids": ids,
    }
    assert datetime.fromisoformat(drains_at) > datetime.now(UTC) - timedelta(minutes=1)
    sent = [becomes(smsd, message_id, "sent") for message_id in ids]
    assert [message["to"] for message in sent] == ["+12025550101", "+12025550102"]
    assert all(message["provider_id"].startswith("sandbox-") for message in sent)


def test_one_recipient_is_answered_with_one_id(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY)

    assert answer.status == 200
    assert answer.content["messages"] == 1
    assert "ids" not in answer.content
    message = becomes(smsd, answer.content["id"], "sent")
    assert [change["state"] for change in message["history"]] == ["queued", "sending", "sent"]
    assert (message["to"], message["attempts"]) == (ANYBODY, 1)


def test_a_list_is_answered_with_an_id_for_each_in_its_order(smsd: Daemon) -> None:
    ids = post(smsd, message=TEXT, to=[number(3), number(1), number(2)]).content["ids"]

    shown = [becomes(smsd, message_id, "sent")["to"] for message_id in ids]
    assert shown == [number(3), number(1), number(2)]


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


def test_a_number_named_twice_is_reported_and_sent_once(smsd: Daemon) -> None:
    to = [number(7), "+1 (202) 556-0007", number(8), number(7)]
    answer = post(smsd, message=TEXT, to=to)

    assert (answer.content["messages"], answer.content["duplicates"]) == (2, 2)
    sent = [becomes(smsd, message_id, "sent") for message_id in answer.content["ids"]]
    assert [message["to"] for message in sent] == [number(7), number(8)]


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

    message = becomes(smsd, answer.content["id"], "sent")
    assert (message["campaign"], message["ref"]) == ("spring", "order 17")


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
def test_the_answer_shows_what_will_be_billed(
    smsd: Daemon, text: str, encoding: str, segments: int
) -> None:
    shown = post(smsd, message=text, to=[number(1), number(2)]).content

    assert shown["encoding"] == encoding
    assert (shown["segments_per_message"], shown["segments"]) == (segments, 2 * segments)


@pytest.mark.parametrize(
    ("text", "character", "name", "position"),
    [
        ("Zebra\u2019s", "\u2019", "RIGHT SINGLE QUOTATION MARK", 6),
        ("Zebra ç", "ç", "LATIN SMALL LETTER C WITH CEDILLA", 7),
        ("Zebra \U0001f600", "\U0001f600", "GRINNING FACE", 7),
        ("Zebra\tя", "\t", "U+0009", 6),
    ],
)
def test_the_answer_names_the_character_that_made_the_message_longer(
    smsd: Daemon, text: str, character: str, name: str, position: int
) -> None:
    shown = post(smsd, message=text, to=ANYBODY).content

    assert shown["encoding"] == "ucs2"
    assert shown["ucs2_because"] == {"character": character, "name": name, "position": position}


def test_a_message_of_the_plain_alphabet_has_no_such_character(smsd: Daemon) -> None:
    assert "ucs2_because" not in post(smsd, message="Zebra é€", to=ANYBODY).content


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


def test_a_scheduled_message_is_repeated_alike_too(smsd: Daemon) -> None:
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
