"""An HTTP answer. Rule: what cannot be read is missing, and never guessed."""

import pytest
from multidict import CIMultiDict

from smsd.provider.wire.answer import LONGEST_PAUSE_S, Answer


@pytest.mark.parametrize(
    ("value", "date", "expected"),
    [
        ("3", "", 3.0),
        ("1.5", "", 1.5),
        ("0", "", 0.0),
        ("999999", "", LONGEST_PAUSE_S),
        ("9" * 30, "", None),
        ("-1", "", None),
        ("nan", "", None),
        ("\u0663", "", None),
        ("", "", None),
        ("Fri, 01 Jan 2027 00:00:30 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", 30.0),
        ("Fri, 01 Jan 2027 00:00:00 GMT", "Fri, 01 Jan 2027 00:00:30 GMT", 0.0),
        ("Fri, 01 Jan 2999 00:00:00 GMT", "Fri, 01 Jan 2027 00:00:30 GMT", LONGEST_PAUSE_S),
        ("Fri, 01 Jan 2027 00:00:30 GMT", "", None),
        ("Fri, 99 Jan 2027 00:00:30 GMT", "Fri, 01 Jan 2027 00:00:00 GMT", None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(
    value: str, date: str, expected: float | None
) -> None:
    assert (
        Answer(429, CIMultiDict({"Retry-After": value, "Date": date}), b"").retry_after()
        == expected
    )


def test_no_retry_after_is_none() -> None:
    assert Answer(429, CIMultiDict(), b"").retry_after() is None
