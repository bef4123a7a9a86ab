"""Frames: what one side writes the other reads."""

import pytest

from smsd.core.contacts.events import Fields, ImportRefused, Notice, Options, Reason, Reject
from smsd.importing import frames
from smsd.importing.frames import Contacts, Done, ParserFailedError, Rejects

REJECT = Reject(3, "Phone", Reason.NOT_A_NUMBER, "x\ny", ("x\ny", 'José "Q"'))


@pytest.mark.parametrize(
    "frame",
    [
        Fields(("first_name",), ("Phone", "First Name")),
        Fields((), ()),
        Notice("the file is UTF-8"),
        Rejects((REJECT, REJECT)),
        Done(3, 2, 1, 100, "ab"),
    ],
)
def test_a_frame_is_one_line_and_reads_as_it_was(
    frame: Fields | Notice | Rejects | Done,
) -> None:
    line = frames.encode(frame)
    assert b"\n" not in line
    assert frames.decode(line) == frame


def test_contacts_are_read_only_when_asked_for() -> None:
    contacts = [("+12025550123", "Zoë"), ("+12025550124",)]
    found = frames.decode(frames.encode_contacts(contacts))
    assert isinstance(found, Contacts)
    assert found.encoded == '[["+12025550123","Zoë"],["+12025550124"]]'.encode()
    assert found.rows == [["+12025550123", "Zoë"], ["+12025550124"]]
    assert isinstance(frames.decode(b'{"contacts":[[broken]]}'), Contacts)


def test_a_refusal_is_raised_on_the_other_side() -> None:
    line = frames.encode_refused(ImportRefused("workbook", "is a workbook", "encoding"))
    with pytest.raises(ImportRefused, match="is a workbook") as refused:
        frames.decode(line)
    assert (refused.value.code, refused.value.field) == ("workbook", "encoding")


@pytest.mark.parametrize("line", [frames.encode_failed("KeyError at x.py:1"), b"{}", b"[]", b"1"])
def test_a_failure_is_raised_on_the_other_side(line: bytes) -> None:
    with pytest.raises(ParserFailedError):
        frames.decode(line)


def test_options_go_the_other_way() -> None:
    options = Options("json", "tel", "US", "cp1252", ";")
    assert frames.decode_options(frames.encode_options(options)) == options
