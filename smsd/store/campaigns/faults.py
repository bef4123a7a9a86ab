"""Faults of campaigns. Rule: each is named, and mended where nothing is lost by it.

What became of a recipient is its value among the recipients; the counts are made of those. A
record that cannot be read is left as it is: without it nobody knows whose the messages are.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import NamedTuple, cast

from redis.asyncio import Redis

from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.campaigns import reader
from smsd.store.campaigns.record import DEAD
from smsd.store.client import StoreClient

COUNTED = 50  # buckets that one script counts: a millisecond of Redis
TOGETHER = 50  # campaigns that one script looks at
TRIES = 5  # to count recipients while none of them changes
_ID = re.compile(r"c[0-9a-z]{1,13}")
_HELD = re.compile(r"(c[0-9a-z]{1,13}):held")

ABSENT = "is listed, and is not there"
UNLISTED = "is not listed where it should be: it would not be found, or nothing of it be sent"
GONE = "has lost its recipients, by other hands or a failover"
FOREIGN = "is no key of a campaign: other hands wrote there"
HELD = "holds messages of a campaign that is not there"
REMEDIES = {
    b"unlisted": (UNLISTED, "listed"),
    b"gone": (GONE, "those that were not settled are lost, and it is cancelled"),
}


class CampaignFault(NamedTuple):
    """What is wrong with a campaign, or with a key of one, and what a repair does."""

    name: str
    reason: str
    remedy: str = ""
    mended: bool = False


class CampaignFaults:
    """One look at all campaigns, in bounded steps."""

    def __init__(self, client: StoreClient, *, repair: bool) -> None:
        keys = client.keys
        self._client = client
        self._keys = keys
        self._repair = repair
        self._lists = [keys.campaigns, keys.campaign_names, keys.campaigns_active]

    async def of_lists(self) -> AsyncIterator[CampaignFault]:
        """Campaigns that are listed, and are not there."""
        junk, listed = await self._client.read(self._listed)
        for name in junk:
            yield CampaignFault(text(name), ABSENT, "listed no more", self._repair)
        if junk and self._repair:
            await self._client.read(lambda redis: self._remove(redis, junk))
        ids = sorted(listed)
        for at in range(0, len(ids), TOGETHER):
            some = ids[at : at + TOGETHER]
            names = [listed[id_] for id_ in some]
            keys = [*self._lists, *map(self._keys.campaign, some)]
            request = {"ids": some, "names": names, "repair": self._repair}
            found = await self._client.ask(Call("fsck_listed", request, keys))
            for id_ in cast("list[bytes]", found):
                yield CampaignFault(text(id_), ABSENT, "listed no more", self._repair)

    async def of_keys(self, keys: Sequence[str]) -> AsyncIterator[CampaignFault]:
        """Faults of the campaigns that have these keys, and those of the keys."""
        readable = []
        for name in (key.removeprefix(self._keys.campaign("")) for key in keys):
            miscounted = await self._miscounted(name) if _ID.fullmatch(name) else None
            if miscounted:
                yield miscounted
            if reason := await self._reason(name):
                yield CampaignFault(name, reason)
            elif _ID.fullmatch(name):
                readable.append(name)
        async for fault in self._of_records(readable):
            yield fault

    async def _listed(self, redis: Redis) -> tuple[list[bytes], Mapping[str, str]]:
        """What can be no campaign, as it is listed; and ids, each with the name for it."""
        index, names, active = self._lists
        ids_listed = [*await redis.zrange(index, 0, -1), *await redis.smembers(active)]
        found = dict.fromkeys(cast("list[bytes]", ids_listed), b"")
        junk = [one for one in found if not _is_id(one)]
        named = cast("Mapping[bytes, bytes]", await redis.hgetall(names))
        for name, id_ in named.items():
            if _is_id(id_) and name == text(name).encode():
                found[id_] = name
            else:
                junk.append(name)
        ids = {text(id_): text(name) for id_, name in found.items() if _is_id(id_)}
        return junk, ids

    async def _remove(self, redis: Redis, junk: Sequence[bytes]) -> None:
        index, names, active = self._lists
        await redis.zrem(index, *junk)
        await redis.srem(active, *junk)
        await redis.hdel(names, *junk)

    async def _reason(self, name: str) -> str:
        """Why a key cannot be used, or has no use."""
        if held := _HELD.fullmatch(name):
            record = self._keys.campaign(held[1])
            return "" if await self._client.read(lambda redis: redis.exists(record)) else HELD
        if not _ID.fullmatch(name):
            return FOREIGN
        try:
            await reader.look(self._client, [name])
        except Refused as error:
            return str(error)
        return ""

    async def _of_records(self, ids: Sequence[str]) -> AsyncIterator[CampaignFault]:
        if not ids:
            return
        keys = list(self._lists)
        for id_ in ids:
            keys += (self._keys.campaign(id_), self._keys.audience(id_))
        request = {"ids": ids, "repair": self._repair}
        found = await self._client.ask(Call("fsck_campaigns", request, keys))
        for id_raw, what in cast("list[tuple[bytes, bytes]]", found):
            reason, remedy = REMEDIES[what]
            yield CampaignFault(text(id_raw), reason, remedy, self._repair)

    # -- counts -----------------------------------------------------------------------------------

    async def _miscounted(self, id_: str) -> CampaignFault | None:
        """Counts that are not what the recipients are: looked at again, since they may change."""
        before = None
        for _ in range(TRIES):
            try:
                found = await self._counted(id_)
            except Refused as error:
                return CampaignFault(id_, str(error))
            if found is None or found.is_right:
                return None
            if before == found and found.at_rest:
                return await self._mended(id_, found)
            before = found
        if before is None or before.total == before.real_total:
            return None  # a recipient changed while it was looked at
        return CampaignFault(id_, before.fault, "counted again, once it rests")

    async def _mended(self, id_: str, found: "Counted") -> CampaignFault:
        mended = False
        if self._repair:
            request = {"was": found.counts, "counts": found.real}
            call = Call("fsck_recount", request, [self._keys.campaign(id_)])
            mended = await self._client.ask(call) == b"counted"
        return CampaignFault(id_, found.fault, "counted again", mended)

    async def _counted(self, id_: str) -> "Counted | None":
        """None where there are no recipients, or no campaign any more."""
        keys = [self._keys.campaign(id_), self._keys.audience(id_)]
        real, at, before = Counter[str](), 0, None
        at_rest = True
        while at >= 0:
            call = Call("fsck_recipients", {"at": at, "most": COUNTED}, keys)
            reply = await self._client.ask(call)
            if reply == b"gone":
                return None
            found, at, counted = cast("tuple[list[bytes | int], int, list[bytes]]", reply)
            pairs = zip(found[::2], found[1::2], strict=True)
            real.update({text(field): int(many) for field, many in pairs})
            at_rest = at_rest and before in (None, counted)
            before = counted
        counts = list(map(text, before or ()))
        return Counted(real, dict(zip(counts[::2], counts[1::2], strict=True)), at_rest=at_rest)


class Counted(NamedTuple):
    """Recipients by the fields that count them: as they are, and as they are counted."""

    real: Mapping[str, int]
    counts: Mapping[str, str]  # other hands may have written anything
    at_rest: bool  # nothing was counted anew meanwhile

    @property
    def is_right(self) -> bool:
        """Whether they are counted as they are."""
        return self.real == {field: many for field, many in self._numbers.items() if many}

    @property
    def real_total(self) -> int:
        """How many there are."""
        return _total(self.real)

    @property
    def total(self) -> int:
        """How many are counted."""
        return _total(self._numbers)

    @property
    def fault(self) -> str:
        """What is wrong with the counts."""
        if self.total == self.real_total:
            return "counts its recipients in other states than they are in"
        return f"has {self.real_total} recipients, and counts {self.total}"

    @property
    def _numbers(self) -> Mapping[str, int]:
        """What is no number counts as -1: no recipients are so many."""
        return {field: int(many) if many.isdecimal() else -1 for field, many in self.counts.items()}


def _is_id(raw: bytes) -> bool:
    return _ID.fullmatch(text(raw)) is not None


def _total(counts: Mapping[str, int]) -> int:
    return sum(many for field, many in counts.items() if not field.startswith(DEAD))
