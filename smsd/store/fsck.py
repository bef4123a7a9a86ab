"""Finding and mending faults. Rule: a script looks at one instant, and mends what it sees there.

So it is safe beside a running daemon, and without `repair` it changes nothing. What the daemon
does by itself makes none of these faults: they are what deletions by hand, a lost failover or a
restored backup leave behind.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Literal, Protocol, cast

from redis.asyncio import Redis

from smsd.redis.client import text
from smsd.redis.damage import COMMANDS
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.audiences.faults import AudienceFault, AudienceFaults
from smsd.store.campaigns.faults import CampaignFault, CampaignFaults
from smsd.store.census import Census, take_census
from smsd.store.client import StoreClient
from smsd.store.examine import KeyFault, look, renew, set_aside

STEP = 50  # what one script looks at: a quarter of a millisecond of Redis
MOST_COPIED = 200_000  # entries of a stream that is made anew: a second or two of Redis
TRIES = 5  # to book a difference that changes under our hands

Kind = Literal["key", "entry", "mark", "deferred", "status", "audience", "campaign", "counters"]

ORPHAN = "was delivered and is not pending: nobody will ever send it"
STRAY = "is marked in flight, but its entry is gone"
UNREADABLE = "is marked in flight in words that are not ours: nobody knows whether it was sent"
NO_MESSAGE = "is due, but its message is gone: it can never be sent"
NO_SENSE = "is deferred, but its message cannot be read"
NO_DUE = "has a message, but no due time: it would never be sent"
FOREIGN = "has a status that is none: other hands wrote something else there"
NO_RECORD = "is no record of an Idempotency-Key: requests with that key are refused"
NO_FINISHED = "holds no finished messages: other hands wrote something else there"
MISSING = (
    "accepted messages are in no place: entries or dead letters were deleted by other hands"
    " (XDEL, XTRIM, DEL, ZREM), or a failover lost writes"
)
SURPLUS = (
    "more messages are in known places than were accepted: a stream or smsd:counters was deleted or"
    " restored from a backup, or dead letters were added by other hands"
)


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that should not be. `remedy` is what a repair does, "" where it can do nothing."""

    kind: Kind
    name: str  # of the entry, or the message's id
    why: str
    remedy: str = ""
    mended: bool = False


class Fsck:
    """One look at everything, in bounded steps."""

    def __init__(self, client: StoreClient, *, repair: bool, pause_s: float = 0.0) -> None:
        """`pause_s`: between steps, for a look that is in no hurry."""
        self._pause_s = pause_s
        self._client = client
        self._repair = repair

    async def faults(self) -> AsyncGenerator[Fault, None]:
        """Every fault, once. The counters come last: what was mended before may have moved them."""
        looks = (
            self._keys,
            self._entries,
            self._marks,
            self._deferred,
            self._statuses,
            self._records,
            self._finished,
            self._audiences,
            self._campaigns,
            self._counters,
        )
        for part in looks:
            seen: set[str] = set()  # a SCAN may find the same thing twice
            async with aclosing(_until_unreadable(part())) as faults:
                async for fault in faults:
                    if fault.name not in seen:
                        seen.add(fault.name)
                        yield fault

    async def stuck(self) -> AsyncGenerator[Fault, None]:
        """Deferred messages that would never be sent."""
        async with aclosing(_until_unreadable(self._deferred())) as faults:
            async for fault in faults:
                yield fault

    async def _keys(self) -> AsyncGenerator[Fault, None]:
        for fault in await look(self._client, repair=self._repair):
            remedy = self._remedy_of_key(fault)
            mended = bool(remedy) and self._repair and await self._mend_key(fault)
            yield Fault("key", fault.key, fault.reason, remedy, mended)

    def _remedy_of_key(self, fault: KeyFault) -> str:
        if fault.key == self._client.keys.optouts:
            return ""  # with an empty set, messages would go to those who have opted out
        return {
            "count": "begun anew; the difference is booked",
            "ids": "made anew; its entries are kept",
            "type": "set aside under another name",
        }[fault.what]

    async def _mend_key(self, fault: KeyFault) -> bool:
        if fault.what == "count":
            return True  # the look did it
        if fault.what == "ids":
            return await renew(self._client, fault.key, most=MOST_COPIED) == "renewed"
        aside = await set_aside(self._client, fault.key)
        with suppress(Refused):  # the other stream may be at fault too
            await self._client.ensure_groups()
        return aside != ""

    async def _entries(self) -> AsyncGenerator[Fault, None]:
        for stream in "hn":
            after, through, more = "", "", True
            while more:
                request = {"stream": stream, "after": after, "count": STEP, "through": through}
                reply = await self._ask("fsck_entries", request)
                next_, orphans, last = cast("tuple[bytes, list[bytes], bytes]", reply)
                for name in orphans:
                    yield self._fault("entry", name, ORPHAN, "delivered again")
                after, through = text(next_), text(last)
                more = after != ""

    async def _marks(self) -> AsyncGenerator[Fault, None]:
        inflight = self._client.keys.inflight
        async for names in self._scan(_fields_of(inflight)):
            reply = await self._ask("fsck_marks", {"names": names})
            for name, what in cast("list[list[bytes]]", reply):
                if what == b"stray":
                    yield self._fault("mark", name, STRAY, "unmarked")
                else:
                    yield self._fault("mark", name, UNREADABLE, "in doubt; recovery settles it")

    async def _deferred(self) -> AsyncGenerator[Fault, None]:
        keys = self._client.keys
        for step in (_members_of(keys.deferred), _fields_of(keys.deferred_messages)):
            async for ids in self._scan(step):
                reply = await self._ask("fsck_deferred", {"ids": ids}, self._statuses_of(ids))
                for id_, missing, state in cast("list[list[bytes]]", reply):
                    yield self._deferred_fault(id_, text(missing), text(state))

    def _deferred_fault(self, id_: bytes, missing: str, state: str) -> Fault:
        if missing == "message":
            return self._fault("deferred", id_, NO_MESSAGE, "removed; the message is lost")
        if missing == "sense":
            return self._fault("deferred", id_, NO_SENSE, "set aside as a dead letter, invalid")
        if state == "deferred":
            return self._fault("deferred", id_, NO_DUE, "deferred again")
        known = f"its status says {state}" if state else "no status tells whether it was sent"
        remedy = "set aside as a dead letter in doubt"
        return self._fault("deferred", id_, f"{NO_DUE}; {known}", remedy)

    async def _statuses(self) -> AsyncGenerator[Fault, None]:
        prefix = self._client.keys.message("")
        async for keys in self._scan(_keys_with(prefix)):
            ids = [key.removeprefix(prefix) for key in keys]
            reply = await self._ask("fsck_statuses", {"ids": ids}, keys)
            for id_, state in cast("list[list[bytes]]", reply):
                if state == b"foreign":
                    yield self._fault("status", id_, FOREIGN, "its status removed")
                    continue
                why = f"is nowhere, though its status says {text(state)}"
                yield self._fault("status", id_, why, "marked lost")

    async def _records(self) -> AsyncGenerator[Fault, None]:
        async for keys in self._scan(_keys_with(self._client.keys.idempotency(""))):
            for key in cast("list[bytes]", await self._ask("fsck_records", {}, keys)):
                yield self._fault("key", key, NO_RECORD, "removed; nobody knows what it answered")

    async def _finished(self) -> AsyncGenerator[Fault, None]:
        async for keys in self._scan(_keys_with(self._client.keys.finished(""))):
            for key in cast("list[bytes]", await self._ask("fsck_records", {}, keys)):
                yield self._fault("key", key, NO_FINISHED, "removed")

    async def _audiences(self) -> AsyncGenerator[Fault, None]:
        look = AudienceFaults(self._client, repair=self._repair)
        async for found in look.of_records():
            yield self._audience_fault(found)
        unfinished = self._client.keys.audiences_unfinished
        async for keys in self._scan(_keys_with(self._client.keys.audience(""))):
            for found in await look.of_keys([key for key in keys if key != unfinished]):
                yield self._audience_fault(found)

    def _audience_fault(self, found: AudienceFault) -> Fault:
        return Fault("audience", found.name, found.reason, found.remedy, self._repair)

    async def _campaigns(self) -> AsyncGenerator[Fault, None]:
        look = CampaignFaults(self._client, repair=self._repair)
        async for found in look.of_lists():
            yield _campaign_fault(found)
        async for keys in self._scan(_keys_with(self._client.keys.campaign(""))):
            async for found in look.of_keys(keys):
                yield _campaign_fault(found)

    async def _counters(self) -> AsyncGenerator[Fault, None]:
        census = await take_census(self._client)
        for _ in range(TRIES):
            if census.difference == 0:
                return
            remedy = f"booked as adjusted: {census.difference:+d}"
            if not self._repair or await self._book(census):
                yield Fault("counters", *_explained(census.difference), remedy, self._repair)
                return
            census = await take_census(self._client)
        yield Fault("counters", *_explained(census.difference))

    async def _book(self, census: Census) -> bool:
        """Whether the difference is booked; not if another has booked one since the count."""
        request = {"adjusted": str(census.adjusted), "difference": census.difference}
        return await self._client.ask(Call("fsck_counters", request)) == b"booked"

    def _fault(self, kind: Kind, name: bytes, why: str, remedy: str) -> Fault:
        return Fault(kind, text(name), why, remedy, self._repair and remedy != "")

    def _statuses_of(self, ids: Sequence[str]) -> list[str]:
        return [self._client.keys.message(id_) for id_ in ids]

    async def _ask(
        self, script: str, request: Mapping[str, object], keys: Sequence[str] = ()
    ) -> object:
        request = {**request, "repair": self._repair}
        return await self._client.ask(Call(script, request, keys))

    async def _scan(self, step: "Step") -> AsyncIterator[list[str]]:
        """The names that a SCAN of some kind finds, a script's worth at a time."""
        cursor = 0
        while True:
            cursor, names = await self._client.read(partial(step, cursor=cursor))
            for at in range(0, len(names), STEP):
                await asyncio.sleep(self._pause_s)
                yield [text(name) for name in names[at : at + STEP]]
            if cursor == 0:
                return


async def _until_unreadable(
    faults: AsyncGenerator[Fault, None],
) -> AsyncGenerator[Fault, None]:
    """What a look finds before it meets a key that cannot be read; that is a fault too."""
    async with aclosing(faults):
        try:
            async for fault in faults:
                yield fault
        except Refused as error:
            if not error.key:  # it was named before
                yield Fault("key", COMMANDS, error.reason)


class Step(Protocol):
    """One step of a scan: where to go on, and what it found."""

    def __call__(self, redis: Redis, *, cursor: int) -> Awaitable[tuple[int, list[bytes]]]:
        """Go on from `cursor`, 0 at first; it is 0 again at the end."""
        ...


def _fields_of(key: str) -> Step:
    async def step(redis: Redis, *, cursor: int) -> tuple[int, list[bytes]]:
        next_, found = await redis.hscan(key, cursor, count=STEP)
        return next_, [cast("bytes", name) for name in found]

    return step


def _members_of(key: str) -> Step:
    async def step(redis: Redis, *, cursor: int) -> tuple[int, list[bytes]]:
        next_, found = await redis.zscan(key, cursor, count=STEP)
        return next_, [cast("bytes", member) for member, _ in found]

    return step


def _keys_with(prefix: str) -> Step:
    pattern = re.sub(r"([\\*?\[\]^])", r"\\\1", prefix) + "*"

    async def step(redis: Redis, *, cursor: int) -> tuple[int, list[bytes]]:
        next_, found = await redis.scan(cursor, match=pattern, count=STEP)
        return next_, [cast("bytes", key) for key in found]

    return step


def _campaign_fault(found: CampaignFault) -> Fault:
    return Fault("campaign", found.name, found.reason, found.remedy, found.mended)


def _explained(difference: int) -> tuple[str, str]:
    """How many messages, and why."""
    return str(abs(difference)), MISSING if difference > 0 else SURPLUS
