"""Fields to messages: what both intakes accept, and each refusal with the field at fault."""

from datetime import UTC, datetime

import pytest

from smsd.core.fields import SEND_FIELDS, FieldError
from smsd.core.message import (
    FURTHEST_MS,
    Content,
    Limits,
    Message,
    from_fields,
    parse,
    parse_recipient,
    to_fields,
)
from smsd.core.segment import Segments


def ms(year: int, month: int, day: int, hour: int = 0, minute: int = 0) -> int:
    return int(datetime(year, month, day, hour, minute, tzinfo=UTC).timestamp()) * 1000


NOW = ms(2026, 11, 2, 12)
LIMITS = Limits()


def read(**fields: object) -> Content:
    return parse({"message": "Hi", **fields}, LIMITS, NOW)


def test_a_bare_text_takes_the_defaults() -> None:
    assert parse({"message": "Hi"}, Limits(default_from="Acme"), NOW) == Content(
        text="Hi",
        segments=Segments("gsm7", 2, 1),
        sender="Acme",
        priority="normal",
        send_at=None,
        expires_at=None,
        campaign="",
        ref="",
    )


def test_a_body_and_a_stream_entry_of_the_same_words_are_the_same() -> None:
    body: dict[str, object] = {
        "to": ["+12025550123", "+12025550124"],
        "message": "Sale \u2013 today!",
        "from": "Acme",
        "priority": "high",
        "send_at": "2026-11-03T09:00:00+01:00",
        "expires_at": "2026-11-03T20:00:00Z",
        "campaign": "autumn",
        "ref": "42",
    }
    entry: dict[str, object] = {**body, "to": "+12025550123"}
    assert set(body) == SEND_FIELDS
    assert parse(body, LIMITS, NOW) == parse(entry, LIMITS, NOW)
    assert parse(entry, LIMITS, NOW) == Content(
        text="Sale \u2013 today!",
        segments=Segments("ucs2", 13, 1),
        sender="Acme",
        priority="high",
        send_at=ms(2026, 11, 3, 8),
        expires_at=ms(2026, 11, 3, 20),
        campaign="autumn",
        ref="42",
    )


def test_a_null_in_a_body_is_a_field_left_out() -> None:
    optional = dict.fromkeys(SEND_FIELDS - {"message"})
    assert read(**optional) == read()


def test_the_text_is_kept_as_it_came() -> None:
    assert read(message="  e\u0301 \r\n").text == "  e\u0301 \r\n"


@pytest.mark.parametrize("sender", ["+12025550123", "12345", "Acme", "A&B +1_2.-4", "a", "7up"])
def test_a_sender_is_a_number_a_short_code_or_a_name(sender: str) -> None:
    assert read(**{"from": sender}).sender == sender


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("2026-12-24T18:00:00Z", ms(2026, 12, 24, 18)),
        ("2026-12-24t18:00:00z", ms(2026, 12, 24, 18)),
        ("2026-12-24 18:00:00+05:30", ms(2026, 12, 24, 12, 30)),
        ("2026-12-24T18:00:00.25-01:00", ms(2026, 12, 24, 19) + 250),
        ("2026-12-24T18:00:00.123456789Z", ms(2026, 12, 24, 18) + 123),
        ("2020-01-01T00:00:00Z", ms(2020, 1, 1)),  # past: due at once
    ],
)
def test_a_time_is_read_with_its_zone(raw: str, expected: int) -> None:
    assert read(send_at=raw).send_at == expected


STILLBORN = {"send_at": "2026-11-03T09:00:00Z", "expires_at": "2026-11-03T09:00:00Z"}
TIME = "RFC 3339"
SENDER = "a short code, or 1 to 11"

REFUSALS: list[tuple[str, dict[str, object], str, str]] = [
    ("an unknown field", {"mesage": "Hi"}, "mesage", "is no known field; known are campaign, "),
    (
        "an unknown field of 5,000 characters",
        {"x" * 5000: "Hi"},
        f"{'x' * 64}…",
        "is no known field",
    ),
    ("an unknown field of 64 characters", {"x" * 64: "Hi"}, "x" * 64, "is no known field"),
    ("no message", {"message": None}, "message", "is missing"),
    ("a message of another type", {"message": 5}, "message", "must be a string"),
    ("a message of bytes", {"message": b"Hi"}, "message", "must be a string"),
    ("an empty message", {"message": ""}, "message", "is empty"),
    ("a blank message", {"message": " \r\n\u00a0"}, "message", "is empty"),
    ("NUL", {"message": "a\0"}, "message", "NUL or ESC"),
    ("ESC", {"message": "a\x1b"}, "message", "NUL or ESC"),
    ("half a pair", {"message": "ab\ud83d"}, "message", "half a surrogate pair at character 3"),
    ("11 segments", {"message": "a" * 1531}, "message", "is 11 segments long; at most 10"),
    (
        "256 segments",
        {"message": "a" * 39_016},
        "message",
        "is more than 255 segments long; at most 10 are allowed",
    ),
    ("an empty sender", {"from": ""}, "from", SENDER),
    ("a sender of another type", {"from": 12345}, "from", SENDER),
    ("a sender of 12 letters", {"from": "Abcdefghijkl"}, "from", SENDER),
    ("a sender of 9 digits", {"from": "123456789"}, "from", SENDER),
    ("a sender of 2 digits", {"from": "12"}, "from", SENDER),
    ("a sender with a line end", {"from": "Acme\n"}, "from", SENDER),
    ("a sender beyond ASCII", {"from": "Caf\u00e9"}, "from", SENDER),
    ("a number as sender with a zero", {"from": "+0202555012"}, "from", SENDER),
    ("an unknown priority", {"priority": "urgent"}, "priority", '"high" or "normal"'),
    ("a priority of another type", {"priority": ["high"]}, "priority", '"high" or "normal"'),
    ("a time without a zone", {"send_at": "2026-12-24T18:00:00"}, "send_at", TIME),
    ("a time without seconds", {"send_at": "2026-12-24T18:00Z"}, "send_at", TIME),
    ("a day that is none", {"send_at": "2026-02-30T18:00:00Z"}, "send_at", TIME),
    ("an hour that is none", {"send_at": "2026-12-24T25:00:00Z"}, "send_at", TIME),
    ("a year of two zones", {"expires_at": "0001-01-01T00:00:00+01:00"}, "expires_at", TIME),
    ("a last year", {"expires_at": "9999-12-31T23:59:59-01:00"}, "expires_at", TIME),
    ("a zone that is none", {"send_at": "2026-12-24T18:00:00+99:99"}, "send_at", TIME),
    ("a time as a number", {"send_at": 1_782_000_000}, "send_at", TIME),
    ("a time with a line end", {"send_at": "2026-12-24T18:00:00Z\n"}, "send_at", TIME),
    ("other digits", {"send_at": "2026-12-24T18:00:0\u0660Z"}, "send_at", TIME),
    ("a time in two years", {"send_at": "2028-11-02T12:00:00Z"}, "send_at", "within a year"),
    ("an expiry that is no time", {"expires_at": "tomorrow"}, "expires_at", TIME),
    ("an expiry at the time of sending", {**STILLBORN}, "expires_at", "later than send_at"),
    ("an empty campaign", {"campaign": ""}, "campaign", "1 to 128 printable"),
    ("a long campaign", {"campaign": "a" * 129}, "campaign", "1 to 128 printable"),
    ("a campaign of another type", {"campaign": 7}, "campaign", "1 to 128 printable"),
    ("a control character in a ref", {"ref": "a\nb"}, "ref", "1 to 128 printable"),
    ("half a pair in a ref", {"ref": "\ud83d"}, "ref", "1 to 128 printable"),
]


@pytest.mark.parametrize(
    ("fields", "field", "message"), [pytest.param(*row, id=label) for label, *row in REFUSALS]
)
def test_a_refusal_names_the_field(fields: dict[str, object], field: str, message: str) -> None:
    with pytest.raises(FieldError) as refused:
        read(**fields)
    assert refused.value.field == field
    assert message in str(refused.value)


def test_the_longest_of_everything_is_accepted() -> None:
    latest = datetime.fromtimestamp((NOW + FURTHEST_MS) / 1000, UTC).isoformat()
    content = read(
        message="a" * 1530, campaign="c" * 128, ref="r" * 128, send_at=latest, **{"from": "A" * 11}
    )
    assert content.segments.segments == LIMITS.max_segments
    assert content.send_at == NOW + FURTHEST_MS


def test_a_recipient_is_read_as_e164() -> None:
    assert parse_recipient("+1 (202) 555-0123") == "+12025550123"


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (None, "is missing"),
        (12025550123, "in quotes"),
        (["+12025550123"], "in quotes"),
        ("2025550123", "must start with +"),
        ("+12345", "is not a possible number for +1"),
    ],
)
def test_a_refused_recipient_names_its_place(raw: object, message: str) -> None:
    with pytest.raises(FieldError) as refused:
        parse_recipient(raw, "to[3]")
    assert refused.value.field == "to[3]"
    assert message in str(refused.value)


def entry(**fields: object) -> list[bytes]:
    """A stream entry as Redis hands it over."""
    flat = {"to": "+12025550123", "message": "Hi", **fields}
    return [
        part if isinstance(part, bytes) else str(part).encode()
        for pair in flat.items()
        for part in pair
    ]


def test_a_bare_entry_is_a_message_with_the_id_it_is_given() -> None:
    message = from_fields(entry(), "1-0", LIMITS, NOW)
    assert message == Message("1-0", "+12025550123", read(), attempts=0)


def test_an_entry_that_could_not_be_filled_in_says_why() -> None:
    with pytest.raises(FieldError, match="is missing") as refused:
        from_fields(
            entry(id="m_1-a", fault="first_name: is missing"), "1-0", LIMITS, NOW, ours=True
        )
    assert refused.value.field == "first_name"


def test_an_entry_keeps_the_id_and_attempts_of_its_earlier_life() -> None:
    message = from_fields(entry(id="m_1-a", attempts=3), "1-0", LIMITS, NOW, ours=True)
    assert (message.id, message.attempts) == ("m_1-a", 3)


def test_an_empty_optional_field_of_an_entry_is_none() -> None:
    names = ("from", "priority", "send_at", "expires_at", "campaign", "ref", "key")
    message = from_fields(entry(**dict.fromkeys(names, "")), "1-0", LIMITS, NOW)
    assert message == Message("1-0", "+12025550123", read())


def test_an_entry_may_carry_a_key_of_its_producer() -> None:
    assert from_fields(entry(key="order-7"), "1-0", LIMITS, NOW).key == "order-7"


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"message": "Sale \u2013 e\u0301 \U0001f600 \r\n"},
        {"from": "Acme", "priority": "high", "campaign": "autumn", "ref": "\u2116 42"},
        {"expires_at": "2026-11-03T20:00:00.123Z"},
        {"expires_at": "1970-01-01T00:00:00Z"},
        {"expires_at": "0001-01-01T00:00:00Z"},
        {"expires_at": "9999-12-31T23:59:59.999999999Z"},
    ],
)
def test_a_content_survives_the_queue(fields: dict[str, object]) -> None:
    content = read(**fields)
    flat = [part.encode() for part in to_fields(content, with_priority=True)]
    message = from_fields([b"to", b"+12025550123", *flat], "m1", LIMITS, NOW)
    assert message == Message("m1", "+12025550123", content)


def test_the_priority_is_written_only_where_the_stream_does_not_tell_it() -> None:
    content = read(priority="high")
    assert to_fields(content) == ["message", "Hi"]
    assert to_fields(content, with_priority=True) == ["message", "Hi", "priority", "high"]


def test_fields_are_always_written_in_one_order() -> None:
    given: dict[str, object] = {"campaign": "c", "from": "Acme", "ref": "r", "message": "Hi"}
    backwards = dict(reversed(given.items()))
    written = to_fields(parse(given, LIMITS, NOW))
    assert written == to_fields(parse(backwards, LIMITS, NOW))
    assert written[::2] == ["message", "from", "campaign", "ref"]


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        ([b"to", b"+12025550123"], "message", "is missing"),
        ([b"message", b"Hi"], "to", "is missing"),
        (entry(to="12025550123"), "to", "must start with +"),
        ([*entry(), b"to", b"+12025550124"], "to", "is given twice"),
        ([*entry(), *(b"x" * 99, b"1") * 2], f"{'x' * 64}…", "is given twice"),
        (entry(message=b"caf\xe9"), "message", "is not valid UTF-8"),
        (entry(message=b"\xed\xa0\xbd"), "message", "is not valid UTF-8"),  # half a pair
        ([*entry(), b"caf\xe9", b"1"], "caf\\xe9", "is not valid UTF-8"),
        (entry(id="m_1-a"), "id", "is no known field; known are campaign, expires_at, from, key,"),
        (entry(id=""), "id", "is no known field"),
        (entry(attempts="3"), "attempts", "is no known field"),
        (entry(message=""), "message", "is empty"),
        (entry(to=""), "to", "must start with +"),
        (entry(nonsense=""), "nonsense", "is no known field"),
        (entry(key="a b"), "key", "1 to 255 visible ASCII"),
        (entry(key="\u00e9"), "key", "1 to 255 visible ASCII"),
        (entry(key="k" * 256), "key", "1 to 255 visible ASCII"),
    ],
)
def test_a_refused_entry_names_the_field(raw: list[bytes], field: str, message: str) -> None:
    with pytest.raises(FieldError) as refused:
        from_fields(raw, "1-0", LIMITS, NOW)
    assert refused.value.field == field
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("raw", "field", "message"),
    [
        (entry(id=""), "id", "1 to 64"),
        (entry(id="a" * 65), "id", "1 to 64"),
        (entry(id="a\n"), "id", "1 to 64"),
        (entry(id="{smsd}"), "id", "1 to 64"),
        (entry(attempts="-1"), "attempts", "whole number"),
        (entry(attempts=""), "attempts", "whole number"),
        (entry(attempts="\u0663"), "attempts", "whole number"),
        (entry(attempts="1" * 5000), "attempts", "whole number"),
    ],
)
def test_an_earlier_life_that_other_hands_wrote_is_refused(
    raw: list[bytes], field: str, message: str
) -> None:
    with pytest.raises(FieldError) as refused:
        from_fields(raw, "1-0", LIMITS, NOW, ours=True)
    assert refused.value.field == field
    assert message in str(refused.value)
