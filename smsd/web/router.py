"""The route table at work. Rule: what a row says is done before its handler is called."""

from collections.abc import Iterable
from typing import NamedTuple, cast

from aiohttp import web

from smsd.web.body import read_body
from smsd.web.route import BODY, PARAMETERS, Access, Route, Streamed
from smsd.web.upload import UPLOAD, Uploads


class Call(NamedTuple):
    """What a request asks for."""

    match: web.UrlMappingMatchInfo
    route: Route | None  # None: there is no such path, or not with this method
    access: Access


class Router:
    """Finds the route of a request, and answers by it."""

    def __init__(
        self,
        routes: Iterable[Route],
        *,
        max_body: int,
        body_timeout_s: float,
        uploads: Uploads | None = None,
    ) -> None:
        """`max_body`: octets. `uploads`: what routes with a streamed body need."""
        self._max_body = max_body
        self._body_timeout_s = body_timeout_s
        self._uploads = uploads
        self._dispatcher = web.UrlDispatcher()
        self._routes: dict[web.AbstractRoute, Route] = {}
        self._open_paths: set[str] = set()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        resource = self._dispatcher.add_resource(route.path)
        for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
            self._routes[resource.add_route(method, route.handler)] = route
        if route.access is Access.OPEN:
            self._open_paths.add(route.path)

    async def find(self, request: web.BaseRequest) -> Call:
        """What the request asks for."""
        match = await self._dispatcher.resolve(cast("web.Request", request))
        if (route := self._routes.get(match.route)) is not None:
            return Call(match, route, route.access)
        # Whoever may not call does not even learn which paths there are.
        is_open = request.path in self._open_paths
        return Call(match, None, Access.OPEN if is_open else Access.TOKEN)

    async def answer(self, request: web.BaseRequest, call: Call) -> web.StreamResponse:
        """Read what the row says, and call the handler. Raises what it or aiohttp raises."""
        route = call.route
        if route is not None and isinstance(route.body, Streamed):
            return await self._answer_streamed(request, call, route.body)
        await _continue(request, call)
        if route is not None:
            request[PARAMETERS] = call.match
            if route.body is not None:
                request[BODY] = await read_body(
                    request, most_octets=self._max_body, timeout_s=self._body_timeout_s
                )
        return await call.match.handler(cast("web.Request", request))

    async def _answer_streamed(
        self, request: web.BaseRequest, call: Call, body: Streamed
    ) -> web.StreamResponse:
        assert self._uploads is not None  # noqa: S101 - whoever has such a route hands it over
        with self._uploads.begin(request, body) as upload:
            await _continue(request, call)  # not before: what is refused need not be sent
            request[PARAMETERS] = call.match
            request[UPLOAD] = upload
            return await call.match.handler(cast("web.Request", request))


async def _continue(request: web.BaseRequest, call: Call) -> None:
    if "Expect" in request.headers:
        await call.match.expect_handler(cast("web.Request", request))  # 100 Continue
