"""What passes between the daemon and its parser: one JSON object a line. Rule: typed on both sides.

{"contacts": [["+12025550123", "Anna"], …]}   {"fields": […], "header": […]}   {"notice": "…"}
{"rejects": [{"line", "column", "reason", "value", "row"}, …]}
and last {"done": {…}} or {"refused": {"code", "message", "field"}} or {"failed": "…"}
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property

import orjson

from smsd.core.contacts.events import (
    Contact,
    Fields,
    ImportRefused,
    Notice,
    Options,
    Reason,
    Reject,
)

LONGEST_FRAME = 1_048_576  # octets; twice 64 K characters, each written as \\u0000, stay below
_CONTACTS = b'{"contacts":'


class Contacts:
    """At most 500 contacts, read no sooner than somebody asks for them."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    @property
    def encoded(self) -> bytes:
        """The contacts as JSON, `[[number, value, …], …]`, for a script to read."""
        return self._raw[len(_CONTACTS) : -1]

    @cached_property
    def rows(self) -> list[list[str]]:
        """Each the number, then its values in the order of the fields; empty ones at the end are
        left off.
        """
        rows: list[list[str]] = orjson.loads(self.encoded)
        return rows


@dataclass(frozen=True, slots=True)
class Rejects:
    """Rows that are left out."""

    rows: tuple[Reject, ...]


@dataclass(frozen=True, slots=True)
class Done:
    """The end of a file that was read whole."""

    rows: int  # contacts and rejects
    contacts: int
    rejected: int
    octets: int
    sha256: str  # of the octets


Frame = Fields | Contacts | Rejects | Notice | Done


class ParserFailedError(Exception):
    """The parser ended without an answer: a bug, or it was killed."""


def encode_contacts(contacts: Sequence[Contact]) -> bytes:
    """A batch, as a line without its end."""
    return orjson.dumps({"contacts": contacts})


def encode(frame: Fields | Rejects | Notice | Done) -> bytes:
    """Any other frame, as a line without its end."""
    match frame:
        case Fields(names, header):
            return orjson.dumps({"fields": names, "header": header})
        case Rejects(rows):
            return orjson.dumps({"rejects": [asdict(row) for row in rows]})
        case Notice(text):
            return orjson.dumps({"notice": text})
        case Done():
            return orjson.dumps({"done": asdict(frame)})


def encode_refused(refused: ImportRefused) -> bytes:
    """A file that cannot be read, as a line without its end."""
    return orjson.dumps(
        {"refused": {"code": refused.code, "message": refused.message, "field": refused.field}}
    )


def encode_failed(reason: str) -> bytes:
    """A bug, as a line without its end."""
    return orjson.dumps({"failed": reason})


def decode(line: bytes) -> Frame:
    """What a line of the parser holds. Raises `ImportRefused`, `ParserFailedError`."""
    if line.startswith(_CONTACTS):
        return Contacts(line)
    found = orjson.loads(line)
    match found:
        case {"rejects": rows}:
            return Rejects(tuple(_reject(row) for row in rows))
        case {"fields": names, "header": header}:
            return Fields(tuple(names), tuple(header))
        case {"notice": text}:
            return Notice(text)
        case {"done": done}:
            return Done(**done)
        case {"refused": refused}:
            raise ImportRefused(**refused)
        case {"failed": reason}:
            raise ParserFailedError(reason)
        case _:
            raise ParserFailedError("it wrote what is no frame")


def _reject(row: dict[str, object]) -> Reject:
    return Reject(
        line=int(str(row["line"])),
        column=str(row["column"]),
        reason=Reason(str(row["reason"])),
        value=str(row["value"]),
        row=tuple(row["row"]) if isinstance(row["row"], list) else (),
    )


def encode_options(options: Options) -> bytes:
    """The first line that the parser reads, without its end."""
    return orjson.dumps(asdict(options))


def decode_options(line: bytes) -> Options:
    """The same, on the other side."""
    return Options(**orjson.loads(line))
