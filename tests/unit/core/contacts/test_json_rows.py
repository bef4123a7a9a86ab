"""JSON in pieces: elements one at a time, with the line they are on."""

import pytest

from smsd.core.contacts import json_rows
from smsd.core.contacts.csv_rows import BadRow
from smsd.core.contacts.events import ImportRefused, Reason
from smsd.core.contacts.json_rows import Document, of_lines
from smsd.core.contacts.lines import LONGEST_ROW, Lines


def elements(*pieces: str) -> list[tuple[int, object]]:
    return [(line, value) for line, value, _ in Document(iter(pieces))]


@pytest.mark.parametrize(
    "source",
    [
        '[{"a": "x"}, {"b": 12}]',
        '{"contacts": [{"a": "x"}, {"b": 12}]}',
        '{"contacts": [{"a": "x"}, {"b": 12}], "more": {"of": [1]}, "n": null}',
        ' {"v": 1, "contacts" : [ {"a":"x"} , {"b":12} ] } ',
    ],
)
def test_a_list_of_contacts_is_read_however_it_comes(source: str) -> None:
    expected = [(1, {"a": "x"}), (1, {"b": "12"})]
    assert elements(source) == expected
    assert elements(*source) == expected


def test_digits_stay_as_they_are_written() -> None:
    found = elements('[12025550123, 1.20255E+10, {"a": 1e400, "b": -0.10}, true]')
    assert [value for _, value in found] == [
        "12025550123",
        "1.20255E+10",
        {"a": "1e400", "b": "-0.10"},
        True,
    ]


def test_a_number_is_not_taken_before_its_end_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_rows, "PIECE", 1)
    assert elements(*"[12025550123, 12]") == [(1, "12025550123"), (1, "12")]


def test_elements_know_their_line() -> None:
    source = '{\n"contacts":\n[\n{"a":\n1},\n\n{"b": 2}]}'
    assert [line for line, _ in elements(*source)] == [4, 7]


def test_an_empty_list_has_no_elements() -> None:
    assert elements("[]") == elements('{"contacts": [ ]}') == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "must be a list"),
        ('"x"', "must be a list"),
        ("{}", 'has no list "contacts"'),
        ('{"people": []}', 'has no list "contacts"'),
        ('{"contacts": {}}', 'has no list "contacts"'),
        ('{"a": 1}\n{"a": 2}', 'has no list "contacts"'),
        ("[1", "should have ','"),
        ("[1,", "is no JSON"),
        ("[1,]", "is no JSON"),
        ("[1 2]", "should have ','"),
        ("[1]]", "goes on after its end"),
        ("[NaN]", "is no JSON"),
        ("['a']", "is no JSON"),
        ('[\n\n{"a" 1}]', r"\(line 3\)"),
        ("[" * 100_000, "is no JSON"),
        ('["' + "x" * 3 * LONGEST_ROW + '"]', "a value that is too long"),
    ],
)
def test_a_broken_document_is_refused_with_its_line(source: str, message: str) -> None:
    with pytest.raises(ImportRefused, match=message) as refused:
        elements(source)
    assert refused.value.code == "not_json"


def test_a_bad_line_of_ndjson_is_a_bad_row() -> None:
    source = (
        '{"a": 1}\n\n{"b": \n  {"c": 2}  \r\nNaN\n' + "[" * 60_000 + "\n" + "x" * 70_000 + "\n[3]"
    )
    found = list(of_lines(Lines(iter([source]))))
    assert [row for row in found if not isinstance(row, BadRow)] == [
        (1, {"a": "1"}, '{"a": 1}'),
        (4, {"c": "2"}, '{"c": 2}'),
        (8, ["3"], "[3]"),
    ]
    assert [(row.line, row.reason) for row in found if isinstance(row, BadRow)] == [
        (3, Reason.NOT_JSON),
        (5, Reason.NOT_JSON),
        (6, Reason.NOT_JSON),
        (7, Reason.ROW_TOO_LONG),
    ]
