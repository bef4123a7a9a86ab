"""Lines to rows of cells. Rule: a quotation mark that is never closed costs one row, not the rest.

`csv.reader` would read on for its end to the end of the file. Here a row that becomes too long, or
is not finished when the file ends, is rejected, and reading goes on with its second line.
"""

import csv
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from smsd.core.contacts.events import ImportRefused, Reason
from smsd.core.contacts.lines import LONGEST_ROW, Lines, RowTooLong

DELIMITERS = ",;\t|"
NONE = "\x1f"  # stands for no delimiter at all: the file has one column
SAMPLE_ROWS = 50  # behind the header
SAMPLE_LINES = 200
AGREEING = 0.5  # of the rows of the sample have as many cells as the header
LONGEST_CELL = 4096  # characters
LONGEST_KEPT = 1000  # characters of a row that is too long, for its reject


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that cannot be split into cells."""

    line: int
    reason: Reason
    source: str  # its beginning


IsLikely = Callable[[list[str]], bool]
Row = tuple[int, list[str]]  # the physical line that it starts on, and its cells


class CsvRows:
    """An iterator over the rows of a file."""

    def __init__(
        self, lines: Lines, delimiter: str = "", is_likely: IsLikely = lambda _cells: False
    ) -> None:
        """Find out the delimiter, unless it is given. Raises `ImportRefused`.

        `is_likely` recognises a first row that has a column of numbers.
        """
        declared = _declared(lines)
        self.delimiter = delimiter or declared or _found(lines, is_likely)
        self.size = 0  # characters of the row that was yielded last
        self._lines = lines
        self._is_contact: IsLikely = lambda _cells: False

    def watch(self, is_contact: IsLikely) -> None:
        """A row whose other lines are contacts by themselves lacks the end of a quotation."""
        self._is_contact = is_contact

    def peek(self) -> list[str]:
        """The cells of the next line, which stays the next."""
        with suppress(csv.Error):
            return next(csv.reader(self._lines.peek(1), delimiter=self.delimiter), [])
        return []

    def __iter__(self) -> Iterator[Row | BadRow]:
        lines = self._lines
        reader = csv.reader(lines, delimiter=self.delimiter)
        while True:
            lines.begin()
            line = lines.number + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except (RowTooLong, csv.Error):
                yield self._too_long(line)
                continue
            self.size = lines.length
            if lines.ended_in_row or (len(lines.row) > 1 and self._has_swallowed()):
                yield self._unclosed(line)
            elif lines.length > LONGEST_CELL and max(map(len, cells), default=0) > LONGEST_CELL:
                yield BadRow(line, Reason.ROW_TOO_LONG, self._source())
            else:
                yield line, cells

    def ends_without_break(self) -> bool:
        """Whether nothing ends the line that was read last, so that it may be cut off."""
        return not self._lines.row[-1].endswith(("\r", "\n"))

    def _has_swallowed(self) -> bool:
        for line in self._lines.row[1:]:
            for cells in csv.reader([line], delimiter=self.delimiter):
                if self._is_contact(cells):
                    return True
        return False

    def _too_long(self, line: int) -> BadRow:
        if len(self._lines.row) > 1:
            return self._unclosed(line)
        return BadRow(line, Reason.ROW_TOO_LONG, self._source())

    def _unclosed(self, line: int) -> BadRow:
        source = self._source()
        self._lines.reread()
        return BadRow(line, Reason.UNCLOSED_QUOTE, source)

    def _source(self) -> str:
        return self._lines.row[0].rstrip("\r\n")[:LONGEST_KEPT]


def check_delimiter(delimiter: str) -> str:
    """What was asked for. Raises `ImportRefused`."""
    delimiter = {"tab": "\t", "\\t": "\t"}.get(delimiter, delimiter)
    if len(delimiter) != 1 or delimiter in '\r\n"\0' or delimiter.isalnum() or delimiter == "+":
        raise ImportRefused(
            "delimiter",
            "must be one character, or tab; neither alphabetic nor a digit",
            "delimiter",
        )
    return delimiter


def _declared(lines: Lines) -> str:
    """The delimiter that a first line `sep=;` declares, as Excel writes and reads it."""
    for line in lines.peek(1):
        declared = line.rstrip("\r\n").strip('"')
        if declared[:4].lower() == "sep=" and len(declared) == 5:  # noqa: PLR2004
            next(lines)
            return check_delimiter(declared[4])
    return ""


def _found(lines: Lines, is_likely: IsLikely) -> str:
    """Whichever splits the header into the most cells that the rows after it have, too.

    One that finds a column of numbers there is better than one that finds none.
    """
    sample = lines.peek(SAMPLE_LINES)
    best, most = NONE, (False, 1.0)
    for delimiter in DELIMITERS:
        rows = _sampled(sample, delimiter)
        width = len(rows[0]) if rows else 0
        agreeing = sum(len(row) == width for row in rows) / max(1, len(rows))
        likely = width > 1 and is_likely(rows[0])
        if likely or (width > 1 and agreeing > AGREEING):
            score = (likely, width * agreeing)
            best, most = (delimiter, score) if score > most else (best, most)
    return best


def _sampled(lines: list[str], delimiter: str) -> list[list[str]]:
    """The header and the rows after it, of those that are not empty."""
    reader = csv.reader((line[:LONGEST_ROW] for line in lines), delimiter=delimiter)
    with suppress(csv.Error):  # a quotation that is longer than the whole sample may be
        return list(islice((row for row in reader if any(row)), SAMPLE_ROWS + 1))
    return []
