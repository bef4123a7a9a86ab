"""Looking things up. Rule: reading changes nothing; a queued text costs its entry alone.

What happened to a text is kept in a hash that is first written when something does happen; until
then its id leads to its entry, which was named after it.
"""

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from smsd.core.fields import ENTRY_IN_LOOK_UP, LOOK_UP
from smsd.core.life import ADJUSTED, ENDED, State
from smsd.redis.client import RedisClient, text
from smsd.redis.errors import Refused, WrongType
from smsd.redis.scripts import Call
from smsd.store.entry import LARGEST_ENTRY, first_entry, is_entry

_LINE = re.compile(r"[0-9]{1,20} .")  # of a history, as smsd writes them
_ENTRY_ID = re.compile(r"h?([0-9]{1,20})-[0-9]{1,20}")
LARGEST_LETTER = LARGEST_ENTRY + 4096  # octets: an entry that is read, and why it died
PAGE = 500  # events that are looked through at a time
_COUNT = re.compile(r"-?[0-9]{1,15}")  # as in lua/fsck_keys.lua


@dataclass(frozen=True, slots=True)
class Census:
    """Where every text is, counted in one instant."""

    queued: int  # in flight included
    inflight: int
    deferred: int
    dead: int
    accepted: int
    ended: Mapping[str, int]  # by core/life.ENDED
    adjusted: int  # differences that `smsd fsck --repair` found and booked; 0 where all is well

    @property
    def waiting(self) -> int:
        """Texts that are accepted and not over."""
        return self.queued + self.deferred

    @property
    def difference(self) -> int:
        """Accepted texts that are in no known place; 0, or Redis was changed by other hands."""
        over = sum(self.ended.values())
        return self.accepted - self.waiting - self.dead - over - self.adjusted


@dataclass(frozen=True, slots=True)
class Held:
    """That dispatch is held, as the daemon told that may dispatch."""

    reason: str
    seconds: int  # for so long, when it last told


class Status:
    """Look-ups over the queue."""

    def __init__(self, client: RedisClient) -> None:
        self._client = client

    async def message(self, message_id: str) -> dict[str, object] | None:
        """One text: state, facts and history (`state`, `at` in Unix ms, `detail`), or None."""
        key = self._client.keys.message(message_id)
        facts: dict[str, str] = {}
        with suppress(Refused):  # its entry may tell
            facts = _texts(await self._client.read(lambda redis: redis.hgetall(key)))
        if facts.get("state", State.QUEUED) != State.QUEUED:
            return _told(message_id, facts)
        name = facts.get("entry") or first_entry(message_id)
        entry = await self._entry(name) if is_entry(name) else None
        if entry is None or not await self._is_of(message_id, entry.get("id", message_id), name):
            # Between the two reads it may have been settled; what is known says so next time.
            return _told(message_id, facts) if "state" in facts else None
        facts.setdefault("history", f"{name[1:].split('-')[0]} queued")
        facts.update(await self._sending(name))
        brought = {fact: entry[fact] for fact in ENTRY_IN_LOOK_UP if fact in entry}
        return _told(message_id, brought | {"state": State.QUEUED} | facts)

    async def _entry(self, name: str) -> dict[str, str] | None:
        keys = self._client.keys
        stream = keys.high if name[0] == "h" else keys.queue
        found = await self._client.read(
            lambda redis: redis.xrange(stream, min=name[1:], max=name[1:])
        )
        return _texts(found[0][1]) if found else None

    async def _is_of(self, message_id: str, said: str, name: str) -> bool:
        """Whether an entry is that text's: `said` holds where promote or replay put it."""
        if said == message_id:
            return True
        status = self._client.keys.message(said)
        home = await self._client.read(lambda redis: redis.hget(status, "entry"))
        return home is None or text(home) != name

    async def _sending(self, name: str) -> dict[str, str]:
        inflight = self._client.keys.inflight
        mark = await self._client.read(lambda redis: redis.hget(inflight, name))
        return {"state": State.SENDING, "attempts": text(mark).split(" ")[0]} if mark else {}

    async def dead_letters(
        self, after: str, count: int, until: str = "+"
    ) -> list[tuple[str, dict[str, str]]]:
        """Up to `count` dead letters behind the one with id `after` ("" for the first).

        Fewer where they are large, but none only at the end. Of one that is larger than
        `LARGEST_LETTER`, only the short facts.
        """
        return await self._letters("XRANGE", f"({after}" if after else "-", until, count)

    async def dead_letter(self, letter: str) -> dict[str, str] | None:
        """The dead letter with this id, or None; of a large one only the short facts."""
        found = await self._letters("XRANGE", letter, letter, 1)
        return found[0][1] if found else None

    async def last_letter(self) -> str:
        """Id of the dead letter that died last, or ""."""
        found = await self._letters("XREVRANGE", "+", "-", 1)
        return found[0][0] if found else ""

    async def _letters(
        self, read: str, start: str, stop: str, count: int
    ) -> list[tuple[str, dict[str, str]]]:
        request = {"read": read, "start": start, "stop": stop, "count": count}
        call = Call("letters", request | {"most_octets": LARGEST_LETTER})
        page = cast("list[tuple[bytes, list[bytes]]]", await self._client.ask(call))
        return [
            (text(letter), _texts(dict(zip(fields[::2], fields[1::2], strict=True))))
            for letter, fields in page
        ]

    async def settled_as(
        self, provider_ids: Collection[str], since_ms: int, until_ms: int
    ) -> Mapping[str, str]:
        """Ids of messages that were sent in that time, by those `provider_ids` they go by."""
        keys, after, found = self._client.keys, str(since_ms), dict[str, str]()
        while page := await self._events(after, str(until_ms)):
            after = f"({text(page[-1][0])}"
            sent = [
                text(event.get(b"id"))
                for _, event in page
                if text(event.get(b"state")) == State.SENT
            ]
            names = await self._client.fact_of_each("provider_id", list(map(keys.message, sent)))
            for message_id, name in zip(sent, names, strict=True):
                if isinstance(name, bytes) and text(name) in provider_ids:
                    found[text(name)] = message_id
        return found

    async def _events(self, start: str, stop: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
        events = self._client.keys.events
        found = await self._client.read(lambda redis: redis.xrange(events, start, stop, PAGE))
        return cast("list[tuple[bytes, dict[bytes, bytes]]]", found)

    async def letter_of(self, message_id: str) -> str:
        """Id of the dead letter that a text became, as far as its status knows, or ""."""
        key = self._client.keys.message(message_id)
        found = await self._client.read(lambda redis: redis.hget(key, "letter"))
        return text(found) if found else ""

    async def census(self) -> Census:
        """Count every text."""
        reply = cast("list[object]", await self._client.ask(Call("census")))
        names, values = map(text, reply[::2]), map(_count, reply[1::2])
        count = dict(zip(names, values, strict=True))
        moved = count.get("promoted", 0) + count.get("replayed", 0)
        return Census(
            queued=count["queued"],
            inflight=count["inflight"],
            deferred=count["deferred"],
            dead=count["dead"],
            accepted=count["added"] + count.get("scheduled", 0) - moved,
            ended={state.value: count.get(state, 0) for state in ENDED},
            adjusted=count.get(ADJUSTED, 0),
        )

    async def holder(self) -> str | None:
        """The daemon that holds the lease, or None; what is no string is no daemon."""
        key = self._client.keys.lease
        try:
            found = await self._client.read(lambda redis: redis.get(key))
        except WrongType:
            return None
        return text(found) if found else None

    async def hold(self, holder: str) -> Held | None:
        """Why `holder` holds dispatch, or None while it does not."""
        key = self._client.keys.hold
        told = _texts(await self._client.read(lambda redis: redis.hgetall(key)))
        if told.get("by") != holder:  # its lease went over to another meanwhile
            return None
        return Held(told.get("reason", ""), _count(told.get("seconds", "")))


def _count(value: object) -> int:
    """A number that was counted; 0 for what other hands wrote in its place."""
    return int(text(value)) if _COUNT.fullmatch(text(value)) else 0


def _texts(fields: Mapping[bytes | str, bytes | str] | None) -> dict[str, str]:
    return {text(name): text(value) for name, value in (fields or {}).items()}


def _told(message_id: str, facts: dict[str, str]) -> dict[str, object]:
    told: dict[str, object] = {"id": message_id, "state": facts["state"]}
    for field in LOOK_UP:
        value = field.kind.show(facts.get(field.name, ""))
        if value is not None:
            told[field.name] = value
    told["history"] = _history(message_id, facts.get("history", ""))
    return told


def _history(message_id: str, lines: str) -> list[dict[str, object]]:
    changes = [_change(line) for line in lines.split("\n") if _LINE.match(line)]
    if first := _ENTRY_ID.fullmatch(message_id):
        # Named after its first entry, whose id is the time at which it was queued.
        queued: dict[str, object] = {"state": State.QUEUED, "at": int(first[1])}
        if changes[:1] != [queued]:
            changes.insert(0, queued)
    return changes


def _change(line: str) -> dict[str, object]:
    at, state, *detail = line.split(" ", 2)
    change: dict[str, object] = {"state": state, "at": int(at)}
    if detail:
        change["detail"] = detail[0]
    return change
