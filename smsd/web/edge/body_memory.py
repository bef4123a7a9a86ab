"""The memory for request bodies. Rule: all bodies share one bound, and the slowest gives way.

A body counts by the octets of it that are held, from the first one to its answer: while Redis is
away, answers wait and bodies would pile up. Where no memory is left, the body that has been
arriving for longest is given up for one that needs it now.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from smsd.web.errors import RETRY_AFTER_S, ApiError

BODIES = 64  # of the largest size that fit; of small ones, that many more


class BodyMemory:
    """What all bodies share."""

    def __init__(self, largest: int) -> None:
        """`largest`: octets of the largest body."""
        self._free = BODIES * largest
        self._arriving: dict[HeldBody, None] = {}  # the first has been arriving for longest

    def body(self) -> "HeldBody":
        """The body of one request, of which nothing is held yet."""
        return HeldBody(self)

    def reserve(self, octets: int, body: "HeldBody") -> None:
        """Take memory for more of a body. Raises `ApiError` 503 where there is none."""
        while self._free < octets:
            slowest = next(iter(self._arriving), body)
            if slowest is body:
                raise busy("too many bodies are being read")
            slowest.give_way()
        self._free -= octets

    def release(self, octets: int) -> None:
        """Give memory back."""
        self._free += octets

    def arrival_began(self, body: "HeldBody") -> None:
        """This body is on its way."""
        self._arriving[body] = None

    def arrival_ended(self, body: "HeldBody") -> None:
        """This body is whole, or what is left of it is not waited for."""
        self._arriving.pop(body, None)


class HeldBody:
    """What is held of one request's body."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self._octets = 0
        self._limit: asyncio.Timeout | None = None
        self.gave_way = False

    def reserve(self, octets: int) -> None:
        """Hold more of it. Raises `ApiError` 503."""
        self._memory.reserve(octets, self)
        self._octets += octets

    @contextmanager
    def arriving(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While it is read; where another body needs its memory, `limit` ends at once."""
        self._limit = limit
        self._memory.arrival_began(self)
        try:
            yield
        finally:
            self._limit = None  # it knows the task, and so keeps the request with this body
            self._memory.arrival_ended(self)

    def give_way(self) -> None:
        """Leave the memory to another body."""
        self._memory.arrival_ended(self)
        self.release()
        if self._limit is not None and not self._limit.expired():
            self.gave_way = True
            self._limit.reschedule(asyncio.get_running_loop().time())

    def release(self) -> None:
        """Hold nothing any more."""
        self._memory.release(self._octets)
        self._octets = 0


HELD = web.RequestKey("held", HeldBody)  # set for each request before its handler is called


def busy(message: str) -> ApiError:
    """Nothing is wrong with the request. Its connection is closed: the rest of it is on its way."""
    headers = {"Connection": "close", "Retry-After": RETRY_AFTER_S}
    return ApiError(503, "busy", message, headers=headers)
