"""`/hold` and `/release`. Rule: a person stops dispatch and lets it go on, on record."""

from collections.abc import Sequence
from typing import Literal

from aiohttp import web
from pydantic import Field

from smsd.core.fields import FieldError
from smsd.redis.availability import within
from smsd.store.operator_hold import OperatorHold
from smsd.web.auth import caller
from smsd.web.body import read_object
from smsd.web.errors import ANSWER_S, json_response
from smsd.web.models import Strict
from smsd.web.route import BODY, Answer, Route

DONE = "It is done, and acts within a second."


class HoldRequest(Strict):
    """Why nothing is to be sent."""

    reason: str = Field(
        min_length=1,
        max_length=200,
        pattern=r"\S",
        description="Why; shown by `smsd status` and kept in the log.",
    )


class Held(Strict):
    """Dispatch is held."""

    status: Literal["held"]


class Released(Strict):
    """No hold is left."""

    status: Literal["released"]


class HoldCalls:
    """The handlers."""

    def __init__(self, operator: OperatorHold) -> None:
        self._operator = operator

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        return (
            Route(
                "POST",
                "/hold",
                self.hold,
                "Send nothing until a release, through restarts.",
                {200: Answer(DONE, Held)},
                body=HoldRequest,
            ),
            Route(
                "POST",
                "/release",
                self.release,
                "End every hold, also one for the provider's sake.",
                {200: Answer(DONE, Released)},
            ),
        )

    async def hold(self, request: web.BaseRequest) -> web.Response:
        """`POST /hold`: nothing is sent from within a second until a release."""
        body = read_object(request[BODY])
        if unknown := body.keys() - {"reason"}:
            raise FieldError(min(unknown), "is no known field; known is reason")
        reason = body.get("reason")
        if not isinstance(reason, str):
            raise FieldError("reason", "must be a string that says why dispatch is held")
        async with within(ANSWER_S):
            await self._operator.hold(reason, caller(request))
        return json_response({"status": "held"})

    async def release(self, request: web.BaseRequest) -> web.Response:
        """`POST /release`: end every hold, also one for the provider's sake."""
        async with within(ANSWER_S):
            await self._operator.release(caller(request))
        return json_response({"status": "released"})
