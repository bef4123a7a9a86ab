"""Whose fault a halt is. Rule: no single message, and no single status, holds dispatch for ever.

The provider's answer names the account, or is a status that only means "no". If other messages
are taken afterwards, the fault was the message's own.
"""

from collections.abc import Callable

from smsd.core.outcome import Halted
from smsd.core.pacer import SECOND

REMEMBERED = 100  # messages that held dispatch
EXCUSED_S = 600  # for so long a status that was a message's own fault holds nothing more


class Halts:
    """The messages and statuses that held dispatch, and whether others were taken since."""

    def __init__(self, clock: Callable[[], int]) -> None:
        """`clock`: monotonic ns."""
        self._clock = clock
        self._openings = 0  # how often a taken probe ended a hold
        self._held_by: dict[str, int] = {}  # by message: the number of openings before it
        self._found_fault = False  # one of these was at fault, and none was taken since
        self._suspects: set[str] = set()  # statuses that held dispatch since the last opening
        self._excused: dict[str, int] = {}  # by status: until when

    def is_at_fault(self, message_id: str) -> bool:
        """Whether this message held dispatch before, and others were taken since.

        After one message was found at fault, the account may be so again: until another is taken,
        no other is, however often it held dispatch.
        """
        seen = self._held_by.get(message_id, self._openings)
        return not self._found_fault and self._openings > seen

    def excuses(self, code: str) -> bool:
        """Whether this status was a message's own fault of late."""
        return self._clock() < self._excused.get(code, 0)

    def record_hold(self, message_id: str, halt: Halted) -> None:
        """Record that dispatch is held, or still is, for the answer to a message."""
        if not halt.known:
            self._suspects.add(halt.code)
        self._held_by[message_id] = self._openings
        if len(self._held_by) > REMEMBERED:
            del self._held_by[next(iter(self._held_by))]

    def opened(self) -> None:
        """Record that a probe was taken: the account is in order."""
        self._openings += 1
        until = self._clock() + EXCUSED_S * SECOND
        self._excused |= dict.fromkeys(self._suspects, until)
        self._suspects.clear()

    def taken(self) -> None:
        """Record that a message was taken."""
        self._found_fault = False

    def refused(self, message_id: str) -> None:
        """Record that a message was refused for a known reason."""
        if self._held_by.pop(message_id, None) is not None:
            self._found_fault = True

    def withdraw_excuses(self) -> None:
        """Excuse no status any more: too many messages in a row were refused."""
        self._excused.clear()
