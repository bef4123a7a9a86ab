"""`/messages/{id}`. Rule: what was accepted can be looked up, and taken back while it waits.

A daemon has one tenant: whoever holds any of its tokens may see and take back every text, so ids
are names and not secrets (many are the times at which texts were queued). Without a token nothing
is told, not even whether there is such a text: 401 comes before Redis is asked.
"""

from aiohttp import web

from smsd.redis.availability import within
from smsd.store.lookup import Lookup
from smsd.store.queue import Queue
from smsd.web.errors import ANSWER_S, ApiError, json_response

NOT_FOUND = "no text of this id is known; finished ones are forgotten after [queue] keep_status"


class Messages:
    """The handlers."""

    def __init__(self, queue: Queue, lookup: Lookup) -> None:
        self._queue = queue
        self._lookup = lookup

    async def show(self, request: web.Request) -> web.Response:
        """`GET`: state, facts and history of one text."""
        message_id = request.match_info["id"]
        async with within(ANSWER_S):
            found = await self._lookup.message(message_id)
            if found is None:  # or it was settled between the two reads that a look-up takes
                found = await self._lookup.message(message_id)
        if found is None:
            raise ApiError(404, "not_found", NOT_FOUND)
        return json_response(found)

    async def cancel(self, request: web.Request) -> web.Response:
        """`DELETE`: cancel it while it is queued or deferred."""
        message_id = request.match_info["id"]
        async with within(ANSWER_S):
            state = await self._queue.cancel(message_id)
        if state == "unknown":
            raise ApiError(404, "not_found", NOT_FOUND)
        if state != "cancelled":
            said = "is being sent" if state == "sending" else f"is {state} already"
            raise ApiError(409, "not_cancellable", f"the text {said}")
        return json_response({"status": state, "id": message_id})
