"""A file of contacts to events. Rule: whatever the octets are, memory is bounded and rows counted.

The same octets give the same events, in whatever pieces they come. Notices come at the end.
"""

from collections.abc import Iterable, Iterator

from smsd.core import number
from smsd.core.contacts.csv_contacts import csv_contacts
from smsd.core.contacts.csv_rows import check_delimiter
from smsd.core.contacts.decode import decoded, known_encoding
from smsd.core.contacts.events import Event, ImportRefused, Notice, Options
from smsd.core.contacts.json_contacts import json_contacts


def check(options: Options) -> None:
    """Raise `ImportRefused` for an option that cannot be followed, before any octet is read."""
    if options.region and not number.is_region(options.region):
        raise ImportRefused(
            "region", "must be a country by its two-character code, like US", "region"
        )
    if options.encoding:
        known_encoding(options.encoding)
    if options.delimiter:
        check_delimiter(options.delimiter)


def read(pieces: Iterable[bytes], options: Options) -> Iterator[Event]:
    """What is in a file. Raises `ImportRefused` if it cannot be read as a whole."""
    check(options)
    notices: list[str] = []
    characters = decoded(pieces, options.encoding, notices)
    if options.format == "csv":
        yield from csv_contacts(characters, options, notices)
    else:
        yield from json_contacts(characters, options, notices)
    yield from map(Notice, notices)
