"""What one daemon has begun to send and not settled. Rule: data that forgot it is marked again.

Older data may hold such a message as one that was never sent: it is under way, or in doubt and
being asked about. Its in-flight record is written again there, so that recovery finds it in doubt.
"""

from smsd.store.entry import Attempt, Entry, first_entry
from smsd.store.scripts import Call

MOST = 10_000  # entries: what is in flight, and in doubt for minutes at the highest rates
TOGETHER = 100  # entries that one script looks at


class UnderWay:
    """The in-flight records that this daemon has written."""

    def __init__(self) -> None:
        self._marks: dict[str, tuple[str, str]] = {}  # by entry: first entry of its message, mark

    def add(self, entry: Entry, attempt: Attempt) -> None:
        """Remember a record; the oldest one is forgotten where there are too many."""
        self._marks[entry.name] = first_entry(entry.message_id), attempt.mark
        if len(self._marks) > MOST:
            del self._marks[next(iter(self._marks))]

    def discard(self, entry_name: str) -> None:
        """It is settled, or was not sent."""
        self._marks.pop(entry_name, None)

    def calls(self) -> list[Call]:
        """What writes them again, where their entry is there and has none."""
        records = [
            [list(dict.fromkeys((name, first))), mark]
            for name, (first, mark) in self._marks.items()
        ]
        return [
            Call("mark_again", {"records": records[at : at + TOGETHER]})
            for at in range(0, len(records), TOGETHER)
        ]
