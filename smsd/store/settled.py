"""What this daemon has settled lately. Rule: 8 MB of it, however much each takes.

Each settlement is kept whole, so that data which has lost it can be brought to the same state
again; many together are compressed, to some 64 octets each: more than half an hour at 45/s. The
data counts its settlements (see `identity`), and by that number it shows which of them older data
lacks, and how many of those are not remembered here.
"""

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from smsd.redis.scripts import Call, as_json

MOST_OCTETS = 7_500_000  # of those that are compressed
TOGETHER = 128  # settlements; compressing them takes a third of a millisecond
FAST = 1  # level of zlib: a higher one saves a tenth of the octets, for twice the time
AROUND = 160  # octets around a block: the object, its number, its place in the line


class _Block(NamedTuple):
    until: int  # number of its last settlement
    packed: bytes


class Settled:
    """The last settlements of one daemon, in their order."""

    def __init__(self, *, most_octets: int = MOST_OCTETS) -> None:
        self._most_octets = most_octets
        self._blocks: deque[_Block] = deque()
        self._octets = 0
        self._last: list[Call] = []  # not compressed yet
        self._since: int | None = None  # the number before the first that is remembered
        self._counted = 0  # the number up to which it is known whose each is
        self._seen = 0  # the highest number
        # Those of other daemons: the number of the last, and how many.
        self._others: deque[tuple[int, int]] = deque()

    def add(self, calls: Sequence[Call], number: int) -> None:
        """Remember settlements; `number` of them all the data has seen when these were done."""
        self._seen = max(self._seen, number)
        if numbered := sum(map(_is_numbered, calls)):
            self._number(numbered, number)
        self._last += calls
        if len(self._last) >= TOGETHER:
            self._compress()

    def _number(self, numbered: int, number: int) -> None:
        """Note whose the numbers are that are new.

        (What was taken back has none, and says nothing of them: it may be answered before a
        settlement that was made first.)
        """
        if self._since is None:
            self._since = self._counted = number - numbered
        ours = min(number - self._counted, numbered)
        if others := number - self._counted - ours:
            self._others.append((number, others))
        self._counted = number

    def _compress(self) -> None:
        # (As plain tuples: orjson takes no others, and Python's own encoder is slow.)
        block = _Block(self._seen, zlib.compress(as_json(list(map(tuple, self._last))), FAST))
        self._last = []
        self._blocks.append(block)
        self._octets += len(block.packed) + AROUND
        while self._octets > self._most_octets:
            forgotten = self._blocks.popleft()
            self._octets -= len(forgotten.packed) + AROUND
            self._since = forgotten.until
            while self._others and self._others[0][0] <= forgotten.until:
                self._others.popleft()

    def unknown(self, after: int, until: int) -> int:
        """How many of the settlements with numbers from `after` to `until` are not remembered."""
        if self._since is None:
            return max(until - after, 0)
        others = sum(many for number, many in self._others if number > after)
        return max(self._since - after, 0) + others + max(until - self._counted, 0)

    def after(self, number: int) -> Iterator[list[Call]]:
        """Those with a higher number, and some before; a list at a time, since it takes time."""
        blocks, last = list(self._blocks), list(self._last)
        for block in blocks:
            if block.until > number:
                calls = orjson.loads(zlib.decompress(block.packed))
                yield [Call(script, request, keys) for script, request, keys in calls]
        if last:
            yield last

    def go_on_from(self, number: int) -> None:
        """The data that was accepted counts on from here."""
        if self._since is not None:
            self._counted = max(self._counted, number)


def _is_numbered(call: Call) -> bool:
    """Whether the data counts it: a cancellation and the first use of a key it does not."""
    return call.script != "cancel" and not is_first_use(call)


def is_first_use(call: Call) -> bool:
    """Whether it says who used a key first; what settles a repetition has a line of history."""
    return call.script == "take_key" and "line" not in call.request
