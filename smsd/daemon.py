"""The composition root. Rule: who exists, and in which order all start and stop, stands here.

Only this file reads clocks and settings; every part is handed plain values. Start: Redis, provider,
intake, then dispatch for as long as the lease is held. Stop (SIGTERM): intake takes no more, what
is under way finishes and is settled, the lease is given up, Redis last.
"""

import asyncio
import gc
import logging
import random
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import cast

from aiohttp import web
from pydantic import ValidationError
from redis.asyncio import Redis

from smsd import log as logs
from smsd import provider as providers
from smsd import systemd
from smsd.config import ConfigError, Settings, explain, is_loopback, load
from smsd.core.message import Limits
from smsd.core.pacer import SECOND, Pacer
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.dispatcher import Dispatcher
from smsd.dispatch.hold import Hold
from smsd.dispatch.pace import Pace
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery
from smsd.dispatch.tenure import Tenure
from smsd.dispatch.window import Window
from smsd.metrics import Metrics
from smsd.provider.base import Provider
from smsd.store import owner
from smsd.store.arrivals import Arrivals
from smsd.store.connection import Availability, connect, is_away, persistence
from smsd.store.embedded import Embedded, EmbeddedError
from smsd.store.keys import Keys
from smsd.store.lease import Lease
from smsd.store.letters import Letters
from smsd.store.queue import Queue
from smsd.store.server import Server
from smsd.store.status import Status
from smsd.store.witness import Loss, Witness
from smsd.web import app
from smsd.web.dead_letters import DeadLetters
from smsd.web.listener import Listener, room_for
from smsd.web.messages import Messages
from smsd.web.operations import Operations
from smsd.web.send import Send, SendLimits

log = logging.getLogger("smsd.daemon")

CENSUS_S = 5.0  # between counts of all texts
DRAIN_GRACE_S = 5.0  # beyond the provider's timeout, for settling what it answered last
STUCK_S = 20.0  # without a departure while there is work: no longer alive
WRITERS = 8  # connections for everything but blocking reads and the lease


class StartError(Exception):
    """The daemon cannot start; the message says what to change."""


class Daemon:
    """One process: intake, dispatch, and what they stand on."""

    def __init__(self, settings: Settings, config_path: Path) -> None:
        self._settings = settings
        self._config_path = config_path
        self._owner = owner.name()
        self._limits = Limits(settings.message.max_segments, settings.message.default_from)
        self._metrics = Metrics()
        self._availability = Availability(changed=self._redis_changed)
        self._stopping = asyncio.Event()
        self._hold = Hold(clock=clock, changed=self._hold_changed)
        self._tenure: Tenure | None = None
        self._examined = False  # Redis, for what it may lose

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises `StartError`, `ConfigError`, `EmbeddedError`."""
        provider = build_provider(self._settings, self._config_path)
        async with AsyncExitStack() as stack:
            url = await self._redis_url(stack)
            self._connect(url, stack)
            await self._examine_redis()  # if it is away, intake says so and dispatch waits for it
            await provider.start()
            stack.push_async_callback(provider.close)
            await stack.enter_async_context(self._intake())
            self._handle_signals()
            # What exists now exists for good: the collector need not look at it again.
            gc.collect()
            gc.freeze()
            # The rest is short-lived and dies by its reference count; look for cycles seldom.
            gc.set_threshold(50_000, 20, 50)
            systemd.notify("READY=1")
            await self._work(provider)

    async def _work(self, provider: Provider) -> None:
        background = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("lease", self._lease.run()),
                ("census", self._count_texts()),
                ("watchdog", self._feed_watchdog()),
            )
        ]
        dispatch = asyncio.create_task(self._dispatch(provider), name="dispatch")
        try:
            # A part that ends by itself is broken: stop everything, and let systemd start anew.
            await asyncio.wait([dispatch, *background], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            await dispatch
        finally:
            for task in background:
                task.cancel()
            ended = await asyncio.gather(*background, return_exceptions=True)
            with suppress(Exception):
                async with asyncio.timeout(2):
                    await self._lease.give_up()
        for error in ended:
            if isinstance(error, Exception):
                raise error

    # -- Redis ----------------------------------------------------------------------------------

    async def _redis_url(self, stack: AsyncExitStack) -> str:
        redis = self._settings.redis
        url = redis.url.get_secret_value()
        if url != "embedded":
            return url
        embedded = Embedded(redis.data_dir)
        stack.push_async_callback(embedded.stop)
        await embedded.start()
        supervisor = asyncio.create_task(embedded.supervise())
        stack.callback(supervisor.cancel)
        return embedded.url

    def _connect(self, url: str, stack: AsyncExitStack) -> None:
        settings = self._settings
        witness = Witness(
            Keys(settings.redis.prefix).intake(self._owner), lost=self._redis_lost, now_ms=now_ms
        )
        writer = connect(url, connections=WRITERS, timeout_s=3.0, greet=witness.greet)
        reader = connect(url, connections=1, timeout_s=5.0)
        renewer = connect(url, connections=1, timeout_s=1.0)
        for client in (writer, reader, renewer):
            stack.push_async_callback(client.aclose)
        self._server = self._server_over(writer, self._availability, witness)
        # Its own connection and its own view of Redis: a busy pool must not cost us the lease.
        leasing = self._server_over(renewer, Availability())
        self._lease = Lease(leasing, life_s=settings.redis.lease, clock=clock)
        self._arrivals = Arrivals(self._server, reader)
        self._status = Status(self._server)
        self._queue = build_queue(settings, self._server)

    def _server_over(
        self, client: Redis, availability: Availability, witness: Witness | None = None
    ) -> Server:
        return build_server(
            self._settings, client, availability, owner=self._owner, witness=witness
        )

    def _redis_lost(self, loss: Loss) -> None:
        self._metrics.redis_lost.labels("text").inc(loss.texts)
        self._metrics.redis_lost.labels("settlement").inc(loss.settlements)
        if loss.texts:
            facts = {"first": loss.first, "last": loss.last, "complete": loss.complete}
            log.error("redis lost its last writes: texts", extra={"texts": loss.texts} | facts)
        if loss.settlements:
            facts = {"settled_again": loss.settlements, "complete": loss.complete}
            log.error("redis lost its last writes: settlements", extra=facts)

    def _redis_changed(self, up: bool, reason: str) -> None:  # noqa: FBT001 - a callback
        self._metrics.redis_up.set(up)
        if up:
            log.info("redis answers")
        else:
            log.error("redis away", extra={"reason": reason})

    # -- intake ---------------------------------------------------------------------------------

    @asynccontextmanager
    async def _intake(self) -> AsyncIterator[None]:
        settings, http = self._settings, self._settings.http
        runner = web.AppRunner(self._app(), handle_signals=False)
        await runner.setup()
        listener = Listener(
            cast("web.Server", runner.server),
            max_connections=room_for(http.max_connections, settings.provider.max_in_flight),
            header_timeout_s=http.header_timeout,
            answer_timeout_s=http.body_timeout,
        )
        try:
            for address in await self._listen(listener):
                log.info("listening", extra={"address": address})
            yield
        finally:
            listener.close()
            try:
                async with asyncio.timeout(http.body_timeout + DRAIN_GRACE_S):
                    await runner.cleanup()
            finally:
                listener.stop()

    def _app(self) -> web.Application:
        settings, http = self._settings, self._settings.http
        send = Send(
            self._queue,
            self._availability,
            limits=SendLimits(self._limits, http.max_body, http.max_recipients, http.body_timeout),
            default_audience=settings.audiences.get(settings.campaign.default_audience, ()),
            now_ms=now_ms,
        )
        return app.build(
            send,
            Messages(self._queue, self._status),
            DeadLetters(
                Letters(self._queue, self._status),
                max_body=http.max_body,
                body_timeout_s=http.body_timeout,
            ),
            Operations(self._metrics, self._readiness),
            tokens=[token.get_secret_value() for token in http.tokens],
            max_body=http.max_body,
        )

    async def _listen(self, listener: Listener) -> list[str]:
        """Open the doors: those that systemd holds for us, or else our own."""
        http = self._settings.http
        sockets = systemd.listen_fds()
        for sock in sockets:
            if sock.family != socket.AF_UNIX and not http.tokens:
                host = sock.getsockname()[0]
                if not is_loopback(host):
                    raise StartError(f"systemd listens on {host}; that needs [http] tokens")
            listener.adopt(sock)
        if not sockets:
            try:
                await listener.listen(http.host, http.port)
            except OSError as error:
                raise StartError(
                    f"cannot listen on {http.host} port {http.port}: {error.strerror}"
                    " ([http] host, port)"
                ) from None
        return [_shown(address) for address in listener.addresses]

    def _readiness(self) -> Mapping[str, object]:
        up, held = self._availability.up, self._hold.reason
        return {
            "ready": up and not held and not self._stopping.is_set(),
            "redis": {"up": up, "reason": self._availability.reason},
            "dispatch": {
                "role": "active" if self._lease.held else "standby",
                "lease_holder": self._lease.holder,  # as last seen
                "this_daemon": self._owner,
                "held": held,
            },
            "stopping": self._stopping.is_set(),
        }

    # -- dispatch -------------------------------------------------------------------------------

    async def _dispatch(self, provider: Provider) -> None:
        """One tenure after the other, until the daemon stops."""
        await self._prepare_redis()
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                taken = asyncio.create_task(self._lease.taken.wait())
                await asyncio.wait([taken, stopping], return_when=asyncio.FIRST_COMPLETED)
                taken.cancel()
                if self._lease.held and not self._stopping.is_set():
                    await self._serve_tenure(provider)
                elif not self._stopping.is_set():
                    await asyncio.sleep(0.05)
        finally:
            stopping.cancel()

    async def _serve_tenure(self, provider: Provider) -> None:
        self._metrics.leader.set(1)
        self._tenure = self._new_tenure(provider)
        try:
            await self._tenure.run(
                lambda: self._lease.held and not self._stopping.is_set(),
                drain_s=self._settings.provider.timeout + DRAIN_GRACE_S,
            )
        finally:
            self._tenure = None
            self._metrics.leader.set(0)

    def _new_tenure(self, provider: Provider) -> Tenure:
        settings = self._settings
        rate = settings.rate.segments_per_second
        window = Window(rate)
        pacer = Pacer(rate, ceiling=settings.rate.ceiling)
        pacer.fill(clock() + pacer.gap(settings.message.max_segments))
        pace = Pace(pacer, clock=clock, metrics=self._metrics)
        claimer = Claimer(
            self._queue,
            self._arrivals,
            window,
            limits=self._limits,
            clock=clock,
            now_ms=now_ms,
        )
        recovery = Recovery(
            self._queue,
            claimer,
            window,
            limits=self._limits,
            policy=settings.retry.policy,
            now_ms=now_ms,
            chance=random.random,
        )
        dispatcher = Dispatcher(
            self._queue,
            provider,
            window,
            pace,
            self._hold,
            owner=self._owner,
            default_sender=self._limits.default_from,
            may_send=lambda: self._lease.held,
            policy=settings.retry.policy,
            max_in_flight=settings.provider.max_in_flight,
            clock=clock,
            now_ms=now_ms,
            chance=random.random,
            metrics=self._metrics,
        )
        promoter = Promoter(self._queue, now_ms=now_ms)
        return Tenure(window, pace, claimer, recovery, dispatcher, promoter)

    def _hold_changed(self, reason: str) -> None:
        self._metrics.held.set(bool(reason))

    # -- what goes on beside --------------------------------------------------------------------

    async def _prepare_redis(self) -> None:
        """Wait for Redis, and make the groups."""
        while not self._stopping.is_set():
            try:
                if await self._examine_redis():
                    await self._server.ensure_groups()
                    return
            except Exception as error:
                if not is_away(error):
                    raise
            await asyncio.sleep(0.5)

    async def _examine_redis(self) -> bool:
        """Say once what an external server may lose; False: it is away. Raises `StartError`."""
        redis = self._settings.redis
        if self._examined:
            return True
        try:
            found = await self._server.read(
                lambda client: persistence(
                    client, prefix=redis.prefix, replicas_ack=redis.replicas_ack
                )
            )
        except Exception as error:
            if not is_away(error):
                raise
            return False
        if found.fault:
            raise StartError(found.fault)
        self._examined = True
        if redis.url.get_secret_value() != "embedded":
            for warning in found.warnings:
                log.warning("persistence", extra={"warning": warning})
        return True

    async def _count_texts(self) -> None:
        while True:
            try:
                census = await self._status.census()
            except Exception as error:
                if not is_away(error):
                    raise
                await asyncio.sleep(0.5)
                continue
            places = {
                "queued": census.queued - census.inflight,
                "in_flight": census.inflight,
                "deferred": census.deferred,
                "dead": census.dead,
                "adjusted": census.adjusted,
            }
            for place, texts in (places | dict(census.ended)).items():
                self._metrics.texts.labels(place).set(texts)
            self._metrics.difference.set(census.difference)
            if census.difference:
                facts = {"difference": census.difference, "look": "smsd fsck"}
                log.error("texts unaccounted for", extra=facts)
            await asyncio.sleep(CENSUS_S)

    async def _feed_watchdog(self) -> None:
        interval = systemd.watchdog_interval()
        if interval is None:
            await asyncio.Event().wait()
            return
        while True:
            if self._tenure is None or self._tenure.alive(clock(), round(STUCK_S * SECOND)):
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval / 3)

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _stop(self) -> None:
        log.info("stopping")
        systemd.notify("STOPPING=1")
        self._stopping.set()

    def _reload(self) -> None:
        """SIGHUP: the rate and the log level are read anew; the rest needs a restart."""
        try:
            settings = load(self._config_path)
        except ConfigError as error:
            log.error("not reloaded", extra={"because": str(error)})  # noqa: TRY400
            return
        rate = settings.rate.segments_per_second
        self._settings = self._settings.model_copy(update={"rate": settings.rate})
        logs.set_level(settings.log.level)
        if self._tenure is not None:
            self._tenure.set_rate(rate)
        log.info("reloaded", extra={"rate": rate, "level": settings.log.level})


def build_provider(settings: Settings, config_path: Path) -> Provider:
    """The configured provider. Raises `ConfigError`."""
    chosen = settings.provider
    try:
        kind = providers.load(chosen.name)
    except LookupError as error:
        raise ConfigError([f"{config_path}: [provider] name: {error.args[0]}"]) from None
    try:
        options = kind.Settings.model_validate(chosen.options(chosen.name))
    except ValidationError as error:
        raise explain(error, kind.Settings, config_path, ("provider", chosen.name)) from None
    return kind.build(options, timeout_s=chosen.timeout, max_in_flight=chosen.max_in_flight)


def build_server(
    settings: Settings,
    client: Redis,
    availability: Availability,
    *,
    owner: str,
    witness: Witness | None = None,
) -> Server:
    """Redis as everything in the store sees it."""
    kept = settings.queue
    return Server(
        client,
        Keys(settings.redis.prefix),
        owner=owner,
        availability=availability,
        now_ms=now_ms,
        keep_status_ms=kept.keep_status * 1000,
        max_events=kept.max_events,
        witness=witness,
        replicas_ack=settings.redis.replicas_ack,
    )


def build_queue(settings: Settings, server: Server) -> Queue:
    """The queue with its configured bounds."""
    return Queue(
        server,
        max_length=settings.queue.max_length,
        keep_idempotency_ms=settings.queue.keep_idempotency * 1000,
    )


def clock() -> int:
    """Monotonic nanoseconds that go on while the machine is suspended, where there are such."""
    return time.clock_gettime_ns(_CLOCK)


_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def now_ms() -> int:
    """Unix time in milliseconds."""
    return time.time_ns() // 1_000_000


def _shown(address: object) -> str:
    if isinstance(address, tuple):
        host, port = address[:2]
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    return f"unix:{address}"


def serve(config_path: Path) -> None:
    """Run the daemon to its end. Raises `ConfigError`, `StartError` or `EmbeddedError`."""
    settings = load(config_path)
    stop_logging: Callable[[], None] = logs.setup(
        settings.log.level, settings.log.format, full_numbers=settings.log.full_numbers
    )
    try:
        asyncio.run(Daemon(settings, config_path).run())
    finally:
        stop_logging()


__all__ = [
    "ConfigError",
    "EmbeddedError",
    "StartError",
    "build_provider",
    "build_queue",
    "build_server",
    "now_ms",
    "serve",
]
