"""The composition root. Rule: who exists, and in which order all start and stop, stands here.

Start: Redis, provider, intake, then dispatch for as long as the lease is held. Stop (SIGTERM):
intake takes no more while what is under way finishes and is settled, the lease is given up, Redis
goes last.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from pydantic import BaseModel

from smsd import log as logs
from smsd import systemd
from smsd.config import ConfigError, Settings, load
from smsd.core.pacer import SECOND, Pacer
from smsd.daemon import collector
from smsd.daemon.build import build_limits, build_provider
from smsd.daemon.checks import Checks
from smsd.daemon.clocks import clock, now_ms
from smsd.daemon.intake import Intake
from smsd.daemon.readiness import Readiness
from smsd.daemon.storage import Storage
from smsd.daemon.terminal import Terminal
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.dispatcher import Dispatcher
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import WITHIN_S, InDoubtAsker
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery
from smsd.dispatch.term import Term, end_all
from smsd.metrics import Metrics
from smsd.provider.base import Provider
from smsd.redis import owner
from smsd.redis.damage import COMMANDS, among
from smsd.redis.errors import Refused, is_away
from smsd.store.lookup import Census

log = logging.getLogger("smsd.daemon")

CENSUS_S = 5.0  # between counts of all texts
DRAIN_GRACE_S = 5.0  # beyond the provider's timeout, for settling what it answered last
STOP_S = 25.0  # to stop all else after that, the embedded server too
STUCK_S = 20.0  # without a step, beyond what a submission may take: no longer alive


class Daemon:
    """One process: intake, dispatch, and what they stand on."""

    def __init__(self, settings: Settings, config_path: Path) -> None:
        self._settings = settings
        self._config_path = config_path
        self._owner = owner.name()
        self._limits = build_limits(settings)
        self._metrics = Metrics()
        rate = settings.rate.segments_per_second
        self._hold = Hold(rate=rate, clock=clock, changed=self._hold_changed)
        self._metrics.share = lambda: self._hold.share
        self._storage = Storage(
            settings, config_path, self._owner, self._metrics, operator=self._hold.obey_operator
        )
        self._term: Term | None = None
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Raises `StartError`, `ConfigError`, `EmbeddedError`."""
        provider = build_provider(self._settings, self._config_path)
        self._handle_signals()
        async with AsyncExitStack() as stack:
            if not await self._open_storage(stack):
                return
            await provider.start()
            stack.push_async_callback(provider.close)
            readiness = Readiness(self._storage, self._hold, self._stopping, self._owner)
            intake = Intake(self._settings, self._limits, self._storage, self._metrics, readiness)
            await intake.open()
            stack.push_async_callback(intake.close)
            collector.tune()
            systemd.notify("READY=1")
            await self._work(provider, intake)

    async def _open_storage(self, stack: AsyncExitStack) -> bool:
        """Whether Redis is ready to be used; False: smsd was asked to stop meanwhile."""
        opening = asyncio.create_task(self._storage.open(stack), name="storage")
        stop = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end_all([opening, stop])
        if opening.cancelled():
            return False
        opening.result()
        return True

    async def _work(self, provider: Provider, intake: Intake) -> None:
        """Everything that goes on, until one part ends: asked to stop, or broken."""
        checks = Checks(self._storage, self._metrics)
        parts = [
            asyncio.create_task(part, name=name)
            for name, part in (
                ("dispatch", self._dispatch(provider)),
                ("lease", self._storage.lease.run()),
                ("probe", self._storage.probe()),
                ("server", self._storage.watch_server()),
                ("reconcile", self._storage.reconciler.run()),
                ("record", self._storage.record()),
                ("census", self._count_texts()),
                ("keys", checks.examine_keys()),
                ("stuck", checks.look_for_stuck()),
                ("watchdog", self._feed_watchdog()),
                ("collector", collector.collect()),
            )
        ]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            ended, _ = await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            # Dispatch drains by itself while intake closes; the rest goes on for both until then,
            # and neither is cut short should the other break.
            closing = [parts[0], asyncio.create_task(intake.close(), name="intake")]
            await asyncio.wait(closing)
        finally:
            await end_all([stop, *parts])
            await self._give_up_lease()
        for part in {*ended, *closing} - {stop}:
            part.result()  # what ended by itself is broken: systemd starts us anew

    async def _give_up_lease(self) -> None:
        with suppress(Exception):  # it runs out by itself
            async with asyncio.timeout(2):
                await self._storage.lease.give_up()

    # -- dispatch -------------------------------------------------------------------------------

    async def _dispatch(self, provider: Provider) -> None:
        """One term after the other, until the daemon stops."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                taken = asyncio.create_task(self._lease_taken())
                await asyncio.wait([taken, stop], return_when=asyncio.FIRST_COMPLETED)
                await end_all([taken])
                if self._may_dispatch():
                    await self._serve_term(provider)
                if not taken.cancelled():
                    taken.result()
        finally:
            await end_all([stop])

    async def _lease_taken(self) -> None:
        await self._storage.ready()
        await self._storage.lease.taken.wait()
        while not self._storage.lease.held:  # noqa: ASYNC110 - frozen for longer than it lived
            await asyncio.sleep(0.05)

    @property
    def _drain_s(self) -> float:
        return self._settings.provider.timeout + DRAIN_GRACE_S

    def _may_dispatch(self) -> bool:
        return self._storage.lease.held and not self._stopping.is_set()

    async def _serve_term(self, provider: Provider) -> None:
        self._metrics.leader = True
        self._term = self._new_term(provider)
        try:
            await self._term.run(self._may_dispatch, drain_s=self._drain_s)
        finally:
            self._term = None
            self._metrics.leader = False

    def _new_term(self, provider: Provider) -> Term:
        settings, queue, limits = self._settings, self._storage.queue, self._limits
        rate, policy = settings.rate.segments_per_second, settings.retry.policy
        prefetch = Prefetch(rate)
        pacer = Pacer(rate, ceiling=settings.rate.ceiling)
        pacer.fill(clock() + pacer.gap(settings.message.max_segments))
        pace = Pace(pacer, clock=clock, metrics=self._metrics)
        claimer = Claimer(
            queue,
            self._storage.arrivals,
            prefetch,
            limits=limits,
            on_fenced=self._storage.lease.doubt,
            clock=clock,
            now_ms=now_ms,
        )
        asker = InDoubtAsker(provider, settled_as=self._storage.status.settled_as)
        recovery = Recovery(
            queue,
            claimer,
            prefetch,
            limits=limits,
            policy=policy,
            now_ms=now_ms,
            chance=random.random,
            metrics=self._metrics,
            asker=asker,
        )
        dispatcher = Dispatcher(
            queue,
            provider,
            prefetch,
            pace,
            self._hold,
            owner=self._owner,
            default_sender=limits.default_from,
            may_send=lambda: self._storage.lease.held and self._storage.identity.trusted,
            on_fenced=self._storage.lease.doubt,
            policy=policy,
            max_in_flight=settings.provider.max_in_flight,
            clock=clock,
            now_ms=now_ms,
            chance=random.random,
            metrics=self._metrics,
            asker=asker,
        )
        promoter = Promoter(queue, now_ms=now_ms)
        return Term(prefetch, pace, claimer, recovery, dispatcher, promoter, self._hold)

    def _hold_changed(self, provider_reason: str) -> None:
        self._metrics.held = self._hold.engaged
        self._storage.lease.tell_hold(provider_reason)

    # -- what goes on beside --------------------------------------------------------------------

    async def _count_texts(self) -> None:
        while True:
            try:
                self._show(await self._storage.status.census())
            except Refused:
                pass  # it is in the log; a statistic stops nothing
            except Exception as error:
                if not is_away(error):
                    raise
            await asyncio.sleep(CENSUS_S)

    def _show(self, census: Census) -> None:
        places = {
            "queued": census.queued - census.inflight,
            "in_flight": census.inflight,
            "deferred": census.deferred,
            "dead": census.dead,
            "adjusted": census.adjusted,
        }
        self._metrics.texts = places | dict(census.ended)
        self._metrics.difference = census.difference
        if census.difference:
            facts = {"difference": census.difference, "look": "smsd fsck"}
            log.error("texts unaccounted for", extra=facts)

    async def _feed_watchdog(self) -> None:
        interval = systemd.watchdog_interval()
        if interval is None:
            await asyncio.Event().wait()
            return
        # The provider's timeout bounds the way to the slot's door, and anew the way to the answer.
        longest_s = 2 * self._settings.provider.timeout + WITHIN_S
        patience, last_alive_at = round((STUCK_S + longest_s) * SECOND), clock()
        while True:
            now = clock()
            last_alive_at = max(last_alive_at, self._last_alive_at(now))
            if now - last_alive_at <= patience:
                systemd.notify("WATCHDOG=1")
            await asyncio.sleep(interval / 3)

    def _last_alive_at(self, now: int) -> int:
        """When dispatch was last seen to live; `now` while there is none to be."""
        storage = self._storage
        damaged = among(storage.damage.found, storage.client.keys.for_dispatch | {COMMANDS})
        if not self._may_dispatch() or not storage.availability.up or damaged:
            return now
        return self._term.last_alive_at(now) if self._term else 0

    # -- signals --------------------------------------------------------------------------------

    def _handle_signals(self) -> None:
        loop, terminal = asyncio.get_running_loop(), Terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up, terminal)

    def _stop(self) -> None:
        log.info("stopping")
        # A provider may be given more time than a unit gives us.
        systemd.notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={round((self._drain_s + STOP_S) * 1e6)}")
        self._stopping.set()

    def _hang_up(self, terminal: Terminal) -> None:
        """SIGHUP: a request to reload, unless our terminal has been closed."""
        if terminal.has_closed():
            self._stop()
        else:
            self._reload()

    def _reload(self) -> None:
        """The rate and the log level are read anew; the rest needs a restart."""
        try:
            settings = load(self._config_path)
        except ConfigError as error:
            log.error("not reloaded", extra={"because": str(error)})  # noqa: TRY400
            return
        rate, level = settings.rate.segments_per_second, settings.log.level
        self._settings = self._settings.model_copy(
            update={
                "rate": self._settings.rate.model_copy(update={"segments_per_second": rate}),
                "log": self._settings.log.model_copy(update={"level": level}),
            }
        )
        logs.set_level(level)
        if self._term is not None:
            self._term.set_rate(rate)
        log.info("reloaded", extra={"rate": rate, "level": level})
        if keys := _changed(self._settings, settings):
            log.warning("a change needs a restart", extra={"keys": ",".join(keys)})


def _changed(used: Settings, read: Settings) -> list[str]:
    """The keys that are set to something else than what is in use."""
    return [
        f"{table}.{key}" if key else table
        for table, values in used
        for key in _differing(values, getattr(read, table))
    ]


def _differing(used: object, read: object) -> list[str]:
    if used == read:
        return []
    if not isinstance(used, BaseModel):
        return [""]
    return [key for key, value in used if value != getattr(read, key)] or [""]


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
