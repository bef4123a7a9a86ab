"""Waiting for entries. Rule: a waiting read claims nothing, so its reply may be lost."""

from contextlib import suppress
from typing import NamedTuple, cast

from redis.asyncio import Redis
from redis.typing import KeyT, StreamIdT

from smsd.redis.client import text
from smsd.redis.errors import GroupMissing
from smsd.store.client import StoreClient
from smsd.store.keys import GROUP

PATIENCE_S = 0.5  # a blocking read is never cancelled, so it is short


class Unclaimed(NamedTuple):
    """How many entries of each stream nobody has claimed."""

    high: int
    normal: int


class Arrivals:
    """Rings when somebody has added an entry that nobody has claimed."""

    def __init__(self, client: StoreClient, reader: Redis) -> None:
        """`reader` needs a connection of its own: a blocking read occupies it."""
        self._client = client
        self._reader = reader

    async def wait(self, *, normal_too: bool, patience_s: float = PATIENCE_S) -> None:
        """Return when there is something to claim, or after `patience_s` or `PATIENCE_S`."""
        block = max(1, round(1000 * min(patience_s, PATIENCE_S)))  # 0 would be for ever
        keys = self._client.keys
        streams = [keys.high, keys.queue] if normal_too else [keys.high]
        after: dict[KeyT, StreamIdT] = {
            stream: await self._last_claimed(stream) for stream in streams
        }
        with suppress(GroupMissing):  # UNBLOCKED: the server has become another's replica
            await self._client.read(lambda _: self._reader.xread(after, count=1, block=block))

    async def unclaimed(self) -> Unclaimed:
        """Count what waits in the streams. (A group's lag is unknown once an entry is deleted.)"""
        keys = self._client.keys

        async def ask(redis: Redis) -> list[object]:
            pipeline = redis.pipeline(transaction=False)
            for stream in (keys.high, keys.queue):
                pipeline.xlen(stream)
                pipeline.xpending(stream, GROUP)
            replies = cast("list[object]", await pipeline.execute(raise_on_error=False))
            for reply in replies:
                if isinstance(reply, Exception):
                    raise reply
            return replies

        replies = await self._client.with_groups(lambda: self._client.read(ask))
        return Unclaimed(_unclaimed(*replies[:2]), _unclaimed(*replies[2:]))

    async def _last_claimed(self, stream: str) -> str:
        async def ask() -> str:
            for group in await self._client.read(lambda redis: redis.xinfo_groups(stream)):
                if text(group["name"]) == GROUP:
                    return text(group["last-delivered-id"])
            raise GroupMissing

        return await self._client.with_groups(ask)


def _unclaimed(length: object, pending: object) -> int:
    claimed = cast("dict[str, int]", pending)["pending"]
    return max(0, cast("int", length) - claimed)
