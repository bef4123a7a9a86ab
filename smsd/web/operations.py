"""Health and metrics. Rule: these calls show the state of the daemon, and change nothing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from aiohttp import web
from pydantic import BaseModel

from smsd.metrics import Metrics
from smsd.web.errors import json_response
from smsd.web.models import Strict
from smsd.web.route import TEXT, Access, Answer, Route

PROMETHEUS = "text/plain; version=0.0.4"


class Healthy(Strict):
    """The process serves requests."""

    status: Literal["ok"]


class RedisReady(BaseModel):
    """Whether Redis answers."""

    up: bool
    reason: str


class Ready(BaseModel):
    """Without a token, where one is asked for, only `ready`."""

    ready: bool
    reason: str | None = None
    redis: RedisReady | None = None
    damage: dict[str, str] | None = None
    stopping: bool | None = None


class DispatchReady(BaseModel):
    """Without a token, where one is asked for, only `ready`."""

    ready: bool
    reason: str | None = None
    role: Literal["active", "standby"] | None = None
    lease_holder: str | None = None
    this_daemon: str | None = None
    held: str | None = None
    damage: dict[str, str] | None = None
    stopping: bool | None = None


class Operations:
    """The handlers."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        intake: Callable[[], Mapping[str, object]],
        dispatch: Callable[[], Mapping[str, object]],
        is_known: Callable[[web.BaseRequest], bool],
    ) -> None:
        """`intake`, `dispatch`: whether each is `ready`, and for what reasons.

        `is_known`: whether a caller may see the reasons.
        """
        self._metrics = metrics
        self._intake = intake
        self._dispatch = dispatch
        self._is_known = is_known

    def routes(self) -> Sequence[Route]:
        """The rows of these calls."""
        return (
            Route(
                "GET",
                "/healthz",
                self.healthz,
                "The process serves requests.",
                {200: Answer("It does.", Healthy)},
                access=Access.OPEN,
            ),
            Route(
                "GET",
                "/readyz",
                self.readyz,
                "Whether this daemon takes messages in; for load balancers.",
                {200: Answer("It does.", Ready), 503: Answer("It does not.", Ready)},
                access=Access.OPEN,
            ),
            Route(
                "GET",
                "/readyz/dispatch",
                self.readyz_dispatch,
                "Whether messages are sent, by this daemon or while it stands by for another;"
                " for alarms.",
                {
                    200: Answer("They are.", DispatchReady),
                    503: Answer("They are not.", DispatchReady),
                },
                access=Access.OPEN,
                operation_id="readyzDispatch",
            ),
            Route(
                "GET",
                "/metrics",
                self.metrics,
                "Metrics for Prometheus.",
                {200: Answer("The text format of Prometheus.", media_type=TEXT)},
            ),
        )

    async def healthz(self, _: web.BaseRequest) -> web.Response:
        """The process serves requests."""
        return json_response({"status": "ok"})

    async def readyz(self, request: web.BaseRequest) -> web.Response:
        """200 while this daemon takes messages in, else 503."""
        return self._readiness(request, self._intake())

    async def readyz_dispatch(self, request: web.BaseRequest) -> web.Response:
        """200 while this daemon sends, or another does and this one stands by; else 503."""
        return self._readiness(request, self._dispatch())

    def _readiness(self, request: web.BaseRequest, readiness: Mapping[str, object]) -> web.Response:
        ready = readiness["ready"]
        # An unknown caller does not learn where Redis is, or which daemon this is.
        content = readiness if self._is_known(request) else {"ready": ready}
        return json_response(content, status=200 if ready else 503)

    async def metrics(self, _: web.BaseRequest) -> web.Response:
        """Prometheus."""
        response = web.Response(body=self._metrics.render())
        response.headers["Content-Type"] = f"{PROMETHEUS}; charset=utf-8"
        return response
