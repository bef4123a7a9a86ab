"""Columns: which one holds the number, and what the others are called."""

import pytest

from smsd.core.contacts.columns import (
    MOST_FIELDS,
    find,
    folded,
    identifier,
    is_header,
    of_header,
    without_header,
)
from smsd.core.contacts.events import ImportRefused


@pytest.mark.parametrize(
    ("header", "number"),
    [
        ("phone", 0),
        ("name,Phone Number", 1),
        ("Name,PHONE_NUMBER", 1),
        ("first,mobile-phone", 1),
        ("\u200bTo\u00a0,x", 0),
        ("msisdn,x", 0),
        ("First Name,Last Name,Phone 1 - Label,Phone 1 - Value", 3),  # Google Contacts
        ("First Name,Mobile Phone,Home Phone", 1),  # Outlook
        ("Vorname;Telefonnummer".replace(";", ","), 1),
        ("Nombre,Móvil", 1),
        ("Prénom,Téléphone portable", 1),
    ],
)
def test_a_column_of_numbers_is_known_by_its_name(header: str, number: int) -> None:
    assert find(header.split(","), "", []) == number


def test_of_several_the_mobile_one_is_taken_with_a_notice() -> None:
    notices: list[str] = []
    assert find(["Phone", "Tel", "Mobile"], "", notices) == 2
    assert notices == [
        "numbers are read from the column 'Mobile', not from 'Phone', 'Tel' (column= chooses)"
    ]


@pytest.mark.parametrize(("asked", "number"), [("tel", 1), ("TEL ", 1), ("1", 0), ("3", 2)])
def test_the_column_asked_for_is_taken_by_name_or_place(asked: str, number: int) -> None:
    assert find(["Phone", "Tel", "Mobile"], asked, []) == number


@pytest.mark.parametrize("asked", ["fax", "0", "4", "-1", "1e1", "٣"])
def test_a_column_that_is_not_there_is_refused_with_those_that_are(asked: str) -> None:
    with pytest.raises(ImportRefused, match="'Phone', 'Tel', 'Mobile'") as refused:
        find(["Phone", "Tel", "Mobile"], asked, [])
    assert (refused.value.code, refused.value.field) == ("no_such_column", "column")


def test_no_column_of_numbers_is_refused_with_those_that_are_there() -> None:
    with pytest.raises(ImportRefused, match=r"It has 'a', .* and 5 more") as refused:
        find(list("abcdefghijklmno"), "", [])
    assert (refused.value.code, refused.value.field) == ("no_number_column", "column")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("First Name", "first_name"),
        ("  FIRST_name ", "first_name"),
        ("first-name", "first_name"),
        ("E-Mail (private)", "e_mail_private"),
        ("\ufeffName\u200b", "name"),
        ("Straße", "strasse"),
        ("Prénom", "prenom"),
        ("2nd name", "column_2nd_name"),
        ("名前", "名前"),
        ("नाम_पहला", "नाम_पहला"),
        ("!?", ""),
        ("", ""),
        ("x" * 100, "x" * 64),
    ],
)
def test_a_field_is_called_what_a_template_can_name(name: str, expected: str) -> None:
    assert identifier(name) == expected


def test_names_are_compared_without_case_blanks_and_signs() -> None:
    assert len({folded(name) for name in ("E-Mail", "e_mail ", "EMAIL", "É mail\u200d")}) == 1


def test_two_columns_of_one_name_are_two_fields() -> None:
    layout = of_header(["phone", "Name", "name", "name 2"], "", [])
    assert layout.names == ("name", "name_2", "name_2_2")


def test_columns_without_a_name_and_too_many_columns_are_no_fields() -> None:
    notices: list[str] = []
    layout = of_header(["phone", "", *(f"f{n}" for n in range(60)), ""], "", notices)
    assert layout.unnamed == (1, 62)
    assert len(layout.fields) == MOST_FIELDS
    assert len(notices) == 1
    assert notices[0].startswith("only 50 fields are kept; left out are 'f50', 'f51'")


def test_without_a_header_columns_are_called_by_their_place() -> None:
    layout = without_header(3, 1, "")
    assert (layout.number, layout.names) == (1, ("column_1", "column_3"))
    assert without_header(3, 1, "3").number == 2
    with pytest.raises(ImportRefused):
        without_header(3, 1, "phone")


def test_a_header_has_a_column_of_numbers() -> None:
    assert is_header(["x", "Phone"], "")
    assert is_header(["x", "y"], "Y")
    assert not is_header(["x", "y"], "")
    assert not is_header(["", "y"], "")
