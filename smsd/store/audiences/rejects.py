"""Rows that the last import rejected. Rule: kept for a day, compressed, up to a limit.

They are written part by part while the import runs, and are removed by Redis when the day is over,
whatever becomes of the import.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from functools import partial
from typing import cast

import orjson
from redis.asyncio import Redis

from smsd.redis.availability import persevere
from smsd.redis.errors import RedisError, Refused
from smsd.redis.scripts import as_json
from smsd.store.audiences.record import Audience
from smsd.store.client import StoreClient

KEPT_MS = 24 * 3600 * 1000
MOST_OCTETS = 64_000_000  # of one import, before they are compressed
PART = 250_000  # octets that are compressed together
FAST = 1  # level of zlib
PATIENCE_S = 10.0


class RejectsGone(Exception):  # noqa: N818 - a state, named as users see it
    """The rejected rows were removed while they were read."""


class Rejects:
    """The rejected rows of one import, each a JSON object."""

    def __init__(self, client: StoreClient, import_id: str) -> None:
        self._client = client
        self._key = client.keys.audience_rejects(import_id)
        self._lines: list[bytes] = []
        self._waiting = 0  # octets of them
        self._octets = 0
        self._parts = 0
        self.dropped = 0  # rows beyond the limit

    async def add(self, rows: Sequence[object]) -> None:
        """Keep rows; those beyond the limit are dropped."""
        for row in rows:
            line = as_json(row)
            if self.dropped or self._octets + len(line) > MOST_OCTETS:
                self.dropped += 1
                continue
            self._octets += len(line)
            self._waiting += len(line)
            self._lines.append(line)
            if self._waiting >= PART:
                await self.flush()

    async def flush(self) -> None:
        """Write what is not written yet."""
        if not self._lines:
            return
        lines, self._lines, self._waiting = self._lines, [], 0
        self._parts += 1
        packed = await asyncio.to_thread(_compressed, lines)
        await persevere(lambda: self._write(str(self._parts), packed), patience_s=PATIENCE_S)

    async def _write(self, part: str, packed: bytes) -> None:
        async def write(redis: Redis) -> None:
            pipeline = redis.pipeline(transaction=True)
            pipeline.hset(self._key, part, packed)
            pipeline.pexpire(self._key, KEPT_MS)
            await pipeline.execute()

        await self._client.read(write, wrote=True)

    async def refresh(self, import_id: str) -> None:
        """Keep them in place of those of an import of the same file, for a day from now."""
        await self.flush()
        if self._parts:
            old, new = self._client.keys.audience_rejects(import_id), self._key
            with suppress(RedisError):  # then its own stay until their day is over
                await self._client.read(lambda redis: redis.rename(new, old), wrote=True)

    async def discard(self) -> None:
        """Remove what was written."""
        if self._parts:
            await self._client.read(lambda redis: redis.unlink(self._key))


async def discard_rejects(client: StoreClient, audience: Audience | None) -> None:
    """Remove what is kept of the last import, which is the last no more."""
    if audience is not None and audience.imports:
        key = client.keys.audience_rejects(audience.imports[0].id)
        with suppress(RedisError):  # or the day ends
            await client.read(lambda redis: redis.unlink(key))


async def rejects_of(client: StoreClient, import_id: str) -> AsyncIterator[list[dict[str, object]]]:
    """The rows that were kept of an import, some at a time; none when the day is over.

    Raises `RejectsGone` where they go meanwhile: some of them are not all.
    """
    key = client.keys.audience_rejects(import_id)
    for part in range(1, await client.read(lambda redis: redis.hlen(key)) + 1):
        packed = await client.read(partial(_part, key, part))
        if packed is None and part > 1:
            raise RejectsGone("their day is over, or another import came")
        if packed is None:
            return
        try:
            rows = await asyncio.to_thread(_rows, packed)
        except (zlib.error, ValueError) as error:
            raise Refused("holds no rejected rows", key) from error
        yield rows


async def _part(key: str, part: int, redis: Redis) -> bytes | None:
    return cast("bytes | None", await redis.hget(key, str(part)))


def _compressed(lines: list[bytes]) -> bytes:
    return zlib.compress(b"\n".join(lines), FAST)


def _rows(packed: bytes) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in zlib.decompress(packed).split(b"\n")]
