"""Whether the whole rate is too high. Rule: it is, unless others are taken while one is throttled.

A provider may throttle a single sender or recipient. Messages of that one come back again and
again, and must not pause all others each time.
"""

from smsd.core.outcome import Accepted, Outcome, Throttled

REMEMBERED = 1000  # messages, and as many senders


class Throttle:
    """Counts throttled messages and senders, until a message of theirs is taken."""

    def __init__(self) -> None:
        self._taken = 0  # of all messages
        self._taken_before: dict[str, int] = {}  # by throttled source: `_taken` then
        self._times: dict[str, int] = {}  # by message

    def learn(self, source: str, message_id: str, outcome: Outcome) -> bool:
        """Learn from the outcome of a submission; whether the whole rate was too high.

        `source`: the message's own sender, or else the id of the message.
        """
        if not self._taken_before and isinstance(outcome, Accepted):  # as nearly always
            self._taken += 1
            return False
        if isinstance(outcome, Throttled):
            others_were_taken = self._taken > self._taken_before.get(source, self._taken)
            _put(self._taken_before, source, self._taken)
            _put(self._times, message_id, self.times(message_id) + 1)
            return not others_were_taken
        if isinstance(outcome, Accepted):
            self._taken += 1
            self._taken_before.pop(source, None)
        self._times.pop(message_id, None)
        return False

    def times(self, message_id: str) -> int:
        """How often in a row this message was throttled."""
        return self._times.get(message_id, 0)


def _put(counts: dict[str, int], name: str, count: int) -> None:
    """Set a count as the youngest; drop the oldest if there are too many."""
    counts.pop(name, None)
    counts[name] = count
    if len(counts) > REMEMBERED:
        del counts[next(iter(counts))]
