"""A record of a stream, and the mark of a submission. Rule: an entry's id is not its message's."""

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

Lane = Literal["h", "n"]  # the stream an entry is in: high priority or normal
LANES: tuple[Lane, ...] = ("h", "n")
LARGEST_ENTRY = 65_536  # octets of an entry that is read at all
LAST_ID = "18446744073709551615-18446744073709551615"  # no range can begin behind it
FIRST_SPENT = "18446744073709551615-10000000000000000000"  # from here on they leave no room
MOST_FIELDS = 500  # the same; each is two of the values that lua/_fields.lua counts
_NAME = re.compile(r"[hn]([0-9]{1,20})-([0-9]{1,20})")
_ID = re.compile(rb"[A-Za-z0-9_-]{1,64}")
_MARK = re.compile(rb"([1-9][0-9]{0,9}) ([0-9]{1,13}) ([ -~]+)")  # as in lua/fsck_marks.lua


def lane_of(name: str) -> Lane:
    """The stream of an entry, or of what other hands wrote in place of its name."""
    return "h" if name.startswith("h") else "n"


def is_entry(name: str) -> bool:
    """Whether Redis knows such ids; others it answers with an error."""
    found = _NAME.fullmatch(name)
    return found is not None and all(int(part) < 1 << 64 for part in found.groups())


def first_entry(message_id: str) -> str:
    """Name of the entry that a message is named after, if it is named after one."""
    return message_id if message_id.startswith("h") else f"n{message_id}"


class Entry(NamedTuple):
    """A stream record that was claimed. Its id is not the message's."""

    name: str  # lane and entry id: unique over both streams
    fields: Sequence[bytes] | None  # None: too large or too many to read
    octets: int
    ours: bool = False  # promote or replay put it there, so its `id` and `attempts` are true

    @property
    def lane(self) -> Lane:
        """The stream it is in."""
        return lane_of(self.name)

    @property
    def first_message_id(self) -> str:
        """The id of its message, if no earlier entry held it."""
        return self.name if self.name[0] == "h" else self.name[1:]

    @property
    def given_id(self) -> str:
        """The id that it says its message has, true or not; "" if it says none."""
        if self.fields is None or b"id" not in self.fields:
            return ""
        given = dict(zip(self.fields[::2], self.fields[1::2], strict=True)).get(b"id", b"")
        return given.decode() if _ID.fullmatch(given) else ""

    @property
    def message_id(self) -> str:
        """The id of its message, be the rest of it readable or not."""
        return (self.given_id if self.ours else "") or self.first_message_id

    @property
    def fingerprint(self) -> str:
        """A digest of what its producer said, in whatever order."""
        fields = self.fields or ()
        pairs = sorted(zip(fields[::2], fields[1::2], strict=True))
        return hashlib.sha256(repr(pairs).encode()).hexdigest()


class Attempt(NamedTuple):
    """One submission under way: what `begin` marks, and what settles it must name."""

    number: int  # from 1
    started_ms: int  # 0: nobody knows
    owner: str

    @property
    def mark(self) -> str:
        """The journal's words for it."""
        return f"{self.number} {self.started_ms} {self.owner}"

    @classmethod
    def read(cls, mark: bytes) -> "Attempt | None":
        """The attempt that a journal entry speaks of; None if it does not say it as we do."""
        words = _MARK.fullmatch(mark)
        return cls(int(words[1]), int(words[2]), words[3].decode()) if words else None
