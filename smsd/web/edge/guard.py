"""Around every request. Rule: who calls is known before anything of the body is waited for.

Requests begin a few at a time, and their bodies share one bound.
"""

from typing import cast

from aiohttp import web

from smsd.web.auth import Callers
from smsd.web.edge.body_memory import HELD, BodyMemory
from smsd.web.edge.connection import Connection
from smsd.web.edge.turns import Turns
from smsd.web.errors import ApiError, answer_to, drop_tracebacks
from smsd.web.router import Router

CLOSE = {"Connection": "close"}
CONTINUE = "100-continue"


class Guard:
    """The handler of every request, which aiohttp's low-level server calls.

    It lets requests begin in the order they came, a few each turn of the loop, refuses whoever may
    not call, and gives each body its part of the memory. It shows the connection where its request
    begins and ends, and answers what a handler raises.

    An answer closes the connection where something of the body is still to come: reading that, to
    find where the next request begins, costs more than a new connection.
    """

    def __init__(
        self, router: Router, *, callers: Callers, memory: BodyMemory, turns: Turns
    ) -> None:
        self._router = router
        self._callers = callers
        self._memory = memory
        self._turns = turns

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The answer to a request, whatever happens."""
        connection = cast("Connection", request.protocol)
        whole = connection.began(request)
        held = request[HELD] = self._memory.body()
        try:
            answer = await self._answer(request, connection, whole=whole)
        finally:
            held.release()
            connection.ended(request)
        if not request.content.is_eof():
            answer.force_close()
            connection.drop_rest(request)
        return answer

    async def _answer(
        self, request: web.BaseRequest, connection: Connection, *, whole: bool
    ) -> web.StreamResponse:
        try:
            if not connection.take_turn() and (turn := self._turns.wait()) is not None:
                await turn
            call = await self._router.find(request)
            if self._callers.check(request, call.access):
                connection.set_known()
            _check(request, whole=whole)
            return await self._router.answer(request, call)
        except Exception as error:  # noqa: BLE001 - the border: nothing escapes it unanswered
            answer = answer_to(error)
            drop_tracebacks(error)
            return answer


def _check(request: web.BaseRequest, *, whole: bool) -> None:
    if not whole:
        raise ApiError(400, "invalid_body", "the body ends early", headers=CLOSE)
    if "Expect" in request.headers and request.headers["Expect"].lower() != CONTINUE:
        # aiohttp would repeat what was asked for, and break if that is not Unicode.
        raise ApiError(417, "expectation_failed", f"only {CONTINUE} can be expected", headers=CLOSE)
