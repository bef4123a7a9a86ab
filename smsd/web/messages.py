"""`/messages/{id}`. Rule: what was accepted can be looked up, and taken back while it waits.

A daemon has one tenant: whoever holds any of its tokens may see and take back every message, so
ids are names and not secrets (many are the times at which messages were queued). Without a token
nothing is shown, not even whether there is such a message: 401 comes before Redis is asked.
"""

from collections.abc import Sequence

from aiohttp import web

from smsd.redis.availability import within
from smsd.store.lookup import Lookup
from smsd.store.queue import Queue
from smsd.web.errors import ANSWER_S, ApiError, json_response
from smsd.web.message_models import Cancelled, MessageStatus
from smsd.web.route import PARAMETERS, Answer, Route

NOT_FOUND = "no message of this id is known; finished ones are forgotten after [queue] keep_status"


class Messages:
    """The handlers."""

    def __init__(self, queue: Queue, lookup: Lookup) -> None:
        self._queue = queue
        self._lookup = lookup

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        path = "/messages/{id}"
        return (
            Route(
                "GET",
                path,
                self.show,
                "State, fields and history of one message.",
                {200: Answer("The message.", MessageStatus)},
                refusals=(404,),
            ),
            Route(
                "DELETE",
                path,
                self.cancel,
                "Take a message back while it waits.",
                {200: Answer("The message is cancelled.", Cancelled)},
                refusals=(404, 409),
            ),
        )

    async def show(self, request: web.BaseRequest) -> web.Response:
        """`GET`: state, fields and history of one message."""
        message_id = request[PARAMETERS]["id"]
        async with within(ANSWER_S):
            found = await self._lookup.message(message_id)
            if found is None:  # or it was settled between the two reads that a look-up takes
                found = await self._lookup.message(message_id)
        if found is None:
            raise ApiError(404, "not_found", NOT_FOUND)
        return json_response(found)

    async def cancel(self, request: web.BaseRequest) -> web.Response:
        """`DELETE`: cancel it while it is queued or deferred."""
        message_id = request[PARAMETERS]["id"]
        async with within(ANSWER_S):
            state = await self._queue.cancel(message_id)
        if state == "unknown":
            raise ApiError(404, "not_found", NOT_FOUND)
        if state != "cancelled":
            reason = "is being sent" if state == "sending" else f"is {state} already"
            raise ApiError(409, "not_cancellable", f"the message {reason}")
        return json_response({"status": state, "id": message_id})
