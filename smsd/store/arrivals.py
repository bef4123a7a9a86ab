"""Waiting for entries. Rule: a waiting read claims nothing, so its reply may be lost."""

from contextlib import suppress

from redis.asyncio import Redis
from redis.typing import KeyT, StreamIdT

from smsd.redis.client import text
from smsd.redis.errors import GroupMissing
from smsd.store.client import StoreClient
from smsd.store.keys import GROUP

PATIENCE_S = 0.5  # a blocking read is never cancelled, so it is short


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

    async def _last_claimed(self, stream: str) -> str:
        async def ask() -> str:
            for group in await self._client.read(lambda redis: redis.xinfo_groups(stream)):
                if text(group["name"]) == GROUP:
                    return text(group["last-delivered-id"])
            raise GroupMissing

        return await self._client.with_groups(ask)
