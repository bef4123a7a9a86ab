"""Lines to cells: which delimiter, and what an unclosed quotation costs."""

import pytest

from smsd.core.contacts.csv_rows import NONE, BadRow, CsvRows, Row, check_delimiter
from smsd.core.contacts.events import ImportRefused, Reason
from smsd.core.contacts.lines import LONGEST_ROW, Lines


def rows_of(source: str, delimiter: str = "") -> list[Row | BadRow]:
    return list(CsvRows(Lines(iter([source])), delimiter))


def delimiter_of(source: str) -> str:
    return CsvRows(Lines(iter([source]))).delimiter


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("phone,name\n1,a\n", ","),
        ("phone;name\n1;a,b\n2;c,d\n", ";"),
        ("phone\tname\n1\ta\n", "\t"),
        ("phone|name\n1|a\n", "|"),
        ("phone\n1\n", NONE),
        ("phone\n1,\n2,\n", NONE),  # the header has none
        ('"a;b";phone\n"x;y";1\n', ";"),
        ("phone,name\n1,a\n2\n3,b\n4,c\n", ","),  # a row may be short
        ("\n\nphone;name\n1;a\n", ";"),
        ("", NONE),
    ],
)
def test_the_delimiter_splits_header_and_rows_alike(source: str, expected: str) -> None:
    assert delimiter_of(source) == expected


def test_a_delimiter_that_shows_a_column_of_numbers_is_better_than_others() -> None:
    source = "last, first, middle;phone\nSmith, Anna, B;1\nJones, Bob, C;2\n"
    assert delimiter_of(source) == ","
    assert CsvRows(Lines(iter([source])), "", lambda cells: "phone" in cells).delimiter == ";"


@pytest.mark.parametrize("first", ["sep=;", "SEP=;", '"sep=;"'])
def test_a_declared_delimiter_is_taken_and_its_line_counted(first: str) -> None:
    assert rows_of(f"{first}\r\na,b;c\r\n") == [(2, ["a,b", "c"])]
    assert rows_of(f"{first}\r\na,b;c\r\n", ",") == [(2, ["a", "b;c"])]


@pytest.mark.parametrize("asked", ["ab", "", "\n", '"', "a", "1", "+", "\0"])
def test_what_cannot_delimit_is_refused(asked: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        check_delimiter(asked)
    assert refused.value.field == "delimiter"


def test_a_tab_has_a_name() -> None:
    assert [check_delimiter(name) for name in ("tab", "\\t", "\t", ";")] == ["\t", "\t", "\t", ";"]


def test_rows_know_their_physical_line() -> None:
    source = 'a,b\r\n\r\n"1\r\n2",c\r\n"3\n\n4",d\re,f'
    assert rows_of(source) == [
        (1, ["a", "b"]),
        (2, []),
        (3, ["1\r\n2", "c"]),
        (5, ["3\n\n4", "d"]),
        (8, ["e", "f"]),
    ]


def test_a_quotation_open_at_the_end_of_the_file_costs_one_row() -> None:
    assert rows_of('a,b\n1,"x\n2,y\n3,z\n') == [
        (1, ["a", "b"]),
        BadRow(2, Reason.UNCLOSED_QUOTE, '1,"x'),
        (3, ["2", "y"]),
        (4, ["3", "z"]),
    ]
    assert rows_of('a,b\n1,"x') == [(1, ["a", "b"]), BadRow(2, Reason.UNCLOSED_QUOTE, '1,"x')]


def test_a_quotation_that_goes_on_for_ever_costs_one_row() -> None:
    rest = [f"{n},y\n" for n in range(20_000)]
    rows = rows_of('a,b\n1,"x\n' + "".join(rest))
    assert rows[1] == BadRow(2, Reason.UNCLOSED_QUOTE, '1,"x')
    assert rows[2:] == [(n + 3, [str(n), "y"]) for n in range(20_000)]


def test_a_quotation_that_swallows_contacts_costs_one_row() -> None:
    rows = CsvRows(Lines(iter(['a,b\n1,"x\n2,y\n3,"z"\n4,w\n'])))
    rows.watch(lambda cells: len(cells) == 2 and cells[0].isdigit())
    assert list(rows) == [
        (1, ["a", "b"]),
        BadRow(2, Reason.UNCLOSED_QUOTE, '1,"x'),
        (3, ["2", "y"]),
        (4, ["3", "z"]),
        (5, ["4", "w"]),
    ]


def test_a_line_and_a_cell_that_are_too_long_cost_their_row() -> None:
    rows = rows_of(f"a,b\n1,{'x' * LONGEST_ROW}\n2,{'x' * 5000}\n3,{'x' * 4096}\n4,y\n", ",")
    assert [row.line if isinstance(row, BadRow) else row[0] for row in rows] == [1, 2, 3, 4, 5]
    assert [row.reason for row in rows if isinstance(row, BadRow)] == [Reason.ROW_TOO_LONG] * 2


def test_rows_that_each_swallow_many_others_end_all_the_same() -> None:
    rows = rows_of('x,"y","\n' * 60_000)
    assert 0 < len(rows) < 60_000
    assert {type(row) for row in rows} == {BadRow}
