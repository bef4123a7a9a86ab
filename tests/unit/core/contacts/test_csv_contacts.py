"""CSV files as programs write them, octet by octet, and what is wrong with their rows."""

import codecs

import pytest

from smsd.core.contacts.columns import MOST_COLUMNS
from smsd.core.contacts.events import (
    MOST_IN_BATCH,
    Batch,
    Fields,
    ImportRefused,
    Options,
    Reason,
)
from smsd.core.contacts.reader import read
from tests.support.contacts import found_in

ANNA, JOSE = ("+12025550123", "Anna"), ("+12025550124", "José")
CONTACTS = [ANNA, JOSE]


def octets(*lines: str, end: str = "\r\n", encoding: str = "utf-8", mark: bytes = b"") -> bytes:
    return mark + "".join(line + end for line in lines).encode(encoding)


PLAIN = ("Phone,First Name", "+12025550123,Anna", "+12025550124,José")
SEMICOLONS = tuple(line.replace(",", ";") for line in PLAIN)
TABS = tuple(line.replace(",", "\t") for line in PLAIN)
QUOTED = ('"Phone","First Name"', '"+12025550123","Anna"', '"+12025550124","José"')
FILES = {
    "Excel: CSV UTF-8": octets(*PLAIN, mark=codecs.BOM_UTF8),
    "Excel: CSV UTF-8, where a comma is in numbers": octets(*SEMICOLONS, mark=codecs.BOM_UTF8),
    "Excel: CSV": octets(*PLAIN, encoding="cp1252"),
    "Excel: CSV, where a comma is in numbers": octets(*SEMICOLONS, encoding="cp1252"),
    "Excel: Unicode Text": octets(*TABS, encoding="utf-16-le", mark=codecs.BOM_UTF16_LE),
    "Excel: Text": octets(*TABS, encoding="cp1252"),
    "Excel with sep=": octets("sep=;", *SEMICOLONS, encoding="cp1252"),
    "Excel, an empty column that was used once": octets(*(f"{line},," for line in PLAIN)),
    "Excel, empty rows that were used once": octets(*PLAIN, ",", ",", ","),
    "Excel, empty rows above": octets(",", ",", *PLAIN),
    "Numbers": octets(*PLAIN, end="\n"),
    "Numbers, where a comma is in numbers": octets(*SEMICOLONS, end="\n"),
    "LibreOffice": octets(*PLAIN, end="\n"),
    "LibreOffice: quote all text cells": octets(*QUOTED, end="\n"),
    "LibreOffice: UTF-16": octets(*PLAIN, end="\n", encoding="utf-16-le", mark=codecs.BOM_UTF16_LE),
    "Google Sheets": "\r\n".join(PLAIN).encode(),  # no end of its last line
    "Google Sheets: TSV": "\r\n".join(TABS).encode(),
    "a program on Windows, UTF-16 without a mark": octets(*TABS, encoding="utf-16-le"),
    "psql, pipes": octets(*(line.replace(",", "|") for line in PLAIN), end="\n"),
    "by hand": octets(
        "Phone, First Name ", " +12025550123 , Anna", "+12025550124,\tJosé ", end="\n"
    ),
    "pasted from a web page": octets(
        "\u200bPhone,First\u00a0Name", "+1\u00a0202\u00a0555\u00a00123,Anna\u200b", PLAIN[2]
    ),
    "armoured against formulas": octets(PLAIN[0], "'+12025550123,Anna", '"=""+12025550124""",José'),
}


@pytest.mark.parametrize("program", FILES)
def test_what_a_program_writes_is_read(program: str) -> None:
    found = found_in(FILES[program])
    assert found.contacts == CONTACTS
    assert found.fields == ("first_name",)
    assert found.rejects == []


def test_only_what_had_to_be_guessed_is_reported() -> None:
    noticed = {program for program, file in FILES.items() if found_in(file).notices}
    assert noticed == {
        "Excel: CSV",
        "Excel: CSV, where a comma is in numbers",
        "Excel: Text",
        "Excel with sep=",
        "a program on Windows, UTF-16 without a mark",
    }


@pytest.mark.parametrize("number", ["+12025550101", '"=""+12025550101"""'])
def test_an_export_is_read_by_its_own_column_of_numbers(number: str) -> None:
    exported = f"number,phone,mobile\r\n{number},+12025550102,\r\n".encode()
    found = found_in(exported)
    assert found.contacts == [("+12025550101", "+12025550102")]
    assert (found.fields, found.notices) == (("phone", "mobile"), [])
    assert found_in(exported, column="phone").numbers == ["+12025550102"]
    # Of another file `number` may be anything.
    assert found_in(b"number,phone\n4711,+12025550102\n").numbers == ["+12025550102"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"+12025550123" + b",x" * 1000, Reason.TOO_MANY_COLUMNS),
        (b"x" + b"," * 1000, Reason.NOT_A_NUMBER),
    ],
)
def test_a_row_of_no_end_is_shown_as_far_as_a_row_may_go(row: bytes, reason: Reason) -> None:
    rejects = found_in(b"phone,name\n" + row + b"\n").rejects
    assert [(len(one.row), one.reason) for one in rejects] == [(MOST_COLUMNS, reason)]


def test_excel_for_mac_needs_its_encoding() -> None:
    file = octets(*PLAIN, end="\r", encoding="mac-roman")
    assert found_in(file, encoding="mac-roman").contacts == CONTACTS
    guessed = found_in(file)
    assert guessed.contacts[1] == ("+12025550124", "JosŽ")
    assert "from line 3 on" in guessed.notices[0]


def test_google_contacts_has_several_numbers_in_a_cell_and_line_breaks_in_addresses() -> None:
    file = octets(
        "First Name,Phone 1 - Label,Phone 1 - Value,Address 1 - Formatted",
        'Anna,Mobile,+1 202-555-0123 ::: +1 202-555-0125,"12 Main St\nSpringfield, IL 62701\nUS"',
        "José,,+1 202-555-0124,",
    )
    found = found_in(file)
    assert found.contacts == [
        ("+12025550123", "Anna", "Mobile", "12 Main St Springfield, IL 62701 US"),
        ("+12025550124", "José"),
    ]
    assert found.notices == ["of several numbers in a cell the first is taken (rows: 1)"]


def test_numbers_that_excel_spoilt_are_rejected_with_their_cell() -> None:
    file = octets("Phone,Name", "1.20255E+10,Anna", "4.47911E+11,Bob", "+12025550124,José")
    for region in ("", "US"):
        found = found_in(file, region=region)
        assert found.numbers == ["+12025550124"]
        assert found.reasons == [(2, "Phone", "shortened_number"), (3, "Phone", "shortened_number")]
        assert (found.rejects[0].value, found.rejects[0].row) == (
            "1.20255E+10",
            ("1.20255E+10", "Anna"),
        )


def test_numbers_that_lost_their_plus_need_a_region() -> None:
    file = octets("Phone,Name", "12025550123,Anna", "2025550124,José", "3.108207129E9,Bob")
    assert found_in(file, region="US").numbers == ["+12025550123", "+12025550124", "+13108207129"]
    found = found_in(file)
    assert found.contacts == []
    assert {reason for _, _, reason in found.reasons} == {"no_country_code"}


def test_rows_of_another_length_than_the_header() -> None:
    file = octets(
        "phone,name,city",
        "+12025550123,Anna",  # as Excel leaves empty cells out
        "+12025550124,José,Rome,,",
        "+12025550125,Bob,Rome,Italy",
        "+12025550126,Zoë,Rome",
    )
    found = found_in(file)
    assert found.numbers == ["+12025550123", "+12025550124", "+12025550126"]
    assert found.reasons == [(4, "", "too_many_columns")]
    assert found.rejects[0].row == ("+12025550125", "Bob", "Rome", "Italy")
    assert found.notices == ["what rows that end early lack is taken as empty (rows: 1)"]


def test_a_last_row_that_ends_early_may_be_cut_off_within_its_number() -> None:
    found = found_in(b"phone,name\n+12025550123,Anna\n+493012345")
    assert found.numbers == ["+12025550123"]
    assert found.reasons == [(3, "", "cut_short")]


def test_lines_are_counted_as_an_editor_does() -> None:
    file = octets("", "phone,note", '+12025550123,"a', 'b"', "", "x,", '"+12025550124","c"', "y,")
    assert [line for line, _, _ in found_in(file).reasons] == [6, 8]


def test_an_unclosed_quotation_costs_one_row_and_imports_nothing_twice() -> None:
    lines = ["phone,name", '+12025550123,"Anna', "+12025550124,José", '+12025550125,"Bob"', ""]
    found = found_in("\n".join(lines).encode())
    assert found.numbers == ["+12025550124", "+12025550125"]
    assert found.reasons == [(2, "", "unclosed_quote")]


def test_each_bad_cell_is_named_by_its_column() -> None:
    file = octets(
        "Phone,First Name,City",
        ",Anna,Rome",
        "n/a,Anna,Rome",
        "+1202555012,Anna,Rome",
        "+12025550123,An\x1bna,Rome",
        f"+12025550123,Anna,{'x' * 256}",
    )
    assert found_in(file).reasons == [
        (2, "Phone", "no_number"),
        (3, "Phone", "not_a_number"),
        (4, "Phone", "impossible_number"),
        (5, "First Name", "control_character"),
        (6, "City", "value_too_long"),
    ]


def test_a_long_value_is_shown_in_part() -> None:
    reject = found_in(octets("phone,x", "+12025550123," + "y" * 1000)).rejects[0]
    assert len(reject.value) == 100
    assert len(reject.row[1]) == 1000


@pytest.mark.parametrize(
    ("file", "contacts", "fields"),
    [
        (b"+12025550123\n+12025550124\n", [("+12025550123",), ("+12025550124",)], ()),
        (b"Anna;+12025550123\nTo;+12025550124", [ANNA, ("+12025550124", "To")], ("column_1",)),
        (b"+12025550123,To\n", [("+12025550123", "To")], ("column_2",)),
    ],
)
def test_a_file_may_begin_without_names(
    file: bytes, contacts: list[tuple[str, ...]], fields: tuple[str, ...]
) -> None:
    found = found_in(file)
    assert found.contacts == contacts
    assert found.fields == fields
    assert found.notices[0].startswith("the file begins without the names of its columns")


def test_the_column_asked_for_may_be_any() -> None:
    file = octets("a,b,phone", "+12025550123,+12025550124,+12025550125", end="\n")
    with pytest.raises(ImportRefused, match="no column"):
        found_in(file, column="c")
    file = octets("a,b,phone", "x,+12025550124,+12025550125", end="\n")
    assert found_in(file, column="B").contacts == [("+12025550124", "x", "+12025550125")]
    assert found_in(file).contacts == [("+12025550125", "x", "+12025550124")]


def test_values_in_columns_without_a_name_are_left_out_with_a_notice() -> None:
    found = found_in(octets("phone,,name,", "+12025550123,junk,Anna,", "+12025550124,,José,"))
    assert found.contacts == CONTACTS
    assert found.notices == ["values in columns without a name are left out (rows: 1)"]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        (b"", "empty"),
        (b"\xef\xbb\xbf", "empty"),
        (b"\r\n,,\r\n\r\n", "empty"),
        (b"phone,name\r\n", "empty"),
        (b"name,city\nAnna,Rome\n", "no_number_column"),
        (b'[{"phone": "+12025550123"}]', "json"),
        (b'{"contacts": []}', "json"),
        (b"phone," + b"," * 200 + b"\n+12025550123\n", "too_many_columns"),
        (b"phone," + b"x" * 10_000, "no_header"),
        (b"x" * 1_000_000, "no_header"),
        (b'"phone,name\n' + b"+12025550123,Anna\n" * 10_000, "no_header"),
        (b"PK\x03\x04xl/workbook.xml", "workbook"),
    ],
)
def test_a_file_without_contacts_is_refused(file: bytes, code: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        found_in(file)
    assert refused.value.code == code


def test_batches_are_small_and_come_after_the_fields() -> None:
    file = b"phone,name\n" + b"+12025550123,Anna\n" * 1201
    events = list(read([file], Options()))
    assert [type(event) for event in events] == [Fields, Batch, Batch, Batch]
    sizes = [len(event.contacts) for event in events if isinstance(event, Batch)]
    assert sizes == [MOST_IN_BATCH, MOST_IN_BATCH, 201]


def test_a_batch_of_long_rows_is_closed_sooner() -> None:
    file = b"phone,name,\n" + (b"+12025550123,Anna," + b" " * 4000 + b"\n") * 100
    sizes = [len(event.contacts) for event in read([file], Options()) if isinstance(event, Batch)]
    assert max(sizes) < 20
    assert sum(sizes) == 100
