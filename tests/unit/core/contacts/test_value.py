"""Cells to values: what is taken off, what stays, what is refused."""

import pytest

from smsd.core.contacts.events import Reason
from smsd.core.contacts.number_cell import CellRefused
from smsd.core.contacts.value import LONGEST, clean, is_plain


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("Anna", "Anna"),
        ("", ""),
        ("  Anna Maria\u00a0", "Anna Maria"),
        ("Anna\u00a0Maria", "Anna Maria"),  # a no-break space would make it UCS-2
        ("An\u00adna\u200b\ufeff", "Anna"),
        ("\u202aAnna\u202c", "Anna"),
        ("12 Main St\r\nSpringfield\tIL", "12 Main St Springfield IL"),
        ("José", "José"),
        ("Jose\u0301", "José"),  # as macOS writes it
        ("'=Anna", "=Anna"),
        ('="0123"', "0123"),
        ('="+a""b"', '+a"b'),
        ('="a"&"b"', '="a"&"b"'),  # a formula
        ('="\'=""x"""', "x"),  # armour in armour
        ("\u200b'=x", "=x"),
        ("'n Sync", "'n Sync"),
        ("👩\u200d🚀 Zoë", "👩\u200d🚀 Zoë"),  # a joiner that shapes
        ("\u0645\u06cc\u200c\u062e\u0648", "\u0645\u06cc\u200c\u062e\u0648"),
        ("An\u200dna", "Anna"),  # one that shapes nothing
        ("x" * LONGEST, "x" * LONGEST),
        (" " * 1000 + "x", "x"),
    ],
)
def test_a_value_is_what_a_person_sees(cell: str, expected: str) -> None:
    assert clean(cell) == expected
    assert clean(expected) == expected


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        ("An\0na", Reason.CONTROL_CHARACTER),
        ("Anna\x1b[0m", Reason.CONTROL_CHARACTER),
        ("Anna\x1fBob", Reason.CONTROL_CHARACTER),
        ("Anna\x9f", Reason.CONTROL_CHARACTER),
        ("Jos\ufffd", Reason.UNREADABLE_CHARACTER),
        ("\ud83d", Reason.UNREADABLE_CHARACTER),
        ("x" * (LONGEST + 1), Reason.VALUE_TOO_LONG),
    ],
)
def test_what_cannot_be_sent_is_refused(cell: str, reason: Reason) -> None:
    with pytest.raises(CellRefused) as refused:
        clean(cell)
    assert refused.value.reason == reason


@pytest.mark.parametrize("cell", ["", "a", "Anna Maria", "x" * LONGEST, "a'b=c"])
def test_the_short_way_takes_what_needs_nothing(cell: str) -> None:
    assert is_plain(cell)


@pytest.mark.parametrize("cell", [" a", "a ", "a\n", "'=a", '="a"', "é", "x" * (LONGEST + 1), "\0"])
def test_the_short_way_leaves_the_rest(cell: str) -> None:
    assert not is_plain(cell)
