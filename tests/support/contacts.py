"""Files of contacts, read in one go: what came of them, sorted by kind."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from smsd.core.contacts.events import (
    Batch,
    Contact,
    Event,
    Fields,
    Format,
    ImportRefused,
    Notice,
    Options,
    Reject,
)
from smsd.core.contacts.reader import read


@dataclass
class Found:
    """All events of a file."""

    contacts: list[Contact] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)
    fields: tuple[str, ...] = ()
    header: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[str]:
        return [contact[0] for contact in self.contacts]

    @property
    def reasons(self) -> list[tuple[int, str, str]]:
        return [(reject.line, reject.column, reject.reason.value) for reject in self.rejects]


def found_in(
    octets: bytes | Iterable[bytes],
    format: Format = "csv",  # noqa: A002 - as the option is called
    *,
    column: str = "",
    region: str = "",
    encoding: str = "",
    delimiter: str = "",
) -> Found:
    """What is in a file. Raises `ImportRefused`."""
    pieces = [octets] if isinstance(octets, bytes) else octets
    found = Found()
    for event in read(pieces, Options(format, column, region, encoding, delimiter)):
        match event:
            case Fields(names, header):
                found.fields, found.header = names, header
            case Batch(contacts):
                found.contacts += contacts
            case Reject():
                found.rejects.append(event)
            case Notice(text):
                found.notices.append(text)
    return found


def events_or_refusal(pieces: Iterable[bytes], options: Options) -> list[Event | tuple[str, str]]:
    """The events of a file, and at the end why it was refused, if it was."""
    events: list[Event | tuple[str, str]] = []
    try:
        events.extend(read(pieces, options))
    except ImportRefused as refused:
        events.append((refused.code, refused.message))
    return events
