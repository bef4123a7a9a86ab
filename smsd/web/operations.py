"""Health, metrics and the contract. Rule: they tell what is, and touch nothing."""

from collections.abc import Callable, Mapping
from importlib import resources

from aiohttp import web

from smsd.metrics import Metrics
from smsd.web.errors import json_response

PROMETHEUS = "text/plain; version=0.0.4"


class Operations:
    """The handlers."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        intake: Callable[[], Mapping[str, object]],
        dispatch: Callable[[], Mapping[str, object]],
        is_known: Callable[[web.Request], bool],
    ) -> None:
        """`intake`, `dispatch`: whether each is `ready`, and what that rests on.

        `is_known`: whether a caller may see what it rests on.
        """
        self._metrics = metrics
        self._intake = intake
        self._dispatch = dispatch
        self._is_known = is_known
        self._contract = resources.files("smsd.web").joinpath("openapi.json").read_bytes()

    async def healthz(self, _: web.Request) -> web.Response:
        """The process serves requests."""
        return json_response({"status": "ok"})

    async def readyz(self, request: web.Request) -> web.Response:
        """200 while this daemon takes messages in, else 503."""
        return self._readiness(request, self._intake())

    async def readyz_dispatch(self, request: web.Request) -> web.Response:
        """200 while this daemon sends, or another does and this one stands by; else 503."""
        return self._readiness(request, self._dispatch())

    def _readiness(self, request: web.Request, readiness: Mapping[str, object]) -> web.Response:
        ready = readiness["ready"]
        # A stranger does not learn where Redis is, or who we are.
        content = readiness if self._is_known(request) else {"ready": ready}
        return json_response(content, status=200 if ready else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus."""
        response = web.Response(body=self._metrics.render())
        response.headers["Content-Type"] = f"{PROMETHEUS}; charset=utf-8"
        return response

    async def openapi(self, _: web.Request) -> web.Response:
        """The contract of this interface."""
        return web.Response(body=self._contract, content_type="application/json")
