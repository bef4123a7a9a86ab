"""Whose fault a halt is. Rule: one message, or one status, cannot hold up all others for ever.

A provider that halts names the account, or answers a status that says no more than "no". Once
others were taken, it was the message's own fault.
"""

from collections.abc import Callable

from smsd.core.outcome import Halted
from smsd.core.pacer import SECOND

REMEMBERED = 100  # messages that stopped dispatch
EXCUSED_S = 600  # for so long a status that proved to be a message's own stops nothing more


class Blame:
    """Which messages and which statuses stopped dispatch, and whether others were taken since."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock`: monotonic ns."""
        self._clock = clock
        self._openings = 0  # by a message that was taken
        self._stoppers: dict[str, int] = {}  # by message: how many openings there had been
        self._blamed = False  # one of these was, and nobody has been taken since
        self._suspects: set[str] = set()  # statuses that stopped dispatch since the last opening
        self._excused: dict[str, int] = {}  # by status: until when

    def is_at_fault(self, message_id: str) -> bool:
        """Whether this message stopped dispatch before, and others were taken since.

        After one of them was blamed the account may be what is out of order again: then the next
        one stops dispatch, however often it has done so.
        """
        seen = self._stoppers.get(message_id, self._openings)
        return not self._blamed and self._openings > seen

    def excuses(self, code: str) -> bool:
        """Whether this status was a message's own fault of late."""
        return self._clock() < self._excused.get(code, 0)

    def stopped(self, message_id: str, halt: Halted) -> None:
        """Dispatch is held, or still is, for what a message was answered."""
        if not halt.known:
            self._suspects.add(halt.code)
        self._stoppers[message_id] = self._openings
        if len(self._stoppers) > REMEMBERED:
            del self._stoppers[next(iter(self._stoppers))]

    def opened(self) -> None:
        """A probe was taken: the account is in order."""
        self._openings += 1
        until = self._clock() + EXCUSED_S * SECOND
        self._excused |= dict.fromkeys(self._suspects, until)
        self._suspects.clear()

    def taken(self) -> None:
        """A message was taken."""
        self._blamed = False

    def refused(self, message_id: str) -> None:
        """A message was refused for a known reason."""
        if self._stoppers.pop(message_id, None) is not None:
            self._blamed = True

    def convict(self) -> None:
        """So many are refused in a row that no status is an excuse any more."""
        self._excused.clear()
