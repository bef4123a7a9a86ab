"""Intake as the daemon holds it. Rule: while it restarts, no caller is refused that need not be.

Sockets that systemd holds are used, and stay open without the daemon; its own close when it stops.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from typing import cast

from aiohttp import web

from smsd import systemd
from smsd.config import Settings, is_loopback
from smsd.core.message import Limits
from smsd.daemon.clocks import now_ms
from smsd.daemon.errors import StartError
from smsd.daemon.readiness import Readiness
from smsd.daemon.storage import Storage
from smsd.metrics import Metrics
from smsd.web import routes
from smsd.web.audience_contacts import ContactCalls
from smsd.web.audience_import import AudienceImport
from smsd.web.audience_names import AudienceNames
from smsd.web.audiences import AudienceCalls
from smsd.web.auth import Callers
from smsd.web.campaign_plan import Planner
from smsd.web.campaign_progress import Progress
from smsd.web.campaign_recipients import RecipientCalls
from smsd.web.campaign_retry import RetryCall
from smsd.web.campaign_start import CampaignStart
from smsd.web.campaign_view import CampaignView, Price
from smsd.web.campaigns import CampaignCalls
from smsd.web.dead_letters import DeadLetterCalls
from smsd.web.edge.body_memory import BodyMemory
from smsd.web.edge.guard import Guard
from smsd.web.edge.listener import Listener, room_for
from smsd.web.edge.turns import Turns
from smsd.web.hold import HoldCalls
from smsd.web.messages import Messages
from smsd.web.operations import Operations
from smsd.web.router import Router
from smsd.web.send import Send, SendLimits
from smsd.web.upload import UploadLimits, Uploads

log = logging.getLogger("smsd.intake")
LAST_REQUESTS_S = 0.1  # for the requests of callers who connected just before the sockets closed
GRACE_S = 5.0  # beyond the time that a body may take


class Intake:
    """The HTTP side of the daemon."""

    def __init__(
        self,
        settings: Settings,
        limits: Limits,
        storage: Storage,
        metrics: Metrics,
        readiness: Readiness,
        *,
        rate: Callable[[], float],
    ) -> None:
        """`rate`: segments per second, as it is set by now."""
        self._settings = settings
        self._rate = rate
        http = settings.http
        self.progress = Progress(
            storage.store.campaigns,
            queue_length=storage.store.queue_length,
            rate=rate,
            clock=asyncio.get_running_loop().time,
            now_ms=now_ms,
        )
        self._callers = Callers([token.get_secret_value() for token in http.tokens], http.hosts)
        self._uploads = _uploads(settings)
        self._router = Router(
            routes.join(self._features(limits, storage, metrics, readiness)),
            max_body=http.max_body,
            body_timeout_s=http.body_timeout,
            uploads=self._uploads,
        )
        self._runner: web.ServerRunner | None = None
        self._listener: Listener | None = None

    async def open(self) -> None:
        """Listen. Raises `StartError`."""
        settings, http = self._settings, self._settings.http
        turns = Turns(asyncio.get_running_loop().time)
        memory = BodyMemory(http.max_body)
        guard = Guard(self._router, callers=self._callers, memory=memory, turns=turns)
        server = web.Server(guard)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        self._listener = Listener(
            server,
            turns=turns,
            max_connections=room_for(http.max_connections, settings.provider.max_in_flight),
            header_timeout_s=http.header_timeout,
            answer_timeout_s=http.body_timeout,
        )
        await self._listen(self._listener)
        for address in self._listener.addresses:
            log.info("listening", extra={"address": _shown(address)})

    async def close(self) -> None:
        """Stop listening, and answer those who are connected, for a while. Once only."""
        listener, self._listener = self._listener, None
        if listener is None or self._runner is None:
            return
        listener.close()
        self._uploads.stop()
        try:
            async with asyncio.timeout(self._settings.http.body_timeout + GRACE_S):
                await asyncio.sleep(LAST_REQUESTS_S)
                await self._runner.cleanup()
        except TimeoutError:
            log.warning("callers were cut off")
        finally:
            listener.stop()

    async def _listen(self, listener: Listener) -> None:
        http = self._settings.http
        sockets = systemd.listen_fds()
        for sock in sockets:
            if sock.family != socket.AF_UNIX and not http.tokens:
                host = sock.getsockname()[0]
                if not is_loopback(host):
                    raise StartError(f"systemd listens on {host}; that needs [http] tokens")
            listener.adopt(sock)
        if sockets:
            return
        try:
            await listener.listen(http.host, http.port)
        except OSError as error:
            raise StartError(
                f"cannot listen on {http.host} port {http.port}: {_reason(error)}"
                " ([http] host, port)"
            ) from None

    def _features(
        self, limits: Limits, storage: Storage, metrics: Metrics, readiness: Readiness
    ) -> list[routes.Feature]:
        settings = self._settings
        send = Send(
            storage.store.queue,
            storage.availability,
            limits=SendLimits(limits, settings.http.max_recipients),
            default_audience=settings.audiences.get(settings.campaign.default_audience, ()),
            rate=self._rate,
            now_ms=now_ms,
        )
        operations = Operations(
            metrics,
            intake=readiness.intake,
            dispatch=readiness.dispatch,
            is_known=self._callers.knows,
        )
        names = AudienceNames(settings.audiences)
        return [
            send,
            Messages(storage.store.queue, storage.store.lookup),
            AudienceImport(storage.store.audiences, names),
            AudienceCalls(storage.store.audiences, names),
            ContactCalls(storage.store.audiences, names),
            *self._of_campaigns(SendLimits(limits, settings.http.max_recipients), storage, names),
            DeadLetterCalls(storage.store.dead_letters),
            HoldCalls(storage.store.operator_hold),
            operations,
        ]

    def _of_campaigns(
        self, limits: SendLimits, storage: Storage, names: AudienceNames
    ) -> list[routes.Feature]:
        store, campaign = storage.store, self._settings.campaign
        view = CampaignView(self.progress, Price(campaign.price_per_segment, campaign.currency))
        planner = Planner(
            store.audiences,
            store.opt_outs,
            self.progress,
            view,
            limits=limits.message,
            now_ms=now_ms,
        )
        start = CampaignStart(
            store.campaigns, store.audiences, names, view, planner, limits=limits, now_ms=now_ms
        )
        return [
            start,
            CampaignCalls(store.campaigns, view, now_ms=now_ms),
            RetryCall(store.campaigns, store.dead_letters),
            RecipientCalls(store.campaigns),
        ]


def _uploads(settings: Settings) -> Uploads:
    upload = settings.upload
    limits = UploadLimits(upload.max_octets, upload.timeout, upload.max_at_once)
    return Uploads(limits, asyncio.get_running_loop().time)


def _reason(error: OSError) -> str | None:
    """The reason without the address, which `socket.create_server` adds in its own way."""
    found = isinstance(error, socket.gaierror) or error.errno is None
    return error.strerror if found else os.strerror(cast("int", error.errno))


def _shown(address: object) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"unix:{address}"
