"""Group commit. Rule: calls of the same moment share one round trip, and so one fsync.

The first calls leave at once; those that come while they are under way leave together when they
return. So nobody waits for a timer, and the busier it is the cheaper each call gets.

How long a call waits in line is looked at when the next group leaves: a timer for each would cost
as much as all the rest of it.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Full(Exception):  # noqa: N818 - a state, named as users see it
    """More calls are waiting than may, or for longer. This one was not made."""


class GroupCommit(Generic[Request, Reply]):
    """Collects requests and hands them to `execute`, which answers each or raises for all."""

    def __init__(
        self,
        execute: Callable[[Sequence[Request]], Awaitable[Sequence[Reply | Exception]]],
        *,
        most_together: int,
        most_waiting: int,
        longest_wait_s: float = math.inf,
        weigh: Callable[[Request], int] = lambda _: 1,
        outlives_caller: bool = False,
    ) -> None:
        """To be built in the loop that it works in.

        `most_together` bounds the weight of a group: nothing else runs in Redis meanwhile.

        `longest_wait_s`: who has been in line for longer when a group leaves is refused.
        `outlives_caller`: a request in line is made though who made it has gone.
        """
        self._loop = asyncio.get_running_loop()  # once: before Python 3.12 it is a system call
        self._execute = execute
        self._weigh = weigh
        self._most_together = most_together
        self._most_waiting = most_waiting
        self._longest_wait_s = longest_wait_s
        self._outlives_caller = outlives_caller
        # Each with its answer, and since when it waits.
        self._waiting: deque[tuple[Request, asyncio.Future[Reply], float]] = deque()
        self._working: asyncio.Task[None] | None = None

    def __call__(self, request: Request) -> asyncio.Future[Reply]:
        """The reply to `request`, which is in line from now on, awaited or not.

        It raises `Full`, the request's own error, or that of its group.
        """
        answer: asyncio.Future[Reply] = self._loop.create_future()
        if len(self._waiting) >= self._most_waiting:
            answer.set_exception(Full())
            return answer
        self._waiting.append((request, answer, self._loop.time()))
        if self._working is None:
            self._working = self._loop.create_task(self._work())
        return answer

    async def _work(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(0)  # whoever comes in this turn of the loop comes along
                if group := self._next_group():
                    await self._commit(group)
        finally:
            self._working = None

    def _next_group(self) -> list[tuple[Request, asyncio.Future[Reply]]]:
        group: list[tuple[Request, asyncio.Future[Reply]]] = []
        weight = 0
        too_long_ago = self._loop.time() - self._longest_wait_s
        while self._waiting:
            request, answer, since = self._waiting[0]
            if since < too_long_ago and not answer.done():
                answer.set_exception(Full())
            if self._outlives_caller or not answer.done():  # or its caller has gone
                weight += self._weigh(request)
                if group and weight > self._most_together:
                    break
                group.append((request, answer))
            self._waiting.popleft()
        return group

    async def _commit(self, group: list[tuple[Request, asyncio.Future[Reply]]]) -> None:
        replies: Sequence[Reply | Exception]
        try:
            replies = await self._replies([request for request, _ in group])
        except Exception as error:  # noqa: BLE001 - it is theirs: each caller gets it
            replies = [error] * len(group)
        except asyncio.CancelledError:
            for _, answer in group:
                answer.cancel()
            raise
        for (_, answer), reply in zip(group, replies, strict=True):
            if answer.done():
                continue  # its caller has gone
            if isinstance(reply, Exception):
                answer.set_exception(reply)
            else:
                answer.set_result(reply)

    async def _replies(self, requests: Sequence[Request]) -> Sequence[Reply | Exception]:
        replies = await self._execute(requests)
        if len(replies) != len(requests):
            raise RuntimeError(f"{len(replies)} replies to {len(requests)} requests")
        return replies
