"""Whatever octets come, in whatever pieces: the same events, one error, bounded memory."""

import csv
import io
import tracemalloc
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import chain
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smsd.core import number
from smsd.core.contacts import (
    batches,
    csv_contacts,
    csv_rows,
    decode,
    json_rows,
    lines,
    number_cell,
    value,
)
from smsd.core.contacts.columns import of_header
from smsd.core.contacts.events import Batch, Format, ImportRefused, Options, Reject
from smsd.core.contacts.number_cell import CellRefused
from smsd.core.contacts.reader import read
from smsd.web.csv_stream import for_excel
from tests.support.contacts import events_or_refusal

FORMATS: list[Format] = ["csv", "ndjson", "json"]

# What files are made of, and what breaks them.
PARTS = st.sampled_from(
    [
        *(
            "phone,name\n",
            "+12025550123",
            "2025550123",
            "Anna",
            "José",
            "1.2E+10",
            "\u00a0",
            "x" * 30,
        ),
        *(
            ",",
            ";",
            "\t",
            "|",
            '"',
            '""',
            "\n",
            "\r",
            "\r\n",
            " ",
            "'",
            "=",
            "sep=;\n",
            "\0",
            "\ufeff",
        ),
        *(
            "{",
            "}",
            "[",
            "]",
            ":",
            '{"phone": "+12025550123"}',
            '"contacts": [',
            "\\",
            "null",
            "12",
        ),
    ]
)
CHARACTERS = st.lists(PARTS, max_size=60).map("".join)
OCTETS = st.one_of(
    st.builds(
        lambda characters, encoding: characters.encode(encoding, "replace"),
        CHARACTERS,
        st.sampled_from(["utf-8", "utf-8-sig", "cp1252", "utf-16", "utf-16-le", "utf-16-be"]),
    ),
    st.builds(bytes.__add__, CHARACTERS.map(str.encode), st.binary(max_size=20)),
    st.binary(max_size=300),
)
OPTIONS = st.builds(
    Options,
    st.sampled_from(FORMATS),
    region=st.sampled_from(["", "US", "DE"]),
    encoding=st.sampled_from(["", "", "utf-8", "cp1252", "utf-16"]),
)


def small_bounds() -> ExitStack:
    """Every bound so low that short input reaches it."""
    stack = ExitStack()
    for module, name, bound in (
        (lines, "LONGEST_ROW", 80),
        (lines, "REREAD", 200),
        (csv_rows, "LONGEST_ROW", 80),
        (csv_rows, "LONGEST_CELL", 40),
        (csv_rows, "LONGEST_KEPT", 60),
        (json_rows, "LONGEST_ROW", 80),
        (json_rows, "LONGEST_KEPT", 60),
        (json_rows, "PIECE", 7),
        (decode, "SNIFFED", 64),
        (batches, "MOST_IN_BATCH", 20),
        (batches, "LARGEST_BATCH", 400),
    ):
        stack.enter_context(patch.object(module, name, bound))
    return stack


def cut(octets: bytes, places: list[int]) -> Iterator[bytes]:
    start = 0
    for place in sorted(place % (len(octets) + 1) for place in places):
        yield octets[start:place]
        start = place
    yield octets[start:]


@given(OCTETS, OPTIONS, st.lists(st.integers(0, 5000), max_size=12), st.booleans())
@example(b'a,"x\n' * 40, Options(), [3], True)
@example(b'x,"y","\n' * 60, Options(), [3, 99], True)
def test_the_pieces_change_nothing(
    octets: bytes, options: Options, places: list[int], small: bool
) -> None:
    with small_bounds() if small else ExitStack():
        whole = events_or_refusal([octets], options)
        assert events_or_refusal(cut(octets, places), options) == whole
        assert events_or_refusal((octets[i : i + 1] for i in range(len(octets))), options) == whole


@given(st.lists(st.lists(CHARACTERS.filter(lambda c: "\0" not in c), min_size=2, max_size=4)))
def test_every_row_is_a_contact_or_a_reject(rows: list[list[str]]) -> None:
    written = io.StringIO()
    csv.writer(written).writerows([["phone", "name"], *rows])
    not_blank = sum(any(map(str.strip, row)) for row in rows)
    counted = 0
    try:
        for event in read([written.getvalue().encode()], Options()):
            counted += (
                len(event.contacts) if isinstance(event, Batch) else isinstance(event, Reject)
            )
    except ImportRefused:
        assert not rows
    # A cell with line breaks may look like rows of its own, and is then read as those.
    has_breaks = any(set(cell) & set("\r\n") for row in rows for cell in row)
    assert counted == not_blank or (counted > not_blank and has_breaks)


CELL = st.one_of(
    st.sampled_from(["", "Anna", "José", " x", "x ", "'=x", "a\nb", "x" * 255, "x" * 256, "\x7f"]),
    st.text(max_size=6),
    st.from_regex(r"\A[ -~]{0,8}\Z"),
)
NUMBER = st.one_of(
    st.sampled_from(
        ["+12025550123", "+447911123456", "+541115123456789", "", "x", "+1 2025550123"]
    ),
    st.from_regex(r"\A\+[0-9]{5,15}\Z"),
)


@given(NUMBER, st.lists(CELL, min_size=3, max_size=3))
def test_the_short_way_gives_what_the_long_way_gives(phone: str, cells: list[str]) -> None:
    layout = of_header(["phone", "a", "b", "c"], "", [])
    rows = csv_rows.CsvRows(lines.Lines(iter(["x\n"])))
    reading = csv_contacts._Reading(rows, layout, "")
    row = [phone, *cells]
    plain = reading._plain(row)
    assert plain is None or plain == reading._read((1, row))


@given(st.one_of(CELL, CHARACTERS, st.text(), st.text("='\"+x ", max_size=9)))
def test_a_clean_value_can_be_sent_and_stays(cell: str) -> None:
    try:
        clean = value.clean(cell)
    except CellRefused:
        return
    assert value.clean(clean) == value.clean(for_excel(clean)) == clean
    assert len(clean) <= value.LONGEST
    assert not set(clean) & {chr(code) for code in (*range(32), *range(127, 160), 0xFFFD)}
    clean.encode()


@given(
    st.one_of(NUMBER, CELL, CHARACTERS, st.text()), st.sampled_from(["", "US", "DE", "IT", "AR"])
)
def test_a_cell_gives_a_number_or_a_reason(cell: str, region: str) -> None:
    try:
        found, _ = number_cell.read(cell, region)
    except CellRefused:
        return
    assert number.parse(found) == found


HEAD = b"phone,name\n+12025550123,Anna\n"
ENDLESS: dict[str, tuple[Format, bytes, bytes]] = {
    "a quotation": ("csv", HEAD + b'+12025550124,"', b"x"),
    "a quotation of lines": ("csv", HEAD + b'+12025550124,"', b"xyz\n"),
    "a quotation of escaped quotes": ("csv", HEAD + b'+12025550124,"', b'""'),
    "quotations of the shortest lines": ("csv", HEAD, b'x,"y","\n'),
    "columns": ("csv", HEAD, b"x,"),
    "columns of a header": ("csv", b"phone,", b"x,"),
    "a line": ("csv", b"", b"x"),
    "blank lines": ("csv", b"", b"\n"),
    "blank rows": ("csv", HEAD, b",\n"),
    "NULs": ("csv", HEAD, b"\0"),
    "bad rows": ("csv", HEAD, b"x,\xff\n"),
    "the longest rows": ("csv", HEAD, b"+12025550123," + b"x" * 4000 + b"\n"),
    "a line of NDJSON": ("ndjson", b"", b'{"phone": '),
    "members": ("ndjson", b'{"phone": "1"', b', "x": 1'),
    "new fields": ("ndjson", b"", b'{"phone": "+12025550123", "x": "1"}\n'),
    "a string of JSON": ("json", b'["', b"x"),
    "lists of JSON": ("json", b"", b"["),
    "blanks of JSON": ("json", b"[", b" "),
    "elements of JSON": ("json", b'["+12025550123"', b',"+12025550123"'),
}


PIECE = 2048


@pytest.mark.parametrize("what", ENDLESS)
def test_nothing_endless_is_held(what: str) -> None:
    kind, head, part = ENDLESS[what]
    piece = part * (PIECE // len(part) + 1)
    with small_bounds():
        tracemalloc.start()
        try:
            most_memory(head, [piece] * 8, Options(kind))  # fills caches
            short = most_memory(head, [piece] * 8, Options(kind))
            long = most_memory(head, [piece] * 24, Options(kind))
        finally:
            tracemalloc.stop()
    assert long - short < 5 * PIECE


def most_memory(head: bytes, pieces: list[bytes], options: Options) -> int:
    tracemalloc.reset_peak()
    before = tracemalloc.get_traced_memory()[0]
    with suppress(ImportRefused):
        for _ in read(chain([head], pieces), options):
            pass
    return tracemalloc.get_traced_memory()[1] - before
