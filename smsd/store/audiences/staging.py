"""One import. Rule: readers see nothing of it before it is complete, and then all of it.

The contacts go into a version of their own. An import that adds to an audience then brings the
audience's own contacts into that version. Last of all the record names it. A short import that
adds takes no version: it is one call.
"""

import asyncio
import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace as replaced
from typing import NamedTuple, cast

from smsd.redis.errors import RedisError, Refused
from smsd.redis.scripts import Call
from smsd.store.audiences.reader import Found, find, insist
from smsd.store.audiences.record import (
    MOST_IMPORTS,
    Audience,
    Counts,
    Import,
    Source,
    pack,
    pack_around_counts,
)
from smsd.store.audiences.rejects import Rejects, discard_rejects
from smsd.store.audiences.rows import PAIR, Rows
from smsd.store.audiences.version import AudienceChanged, NewVersion, StagingLost
from smsd.store.client import StoreClient

BATCH = 250  # contacts in one call: 1.5 ms of Redis
IN_PLACE = 150  # contacts that are added in one call to what readers see: 1.4 ms of Redis
MOST_OCTETS = 40_000  # of the contacts in one call, where some of them are large
TOUCH_S = 60.0  # between signs of life of an import whose caller is slow
TRIES = 5  # to replace a record that changes under our hands


class Imported(NamedTuple):
    """What an import led to."""

    audience: Audience
    counts: Counts
    unchanged: bool = False  # the same file was imported last: nothing was done


class Before(NamedTuple):
    """What there is of an audience when an import begins."""

    audience: Found | None
    readable: bool = True


async def find_before(client: StoreClient, name: str, *, replace: bool) -> Before:
    """The audience as it is. One that cannot be read can be replaced all the same."""
    try:
        return Before(await find(client, name))
    except Refused:
        if not replace:
            raise
        return Before(None, readable=False)


class Staging:
    """An import under way. `Audiences.begin` makes it, and gives up what is not committed."""

    def __init__(self, client: StoreClient, name: str, before: Before, *, replace: bool) -> None:
        self.id = f"{client.now_ms()}-{secrets.token_hex(6)}"
        self._client = client
        self._name = name
        self._before = before
        self._base = before.audience
        self._replace = replace
        self._rejects = Rejects(client, self.id)
        self._given: Sequence[str] = ()
        self._rows = self._rows_now()
        self._waiting: list[Sequence[str]] = []
        self._is_short = self._base is not None and not replace  # one call can add all there is
        self._version = NewVersion(client, self.id, name, self._base, merges=not replace)
        self._committed = False

    def set_fields(self, fields: Sequence[str]) -> None:
        """The fields of the rows that follow: all that were set before, and perhaps more."""
        self._given = fields
        self._rows.set_fields(fields)

    async def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Add rows: each a number and its values, in the order of the fields.

        A later row with the same number replaces the one before it. Raises `StagingLost`, and what
        Redis raises: `Away`, `OutOfMemory`, `Refused`.
        """
        self._waiting += rows
        if self._is_short and self._fits_one_call():
            return
        self._is_short = False
        while len(self._waiting) >= BATCH:
            batch, self._waiting = self._waiting[:BATCH], self._waiting[BATCH:]
            await self._stage(batch)

    async def reject(self, rows: Sequence[object]) -> None:
        """Keep rows that were rejected: what JSON writes as objects, as `Audiences.rejects` returns
        them.
        """
        await self._rejects.add(rows)

    @property
    def rejects_dropped(self) -> int:
        """Rejected rows that are not kept: there were too many."""
        return self._rejects.dropped

    async def commit(self, source: Source) -> Imported:
        """Let readers see the import. Raises as `add` does, and `AudienceChanged`.

        Where the same file was imported last, in the same way, and the audience has not changed
        since, nothing is done.
        """
        if (same := await self._imported_before(source)) is not None:
            await self._rejects.refresh(same.imports[0].id)
            return Imported(same, Counts(), unchanged=True)
        await self._rejects.flush()
        if self._is_short:
            imported = await self._add_in_place(source)
        else:
            imported = await self._commit_version(source)
        self._committed = True
        await discard_rejects(self._client, self._base.audience if self._base else None)
        return imported

    async def abandon(self) -> None:
        """Give up what was not committed. It is removed later, whether Redis hears this or not."""
        if not self._committed:
            with suppress(RedisError):
                await self._rejects.discard()
                await self._version.touch(abandoned=True)

    async def keep(self) -> None:
        """Show now and then that the import is under way, until cancelled."""
        while True:
            await asyncio.sleep(TOUCH_S)
            with suppress(RedisError):
                await self._version.touch()

    async def _imported_before(self, source: Source) -> Audience | None:
        """The audience, if it is what the same import has led to."""
        if self._base is None or not self._is_result(self._base.audience, source):
            return None
        now = await find_before(self._client, self._name, replace=self._replace)
        return self._base.audience if now == self._before else None

    def _is_result(self, audience: Audience, source: Source) -> bool:
        if not audience.imports:
            return False
        last = audience.imports[0]
        same = last.source[:2] == source[:2] and last.replaced == self._replace
        return same and last.revision == audience.revision

    def _fits_one_call(self) -> bool:
        if len(self._waiting) > IN_PLACE:
            return False
        return sum(len(value) for row in self._waiting for value in row) <= MOST_OCTETS

    async def _look_again(self) -> None:
        self._before = await find_before(self._client, self._name, replace=self._replace)
        self._base = self._before.audience
        if not self._replace:
            self._rows = self._rows_now()

    def _rows_now(self) -> Rows:
        rows = Rows(() if self._replace or self._base is None else self._base.audience.fields)
        rows.set_fields(self._given)
        return rows

    def _next_record(self, source: Source, counts: Counts, *, version: str) -> Audience:
        now, before = self._client.now_ms(), self._base.audience if self._base else None
        this = Import(self.id, now, self._replace, source, counts, revision=0)
        earlier = before.imports[: MOST_IMPORTS - 1] if before else ()
        return Audience(
            name=self._name,
            version=version,
            fields=self._rows.fields,
            created=before.created if before else now,
            updated=now,
            imports=(this, *earlier),
        )

    # -- in a version of its own ------------------------------------------------------------------

    async def _stage(self, rows: Sequence[Sequence[str]]) -> None:
        waiting = [self._rows.pack(rows)]
        while waiting:
            packed = waiting.pop()
            if len(packed) > PAIR and sum(map(len, packed)) > MOST_OCTETS:
                middle = len(packed) // (2 * PAIR) * PAIR
                waiting += (packed[middle:], packed[:middle])
            else:
                await self._version.stage(packed)

    async def _commit_version(self, source: Source) -> Imported:
        if self._waiting or not self._version.begun:
            waiting, self._waiting = self._waiting, []
            await self._stage(waiting)
        counts, merged_with = Counts(self._version.contacts), None
        if self._base is not None and not self._replace:
            merged_with = self._base
            merged = await self._version.merge(merged_with, self._rows.kept)
            counts = Counts(counts.added - sum(merged), *merged)
        counts = counts._replace(duplicates=self._version.duplicates)
        for _ in range(TRIES):
            audience = self._next_record(source, counts, version=self.id)
            reply = await insist(self._client, self._commit_call(audience, merged_with))
            if reply == b"gone":
                raise StagingLost
            if reply != b"changed":
                [contacts] = cast("list[int]", reply)
                return Imported(replaced(audience, contacts=contacts), counts)
            if not self._replace:
                break
            await self._look_again()  # another import came first: this one replaces that
        raise AudienceChanged

    def _commit_call(self, audience: Audience, merged_with: Found | None) -> Call:
        keys = [self._client.keys.audiences, *self._version.keys]
        request: dict[str, object] = {
            "name": self._name,
            "version": self.id,
            "batch": self._version.batch,
            "record": pack(audience).decode(),
        }
        if self._before.readable:
            request["was"] = self._base.record if self._base else ""
        if merged_with is not None:
            request["revision"] = merged_with.audience.revision
            keys.append(self._client.keys.audience(merged_with.audience.version))
        return Call("audience_commit", request, keys)

    # -- in one call ------------------------------------------------------------------------------

    async def _add_in_place(self, source: Source) -> Imported:
        contacts = {row[0]: row for row in self._waiting}
        counts = Counts(duplicates=len(self._waiting) - len(contacts))
        for _ in range(TRIES):
            if (base := self._base) is None:  # it was removed meanwhile
                break
            audience = self._next_record(source, counts, version=base.audience.version)
            packed = self._rows.pack(contacts.values())
            reply = await insist(self._client, self._add_call(audience, base, packed))
            if isinstance(reply, list):
                return _added(audience, base, counts, cast("list[int]", reply))
            await self._look_again()
        raise AudienceChanged

    def _add_call(self, audience: Audience, base: Found, contacts: Sequence[str]) -> Call:
        keys = self._client.keys
        request = {
            "name": self._name,
            "import": self.id,
            "was": base.record,
            "record": pack_around_counts(audience),
            "contacts": contacts,
            "kept": self._rows.kept,
        }
        return Call("audience_add", request, [keys.audiences, keys.audience(audience.version)])


def _added(audience: Audience, base: Found, counts: Counts, reply: Sequence[int]) -> Imported:
    added, updated, unchanged, revision = reply
    counts = Counts(added, updated, unchanged, counts.duplicates)
    latest = audience.imports[0]._replace(counts=counts, revision=revision)
    audience = replaced(
        audience,
        imports=(latest, *audience.imports[1:]),
        contacts=base.audience.contacts + added,
        revision=revision,
    )
    return Imported(audience, counts)
