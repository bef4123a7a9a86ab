"""The memory for request bodies. Rule: a body counts by what is held of it, and the slow give way.

A body counts from its first octet to its answer: while Redis is away, answers wait and bodies
would pile up. Where there is no memory left, the body that has been arriving for longest is given
up for one that needs it now.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from aiohttp import web

from smsd.web.errors import RETRY_AFTER_S, ApiError

BODIES = 64  # of the largest size that fit; of small ones, that many more


class Room:
    """What all bodies share."""

    def __init__(self, largest: int) -> None:
        """`largest`: octets of the largest body."""
        self._free = BODIES * largest
        self._arriving: dict[HeldBody, None] = {}  # the first has been arriving for longest

    def place(self) -> "HeldBody":
        """A place for the body of one request."""
        return HeldBody(self)

    def take(self, octets: int, place: "HeldBody") -> None:
        """Make room for more of a body. Raises `ApiError` 503 where there is none."""
        while self._free < octets:
            slowest = next(iter(self._arriving), place)
            if slowest is place:
                raise busy("too many bodies are being read")
            slowest.give_way()
        self._free -= octets

    def give_back(self, octets: int) -> None:
        """These octets are held no more."""
        self._free += octets

    def expect(self, place: "HeldBody") -> None:
        """This body is on its way."""
        self._arriving[place] = None

    def expect_no_more(self, place: "HeldBody") -> None:
        """This body has come, or never will."""
        self._arriving.pop(place, None)


class HeldBody:
    """What is held of one request's body."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._octets = 0
        self._limit: asyncio.Timeout | None = None
        self.gave_way = False

    def take(self, octets: int) -> None:
        """Hold more of it. Raises `ApiError` 503."""
        self._room.take(octets, self)
        self._octets += octets

    @contextmanager
    def arriving(self, limit: asyncio.Timeout) -> Iterator[None]:
        """While it is read; where another needs its place, `limit` ends at once."""
        self._limit = limit
        self._room.expect(self)
        try:
            yield
        finally:
            self._room.expect_no_more(self)

    def give_way(self) -> None:
        """Leave the place to another."""
        self._room.expect_no_more(self)
        self.let_go()
        if self._limit is not None and not self._limit.expired():
            self.gave_way = True
            self._limit.reschedule(asyncio.get_running_loop().time())

    def let_go(self) -> None:
        """Hold nothing any more."""
        self._room.give_back(self._octets)
        self._octets = 0


HELD = web.RequestKey("held", HeldBody)  # set for each request before its handler is called


def busy(message: str) -> ApiError:
    """Come again later; the connection is closed, since the rest of a body is on its way."""
    headers = {"Connection": "close", "Retry-After": RETRY_AFTER_S}
    return ApiError(503, "busy", message, headers=headers)
