"""Who is too fast. Rule: it is all of us, unless others are taken while one is throttled again.

A provider may throttle one sender, or one recipient. Who meets that would come back first in line
and stop everybody for a while, again and again.
"""

from smsd.core.outcome import Accepted, Outcome, Throttled

REMEMBERED = 1000  # messages, and as many senders


class Throttle:
    """Counts who was throttled, until a text of theirs was taken."""

    def __init__(self) -> None:
        self._taken = 0  # by anybody
        self._taken_before: dict[str, int] = {}  # by whoever was throttled: then
        self._times: dict[str, int] = {}  # by message

    def learn(self, who: str, message_id: str, outcome: Outcome) -> bool:
        """Learn from the outcome of a submission. True: all of us have been too fast.

        `who`: the sender that the message brought itself, or else the message.
        """
        if not self._taken_before and isinstance(outcome, Accepted):  # as nearly always
            self._taken += 1
            return False
        if isinstance(outcome, Throttled):
            others_were_taken = self._taken > self._taken_before.get(who, self._taken)
            _put(self._taken_before, who, self._taken)
            _put(self._times, message_id, self.times(message_id) + 1)
            return not others_were_taken
        if isinstance(outcome, Accepted):
            self._taken += 1
            self._taken_before.pop(who, None)
        self._times.pop(message_id, None)
        return False

    def times(self, message_id: str) -> int:
        """How often in a row this message was throttled."""
        return self._times.get(message_id, 0)


def _put(counts: dict[str, int], name: str, count: int) -> None:
    """Set what is the youngest from now on; the oldest goes when there are too many."""
    counts.pop(name, None)
    counts[name] = count
    if len(counts) > REMEMBERED:
        del counts[next(iter(counts))]
