"""The prefetch. Rule: every entry that is claimed and not settled is known here; there is a bound.

About two seconds of work of a queue of any length: the next message is always parsed and at hand,
and one of high priority overtakes all but those that are about to leave.
"""

import asyncio
from collections import deque
from typing import NamedTuple

from smsd.core.message import Message
from smsd.store.entry import Entry, Stream

LOOK_AHEAD_S = 2.0
SMALLEST, LARGEST = 32, 4096  # messages a stream, at the slowest rates and at the fastest


class Claimed(NamedTuple):
    """A message, and the entry in which it was claimed."""

    entry: Entry
    message: Message


class Prefetch:
    """Claimed messages, waiting or under way."""

    def __init__(self, rate: float) -> None:
        """`rate` in segments per second."""
        self.set_rate(rate)
        self._high: deque[Claimed] = deque()
        self._waited: deque[Claimed] = deque()  # of normal priority, but in line once before
        self._normal: deque[Claimed] = deque()
        # By stream: a message of high priority may be in the normal one, and the other way round.
        self._waiting = {"h": 0, "n": 0}
        self._segments = {"h": 0, "n": 0}  # of those
        self._known: set[str] = set()
        self._arrived = asyncio.Event()

    def set_rate(self, rate: float) -> None:
        """Look as far ahead as this rate needs."""
        self._room = min(max(SMALLEST, round(rate * LOOK_AHEAD_S)), LARGEST)
        self.half_s = self._room / 2 / rate  # how long half of it lasts, if not longer

    @property
    def room(self) -> tuple[int, int]:
        """How many more may be claimed: from the high stream, from the normal one."""
        return max(0, self._room - self._waiting["h"]), max(0, self._room - self._waiting["n"])

    def __len__(self) -> int:
        return self._waiting["h"] + self._waiting["n"]

    def segments(self, stream: Stream) -> int:
        """How many segments of a stream's messages wait here."""
        return self._segments[stream]

    def knows(self, name: str) -> bool:
        """Whether this entry waits here or is under way."""
        return name in self._known

    def put(self, claimed: Claimed) -> None:
        """Add at the end of its stream."""
        self._line_of(claimed).append(claimed)
        self._added(claimed)

    def put_back(self, claimed: Claimed) -> None:
        """It was taken and not sent: it is first again."""
        self._line_of(claimed).appendleft(claimed)
        self._added(claimed)

    def put_last(self, claimed: Claimed) -> None:
        """It was taken and not sent, and is why dispatch is held: all others go first."""
        self._normal.append(claimed)
        self._added(claimed)

    async def arrival(self) -> None:
        """Return when there is something to take."""
        while not len(self):
            self._arrived.clear()
            await self._arrived.wait()

    def take(self) -> Claimed:
        """The next message, high priority first. It stays known until `forget`."""
        claimed = (self._high or self._waited or self._normal).popleft()
        stream = claimed.entry.stream
        self._waiting[stream] -= 1
        self._segments[stream] -= claimed.message.content.segments.segments
        return claimed

    def forget(self, name: str) -> None:
        """The entry is settled."""
        self._known.discard(name)

    def _added(self, claimed: Claimed) -> None:
        stream = claimed.entry.stream
        self._waiting[stream] += 1
        self._segments[stream] += claimed.message.content.segments.segments
        self._known.add(claimed.entry.name)
        self._arrived.set()

    def _line_of(self, claimed: Claimed) -> deque[Claimed]:
        if claimed.message.content.priority == "high":
            return self._high
        return self._waited if claimed.entry.stream == "h" else self._normal
