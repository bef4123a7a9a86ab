"""An application's errors, answered as smsd answers them, for tests without the rest of it."""

from aiohttp import web
from aiohttp.typedefs import Handler

from smsd.web.errors import answer_to


@web.middleware
async def errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nothing that a handler raises escape unanswered."""
    try:
        return await handler(request)
    except Exception as error:  # noqa: BLE001 - what it is, is what the tests look at
        return answer_to(error)
