"""Around every request. Rule: they begin a few at a time, and their bodies share one bound."""

import asyncio
from collections import deque
from typing import cast

from aiohttp import web

from smsd.web.connection import Connection
from smsd.web.errors import RETRY_AFTER_S, ApiError, Handler, answer_to

AT_ONCE = 16  # requests that begin in one turn of the loop, so that no flood holds up the pace
BODIES = 64  # of the largest size that may be in memory at once; of small ones, that many more
CLOSE = {"Connection": "close"}
CONTINUE = "100-continue"


class Guard:
    """Stands around an application's handler.

    It lets requests begin in the order they came, a few each turn of the loop, and refuses a body
    for which there is no memory left at this moment. A body counts from its headers to its answer:
    while Redis is away, answers wait and bodies would pile up. One that does not say its size, or
    is compressed, counts as the largest.

    It tells the connection where its request begins and ends, and answers what a handler raises.
    """

    def __init__(self, handler: Handler, max_body: int) -> None:
        self._handler = handler
        self._largest = max_body
        self._room = BODIES * max_body
        self._turns = _Turns()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        """The answer to a request, whatever happens."""
        octets = _octets(request, self._largest)
        connection = cast("Connection", request.protocol)
        self._room -= octets
        try:
            self._check(request, whole=connection.began(request))
            if (turn := self._turns.next()) is not None:
                await turn
            return await self._handler(request)
        except Exception as error:  # noqa: BLE001 - the border: nothing escapes it unanswered
            return answer_to(error)
        finally:
            self._room += octets
            connection.ended(request)

    def _check(self, request: web.Request, *, whole: bool) -> None:
        if not whole:
            raise ApiError(400, "invalid_body", "the body ends early", headers=CLOSE)
        if self._room < 0:
            raise _busy()
        if "Expect" in request.headers and request.headers["Expect"].lower() != CONTINUE:
            raise _expects_too_much()


def _busy() -> ApiError:
    return ApiError(
        503,
        "busy",
        "too many bodies are being read",
        headers=CLOSE | {"Retry-After": RETRY_AFTER_S},
    )


def _expects_too_much() -> ApiError:
    # aiohttp would repeat what was said, and break if that is not Unicode.
    return ApiError(417, "expectation_failed", f"only {CONTINUE} can be expected", headers=CLOSE)


class _Turns:
    def __init__(self) -> None:
        self._free = AT_ONCE
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._ticking = False

    def next(self) -> "asyncio.Future[None] | None":
        """What to wait for before a request may begin, if it must wait."""
        if not self._ticking:
            self._ticking = True
            asyncio.get_running_loop().call_soon(self._tick)
        if self._free:
            self._free -= 1
            return None
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        return turn

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
    """What a body takes of the memory there is for bodies."""
    body = request.content
    if body.is_eof():  # it came along with the headers
        return min(body.total_bytes, most)
    stated = None if "Content-Encoding" in request.headers else request.content_length
    return most if stated is None else min(stated, most)
