"""What is known of an audience. Rule: its record is one JSON value, and is replaced as a whole.

The record names the version that readers see, first of all: that is all the scripts read of it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

import orjson

from smsd.redis.errors import Refused

MOST_IMPORTS = 20  # of one audience that are remembered
SEPARATOR = "\x1f"  # between the values of a contact, as in lua/_audience.lua


class Contact(NamedTuple):
    """A number in E.164, and its values by field; "" where it has none."""

    number: str
    fields: Mapping[str, str]


class Counts(NamedTuple):
    """What became of the rows of an import."""

    added: int = 0  # contacts that the audience had not
    updated: int = 0  # that it had with other values
    unchanged: int = 0
    duplicates: int = 0  # rows with a number that another row of the same import has


class Source(NamedTuple):
    """Where the rows of an import came from."""

    sha256: str  # of the octets, in hexadecimal
    options: str  # how they were read
    by: str  # whoever sent them
    rejected: Mapping[str, int] = {}  # rows, by reason


class Import(NamedTuple):
    """One import, as the record remembers it."""

    id: str
    at: int  # Unix ms
    replaced: bool  # the audience, or added to it
    source: Source
    counts: Counts
    revision: int  # of the version, after it


@dataclass(frozen=True, slots=True)
class Audience:
    """An audience, as it was when it was looked up."""

    name: str
    version: str
    fields: tuple[str, ...]
    created: int  # Unix ms
    updated: int  # when its contacts were imported last
    imports: tuple[Import, ...]  # the latest first
    contacts: int = 0
    revision: int = 0  # how often its contacts have changed since it was replaced

    def contact(self, number: str, packed: str) -> Contact:
        """A contact as the scripts return it."""
        values = packed.split(SEPARATOR) if packed else []
        values += [""] * (len(self.fields) - len(values))
        return Contact(f"+{number}", dict(zip(self.fields, values, strict=False)))


def pack(audience: Audience) -> bytes:
    """The record of an audience. It begins as `version_in` of lua/_audience.lua expects."""
    return orjson.dumps(_record(audience))


def pack_around_counts(audience: Audience) -> tuple[str, str]:
    """The record in two halves; the script puts the latest import's counts between them."""
    record = _record(audience)
    latest = cast("list[dict[str, object]]", record["imports"])[0]
    latest["counts"] = None
    before, after = orjson.dumps(record).decode().split('"counts":null', 1)
    return f'{before}"counts":', after


def _record(audience: Audience) -> dict[str, object]:
    return {
        "version": audience.version,
        "fields": audience.fields,
        "created": audience.created,
        "updated": audience.updated,
        "imports": [_packed(one) for one in audience.imports[:MOST_IMPORTS]],
    }


def _packed(one: Import) -> dict[str, object]:
    return {
        "id": one.id,
        "counts": [one.counts.added, one.counts.updated, one.counts.unchanged, one.revision],
        "duplicates": one.counts.duplicates,
        "at": one.at,
        "replaced": one.replaced,
        "sha256": one.source.sha256,
        "options": one.source.options,
        "by": one.source.by,
        "rejected": one.source.rejected,
    }


def unpack(name: str, raw: bytes, key: str) -> Audience:
    """The audience that a record describes. Raises `Refused` if it is none; `key` holds it."""
    try:
        record = orjson.loads(raw)
        return Audience(
            name=name,
            version=record["version"],
            fields=tuple(record["fields"]),
            created=record["created"],
            updated=record["updated"],
            imports=tuple(map(_unpacked, record["imports"])),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise Refused(f"holds no record of the audience {name}", key) from error


def version_in(raw: bytes) -> str:
    """The version that a record names, as the scripts read it; "" for none."""
    found = re.match(rb'{"version":"([0-9A-Za-z-]+)"', raw)
    return found[1].decode() if found else ""


def _unpacked(one: Mapping[str, object]) -> Import:
    added, updated, unchanged, revision = cast("Sequence[int]", one["counts"])
    source = Source(
        sha256=cast("str", one["sha256"]),
        options=cast("str", one["options"]),
        by=cast("str", one["by"]),
        rejected=cast("Mapping[str, int]", one["rejected"]),
    )
    return Import(
        id=cast("str", one["id"]),
        at=cast("int", one["at"]),
        replaced=cast("bool", one["replaced"]),
        source=source,
        counts=Counts(added, updated, unchanged, cast("int", one["duplicates"])),
        revision=revision,
    )
