"""Faults of audiences. Rule: each is named, and mended where no contact is lost by it.

Other hands may have written anything at any key, and a server that lost its last writes may have
kept a part of a version.
"""

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple, cast

from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.audiences import Audiences
from smsd.store.audiences.record import Audience
from smsd.store.client import StoreClient

COUNTED = 500  # buckets that one script counts: a quarter of a millisecond of Redis


class AudienceFault(NamedTuple):
    """What is wrong with an audience, or with a key of one, and what a repair does."""

    name: str
    reason: str
    remedy: str


class AudienceFaults:
    """One look at all audiences, in bounded steps."""

    def __init__(self, client: StoreClient, *, repair: bool) -> None:
        self._client = client
        self._keys = client.keys
        self._repair = repair
        self._audiences = Audiences(client)

    async def of_records(self) -> AsyncIterator[AudienceFault]:
        """Audiences that cannot be read, and those whose number of contacts is wrong."""
        key = self._keys.audiences
        for name in map(text, await self._client.read(lambda redis: redis.hkeys(key))):
            try:
                audience = await self._audiences.show(name)
                reason = await self._miscounted(audience) if audience else ""
            except Refused as error:
                if self._repair:
                    await self._audiences.remove(name)
                yield AudienceFault(name, str(error), "removed; import it again")
                continue
            if reason:
                yield AudienceFault(name, reason, "counted again")

    async def of_keys(self, keys: Sequence[str]) -> list[AudienceFault]:
        """Those among these that belong to no audience or campaign, or are of a wrong type."""
        versions = [key.removeprefix(self._keys.audience("")).partition(":")[0] for key in keys]
        places = [self._keys.audiences, self._keys.audiences_unfinished]
        for version, key in zip(versions, keys, strict=True):
            places += (self._keys.audience(version), self._keys.campaign(version), key)
        request = {"versions": versions, "repair": self._repair}
        found = await self._client.ask(Call("fsck_audiences", request, places))
        reasons = {
            b"left": ("belongs to no audience and no campaign: it was left behind", "removed"),
            b"foreign": ("holds no contacts: other hands wrote there", "removed"),
        }
        return [
            AudienceFault(text(key), *reasons[what])
            for key, what in cast("list[tuple[bytes, bytes]]", found)
        ]

    async def _miscounted(self, audience: Audience) -> str:
        """Why the number of its contacts is wrong; "" if it is not, or changes meanwhile."""
        at = counted = 0
        while at >= 0:
            request = {"at": at, "most": COUNTED, "counted": counted, "repair": self._repair}
            request["revision"] = audience.revision
            key = self._keys.audience(audience.version)
            reply = await self._client.ask(Call("fsck_contacts", request, [key]))
            if reply == b"gone":
                return ""
            found, at, revision, number = cast("list[int]", reply)
            if revision != audience.revision:
                return ""
            counted += found
            if at < 0 and counted != number:
                return f"has {counted} contacts, and counts {number}"
        return ""
