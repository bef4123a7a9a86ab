"""Contacts of NDJSON and JSON: fields that appear later, values of other types, bad rows."""

import json

import pytest

from smsd.core.contacts.events import Batch, Fields, ImportRefused, Options
from smsd.core.contacts.reader import read
from tests.support.contacts import found_in

ANNA = {"Phone": "+12025550123", "First Name": "Anna"}
JOSE = {"phone": "+12025550124", "first_name": "José", "city": "Rome"}


def lines(*contacts: object) -> bytes:
    return "".join(json.dumps(contact, ensure_ascii=False) + "\n" for contact in contacts).encode()


def test_ndjson_and_both_kinds_of_json_give_the_same() -> None:
    whole = [ANNA, JOSE]
    for found in (
        found_in(lines(*whole), "ndjson"),
        found_in(json.dumps(whole).encode(), "json"),
        found_in(json.dumps({"contacts": whole}, indent=1).encode(), "json"),
    ):
        assert found.contacts == [("+12025550123", "Anna"), ("+12025550124", "José", "Rome")]
        assert (found.fields, found.rejects, found.notices) == (("first_name", "city"), [], [])


def test_new_fields_are_announced_before_the_contact_that_has_them() -> None:
    events = list(read([lines(ANNA, ANNA, JOSE)], Options("ndjson")))
    assert events == [
        Fields(("first_name",), ()),
        Batch([("+12025550123", "Anna")] * 2),
        Fields(("first_name", "city"), ()),
        Batch([("+12025550124", "José", "Rome")]),
    ]


def test_plain_numbers_are_contacts_too() -> None:
    assert found_in(b'["+12025550123", "+12025550124"]', "json").numbers == [
        "+12025550123",
        "+12025550124",
    ]
    assert found_in(b'"+12025550123"\n', "ndjson").numbers == ["+12025550123"]
    assert found_in(b"[2025550123]", "json", region="US").numbers == ["+12025550123"]
    assert found_in(b'[{"to": "+12025550124"}, "+12025550123"]', "json").numbers == [
        "+12025550124",
        "+12025550123",
    ]


def test_values_of_other_types_are_written_out_or_left_out() -> None:
    contact = {"to": "+12025550123", "n": 5, "f": 1.50, "b": True, "z": None, "l": [1], "o": {}}
    found = found_in(lines(contact), "ndjson")
    assert found.fields == ("n", "f", "b", "z", "l", "o")
    assert found.contacts == [("+12025550123", "5", "1.5", "true")]
    assert found.notices == ["lists and objects within contacts are left out (2)"]


def test_bad_contacts_do_not_stop_good_ones() -> None:
    found = found_in(
        lines({"name": "Zoë"}, ANNA, {"phone": 12025550123}, {"phone": "+12025550124", "x": "\0"})
        + b'not json\n["a"]\n{"phone": "\\ud83d"}\n'
        + b'{"phone": "+12025550125", "\\ud83d": "\\ud83d"}\n',
        "ndjson",
    )
    assert found.numbers == ["+12025550123", "+12025550125"]
    assert found.reasons == [
        (1, "", "no_number"),
        (3, "phone", "no_country_code"),
        (4, "x", "control_character"),
        (5, "", "not_json"),
        (6, "", "not_json"),
        (7, "phone", "not_a_number"),
    ]
    assert found.rejects[1].row == ('{"phone": 12025550123}',)


def test_the_column_asked_for_is_the_number() -> None:
    contact = {"phone": "+12025550123", "work": "+12025550124"}
    assert found_in(lines(contact), "ndjson", column="Work").contacts == [
        ("+12025550124", "+12025550123")
    ]
    with pytest.raises(ImportRefused, match="'phone', 'work'") as refused:
        found_in(lines(contact), "ndjson", column="fax")
    assert refused.value.field == "column"


def test_fields_beyond_the_most_are_left_out_with_a_notice() -> None:
    contacts = [{"to": "+12025550123", **{f"f{n}": "x" for n in range(60)}}] * 3
    found = found_in(lines(*contacts), "ndjson")
    assert len(found.fields) == 50
    assert len(found.contacts[0]) == 51
    assert "(values left out: 30)" in found.notices[0]


@pytest.mark.parametrize(
    ("file", "kind", "code"),
    [
        (b"", "ndjson", "empty"),
        (b"\n\n", "ndjson", "empty"),
        (b"[]", "json", "empty"),
        (b"[\n" + lines(ANNA) + b"]", "ndjson", "json_document"),
        (b'{"contacts": [\n' + lines(ANNA) + b"]}", "ndjson", "json_document"),
        (lines(ANNA, ANNA), "json", "not_json"),
        (b"phone,name\n", "json", "not_json"),
        (b'[{"name": "Anna"}]', "json", "no_number_column"),
        (b'{"name": "Anna"}', "ndjson", "no_number_column"),
        (b"PK\x03\x04", "ndjson", "workbook"),
    ],
)
def test_a_file_without_contacts_is_refused(file: bytes, kind: str, code: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        found_in(file, "json" if kind == "json" else "ndjson")
    assert refused.value.code == code
