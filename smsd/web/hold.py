"""`/hold` and `/release`. Rule: a person stops dispatch and lets it go on, on record."""

from aiohttp import web

from smsd.core.fields import FieldError
from smsd.redis.availability import within
from smsd.store.operator_hold import OperatorHold
from smsd.web.body import read_body, read_object
from smsd.web.errors import ANSWER_S, json_response


class HoldCalls:
    """The handlers."""

    def __init__(self, operator: OperatorHold, *, max_body: int, body_timeout_s: float) -> None:
        self._operator = operator
        self._max_body = max_body
        self._body_timeout_s = body_timeout_s

    async def hold(self, request: web.Request) -> web.Response:
        """`POST /hold`: nothing is sent from within a second until a release."""
        body = read_object(
            await read_body(request, most_octets=self._max_body, timeout_s=self._body_timeout_s)
        )
        if unknown := body.keys() - {"reason"}:
            raise FieldError(min(unknown), "is no known field; known is reason")
        reason = body.get("reason")
        if not isinstance(reason, str):
            raise FieldError("reason", "must be a string that says why dispatch is held")
        async with within(ANSWER_S):
            await self._operator.hold(reason, _caller(request))
        return json_response({"status": "held"})

    async def release(self, request: web.Request) -> web.Response:
        """`POST /release`: end every hold, also one for the provider's sake."""
        async with within(ANSWER_S):
            await self._operator.release(_caller(request))
        return json_response({"status": "released"})


def _caller(request: web.Request) -> str:
    return f"HTTP from {request.remote or 'a socket'}"
