"""Audiences: named lists of contacts. Rule: readers see the old one or the new one, whole.

An audience is a record, which names a version, and the contacts of that version. An import makes a
version of its own (`staging`), and what readers do not see any more is removed in small steps.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import NamedTuple, cast

from redis.asyncio import Redis

from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.audiences.reader import TRIES, find, insist
from smsd.store.audiences.record import Audience, Contact, unpack, version_in
from smsd.store.audiences.rejects import discard_rejects, rejects_of
from smsd.store.audiences.staging import Staging, find_before
from smsd.store.client import StoreClient

MOST_IN_PAGE = 500  # contacts: 1.2 ms of Redis
UNTOUCHED_MS = 15 * 60 * 1000  # after which an import is taken for dead
CLEANED = 100  # buckets that one step removes
PAUSE_S = 0.01  # between those steps
MOST_DIGITS = 10  # of a hash value
RECORDS = 20  # that one command reads
BUSY = "is changed again and again"


_NUMBER = re.compile(r"\+?[0-9]{1,15}")


class Page(NamedTuple):
    """Some contacts, and where to go on; "" at the end."""

    contacts: list[Contact]
    cursor: str


class BadCursor(ValueError):  # noqa: N818 - a state, named as users see it
    """No page ended there."""


class Audiences:
    """All audiences. Those of the configuration are not among them."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    # -- looking ----------------------------------------------------------------------------------

    async def show(self, name: str) -> Audience | None:
        """One audience. Raises `Refused` where other hands have spoiled it."""
        found = await find(self._client, name)
        return found.audience if found else None

    async def all(self) -> list[Audience]:
        """All of them by name, without those that cannot be read (`smsd fsck` names them)."""
        found: dict[str, Audience] = {}
        cursor = 0
        while True:  # a record may have some KB: neither Redis nor we read all of them at once
            key = self._client.keys.audiences
            cursor, records = await self._client.read(partial(_scan, key, cursor))
            found |= {one.name: one for one in await self._counted(records)}
            if cursor == 0:
                return [found[name] for name in sorted(found)]

    async def _counted(self, records: Mapping[bytes, bytes]) -> list[Audience]:
        """Those that can be read, each with its number of contacts."""
        audiences = []
        for name, raw in records.items():
            with suppress(Refused):
                audiences.append(unpack(text(name), raw, self._client.keys.audiences))
        keys = [self._client.keys.audience(one.version) for one in audiences]
        counts = await self._client.field_of_each("contacts", keys) if keys else []
        return [
            replace(audience, contacts=int(count))
            for audience, count in zip(audiences, counts, strict=True)
            if isinstance(count, bytes) and count.isdigit()
        ]

    async def page(self, name: str, cursor: str = "", count: int = 100) -> Page | None:
        """Contacts from `cursor` on, about `count`; None where there is no such audience.

        Whoever follows the cursors meets each contact once that is there all the time, though
        contacts come and go meanwhile and the audience may be replaced. Raises `BadCursor`.
        """
        request = {"at": position(cursor), "most": min(count, MOST_IN_PAGE)}
        found = await self._ask_version(name, "audience_page", request)
        if found is None:
            return None
        audience, reply = found
        at, flat = cast("tuple[int, list[bytes]]", reply)
        contacts = [
            audience.contact(text(number), text(values))
            for number, values in zip(flat[::2], flat[1::2], strict=True)
        ]
        return Page(contacts, str(at) if at >= 0 else "")

    async def lookup(self, name: str, number: str) -> Contact | None:
        """One contact; None where there is none, or no such audience."""
        if not is_number(number):
            return None
        digits = number.removeprefix("+")
        found = await self._ask_version(name, "audience_look", {"number": digits})
        if found is None or not isinstance(found[1], list):
            return None
        return found[0].contact(digits, text(found[1][0]))

    def rejects(self, import_id: str) -> AsyncIterator[list[dict[str, object]]]:
        """The rows that an import rejected, some at a time; they are kept for a day."""
        return rejects_of(self._client, import_id)

    async def _ask_version(
        self, name: str, script: str, request: Mapping[str, object]
    ) -> tuple[Audience, object] | None:
        """Ask a script about the version that readers see, which may be replaced meanwhile."""
        for _ in range(TRIES):
            audience = await self.show(name)
            if audience is None:
                return None
            key = self._client.keys.audience(audience.version)
            reply = await self._client.ask(Call(script, request, [key]))
            if reply != b"gone":
                return audience, reply
        raise Refused(BUSY, self._client.keys.audiences)

    # -- changing ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def begin(self, name: str, *, replace: bool) -> AsyncIterator[Staging]:
        """An import: it replaces the audience, or adds to it. What is not committed is given up."""
        before = await find_before(self._client, name, replace=replace)
        staging = Staging(self._client, name, before, replace=replace)
        keeping = asyncio.create_task(staging.keep())
        try:
            yield staging
        finally:
            keeping.cancel()
            await staging.abandon()

    async def discard(self, name: str, number: str) -> bool:
        """Take one contact out; whether it was there."""
        keys, was_there = self._client.keys, False
        for _ in range(TRIES):
            audience = await self.show(name)
            if audience is None or await self.lookup(name, number) is None:
                return was_there  # perhaps it was we, and the reply was lost
            was_there = True
            request = {
                "name": name,
                "version": audience.version,
                "revision": audience.revision,
                "number": number.removeprefix("+"),
            }
            places = [keys.audiences, keys.audience(audience.version)]
            reply = await insist(self._client, Call("audience_discard", request, places))
            if reply != b"changed":
                return True
        raise Refused(BUSY, keys.audiences)

    async def remove(self, name: str) -> bool:
        """Remove an audience; whether it was there."""
        keys = self._client.keys
        raw = await self._client.read(lambda redis: redis.hget(keys.audiences, name))
        if raw is None:
            return False
        request = {"name": name, "version": version_in(cast("bytes", raw))}
        places = [keys.audiences, keys.audiences_unfinished]
        # Whoever was first: the audience that was there is not there any more.
        await insist(self._client, Call("audience_remove", request, places))
        with suppress(Refused):
            await discard_rejects(self._client, unpack(name, cast("bytes", raw), keys.audiences))
        return True

    # -- cleaning ---------------------------------------------------------------------------------

    async def clean(self) -> None:
        """Remove what no reader sees and no import needs, step by step, until nothing is left."""
        keys = self._client.keys
        before = self._client.now_ms() - UNTOUCHED_MS
        due = await self._client.read(
            lambda redis: redis.zrangebyscore(keys.audiences_unfinished, "-inf", before)
        )
        for version in map(text, cast("list[bytes]", due)):
            request = {"version": version, "before": before, "most": CLEANED}
            places = [keys.audiences, keys.audiences_unfinished, keys.audience(version)]
            places.append(keys.campaign(version))
            call = Call("audience_clean", request, places)
            while await self._client.ask(call) == b"more":  # noqa: ASYNC110 - it is a step of ours
                await asyncio.sleep(PAUSE_S)


async def _scan(key: str, cursor: int, redis: Redis) -> tuple[int, dict[bytes, bytes]]:
    return cast("tuple[int, dict[bytes, bytes]]", await redis.hscan(key, cursor, count=RECORDS))


def is_number(number: str) -> bool:
    """Whether it may be one: 15 digits at most."""
    return _NUMBER.fullmatch(number) is not None


def position(cursor: str) -> int:
    """The hash value that a page's cursor names. Raises `BadCursor`."""
    if cursor and not (cursor.isascii() and cursor.isdigit() and len(cursor) <= MOST_DIGITS):
        raise BadCursor(cursor)
    return int(cursor or 0)
