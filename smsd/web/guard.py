"""Before a handler runs. Rule: requests begin a few at a time, and their bodies share one bound."""

import asyncio
from collections import deque

from aiohttp import web
from aiohttp.typedefs import Middleware

from smsd.web.connection import Connection
from smsd.web.errors import RETRY_AFTER_S, ApiError, Handler

AT_ONCE = 8  # requests that begin in one turn of the loop, so that no flood holds up the pace
BODIES = 64  # of the largest size that may be in memory at once; of small ones, that many more
CLOSE = {"Connection": "close"}


def guard(max_body: int) -> Middleware:
    """A middleware that lets requests begin in the order they came, a few each turn of the loop.

    It refuses a body for which there is no memory left at this moment. A body counts from its
    headers to its answer: while Redis is away, answers wait and bodies would pile up. One that does
    not say its size, or is compressed, counts as the largest.

    It also tells the connection where its request begins and ends.
    """
    turns = _Turns()
    most, held = BODIES * max_body, 0

    @web.middleware
    async def admit(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal held
        octets = _octets(request, max_body)
        connection = request.protocol
        if not isinstance(connection, Connection):  # a test's own server
            return await handler(request)
        whole = connection.began(request)
        held += octets
        try:
            if not whole:
                raise ApiError(400, "invalid_body", "the body ends early", headers=CLOSE)
            if held > most:
                raise _busy()
            await turns.wait()
            return await handler(request)
        finally:
            held -= octets
            connection.ended(request)

    return admit


def _busy() -> ApiError:
    return ApiError(
        503,
        "busy",
        "too many bodies are being read",
        headers=CLOSE | {"Retry-After": RETRY_AFTER_S},
    )


class _Turns:
    def __init__(self) -> None:
        self._free = AT_ONCE
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ticking = False

    async def wait(self) -> None:
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._tick)
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        await turn

    def _tick(self) -> None:
        """Once a turn of the loop, while there are requests."""
        self._free = AT_ONCE
        while self._waiting and self._free:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self._free -= 1
        self._ticking = self._free < AT_ONCE
        if self._ticking:
            asyncio.get_running_loop().call_soon(self._tick)


def _octets(request: web.Request, most: int) -> int:
    if not request.body_exists:
        return 0
    stated = None if "Content-Encoding" in request.headers else request.content_length
    return most if stated is None else min(stated, most)
