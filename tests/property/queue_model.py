"""What the model of the queue knows of each message, and of each daemon's memory."""

from dataclasses import dataclass, field
from typing import Literal

from smsd.core.life import TRANSITIONS, DeadReason, State
from smsd.core.message import Message
from smsd.store.entry import Attempt, Entry
from tests.support.store import Store

Place = Literal[
    "queue", "deferred", "dead", "sent", "expired", "suppressed", "cancelled", "dropped"
]


@dataclass
class Text:
    """What the model knows of one text."""

    id: str
    place: Place
    lane: str = "n"  # while it is in the queue: the stream it must be in
    name: str = ""  # its entry there
    due: int = 0
    high: bool = False
    deferred: bool = False  # ever: from then on it carries its priority
    tried: bool = False  # since it was last accepted or replayed
    valid: bool = True
    send_at: int = 0  # in its entry
    letter: str = ""
    reason: str = ""

    def is_queued_again(self, hand: "Hand") -> bool:
        """Whether a person has replayed what somebody has in hand."""
        return self.place == "queue" and self.name != hand.entry.name

    def queued(self, lane: str) -> None:
        self.place, self.lane, self.name = "queue", lane, ""

    def defer(self, due: int, *, tried: bool) -> None:
        self.high = self.high if self.deferred else self.lane == "h"
        self.place, self.due, self.deferred, self.send_at = "deferred", due, True, 0
        self.tried = self.tried or tried

    def bury(self, reason: str) -> None:
        self.place, self.reason, self.letter = "dead", reason, ""


@dataclass
class Hand:
    """An entry that a daemon has in memory."""

    entry: Entry
    message: Message
    attempt: Attempt | None = None


@dataclass
class Daemon:
    """One process's memory; a crash forgets it."""

    store: Store
    hands: dict[str, Hand] = field(default_factory=dict)

    def hand(self, pick: int, *, begun: bool) -> Hand | None:
        """One of what it has, begun or not yet."""
        names = sorted(
            name for name, hand in self.hands.items() if (hand.attempt is not None) == begun
        )
        return self.hands[names[pick % len(names)]] if names else None

    def forget(self, name: str) -> None:
        self.hands.pop(name, None)
        self.store.prefetch.forget(name)


def entries(lane: str, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> dict[str, str]:
    """Message id to entry name."""
    found = {}
    for raw, fields in entries:
        name = lane + raw.decode()
        found[fields.get(b"id", name.removeprefix("n").encode()).decode()] = name
    return found


def in_order(name: str) -> tuple[int, int]:
    ms, sequence = name[1:].split("-")
    return int(ms), int(sequence)


async def perform(store: Store, hand: Hand, how: str, due: int) -> bool:
    queue, entry, message, attempt = store.queue, hand.entry, hand.message, hand.attempt
    if how == "expire":
        return await queue.expire(entry, attempt, message)
    assert attempt is not None
    match how:
        case "ack":
            return await queue.ack(entry, attempt, message, "p")
        case "defer":
            return await queue.defer(
                entry, attempt, message, until=due, attempts=attempt.number, why="w"
            )
        case "in doubt":
            return await queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)
        case _:
            return await queue.bury(
                entry, attempt, message, reason=DeadReason.REJECTED, opted_out=how == "opted out"
            )


def _steps(before: State | None) -> set[State]:
    """The states that an event can report after this one; none reports a begin or a release.

    Nor does one report what a producer adds itself: then it was queued.
    """
    reached = set(TRANSITIONS.get(before, {}).values())
    if before is None:
        reached |= _steps(State.QUEUED)
    if State.SENDING in reached:
        reached |= set(TRANSITIONS[State.SENDING].values())
    return reached - {State.SENDING}


def check_events(events: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
    """Every change of a state was one that the table of transitions has."""
    last: dict[bytes, State | None] = {}
    for _, event in events:
        id_, state = event[b"id"], State(event[b"state"].decode())
        assert state in _steps(last.get(id_)), (id_, last.get(id_), state)
        last[id_] = state
