"""Health, metrics and the contract. Rule: they tell what is, and touch nothing."""

from collections.abc import Callable, Mapping
from importlib import resources

from aiohttp import web

from smsd.metrics import Metrics
from smsd.web.errors import json_response

PROMETHEUS = "text/plain; version=0.0.4"


class Operations:
    """The handlers."""

    def __init__(self, metrics: Metrics, readiness: Callable[[], Mapping[str, object]]) -> None:
        """`readiness`: `ready` and what it rests on."""
        self._metrics = metrics
        self._readiness = readiness
        self._contract = resources.files("smsd.web").joinpath("openapi.json").read_bytes()

    async def healthz(self, _: web.Request) -> web.Response:
        """The process serves requests."""
        return json_response({"status": "ok"})

    async def readyz(self, _: web.Request) -> web.Response:
        """200 when texts are taken in and sent out (or a standby does so elsewhere), else 503."""
        told = self._readiness()
        return json_response(told, status=200 if told["ready"] else 503)

    async def metrics(self, _: web.Request) -> web.Response:
        """Prometheus."""
        response = web.Response(body=self._metrics.render())
        response.headers["Content-Type"] = f"{PROMETHEUS}; charset=utf-8"
        return response

    async def openapi(self, _: web.Request) -> web.Response:
        """The contract of this interface."""
        return web.Response(body=self._contract, content_type="application/json")
