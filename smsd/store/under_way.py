"""What one daemon has begun to send and not settled. Rule: data that lacks its records gets them.

Older data may hold such a message as one that was never sent, though it is under way, or in doubt
and being asked about. Its in-flight record is written again there, so that recovery finds it.
"""

from collections.abc import Collection, Sequence

from smsd.redis.scripts import Call
from smsd.store.entry import first_entry
from smsd.store.keys import Keys

MOST = 10_000  # entries: what is in flight, and in doubt for minutes at the highest rates
NOTHING = ("", "")
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

    def discard(self, *entry_names: str) -> None:
        """They are settled, or were not sent."""
        for name in entry_names:
            id_, _ = self._begun.pop(name, NOTHING)
            if self._entries.get(id_) == name:
                del self._entries[id_]

    def keep(self, entry_names: Collection[str]) -> None:
        """Forget all but these."""
        self.discard(*(self._begun.keys() - set(entry_names)))

    def settled(
        self, entry_names: Sequence[str], replies: Sequence[object], *, trusted: bool
    ) -> None:
        """They are over; where the data is not `trusted`, not all of them are in it.

        In older data a message's place may be another, until it has been settled there again.
        """
        if trusted:
            self.discard(*entry_names)
            self.discard_answered()
            return
        for name, reply in zip(entry_names, replies, strict=True):
            if reply in (b"settled", b"released"):
                self.discard(name)
            elif not isinstance(reply, Exception):
                self._answered.append(name)

    def discard_answered(self) -> None:
        """They were settled again."""
        self.discard(*self._answered)
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
