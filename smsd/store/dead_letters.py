"""Dead letters in bulk. Rule: none is touched unless it was chosen, and every sweep has an end.

A sweep is bounded: it tells where it stopped, to be continued from there. It ends at the letter
that was last when it began, so one that is replayed and dies again is not replayed for ever.
"""

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace

from smsd.core.fields import FieldError
from smsd.core.life import DeadReason
from smsd.store.entry import LAST_ID
from smsd.store.lookup import Status
from smsd.store.queue import Queue

PAGE = 100  # letters read at a time, at most; more would hold up the event loop
MOST_HANDLED = 1000  # letters that one sweep replays, drops or finds
MOST_READ = 10_000  # letters that one sweep looks at
MOST_FOUND = 500_000  # characters of the letters that one sweep finds: they become one answer
SELECTORS = ("id", "letter", "reason", "campaign")

_LETTER = re.compile(r"[0-9]{1,19}-[0-9]{1,19}|" + LAST_ID)
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter. Its id is not the message's."""

    id: str
    fields: Mapping[str, str]

    @property
    def message_id(self) -> str:
        """The id of the text that died; "" in a letter that smsd did not write."""
        return self.fields.get("id", "")

    @property
    def characters(self) -> int:
        """How long all that it holds is."""
        return sum(map(len, self.fields.values()))

    @property
    def in_doubt(self) -> bool:
        """Whether it may have been sent."""
        return self.fields.get("reason") == DeadReason.IN_DOUBT


@dataclass(frozen=True, slots=True)
class Choice:
    """Which letters: those of which all that is given here is true."""

    id: str = ""  # of the message
    letter: str = ""
    reason: str = ""
    campaign: str = ""

    def takes(self, letter: Letter) -> bool:
        """Whether this one is meant."""
        return (
            self.letter in ("", letter.id)
            and self.id in ("", letter.message_id)
            and self.reason in ("", letter.fields.get("reason"))
            and self.campaign in ("", letter.fields.get("campaign"))
        )


@dataclass(frozen=True, slots=True)
class Order:
    """What to sweep. `after` and `until`, ids of letters, continue an earlier sweep."""

    choice: Choice
    after: str = ""
    until: str = ""
    in_doubt: bool = False  # replay those too that may have been sent


@dataclass(slots=True)
class Swept:
    """What a sweep did, and where it stopped. `more`: there are letters behind that place."""

    done: int = 0
    skipped: int = 0  # in doubt, and nobody had said that they may be sent twice
    read: int = 0
    after: str = ""
    until: str = ""
    more: bool = False


@dataclass(slots=True)
class Found:
    """Letters, and where looking for them stopped."""

    letters: list[Letter] = field(default_factory=list)
    swept: Swept = field(default_factory=Swept)


def choose(fields: Mapping[str, object]) -> Choice:
    """The selectors among `fields`. Raises `FieldError`."""
    given = {name: _word(name, fields[name]) for name in SELECTORS if name in fields}
    if "letter" in given:
        _letter_id("letter", given["letter"])
    if "reason" in given and given["reason"] not in set(DeadReason):
        raise FieldError("reason", f"must be one of {', '.join(DeadReason)}")
    if not _ID.fullmatch(given.get("id", "-")):
        raise FieldError("id", "must be 1 to 64 letters, digits, - or _")
    return Choice(**given)


def order(fields: Mapping[str, object], *, replay: bool) -> Order:
    """What a person asks for: selectors or `all`. Raises `FieldError`."""
    known = (*SELECTORS, "all", "after", "until", *(("in_doubt",) if replay else ()))
    for name in fields:
        if name not in known:
            raise FieldError(name, f"is no known field; known are {', '.join(known)}")
    chosen, everything = choose(fields), _flag("all", fields)
    if everything and chosen != Choice():
        raise FieldError("all", f"does not go together with {', '.join(SELECTORS)}")
    if not everything and chosen == Choice():
        raise FieldError("all", f"must be true where none of {', '.join(SELECTORS)} is given")
    after, until = (_letter_id(name, fields.get(name, "")) for name in ("after", "until"))
    return Order(chosen, after, until, _flag("in_doubt", fields))


def after(fields: Mapping[str, object]) -> str:
    """Behind which letter to go on, "" for the first. Raises `FieldError`."""
    return _letter_id("after", fields.get("after", ""))


class Letters:
    """Sweeps over the dead letters."""

    def __init__(self, queue: Queue, status: Status) -> None:
        self._queue = queue
        self._status = status

    async def find(self, choice: Choice, *, after: str, count: int) -> Found:
        """Up to `count` letters behind `after`, or as many as make up `MOST_FOUND`."""
        found, characters = Found(), 0

        async def keep(letter: Letter) -> bool:
            nonlocal characters
            found.letters.append(letter)
            characters += letter.characters
            return True

        found.swept = await self._sweep(
            Order(choice, after, in_doubt=True),
            keep,
            enough=lambda swept: swept.done >= count or characters >= MOST_FOUND,
        )
        return found

    async def replay(self, wanted: Order) -> Swept:
        """Put letters back into the queue; those in doubt only where the order says so."""
        return await self._sweep(wanted, self._replay)

    async def _replay(self, letter: Letter) -> bool:
        # Without an id it was put there by other hands, and nothing says whose text it would be.
        return letter.message_id != "" and await self._queue.replay(letter.id, letter.message_id)

    async def drop(self, wanted: Order) -> Swept:
        """Throw letters away for good."""
        return await self._sweep(
            replace(wanted, in_doubt=True),
            lambda letter: self._queue.drop(letter.id, letter.message_id),
        )

    async def _sweep(
        self,
        wanted: Order,
        act: Callable[[Letter], Awaitable[bool]],
        *,
        enough: Callable[[Swept], bool] = lambda swept: swept.done >= MOST_HANDLED,
    ) -> Swept:
        swept = Swept(after=wanted.after)
        swept.until = wanted.until or await self._status.last_letter()
        async with aclosing(self._letters(wanted.choice, swept.after, swept.until)) as letters:
            async for letter in letters:
                if enough(swept) or swept.read >= MOST_READ:
                    swept.more = True
                    break
                swept.read += 1
                swept.after = letter.id
                if not wanted.choice.takes(letter):
                    continue
                if letter.in_doubt and not wanted.in_doubt:
                    swept.skipped += 1
                else:
                    swept.done += await act(letter)
        return swept

    async def _letters(
        self, choice: Choice, after: str, until: str
    ) -> AsyncGenerator[Letter, None]:
        if not until:
            return
        name = choice.letter or (choice.id and await self._status.letter_of(choice.id))
        if name and (fields := await self._status.dead_letter(name)) is not None:
            letter = Letter(name, fields)
            if choice.letter or choice.takes(letter):
                if _place(after or "0-0") < _place(name) <= _place(until):
                    yield letter
                return
        if choice.letter:
            return
        while page := await self._status.dead_letters(after, PAGE, until):
            for id_, fields in page:
                yield Letter(id_, fields)
            after = page[-1][0]


def _place(letter: str) -> tuple[int, ...]:
    """Ids of letters as they follow each other."""
    return tuple(map(int, letter.split("-")))


def _word(name: str, raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise FieldError(name, "must be a string that is not empty")
    return raw


def _flag(name: str, fields: Mapping[str, object]) -> bool:
    raw = fields.get(name, False)
    if not isinstance(raw, bool):
        raise FieldError(name, "must be true or false")
    return raw


def _letter_id(name: str, raw: object) -> str:
    if raw != "" and not (isinstance(raw, str) and _LETTER.fullmatch(raw)):
        raise FieldError(name, 'must be the id of a dead letter, like "1767225600000-0"')
    return str(raw)
