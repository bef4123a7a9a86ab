"""Who has opted out. Rule: asked in one step for as many numbers as there are at hand."""

from collections.abc import Sequence
from typing import cast

from smsd.store.client import StoreClient


class OptOuts:
    """The numbers that get no message."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def among(self, numbers: Sequence[str]) -> frozenset[str]:
        """Those of these numbers (E.164) that have opted out."""
        if not numbers:
            return frozenset()
        key = self._client.keys.optouts
        found = await self._client.read(lambda redis: redis.smismember(key, list(numbers)))
        flags = cast("list[int]", found)
        return frozenset(one for one, out in zip(numbers, flags, strict=True) if out)
