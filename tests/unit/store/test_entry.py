"""Entries and attempts: names, ids, fingerprints and in-flight records, whoever wrote them."""

import pytest

from smsd.store.entry import Attempt, Entry, first_entry, is_entry, stream_of

FIELDS = [b"to", b"+12025550123", b"message", b"Hi", b"id", b"m1"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("n1-0", True),
        ("h1767225600000-12", True),
        ("n18446744073709551615-18446744073709551615", True),
        ("n18446744073709551616-0", False),
        ("n1-18446744073709551616", False),
        ("1-0", False),
        ("x1-0", False),
        ("n1", False),
        ("n1-", False),
        ("n1-0\n", False),
        ("", False),
    ],
)
def test_a_name_is_an_entrys_where_redis_knows_its_id(name: str, *, expected: bool) -> None:
    assert is_entry(name) is expected


@pytest.mark.parametrize(("name", "stream"), [("h1-0", "h"), ("n1-0", "n"), ("", "n"), ("x", "n")])
def test_a_name_begins_with_its_stream(name: str, stream: str) -> None:
    assert stream_of(name) == stream
    assert Entry(name, None, 0).stream == stream


@pytest.mark.parametrize(("message_id", "name"), [("1-0", "n1-0"), ("h1-0", "h1-0")])
def test_a_first_entry_and_its_message_are_named_after_each_other(
    message_id: str, name: str
) -> None:
    assert first_entry(message_id) == name
    assert Entry(name, None, 0).first_message_id == message_id


@pytest.mark.parametrize(
    ("fields", "ours", "message_id"),
    [
        (FIELDS, True, "m1"),
        (FIELDS, False, "1-0"),  # anybody can write that
        (FIELDS[:4], True, "1-0"),
        ([b"id", b"a b"], True, "1-0"),
        ([b"id", b"a\n"], True, "1-0"),
        ([b"id", b"x" * 65], True, "1-0"),
        ([b"id", b"\xff"], True, "1-0"),
        ([b"message", b"id"], True, "1-0"),
        (None, True, "1-0"),
    ],
)
def test_the_id_in_an_entry_counts_only_where_smsd_wrote_it(
    fields: list[bytes] | None, message_id: str, *, ours: bool
) -> None:
    assert Entry("n1-0", fields, 0, ours).message_id == message_id


def test_a_fingerprint_knows_fields_and_not_their_order() -> None:
    backwards = [*FIELDS[4:], *FIELDS[2:4], *FIELDS[:2]]
    one = Entry("n1-0", FIELDS, 0).fingerprint
    assert one == Entry("h2-0", backwards, 9).fingerprint
    assert one != Entry("n1-0", [*FIELDS[:3], b"Ho", *FIELDS[4:]], 0).fingerprint
    assert one != Entry("n1-0", None, 0).fingerprint


@pytest.mark.parametrize(
    "attempt",
    [
        Attempt(1, 0, "unknown"),
        Attempt(9_999_999_999, 1_767_225_600_000, "a:b:1:2:3"),
        Attempt(2, 1_767_225_600_000, "a:b:1:2:3", "0123456789abcdef"),
        Attempt(2, 1_767_225_600_000, "a b", "0123456789abcdef"),
    ],
)
def test_an_in_flight_record_is_read_as_it_was_written(attempt: Attempt) -> None:
    assert Attempt.read(attempt.mark.encode()) == attempt


def test_a_record_of_an_earlier_version_names_no_gateway() -> None:
    assert Attempt.read(b"2 1767225600000 a:b:1:2:3") == Attempt(2, 1_767_225_600_000, "a:b:1:2:3")


@pytest.mark.parametrize(
    "mark",
    [
        b"",
        b"1",
        b"0 1 a",
        b"1 x a",
        b"1 1 ",
        b"1 1 \xff",
        b"-1 1 a",
        b"1 12345678901234 a",
        b"1 01 a",
    ],
)
def test_a_record_that_smsd_did_not_write_is_no_attempt(mark: bytes) -> None:
    assert Attempt.read(mark) is None
