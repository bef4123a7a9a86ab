"""Objects to contacts. Rule: a field is known from when an object first has it, and stays.

Lists and objects within a contact are no values: they are left out, with a notice.
"""

from collections.abc import Iterator

from smsd.core.contacts import columns, number_cell, value
from smsd.core.contacts.batches import Batches, without_empty_end
from smsd.core.contacts.columns import MOST_FIELDS
from smsd.core.contacts.csv_rows import BadRow
from smsd.core.contacts.events import (
    LONGEST_SHOWN,
    Contact,
    Event,
    Fields,
    ImportRefused,
    Options,
    Reason,
    Reject,
)
from smsd.core.contacts.json_rows import Document, Found, of_lines
from smsd.core.contacts.lines import Lines
from smsd.core.contacts.number_cell import CellRefused

MOST_NAMES = 1000  # of members whose place is remembered
NUMBER, NOWHERE = -1, -2


def json_contacts(pieces: Iterator[str], options: Options, notices: list[str]) -> Iterator[Event]:
    """The contacts of NDJSON or of a JSON document. Raises `ImportRefused`."""
    reading = _Reading(options)
    if options.format == "json":
        yield from reading.events(iter(Document(pieces)))
    else:
        yield from reading.events(_not_a_document(of_lines(Lines(pieces))))
    notices += reading.notices()


def _not_a_document(rows: Iterator[Found | BadRow]) -> Iterator[Found | BadRow]:
    first = True
    for row in rows:
        source = row.source if isinstance(row, BadRow) else row[2]
        if first and (source[:1] == "[" or (isinstance(row, BadRow) and source[:1] == "{")):
            raise ImportRefused(
                "json_document", "has no object in each line; send it as application/json"
            )
        first = False
        yield row


class _Reading:
    """One file."""

    def __init__(self, options: Options) -> None:
        self._asked = columns.folded(options.column)
        self._region = options.region
        self._number = ""  # the member that holds the number, folded, once it is known
        self._names: list[str] = []
        self._places: dict[str, int] = {}
        self._shown = 0  # fields that were announced
        self._rows = self._several = self._left_out = self._nested = 0

    def events(self, rows: Iterator[Found | BadRow]) -> Iterator[Event]:
        """Fields, batches and rejects, in the order of the rows."""
        batches = Batches()
        first: object = None
        for row in rows:
            self._rows += 1
            if isinstance(row, BadRow):
                yield Reject(row.line, "", row.reason, row.source[:LONGEST_SHOWN], (row.source,))
                continue
            first = first or row[1]
            contact = self._read(row)
            if isinstance(contact, Reject):
                yield contact
                continue
            if len(self._names) > self._shown or not self._shown:
                yield from batches.take()
                yield Fields(tuple(self._names), ())
                self._shown = max(1, len(self._names))
            if batches.add(contact, len(row[2])):
                yield from batches.take()
        yield from batches.take()
        self._check(first)

    def notices(self) -> Iterator[str]:
        """What was done to rows without a notice for each."""
        if self._several:
            yield f"of several numbers in one the first is taken (contacts: {self._several})"
        if self._nested:
            yield f"lists and objects within contacts are left out ({self._nested})"
        if self._left_out:
            yield (
                f"only {MOST_FIELDS} fields, and such as have a name, are kept"
                f" (values left out: {self._left_out})"
            )

    def _check(self, first: object) -> None:
        if not self._rows:
            raise ImportRefused("empty", "has no contacts")
        if not self._number and isinstance(first, dict):
            code = "no_such_column" if self._asked else "no_number_column"
            raise ImportRefused(
                code,
                "has no member that holds numbers, as phone or mobile; name it with column=."
                f" The first contact has {columns.listed([str(name) for name in first])}",
                "column",
            )

    def _read(self, row: Found) -> Contact | Reject:
        line, found, source = row
        members = {self._number or "number": found} if isinstance(found, str) else found
        if not isinstance(members, dict):
            return Reject(line, "", Reason.NOT_JSON, source[:LONGEST_SHOWN], (source,))
        if not self._number:
            self._number = self._number_among(members)
        name = cell = raw = ""
        values: dict[int, str] = {}
        try:
            for name, content in members.items():
                cell = self._written(content)
                if (place := self._place(name)) == NUMBER:
                    raw = cell
                elif place != NOWHERE:
                    values[place] = value.clean(cell)
            name, cell = self._number, raw
            number, several = number_cell.read(raw, self._region)
        except CellRefused as refused:
            shown = _encodable(cell[:LONGEST_SHOWN])
            return Reject(line, _encodable(name), refused.reason, shown, (source,))
        self._several += several
        filled = (values.get(place, "") for place in range(len(self._names)))
        return without_empty_end((number, *filled))

    def _number_among(self, members: dict[str, object]) -> str:
        """The name of the member that holds the number; "" if none does."""
        names = {columns.folded(name) for name in members}
        if self._asked:
            return self._asked if self._asked in names else ""
        return min(names & columns.RANK.keys(), key=columns.RANK.__getitem__, default="")

    def _place(self, name: str) -> int:
        """Where a member's value goes."""
        place = self._places.get(name)
        if place is None:
            place = self._new_place(name)
            if len(self._places) < MOST_NAMES and self._number:
                self._places[name] = place
        self._left_out += place == NOWHERE
        return place

    def _new_place(self, name: str) -> int:
        if self._number and columns.folded(name) == self._number:
            return NUMBER
        field = columns.identifier(name)
        if field in self._names:
            return self._names.index(field)
        if not field or len(self._names) == MOST_FIELDS:
            return NOWHERE
        self._names.append(field)
        return len(self._names) - 1

    def _written(self, content: object) -> str:
        """A member's content as a cell of a CSV file would have it."""
        if isinstance(content, str):
            return content
        if isinstance(content, bool):
            return "true" if content else "false"
        self._nested += content is not None
        return ""


def _encodable(written: str) -> str:
    """Without halves of surrogate pairs, which JSON can name and nothing can write."""
    return written.encode("utf-8", "replace").decode()
