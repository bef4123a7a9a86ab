"""Dead letters. Rule: none is touched unless it was chosen, and every sweep has an end.

A sweep is bounded: it returns where it stopped, to be continued from there. It ends at the dead
letter that was last when it began, so one that is replayed and dies again is not replayed for ever.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

from smsd.core.fields import DEAD_LETTER
from smsd.core.life import DeadReason
from smsd.redis.client import decode_fields, text
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.dead_letter_request import Choice, Order
from smsd.store.entry import LARGEST_ENTRY
from smsd.store.queue import Queue

PAGE = 100  # dead letters read at a time, at most; more would hold up the event loop
MOST_HANDLED = 1000  # dead letters that one sweep replays, drops or finds
MOST_READ = 10_000  # dead letters that one sweep looks at
MOST_FOUND = 500_000  # characters of what one sweep finds: it becomes one answer
LARGEST_DEAD_LETTER = LARGEST_ENTRY + 4096  # octets: an entry that is read, and why it died
LONGEST_SHOWN = 256  # characters of a field; an entry that died unread may hold anything


class DeadLetter(NamedTuple):
    """A message that died, with why. Its id is not the message's."""

    id: str
    fields: dict[str, str]

    @property
    def message_id(self) -> str:
        """The id of the message that died; "" in a dead letter that smsd did not write."""
        return self.fields.get("id", "")

    @property
    def characters(self) -> int:
        """How long all that it holds is."""
        return sum(map(len, self.fields.values()))

    @property
    def in_doubt(self) -> bool:
        """Whether it may have been sent."""
        return self.fields.get("reason") == DeadReason.IN_DOUBT

    def matches(self, choice: Choice) -> bool:
        """Whether this one is chosen."""
        return (
            choice.dead_letter_id in ("", self.id)
            and choice.message_id in ("", self.message_id)
            and choice.reason in ("", self.fields.get("reason"))
            and choice.campaign in ("", self.fields.get("campaign"))
            and self.message_id.startswith(choice.id_begins)
        )

    def shown(self, *, with_text: bool) -> dict[str, object]:
        """What a person is shown of it; the message's text only if asked for."""
        shown: dict[str, object] = {"letter": self.id, "id": self.message_id}
        for field in DEAD_LETTER:
            value = self.fields.get(field.name, "")
            number = field.kind.show(value) if field.kind.is_number else None
            if value:
                shown[field.name] = _clipped(value) if number is None else number
        if with_text and "message" in self.fields:  # not in one that is too large to be read
            shown["message"] = self.fields["message"]
        return shown


@dataclass(slots=True)
class Swept:
    """What a sweep did, and where it stopped. `more`: there are others behind that place."""

    done: int = 0
    skipped: int = 0  # in doubt, and the order does not permit that they are sent twice
    read: int = 0
    after: str = ""
    until: str = ""
    more: bool = False


@dataclass(slots=True)
class Found:
    """Dead letters, and where looking for them stopped."""

    dead_letters: list[DeadLetter]
    swept: Swept


class DeadLetters:
    """Reads dead letters, and sweeps over them."""

    def __init__(self, client: StoreClient, queue: Queue) -> None:
        self._client = client
        self._queue = queue

    # -- reading --------------------------------------------------------------------------------

    async def page(self, after: str, count: int, until: str = "+") -> list[DeadLetter]:
        """Up to `count` dead letters behind the one with id `after` ("" for the first).

        Fewer where they are large, but none only at the end. Of one that is larger than
        `LARGEST_DEAD_LETTER`, only the short fields.
        """
        return await self._read("XRANGE", f"({after}" if after else "-", until, count)

    async def get(self, dead_letter_id: str) -> DeadLetter | None:
        """The dead letter with this id, or None; of a large one only the short fields."""
        found = await self._read("XRANGE", dead_letter_id, dead_letter_id, 1)
        return found[0] if found else None

    async def _last_id(self) -> str:
        found = await self._read("XREVRANGE", "+", "-", 1)
        return found[0].id if found else ""

    async def _read(self, read: str, start: str, stop: str, count: int) -> list[DeadLetter]:
        request = {"read": read, "start": start, "stop": stop, "count": count}
        call = Call("letters", request | {"most_octets": LARGEST_DEAD_LETTER})
        page = cast("list[tuple[bytes, list[bytes]]]", await self._client.ask(call))
        return [
            DeadLetter(text(id_), decode_fields(dict(zip(flat[::2], flat[1::2], strict=True))))
            for id_, flat in page
        ]

    async def id_of(self, message_id: str) -> str:
        """Id of the dead letter that a message became, as far as its status knows, or ""."""
        key = self._client.keys.message(message_id)
        found = await self._client.read(lambda redis: redis.hget(key, "letter"))
        return text(found) if found else ""

    # -- sweeps ---------------------------------------------------------------------------------

    async def find(self, choice: Choice, *, after: str, count: int) -> Found:
        """Up to `count` of those chosen behind `after`, or as many as make up `MOST_FOUND`."""
        found, characters = Found([], Swept()), 0

        async def keep(dead_letter: DeadLetter) -> bool:
            nonlocal characters
            found.dead_letters.append(dead_letter)
            characters += dead_letter.characters
            return True

        found.swept = await self._sweep(
            Order(choice, after, in_doubt=True),
            keep,
            enough=lambda swept: swept.done >= count or characters >= MOST_FOUND,
        )
        return found

    async def replay(self, order: Order) -> Swept:
        """Put them back into the queue; those in doubt only where the order says so."""
        return await self._sweep(order, self._replay)

    async def _replay(self, one: DeadLetter) -> bool:
        # Without an id it was put there by other hands, and nothing says whose message it would be.
        return one.message_id != "" and await self._queue.replay(one.id, one.message_id)

    async def drop(self, order: Order) -> Swept:
        """Throw them away for good."""
        return await self._sweep(
            replace(order, in_doubt=True), lambda one: self._queue.drop(one.id, one.message_id)
        )

    async def _sweep(
        self,
        order: Order,
        act: Callable[[DeadLetter], Awaitable[bool]],
        *,
        enough: Callable[[Swept], bool] = lambda swept: swept.done >= MOST_HANDLED,
    ) -> Swept:
        swept = Swept(after=order.after)
        swept.until = order.until or await self._last_id()
        async with aclosing(self._candidates(order.choice, swept.after, swept.until)) as candidates:
            async for one in candidates:
                if enough(swept) or swept.read >= MOST_READ:
                    swept.more = True
                    break
                swept.read += 1
                swept.after = one.id
                if not one.matches(order.choice):
                    continue
                if one.in_doubt and not order.in_doubt:
                    swept.skipped += 1
                else:
                    swept.done += await act(one)
        return swept

    async def _candidates(
        self, choice: Choice, after: str, until: str
    ) -> AsyncGenerator[DeadLetter, None]:
        """The one that an id leads to; without one, all between the two places."""
        if not until:
            return
        if (named := await self._named(choice)) is not None:
            if _place(after or "0-0") < _place(named.id) <= _place(until):
                yield named
        elif not choice.dead_letter_id:
            while page := await self.page(after, PAGE, until):
                for one in page:
                    yield one
                after = page[-1].id

    async def _named(self, choice: Choice) -> DeadLetter | None:
        """The chosen one, as far as it can be found by an id."""
        if choice.dead_letter_id:
            return await self.get(choice.dead_letter_id)
        id_ = await self.id_of(choice.message_id) if choice.message_id else ""
        found = await self.get(id_) if id_ else None
        return found if found and found.matches(choice) else None


def _place(dead_letter_id: str) -> tuple[int, ...]:
    """Ids of dead letters as they follow each other."""
    return tuple(map(int, dead_letter_id.split("-")))


def _clipped(value: str) -> str:
    return value if len(value) <= LONGEST_SHOWN else f"{value[:LONGEST_SHOWN]}…"
