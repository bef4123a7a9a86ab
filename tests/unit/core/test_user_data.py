"""Octets of a text. Rule: there are as many as were counted, and each is the standard's."""

import pytest

from smsd.core import segment
from smsd.core.segment import DEFAULT_ALPHABET, EXTENSION_TABLE
from smsd.core.user_data import octets


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hi @ $", b"Hi \x00 \x02"),
        ("\u0394_\xc6\xe9\xe0", b"\x10\x11\x1c\x05\x7f"),
        ("\u20ac[]{}^~|\\\f", b"".join(b"\x1b" + bytes([c]) for c in b"e<>()\x14=@/\n")),
    ],
)
def test_a_gsm7_text_is_a_code_an_octet_with_escapes(text: str, expected: bytes) -> None:
    assert octets(text, "gsm7") == expected


def test_a_ucs2_text_is_utf_16_big_endian() -> None:
    assert octets("\u0623\U0001f600", "ucs2").hex() == "0623d83dde00"


@pytest.mark.parametrize("text", [DEFAULT_ALPHABET, EXTENSION_TABLE, "na\xefve \u20ac5 \U0001f600"])
def test_there_are_as_many_as_units_were_counted(text: str) -> None:
    counted = segment.count(text)
    units = len(octets(text, counted.encoding)) // (1 if counted.encoding == "gsm7" else 2)
    assert units == counted.units
