"""Cells to numbers: what spreadsheets and address books do to them (names: who writes it so)."""

import pytest

from smsd.core.contacts.events import Reason
from smsd.core.contacts.number_cell import LONGEST_CELL, CellRefused, is_number, read

PHONE = "+12025550123"


@pytest.mark.parametrize(
    "cell",
    [
        PHONE,
        "  +12025550123 ",
        "+1 (202) 555-0123",
        "'+12025550123",  # a spreadsheet's mark for text, kept by an export
        "\u2019+12025550123",
        "\t+12025550123",
        "=+12025550123",
        '="+12025550123"',  # armour against formulas
        '= "+12025550123"',
        '\'="+12025550123"',
        '"+12025550123"',  # quoted twice
        "+1\u00a0202\u00a0555\u00a00123",  # no-break spaces
        "\u202a+12025550123\u202c",  # marks of direction, as an address book copies them
        "\ufeff+1202\u200b5550123",
        "+1\u2007202\u3000555\u20050123",
        "+12025550123.0",  # pandas, of a column with gaps
        "+12025550123,00",
    ],
)
def test_a_number_is_found_under_what_programs_put_around_it(cell: str) -> None:
    assert read(cell) == (PHONE, False)


@pytest.mark.parametrize(
    ("cell", "region", "expected"),
    [
        ("2025550123", "US", PHONE),
        ("(202) 555-0123", "US", PHONE),
        ("12025550123", "US", PHONE),  # Excel took the + off
        ("12025550123.0", "US", PHONE),
        ("3.108207129E9", "US", "+13108207129"),  # shortened, but with all of its digits
        ("3,108207129E+9", "US", "+13108207129"),
        ("1.2025550123E+10", "US", PHONE),
        ("+1.2025550123E+10", "", PHONE),
        ("1.20255501230E10", "US", PHONE),
        ("7911123456", "GB", "+447911123456"),  # Excel took the 0 off
        ("07911 123456", "GB", "+447911123456"),
        ("447911123456", "GB", "+447911123456"),
        ("0044 7911 123456", "GB", "+447911123456"),
        ("+447911123456", "US", "+447911123456"),
        ("06 698 1234", "IT", "+39066981234"),
    ],
)
def test_national_numbers_are_read_where_their_region_is_named(
    cell: str, region: str, expected: str
) -> None:
    assert read(cell, region) == (expected, False)


@pytest.mark.parametrize(
    "cell",
    [
        "+12025550123 ::: +12025550124",  # Google Contacts
        "+12025550123; +12025550124",
        "+12025550123 / +12025550124",
        "+12025550123|+12025550124",
        "+12025550123,+12025550124",
        "+12025550123\n+12025550124",
        "'+12025550123 ::: '+12025550124",
    ],
)
def test_of_several_numbers_the_first_is_taken_and_it_is_known(cell: str) -> None:
    assert read(cell) == (PHONE, True)


def test_what_only_ends_like_a_list_has_one_number() -> None:
    assert read("+12025550123;") == (PHONE, False)
    assert read("+12025550123 ::: ") == (PHONE, False)


@pytest.mark.parametrize(
    ("cell", "region", "reason"),
    [
        ("", "", Reason.NO_NUMBER),
        (" \u00a0\u200b", "", Reason.NO_NUMBER),
        ("'", "", Reason.NO_NUMBER),
        ('=""', "", Reason.NO_NUMBER),
        ("2025550123", "", Reason.NO_COUNTRY_CODE),
        ("12025550123", "", Reason.NO_COUNTRY_CODE),
        ("(202) 555-0123", "", Reason.NO_COUNTRY_CODE),
        ("3.108207129E9", "", Reason.NO_COUNTRY_CODE),
        ("1.20255E+10", "", Reason.SHORTENED_NUMBER),
        ("1.20255E+10", "US", Reason.SHORTENED_NUMBER),
        ("1,20255E+10", "US", Reason.SHORTENED_NUMBER),
        ("4.41E+11", "GB", Reason.SHORTENED_NUMBER),
        ("1E+10", "US", Reason.SHORTENED_NUMBER),
        ("1.20255501235E9", "US", Reason.SHORTENED_NUMBER),  # a fraction
        ("1.2E999", "US", Reason.SHORTENED_NUMBER),
        ("n/a", "", Reason.NOT_A_NUMBER),
        ("Anna", "US", Reason.NOT_A_NUMBER),
        ("#N/A", "US", Reason.NOT_A_NUMBER),
        ("12345", "", Reason.NOT_A_NUMBER),
        ("1-800-FLOWERS", "US", Reason.NOT_A_NUMBER),
        ("+12025550123 ext. 5", "", Reason.NOT_A_NUMBER),
        ("+12025550123;ext=5", "", Reason.NOT_A_NUMBER),
        ("+1202\u202e5550123", "", Reason.NOT_A_NUMBER),
        ("+999123456", "", Reason.NOT_A_NUMBER),
        ("+1202555012", "", Reason.IMPOSSIBLE_NUMBER),
        ("202555012", "US", Reason.IMPOSSIBLE_NUMBER),
        ("4915112345678", "DE", Reason.AMBIGUOUS_NUMBER),  # +49 151…, or 04915… in Germany
        ("+" + "1" * LONGEST_CELL, "", Reason.NOT_A_NUMBER),
        ("+12025550123 ::: " * 100, "", Reason.NOT_A_NUMBER),
    ],
)
def test_what_is_spoilt_or_no_number_is_refused_with_its_reason(
    cell: str, region: str, reason: Reason
) -> None:
    with pytest.raises(CellRefused) as refused:
        read(cell, region)
    assert refused.value.reason == reason


def test_a_number_with_another_ones_end_is_not_read_as_one_of_them() -> None:
    with pytest.raises(CellRefused) as refused:
        read("+49 30 123456/7")
    assert refused.value.reason in (Reason.NOT_A_NUMBER, Reason.NO_COUNTRY_CODE)


def test_a_fraction_never_becomes_a_digit_of_the_number() -> None:
    assert read("+4930123456.0") == ("+4930123456", False)
    assert read("+49.30.123456") == ("+4930123456", False)


def test_what_is_meant_as_a_number_is_known_even_if_it_cannot_be_read() -> None:
    meant = {cell: is_number(cell, "") for cell in (PHONE, "2025550123", "1.2E+10", "Anna", "")}
    assert list(meant.values()) == [True, True, True, False, False]
