"""A version of an audience that no reader sees yet. Rule: each batch counts once.

A batch has a number, and is answered as before when it is repeated since its reply was lost.
"""

import secrets
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from smsd.redis.scripts import Call
from smsd.store.audiences.reader import MOST_FACTOR, Found, insist
from smsd.store.client import StoreClient

MERGED = 200  # contacts that one call brings over: 1.3 ms of Redis


class StagingLost(Exception):  # noqa: N818 - a state, named as users see it
    """Redis has lost what was staged, or removed it. Nothing was imported."""


class AudienceChanged(Exception):  # noqa: N818 - a state, named as users see it
    """The audience was changed while an import was adding to it. Nothing was imported."""


class Merged(NamedTuple):
    """Contacts that the version before had, too."""

    changed: int
    same: int


class NewVersion:
    """One version, from its first contact until it is committed or given up."""

    def __init__(
        self, client: StoreClient, id_: str, name: str, base: Found | None, *, merges: bool
    ) -> None:
        """`base`: the version that it is to replace. `merges`: it gets all contacts of that."""
        self.id = id_
        self.begun = False
        self.batch = 0  # number of the last
        self.contacts = 0
        self.duplicates = 0
        self._client = client
        self._name = name
        self._base = base
        self._buckets = base.buckets if base and merges else 1
        self.keys = [client.keys.audiences_unfinished, client.keys.audience(id_)]

    async def stage(self, contacts: Sequence[str]) -> None:
        """Add contacts, packed as `Rows` does."""
        if not self.begun:
            await self.begin()
        new, again = map(int, await self.step("audience_stage", {"contacts": contacts}, self.keys))
        self.contacts += new
        self.duplicates += again

    async def merge(self, base: Found, kept: Sequence[int]) -> Merged:
        """Bring over the contacts of `base`, step by step; `kept` as in `Rows`.

        Raises `AudienceChanged` where it has been removed.
        """
        keys = [*self.keys, self._client.keys.audience(base.audience.version)]
        request = {"most": MERGED, "kept": kept}
        all_changed = all_same = at = 0
        while at >= 0:
            reply = await self.step("audience_merge", {**request, "at": at}, keys)
            changed, same, at = map(int, reply)
            all_changed += changed
            all_same += same
        return Merged(all_changed, all_same)

    async def touch(self, *, abandoned: bool = False) -> None:
        """Show that it is still wanted, or not any more."""
        if self.begun:
            request = {"version": self.id, "abandoned": abandoned}
            await self._client.ask(Call("audience_touch", request, self.keys[:1]))

    async def begin(self) -> None:
        """Let it be there, without a contact."""
        # Factors stay the same from version to version: a reader's cursor stays valid.
        high, low = self._base.factors if self._base else (_factor(), _factor())
        factors = {"high": high, "low": low}
        request = {"version": self.id, "name": self._name, "buckets": self._buckets, **factors}
        self.begun = True  # its reply may be lost
        await insist(self._client, Call("audience_begin", request, self.keys))

    async def step(
        self, script: str, request: Mapping[str, object], keys: Sequence[str]
    ) -> Sequence[int | bytes]:
        """Run a script that brings contacts in. Raises `AudienceChanged`, `StagingLost`."""
        self.batch += 1
        numbered = {**request, "version": self.id, "batch": self.batch}
        reply = await insist(self._client, Call(script, numbered, keys))
        if reply == b"gone":
            raise StagingLost
        if reply == b"changed":
            raise AudienceChanged
        return cast("Sequence[int | bytes]", reply)


def _factor() -> int:
    return 1 + secrets.randbelow(MOST_FACTOR)
