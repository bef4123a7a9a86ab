"""Rows of cells to contacts. Rule: the short way and the long way give the same contact.

Nearly all rows of nearly all files have a canonical number and plain values: they take the short
way. Whatever is odd about a row is found out on the long way.
"""

from collections.abc import Iterator
from itertools import chain

from smsd.core.contacts import columns, number_cell, value
from smsd.core.contacts.batches import Batches, without_empty_end
from smsd.core.contacts.columns import EXPORT_COLUMN, MOST_COLUMNS, Columns
from smsd.core.contacts.csv_rows import DELIMITERS, BadRow, CsvRows, Row, check_delimiter
from smsd.core.contacts.events import (
    LONGEST_SHOWN,
    MEANINGS,
    Contact,
    Event,
    Fields,
    ImportRefused,
    Options,
    Reason,
    Reject,
)
from smsd.core.contacts.lines import Lines
from smsd.core.contacts.number_cell import CellRefused
from smsd.core.contacts.value import is_plain
from smsd.core.number import is_canonical

BLANK = " \t\u00a0" + DELIMITERS  # of a file of nothing but those, none is known to delimit
LONGEST_HEADER = 8192  # characters of all names


def csv_contacts(pieces: Iterator[str], options: Options, notices: list[str]) -> Iterator[Event]:
    """The contacts of a CSV file. Raises `ImportRefused`."""
    delimiter = check_delimiter(options.delimiter) if options.delimiter else ""

    def is_likely(cells: list[str]) -> bool:
        return columns.is_header(cells, options.column) or bool(_numbers(cells, options.region))

    rows = CsvRows(Lines(pieces), delimiter, is_likely)
    found = iter(rows)
    first = _first(found)
    layout, begins = _columns(first, rows.peek(), options, notices)
    reading = _Reading(rows, layout, options.region)
    row = first if begins else next(found, None)
    if row is None:
        raise ImportRefused("empty", "has a header, and no rows")
    yield Fields(layout.names, layout.header)
    yield from reading.events(chain((row,), found))
    notices += reading.notices()


def _first(rows: Iterator[Row | BadRow]) -> Row:
    """The first row that is not blank."""
    for row in rows:
        if isinstance(row, BadRow):
            raise ImportRefused(
                "no_header", f"cannot be read: line {row.line} {MEANINGS[row.reason]}"
            )
        if any(cell.strip(BLANK) for cell in row[1]):
            return row
    raise ImportRefused("empty", "has no rows")


def _columns(
    first: Row, second: list[str], options: Options, notices: list[str]
) -> tuple[Columns, bool]:
    """The columns, and whether the first row is a contact already."""
    _, cells = first
    if cells[0].lstrip()[:1] in ("{", "["):
        raise ImportRefused("json", "is JSON; send it as application/json or application/x-ndjson")
    if len(cells) > MOST_COLUMNS:
        raise ImportRefused("too_many_columns", f"has more than {MOST_COLUMNS} columns")
    if sum(map(len, cells)) > LONGEST_HEADER:
        raise ImportRefused("no_header", "does not begin with the names of its columns")
    numbers = _numbers(cells, options.region)
    if not numbers or (columns.is_header(cells, options.column) and not numbers[0][0]):
        asked = options.column
        if not asked and cells[0] == EXPORT_COLUMN and _numbers(second[:1], "") == [(True, 0)]:
            asked = EXPORT_COLUMN  # of our export, which may have a field that is called phone
        return columns.of_header(cells, asked, notices), False
    layout = columns.without_header(len(cells), numbers[0][1], options.column)
    notices.append("the file begins without the names of its columns; they are called column_1 …")
    return layout, True


def _numbers(cells: list[str], region: str) -> list[tuple[bool, int]]:
    """Whether it can be read, and the place, of what is meant as a number; readable ones first."""
    found = []
    for place, cell in enumerate(cells):
        try:
            number_cell.read(cell, region)
        except CellRefused as refused:
            if refused.reason in number_cell.MEANT:
                found.append((False, place))
        else:
            found.append((True, place))
    return sorted(found, key=lambda one: not one[0])


class _Reading:
    """One file, behind its header."""

    def __init__(self, rows: CsvRows, layout: Columns, region: str) -> None:
        self._rows = rows
        self._header = layout.header
        self._region = region
        self._number = layout.number
        self._places = (layout.number, *(place for place, _ in layout.fields))
        self._unnamed = layout.unnamed
        self._short = self._several = self._left_out = 0
        rows.watch(self._is_contact)

    def events(self, rows: Iterator[Row | BadRow]) -> Iterator[Event]:
        """Batches and rejects, in the order of the rows."""
        batches = Batches()
        for row in rows:
            if isinstance(row, BadRow):
                yield Reject(row.line, "", row.reason, row.source[:LONGEST_SHOWN], (row.source,))
                continue
            contact = self._plain(row[1]) or self._read(row)
            if isinstance(contact, Reject):
                yield contact
            elif contact is not None and batches.add(contact, self._rows.size):
                yield from batches.take()
        yield from batches.take()

    def notices(self) -> Iterator[str]:
        """What was done to rows without a notice for each."""
        if self._several:
            yield f"of several numbers in a cell the first is taken (rows: {self._several})"
        if self._short:
            yield f"what rows that end early lack is taken as empty (rows: {self._short})"
        if self._left_out:
            yield f"values in columns without a name are left out (rows: {self._left_out})"

    def _plain(self, cells: list[str]) -> Contact | None:
        """The contact, if nothing about the row is odd."""
        if len(cells) != len(self._header) or self._unnamed:
            return None
        if not is_canonical(cells[self._number]):
            return None
        contact = tuple([cells[place] for place in self._places])
        for cell in contact[1:]:
            if not is_plain(cell):
                return None
        return contact if contact[-1] else without_empty_end(contact)

    def _read(self, row: Row) -> Contact | Reject | None:
        """The contact, whatever the row is like; None if it is blank."""
        line, cells = row
        if not any(map(str.strip, cells)):
            return None
        source = tuple(cells[:MOST_COLUMNS])
        if reason := self._misshapen(cells):
            return Reject(line, "", reason, "", source)
        padded = cells + [""] * (len(self._header) - len(cells))
        place = self._number
        try:
            found, several = number_cell.read(padded[place], self._region)
            values = []
            for place in self._places[1:]:
                values.append(value.clean(padded[place]))
        except CellRefused as refused:
            shown = padded[place][:LONGEST_SHOWN]
            return Reject(line, self._header[place], refused.reason, shown, source)
        self._several += several
        self._short += len(cells) <= max(self._places)
        self._left_out += any(padded[place].strip() for place in self._unnamed)
        return without_empty_end((found, *values))

    def _misshapen(self, cells: list[str]) -> Reason | None:
        if any(map(str.strip, cells[len(self._header) :])):
            return Reason.TOO_MANY_COLUMNS
        if len(cells) <= max(self._places) and self._rows.ends_without_break():
            return Reason.CUT_SHORT
        return None

    def _is_contact(self, cells: list[str]) -> bool:
        """Whether a line that stands within quotation marks is a row of its own."""
        return 1 < len(cells) == len(self._header) and number_cell.is_number(
            cells[self._number], self._region
        )
