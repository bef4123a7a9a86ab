"""XADD as an intake. Rule: an entry may say what a request may, and no more."""

from pathlib import Path
from typing import Any, NamedTuple

import pytest
import redis

from tests.support.calls import (
    ANYBODY,
    FAST,
    TEXT,
    becomes,
    call,
    cancel,
    in_seconds,
    look_up,
    number,
    running,
)
from tests.support.oracle import states
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import RedisServer

Redis = redis.Redis


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
    message = becomes(smsd, message_id, "dead")
    assert message["reason"] == "invalid"
    assert message.get("code", "") == bad.field
    assert bad.why in message["detail"]


def test_a_field_given_twice_is_buried(smsd: Daemon, streams: Redis) -> None:
    entry = ("to", ANYBODY, "message", TEXT, "to", number(1))
    bad = streams.execute_command("XADD", "smsd:queue", "*", *entry).decode()  # type: ignore[no-untyped-call]

    message = becomes(smsd, bad, "dead")
    assert (message["code"], message["detail"]) == ("to", "is given twice")


def test_a_dead_letter_keeps_what_came(smsd: Daemon, streams: Redis) -> None:
    bad = add(streams, GOOD | {"note": "for later"})
    becomes(smsd, bad, "dead")

    found: Any = streams.xrange("smsd:dead")
    dead_letters = [fields for _, fields in found if fields[b"id"] == bad.encode()]
    assert [(one[b"to"], one[b"message"], one[b"note"]) for one in dead_letters] == [
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
    message = becomes(smsd, add(streams, GOOD | more), "sent")

    assert (message["to"], message["campaign"], message["ref"]) == (ANYBODY, "spring", "order 17")


def test_an_entry_is_known_by_the_id_that_redis_gave_it_whatever_it_says(
    smsd: Daemon, streams: Redis
) -> None:
    later: Fields = {"id": "order_17-a", "send_at": in_seconds(3_600)}
    first, second = (add(streams, GOOD | later) for _ in range(2))

    for entry in (first, second):
        assert becomes(smsd, entry, "dead")["code"] == "id"
    assert call(smsd, "DELETE", "/messages/order_17-a").status == 404


def test_an_entry_for_later_waits_for_its_time(smsd: Daemon, streams: Redis) -> None:
    soon = add(streams, GOOD | {"send_at": in_seconds(3), "priority": "high"})
    later = add(streams, GOOD | {"send_at": in_seconds(3_600)})

    becomes(smsd, later, "deferred")
    message = becomes(smsd, soon, "sent")
    assert "deferred" in [change["state"] for change in message["history"]]
    cancel(smsd, later)
    assert look_up(smsd, later)["state"] == "cancelled"


def test_an_entry_that_has_expired_is_not_sent(smsd: Daemon, streams: Redis) -> None:
    message = becomes(smsd, add(streams, GOOD | {"expires_at": in_seconds(-1)}), "expired")

    assert "provider_id" not in message


def order_of_departure(tmp_path: Path, waiting: list[tuple[str, Fields]]) -> list[str]:
    """The refs of messages that wait in their streams when the daemon starts, as they are sent."""
    server = RedisServer(tmp_path / "redis").start()
    try:
        with server.client() as client:
            for stream, fields in waiting:
                add(client, GOOD | fields, stream)
            settings = FAST + f'[redis]\nurl = "{server.url}"\n'
            for _ in running(tmp_path / "smsd", settings):
                eventually(lambda: client.hget("smsd:counters", "sent") == b"%d" % len(waiting))
            found = list(states(client).values())
    finally:
        server.stop()
    found.sort(key=lambda message: int(message["provider_id"].removeprefix("sandbox-")))
    return [message["ref"] for message in found]


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
