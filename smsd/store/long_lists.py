"""Long lists. Rule: accepted whole in one short step, then queued in parts, by whoever comes next.

A script that queues 10,000 messages holds Redis for 35 ms, scheduled ones for 130 ms, and the marks
of what is to be sent wait behind it. So such a list is kept first, all of it or nothing; that is
its acceptance. Each part is then queued and taken out of what is kept in one step, which may be
repeated. Should the daemon die in between, the one that dispatches queues the rest.
"""

import asyncio
import logging
import secrets
from collections.abc import Mapping, Sequence
from typing import TypedDict, cast

import orjson

from smsd.redis.client import text
from smsd.redis.errors import Away, RedisError
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient

log = logging.getLogger("smsd.queue")
PART, SCHEDULED_PART = 1000, 100  # recipients that one script queues: 1 to 4 ms of Redis
REMEMBERED = 10_000  # lists
LEFT_BEHIND_MS = 10_000  # longer than any caller is made to wait


class Unfinished(Exception):  # noqa: N818 - a state, named as users see it
    """The list is accepted; its messages are queued later, under ids that nobody knows yet."""


class Head(TypedDict):
    """What is known of a list beside its parts."""

    parts: int
    scheduled: bool
    key: str  # of its idempotency record; "" for none


def part_of(*, scheduled: bool) -> int:
    """How many recipients one script queues; a list of more is a long one."""
    return SCHEDULED_PART if scheduled else PART


class LongLists:
    """Lists between their acceptance and the queue."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._parts = asyncio.Lock()
        self._queued: dict[str, int] = {}  # by list: the last part of it that was queued

    def staged(self, request: Mapping[str, object], key: str) -> dict[str, object]:
        """What `append` is to keep in place of a request of many recipients."""
        recipients = cast("Sequence[str]", request["recipients"])
        scheduled = cast("Sequence[str]", request.get("scheduled", ()))
        common = {
            name: request[name]
            for name in ("stream", "fields", "due", "look_up")
            if name in request
        }
        parts = []
        most = part_of(scheduled=bool(scheduled))
        for at in range(0, len(recipients), most):
            part = common | {"recipients": recipients[at : at + most]}
            if scheduled:
                part["scheduled"] = scheduled[at : at + most]
            parts.append(orjson.dumps(part).decode())
        head = Head(parts=len(parts), scheduled=bool(scheduled), key=key)
        return {
            "list": f"{self._client.now_ms()}-{secrets.token_hex(8)}",
            "head": orjson.dumps(head).decode(),
            "parts": parts,
        }

    async def finish(self, name: str, *, again: bool = False) -> list[str]:
        """Queue what is left of a list; the ids of all its messages. Raises `Unfinished`.

        `again`: into older data, too.
        """
        head = await self._head(name)
        if head is None:  # another daemon finished it
            raise Unfinished
        ids: list[str] = []
        for part in range(1, head["parts"] + 1):
            keys = [self._client.keys.staged, *await self._statuses(name, part, head)]
            call = Call("append_part", {"list": name, "part": part, "again": again}, keys)
            async with self._parts:  # those of several lists would hold Redis one after the other
                queued = text(await self._client.insist(call))
            if not queued:  # and forgotten, by another daemon or a repetition of the request
                raise Unfinished
            self._remember(name, part)
            ids += queued.split(",")
        keys = [self._client.keys.staged, *([head["key"]] if head["key"] else [])]
        await self._client.insist(Call("append_end", {"list": name, "parts": head["parts"]}, keys))
        return ids

    def _remember(self, name: str, part: int) -> None:
        self._queued[name] = part
        if len(self._queued) > REMEMBERED:
            del self._queued[next(iter(self._queued))]

    async def queue_again(self) -> int:
        """Queue again what older data keeps though it was queued; how many lists cannot be.

        Scheduled messages have the same ids again, so that they can be settled again. The others
        have not: those that were sent would be sent once more.
        """
        others = 0
        for name in await self._queued_before():
            try:
                others += not await self._queue_scheduled_again(name)
            except (Unfinished, ValueError, TypeError, KeyError):  # other hands wrote there
                others += 1
        return others

    async def _queue_scheduled_again(self, name: str) -> bool:
        head = await self._head(name)
        if head is None or not head["scheduled"]:
            return False
        await self.finish(name, again=True)
        return True

    async def _queued_before(self) -> list[str]:
        staged = self._client.keys.staged
        fields = set(map(text, await self._client.read(lambda redis: redis.hkeys(staged))))
        return [name for name, part in self._queued.items() if f"{name}:{part}" in fields]

    async def finish_left_behind(self) -> None:
        """Queue what is left of all lists that nobody can be working on any more."""
        staged = self._client.keys.staged
        if not await self._client.read(lambda redis: redis.hlen(staged)):
            return
        names = [text(name) for name in await self._client.read(lambda redis: redis.hkeys(staged))]
        too_young = self._client.now_ms() - LEFT_BEHIND_MS
        for name in names:
            began = name.partition("-")[0]
            if ":" not in name and began.isdecimal() and int(began) < too_young:
                await self._finish_left_behind(name)

    async def _finish_left_behind(self, name: str) -> None:
        try:
            ids = await self.finish(name)
        except Unfinished:
            return
        except (ValueError, TypeError, KeyError):  # other hands wrote there
            log.exception("a long list cannot be read", extra={"list": name[:64]})
        except Away:
            raise
        except RedisError:
            log.exception("a long list cannot be queued", extra={"list": name[:64]})
        else:
            log.warning("a long list was left behind", extra={"messages": len(ids)})

    async def _head(self, name: str) -> Head | None:
        staged = self._client.keys.staged
        packed = await self._client.read(lambda redis: redis.hget(staged, name))
        return None if packed is None else cast("Head", orjson.loads(packed))

    async def _statuses(self, name: str, part: int, head: Head) -> list[str]:
        if not head["scheduled"]:
            return []
        staged = self._client.keys.staged
        packed = await self._client.read(lambda redis: redis.hget(staged, f"{name}:{part}"))
        if packed is None:  # queued already
            return []
        return [self._client.keys.message(id_) for id_ in orjson.loads(packed)["scheduled"]]
