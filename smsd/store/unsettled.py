"""What is claimed and not settled. Rule: recovery finds all of it, whatever others did to it."""

import logging
from collections.abc import Awaitable, Callable
from typing import cast

from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.entry import LAST_ID, STREAMS, Attempt, Stream
from smsd.store.keys import GROUP

log = logging.getLogger("smsd.queue")
PAGE = 100  # entries that are read at a time
LOOKED_AT = 50  # entries that one script looks at: a quarter of a millisecond of Redis


class Unsettled:
    """Reads and repairs the group's pending entries, and the in-flight records."""

    def __init__(self, client: StoreClient, *, settle_all: Callable[[], Awaitable[None]]) -> None:
        """`settle_all` returns when what stands in line to be settled is."""
        self._client = client
        self._settle_all = settle_all

    async def pending(self, *streams: Stream) -> list[str]:
        """Names of all entries that are claimed and not settled, of some streams or of both.

        Those of a stream come oldest first.
        """
        names: list[str] = []
        for stream in streams or STREAMS:
            names += await self._pending_in(stream)
        return names

    async def _pending_in(self, stream: Stream) -> list[str]:
        keys = self._client.keys
        key = keys.high if stream == "h" else keys.queue
        names: list[str] = []
        start = "-"
        while start:
            page = await self._pending_page(key, start)
            names += [stream + id_ for id_ in page]
            more = len(page) == PAGE and page[-1] != LAST_ID
            start = f"({page[-1]}" if more else ""
        return names

    async def _pending_page(self, stream: str, start: str) -> list[str]:
        rows = await self._client.with_groups(
            lambda: self._client.read(
                lambda redis: redis.xpending_range(stream, GROUP, min=start, max="+", count=PAGE)
            )
        )
        return [text(row["message_id"]) for row in rows]

    async def deliver_again(self, stream: Stream) -> list[str]:
        """Have entries claimed again that were delivered and are not pending; the first of them.

        Nobody would ever send them: somebody deleted the consumer or moved the group (XGROUP), or
        acknowledged them (XACK). Those that are known are delivered again with them.
        """
        after, more = "", True
        while more:
            request = {
                "stream": stream,
                "after": after,
                "count": LOOKED_AT,
                "through": "",
                "repair": True,
            }
            reply = await self._client.with_groups(
                lambda request=request: self._client.insist(Call("fsck_entries", request))  # type: ignore[misc]
            )
            next_, lost, _ = cast("tuple[bytes, list[bytes], bytes]", reply)
            if lost:
                return list(map(text, lost))
            after = text(next_)
            more = after != ""
        return []

    async def in_flight(self) -> dict[str, Attempt]:
        """Every send that has been begun and not settled, by entry name.

        What stands in line to be settled is settled first: its caller may have gone.
        A record that cannot be read is replaced: what settles it must be able to name it.
        """
        await self._settle_all()
        marks = await self._marks()
        unreadable = [name for name, attempt in marks.items() if attempt is None]
        for at in range(0, len(unreadable), PAGE):
            request = {"names": unreadable[at : at + PAGE], "repair": True}
            await self._client.insist(Call("fsck_marks", request))
        if unreadable:
            log.error("unreadable in-flight records", extra={"entries": len(unreadable)})
            marks = await self._marks()
        return {name: attempt for name, attempt in marks.items() if attempt is not None}

    async def _marks(self) -> dict[str, Attempt | None]:
        inflight = self._client.keys.inflight
        found = await self._client.read(lambda redis: redis.hgetall(inflight))
        marks = cast("dict[bytes, bytes]", found)
        return {text(name): Attempt.read(mark) for name, mark in marks.items()}
