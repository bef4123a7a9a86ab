"""Text to physical lines, for `csv.reader` to pull. Rule: no line and no row is held that is long.

A line ends at a line feed, a carriage return, or both, as for `csv.reader`; not at the separators
that `str.splitlines` knows beside them. What of a row goes beyond `LONGEST_ROW` is dropped as
it comes, and `RowTooLong` raised in the midst of the row.
"""

from collections import deque
from collections.abc import Iterator
from io import StringIO
from itertools import chain

LONGEST_ROW = 65_536  # characters
REREAD = 1_048_576  # characters that may be read again, beyond as many as were read


class RowTooLong(Exception):  # noqa: N818 - it ends a row, not the reading
    """The row that was begun goes on beyond `LONGEST_ROW`."""


class Lines:
    """An iterator over lines that knows where a row began, and can read its lines again."""

    def __init__(self, pieces: Iterator[str]) -> None:
        self.number = 0  # of lines handed out
        self.row: list[str] = []  # the lines of the row that was begun
        self.length = 0  # their characters
        self.ended_in_row = False
        self._fresh = chain.from_iterable(_split(pieces))
        self._again: deque[str] = deque()
        self._may_reread = REREAD

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = self._again.popleft() if self._again else next(self._fresh)
        except StopIteration:
            self.ended_in_row = bool(self.row)
            raise
        self.number += 1
        self.row.append(line)
        self.length += len(line)
        if self.length > LONGEST_ROW:
            self.length = LONGEST_ROW + 1  # how much more there was is not counted
            raise RowTooLong
        return line

    def begin(self) -> None:
        """A row begins with the next line."""
        self._may_reread += self.length
        self.row = []
        self.length = 0
        self.ended_in_row = False

    def peek(self, most: int) -> list[str]:
        """Up to `most` of the next lines, which are handed out again."""
        lines: list[str] = []
        length = 0
        while len(lines) < most and length <= LONGEST_ROW:
            line = self._again.popleft() if self._again else next(self._fresh, None)
            if line is None:
                break
            lines.append(line)
            length += len(line)
        self._again.extendleft(reversed(lines))
        return lines

    def reread(self) -> bool:
        """Hand out all lines of this row but the first again, as rows of their own.

        False, and nothing is done, if that would become work without bound: lines can be made so
        that each of them swallows thousands of those that follow.
        """
        again = self.row[1:]
        length = min(sum(map(len, again)), LONGEST_ROW)
        if length > self._may_reread:
            return False
        self._may_reread -= length
        self._again.extendleft(reversed(again))
        self.number -= len(again)
        del self.row[1:]
        self.length -= length
        return True


def _split(pieces: Iterator[str]) -> Iterator[StringIO]:
    """Whole lines, many at a time, for the iterator in C."""
    rest: list[str] = []  # of a line whose end has not come
    length = 0
    carried = ""  # a return at the very end, which may be the first half of a line's end
    for piece in pieces:
        characters = carried + piece
        carried = "\r" if characters.endswith("\r") else ""
        characters = characters.removesuffix("\r")
        end = max(characters.rfind("\n"), characters.rfind("\r")) + 1
        if end:
            rest.append(characters[:end])
            yield StringIO("".join(rest), newline="")
            rest, length = [], 0
        if length <= LONGEST_ROW:
            rest.append(characters[end:])
            length += len(characters) - end
    yield StringIO("".join(rest) + carried, newline="")
