"""JSON to objects, one at a time. Rule: an element is held, never the document.

`[…]` and `{"contacts": […]}` are one document: where it cannot be read, nothing after it can be,
and the import is refused. NDJSON has an object a line: a bad line is a bad row. Digits stay as they
are written.
"""

import json
import re
from collections.abc import Iterator

from smsd.core.contacts.csv_rows import LONGEST_KEPT, BadRow
from smsd.core.contacts.events import ImportRefused, Reason
from smsd.core.contacts.lines import LONGEST_ROW, Lines, RowTooLong

Found = tuple[int, object, str]  # physical line, value, source

PIECE = 16_384  # characters that are gathered before the value that was not whole is tried again
_BLANK = re.compile(r"[ \t\r\n]*")


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(parse_float=str, parse_int=str, parse_constant=_no_constant)


def of_lines(lines: Lines) -> Iterator[Found | BadRow]:
    """NDJSON: a value a line; blank lines are skipped."""
    while True:
        lines.begin()
        try:
            source = next(lines).strip(" \t\r\n")
        except StopIteration:
            return
        except RowTooLong:
            yield BadRow(lines.number, Reason.ROW_TOO_LONG, lines.row[0][:LONGEST_KEPT])
            continue
        if not source:
            continue
        try:
            yield lines.number, _DECODER.decode(source), source
        except (ValueError, RecursionError):
            yield BadRow(lines.number, Reason.NOT_JSON, source[:LONGEST_KEPT])


class Document:
    """The contacts of a JSON document that comes in pieces."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self._pieces = pieces
        self._text = ""
        self._at = 0
        self._line = 1  # of `_at`
        self._ended = False

    def __iter__(self) -> Iterator[Found]:
        """Each element with its line. Raises `ImportRefused`."""
        if self._next() == "[":
            yield from self._elements()
        elif self._next() == "{":
            yield from self._members()
        else:
            raise self._broken('must be a list of contacts, or {"contacts": […]}')
        if self._next():
            raise self._broken("goes on after its end")

    def _elements(self) -> Iterator[Found]:
        self._skip("[")
        if self._next() == "]":
            self._skip("]")
            return
        while True:
            self._next()
            line = self._line
            value, source = self._value()
            yield line, value, source
            if self._next() == "]":
                self._skip("]")
                return
            self._skip(",")

    def _members(self) -> Iterator[Found]:
        self._skip("{")
        found = False
        while self._next() != "}":
            name, _ = self._value()
            self._skip(":")
            if name == "contacts" and not found and self._next() == "[":
                found = True
                yield from self._elements()
            else:
                self._value()
            if self._next() != "}":
                self._skip(",")
        self._skip("}")
        if not found:
            raise self._broken('has no list "contacts"')

    def _next(self) -> str:
        """The character that comes next, blanks aside; "" at the end."""
        while True:
            blank = _BLANK.match(self._text, self._at)
            end = blank.end() if blank else self._at
            self._move(end)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _skip(self, expected: str) -> None:
        if self._next() != expected:
            raise self._broken(f"should have {expected!r} here")
        self._move(self._at + 1)

    def _value(self) -> tuple[object, str]:
        """The next value, as soon as all of it is there."""
        self._next()
        while True:
            try:
                value, end = _DECODER.raw_decode(self._text, self._at)
            except (ValueError, RecursionError):
                end = -1
                value = None
            # `12` may be the beginning of `123`.
            if 0 <= end < len(self._text) or (end >= 0 and self._ended):
                break
            if len(self._text) - self._at > LONGEST_ROW or not self._more():
                end = LONGEST_ROW + self._at + 1
                break
        if end - self._at > LONGEST_ROW:
            raise self._broken("is no JSON, or holds a value that is too long")
        source = self._text[self._at : min(end, self._at + LONGEST_KEPT)]
        self._move(end)
        return value, source

    def _move(self, to: int) -> None:
        self._line += self._text.count("\n", self._at, to)
        self._at = to

    def _more(self) -> bool:
        if self._ended:
            return False
        gathered = [self._text[self._at :]]
        length = 0
        for piece in self._pieces:
            gathered.append(piece)
            length += len(piece)
            if length >= PIECE:
                break
        else:
            self._ended = True  # a value at the end may be whole now
        self._text = "".join(gathered)
        self._at = 0
        return True

    def _broken(self, message: str) -> ImportRefused:
        return ImportRefused("not_json", f"{message} (line {self._line})")
