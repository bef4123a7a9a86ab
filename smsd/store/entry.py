"""Entries of the streams, and attempts to send one. Rule: an entry's id is not its message's."""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from smsd.core.campaign import split_id
from smsd.core.fields import MESSAGE_ID, Priority

Stream = Literal["h", "n"]  # the stream an entry is in: high priority or normal
STREAMS: tuple[Stream, ...] = ("h", "n")
LARGEST_ENTRY = 65_536  # octets; a larger entry is not read
LAST_ID = "18446744073709551615-18446744073709551615"  # no range can begin behind it
FIRST_SPENT = "18446744073709551615-10000000000000000000"  # from here on they leave no room
MOST_FIELDS = 500  # the same; each is two of the values that lua/_fields.lua counts
_NAME = re.compile(r"[hn]([0-9]{1,20})-([0-9]{1,20})")
_ID = re.compile(MESSAGE_ID.encode())
# As in lua/fsck_marks.lua, and such that an attempt writes again what it was read from: a record is
# compared as a whole. Those of earlier versions name no gateway.
_MARK = re.compile(
    rb"([1-9][0-9]{0,9}) (0|[1-9][0-9]{0,12}) ([ -~]+?)(?: gateway=([0-9a-f]{1,64}))?"
)


def stream_of(name: str) -> Stream:
    """The stream of an entry; the normal one for a name that smsd did not write."""
    return "h" if name.startswith("h") else "n"


def is_entry(name: str) -> bool:
    """Whether this is an entry's name; Redis answers an id of another form with an error."""
    found = _NAME.fullmatch(name)
    return found is not None and all(int(part) < 1 << 64 for part in found.groups())


def first_entry(message_id: str) -> str:
    """The name of a message's first entry, where the message has its id from that entry."""
    return message_id if message_id.startswith("h") else f"n{message_id}"


def campaign_of(message_id: str) -> dict[str, object]:
    """What a script is given of the campaign that a message is of: nothing for most."""
    parts = split_id(message_id) if message_id[0] == "c" else None
    return {"campaign": parts[0]} if parts else {}


class Entry(NamedTuple):
    """A claimed entry of a stream. Its id is not the message's."""

    name: str  # stream and entry id: unique over both streams
    fields: Sequence[bytes] | None  # None: too large or too many to read
    octets: int
    ours: bool = False  # promote or replay added it, so its `id` and `attempts` are true

    @property
    def stream(self) -> Stream:
        """The stream it is in."""
        return "h" if self.name[:1] == "h" else "n"

    @property
    def default_priority(self) -> Priority:
        """The priority of its message, if no field gives one: a producer chose the stream.

        (Where one is given, it is true: smsd puts retries of any priority into the high stream.)
        """
        return "high" if self.stream == "h" else "normal"

    @property
    def first_message_id(self) -> str:
        """The id of its message, if no earlier entry held it."""
        return self.name if self.name[0] == "h" else self.name[1:]

    @property
    def given_id(self) -> str:
        """What stands in its field `id`, true or not; "" where nothing that can be an id does."""
        if self.fields is None or b"id" not in self.fields:
            return ""
        given = dict(zip(self.fields[::2], self.fields[1::2], strict=True)).get(b"id", b"")
        return given.decode() if _ID.fullmatch(given) else ""

    @property
    def message_id(self) -> str:
        """The id of its message, whether its other fields can be read or not."""
        if self.ours and (given := self.given_id):
            return given
        return self.first_message_id

    @property
    def fingerprint(self) -> str:
        """A digest of its fields that does not depend on their order."""
        fields = self.fields or ()
        pairs = sorted(zip(fields[::2], fields[1::2], strict=True))
        return hashlib.sha256(repr(pairs).encode()).hexdigest()


class Attempt(NamedTuple):
    """One submission: `begin` writes its in-flight record, and its settlement must name it."""

    number: int  # from 1
    started_ms: int  # 0: unknown
    owner: str
    gateway: str = ""  # a digest of what it was written to (dispatch/in_doubt.py); "": unknown

    @property
    def mark(self) -> str:
        """Its in-flight record."""
        written_to = f" gateway={self.gateway}" if self.gateway else ""
        return f"{self.number} {self.started_ms} {self.owner}{written_to}"

    @classmethod
    def read(cls, mark: bytes) -> "Attempt | None":
        """The attempt of an in-flight record; None for one that smsd did not write."""
        found = _MARK.fullmatch(mark)
        if found is None:
            return None
        gateway = (found[4] or b"").decode()
        return cls(int(found[1]), int(found[2]), found[3].decode(), gateway)
