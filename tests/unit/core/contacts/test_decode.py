"""Octets to characters: the order of decisions, and what is no file of contacts."""

import codecs
import encodings

import pytest

from smsd.core.contacts import decode
from smsd.core.contacts.decode import decoded, known_encoding
from smsd.core.contacts.events import ImportRefused

ROWS = "phone,name\r\n+12025550123,José\r\n+12025550124,Łukasz\r\n"


def characters(*pieces: bytes, encoding: str = "") -> tuple[str, list[str]]:
    notices: list[str] = []
    return "".join(decoded(pieces, encoding, notices)), notices


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (codecs.BOM_UTF32_LE, "utf-32-le"),
        (codecs.BOM_UTF32_BE, "utf-32-be"),
        (b"", "utf-8"),
    ],
)
def test_a_byte_order_mark_decides_and_is_no_part_of_the_first_name(
    mark: bytes, encoding: str
) -> None:
    assert characters(mark + ROWS.encode(encoding)) == (ROWS, [])


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_without_a_mark_is_known_by_its_nulls(encoding: str) -> None:
    found, notices = characters(ROWS.encode(encoding))
    assert found == ROWS
    assert notices == [f"the file is read as {encoding}, though it has no byte order mark"]


def test_what_is_not_utf_8_is_cp1252_with_a_notice_that_names_the_line() -> None:
    found, notices = characters("phone,name\r\n+1,Bob\r\n+2,José\r\n+3,“Zoë”\r\n".encode("cp1252"))
    assert found.endswith("+2,José\r\n+3,“Zoë”\r\n")
    assert notices == [
        "the file is not UTF-8; from line 3 on it is read as cp1252 (encoding= chooses another)"
    ]


def test_stray_octets_in_utf_8_are_replaced_alone() -> None:
    octets = "a,Łukasz\n".encode() + "b,José\n".encode("cp1252") + "c,Zoë\n".encode()
    found, notices = characters(octets)
    assert found == "a,Łukasz\nb,José\nc,Zoë\n"
    assert notices == [
        "the file is UTF-8 with other octets in it, the first in line 2; they are read as cp1252"
    ]


def test_a_character_that_is_cut_off_by_the_end_is_a_stray_octet() -> None:
    found, notices = characters("Zoë".encode()[:-1])
    assert found == "ZoÃ"
    assert len(notices) == 1


def test_the_encoding_asked_for_is_used() -> None:
    assert characters("José".encode("mac-roman"), encoding="mac-roman") == ("José", [])
    assert characters("José".encode("utf-16-le"), encoding="utf-16") == ("José", [])
    assert characters(codecs.BOM_UTF16_BE + "é".encode("utf-16-be"), encoding="utf-16")[0] == "é"
    assert characters(b"Jos\xe9", encoding="utf-8") == ("Jos\ufffd", [])


def test_a_byte_order_mark_knows_better_than_who_asks() -> None:
    found, notices = characters(codecs.BOM_UTF8 + "José".encode(), encoding="cp1252")
    assert found == "José"
    assert notices == ["the file has the byte order mark of utf-8, and is not read as cp1252"]


def test_every_encoding_that_is_known_exists_under_that_name() -> None:
    known = decode._NAMES.split()
    assert [known_encoding(name) for name in known] == known
    assert [codecs.lookup(name).name for name in known] == known
    assert known_encoding("UTF8") == known_encoding("utf-8-sig") == "utf-8"
    assert known_encoding("windows-1252") == known_encoding(" CP1252") == "cp1252"
    assert known_encoding("latin1") == "iso8859-1"


def test_names_that_callers_make_up_are_not_remembered() -> None:
    before = len(encodings._cache)
    for n in range(100):
        with pytest.raises(ImportRefused):
            known_encoding(f"made up {n}")
    assert len(encodings._cache) == before


@pytest.mark.parametrize("name", ["klingon", "rot13", "zip", "idna", "unicode_escape", "", "é"])
def test_what_is_no_encoding_of_files_is_refused(name: str) -> None:
    with pytest.raises(ImportRefused) as refused:
        known_encoding(name)
    assert (refused.value.code, refused.value.field) == ("encoding", "encoding")


@pytest.mark.parametrize(
    ("octets", "code", "message"),
    [
        (b"PK\x03\x04\x14\x00\x06\x00[Content_Types].xml", "workbook", "Excel or Numbers"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(500), "workbook", "old kind"),
        (b"\x1f\x8b\x08\x00abc", "archive", "gzip"),
        (b"%PDF-1.7\n", "document", "PDF"),
        (b"\x89PNG\r\n\x1a\n", "picture", "picture"),
        (b"\xef\xbb\xbf\r\n<!DOCTYPE html><html>", "document", "web page"),
        (b"BEGIN:VCARD\r\nVERSION:3.0\r\n", "document", "vCard"),
        (bytes(range(256)) + bytes(100), "binary", "is not text"),
    ],
)
def test_what_holds_no_rows_is_refused_by_its_name(octets: bytes, code: str, message: str) -> None:
    with pytest.raises(ImportRefused, match=message) as refused:
        characters(octets)
    assert refused.value.code == code


def test_it_is_recognised_even_if_its_first_octets_come_one_by_one() -> None:
    with pytest.raises(ImportRefused, match="zip"):
        characters(b"P", b"K", b"\x03", b"\x04")


def test_a_single_null_is_for_its_row_to_answer_for() -> None:
    assert characters(b"phone,name\n+12025550123,A\0nna\n" * 3)[0].count("\0") == 3
