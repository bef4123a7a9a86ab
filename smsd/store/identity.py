"""Which data Redis holds. Rule: nothing is dispatched from other or older data than was seen.

The data has an id, made with it, and counts the settlements it has seen (`smsd:store`). Every
script is given what this daemon knows of both, hands nothing out where the data is other or older,
and answers what it found. So a restored backup, a stale replica and a flushed server show with the
first answer, before anything is sent.
"""

import asyncio
from typing import NamedTuple, cast

from smsd.redis.errors import Away
from smsd.redis.scripts import Call


class OlderData(Away):
    """Newer or other data was known: nothing is handed out of this until that is dealt with."""


class Data(NamedTuple):
    """What tells one state of the data from another."""

    id: str = ""  # "": not known yet, or gone
    settled: int = 0  # settlements that it has seen
    replaces: str = ""  # ids of other data, which a person let it replace, joined by commas

    @property
    def ids(self) -> str:
        """Those and its own."""
        return ",".join(filter(None, (self.replaces, self.id)))

    @classmethod
    def read(cls, reply: object) -> "Data":
        """What a script answers."""
        id_, replaces, settled = cast("tuple[bytes, bytes, int]", reply)
        return cls(id_.decode(errors="replace"), settled, replaces.decode(errors="replace"))


class Identity:
    """The newest data that one daemon has seen."""

    def __init__(self, known: Data | None = None) -> None:
        """`known`: what an earlier process had seen."""
        self.known = known or Data()
        self.seen = self.known  # last
        self.differs = asyncio.Event()  # set from when other or older data is seen

    @property
    def trusted(self) -> bool:
        """Whether messages may be sent, as far as the data is concerned."""
        return not self.differs.is_set()

    def saw(self, data: Data, asked: Data) -> None:
        """Note an answer; `asked`: what was known when its question was sent."""
        self.seen = data
        if is_same(data, self.known):
            self.known = data._replace(settled=max(data.settled, self.known.settled))
        if not is_as_new(data, asked):
            self.differs.set()

    def accepted(self, data: Data) -> None:
        """Go on with this data."""
        self.known = self.seen = data
        self.differs.clear()


def is_same(data: Data, known: Data) -> bool:
    """Whether it is the data that was known, of whatever time."""
    return known.id in ("", data.id) or known.id in data.replaces.split(",")


def is_as_new(data: Data, known: Data) -> bool:
    """Whether it is the data that was known, and has seen as much."""
    return is_same(data, known) and (data.id != known.id or data.settled >= known.settled)


def accept(known: Data, token: str) -> Call:
    """Let the data that was compared, and got this token, count as what was known."""
    return Call("accept", {"ids": known.ids, "settled": known.settled, "token": token})
