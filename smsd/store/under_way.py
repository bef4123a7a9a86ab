"""What one daemon has begun to send and not settled. Rule: data that lacks its records gets them.

Older data may hold such a message as one that was never sent, though it is under way, or in doubt
and being asked about. Its in-flight record is written again there, so that recovery finds it.
"""

from smsd.redis.scripts import Call
from smsd.store.entry import first_entry
from smsd.store.keys import Keys

MOST = 10_000  # entries: what is in flight, and in doubt for minutes at the highest rates
TOGETHER = 100  # entries that one script looks at


class UnderWay:
    """The in-flight records that this daemon has written."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._begun: dict[str, tuple[str, str]] = {}  # by entry: its message's id, its mark
        self._entries: dict[str, str] = {}  # by message's id: the entry
        self._answered: list[str] = []  # entries that ended, perhaps not in the data that is there

    def add(self, entry_name: str, message_id: str, mark: str) -> None:
        """Remember a record; the oldest one is forgotten where there are too many."""
        self._begun[entry_name] = message_id, mark
        self._entries[message_id] = entry_name
        if len(self._begun) > MOST:
            self.discard(next(iter(self._begun)))

    def discard(self, entry_name: str) -> None:
        """It is settled, or was not sent."""
        id_, _ = self._begun.pop(entry_name, ("", ""))
        if self._entries.get(id_) == entry_name:
            del self._entries[id_]

    def answered(self, entry_name: str) -> None:
        """It is over, and is to be settled again in the data that is there by now."""
        self._answered.append(entry_name)

    def discard_answered(self) -> None:
        """They were settled again."""
        for name in self._answered:
            self.discard(name)
        self._answered.clear()

    def elsewhere(self, entry_name: str, message_id: str) -> str:
        """The mark of a message's attempt from another entry, "" if there is none.

        A server may have lost that it promoted a message, and promote it once more.
        """
        name = self._entries.get(message_id)
        return "" if name is None or name == entry_name else self._begun[name][1]

    def calls(self) -> list[Call]:
        """What writes them again."""
        begun = list(self._begun.items())
        return [self._call(begun[at : at + TOGETHER]) for at in range(0, len(begun), TOGETHER)]

    def _call(self, begun: list[tuple[str, tuple[str, str]]]) -> Call:
        records = [
            [list(dict.fromkeys((name, first_entry(id_)))), mark, id_]
            for name, (id_, mark) in begun
        ]
        statuses = [self._keys.message(id_) for _, (id_, _) in begun]
        return Call("mark_again", {"records": records}, statuses)
