"""The composition root. Rule: which parts there are, and the order they start and stop in.

Start: Redis, the provider, intake, then dispatch for as long as this daemon holds the lease.
Stop (SIGTERM): intake takes no more while submissions in flight are answered and settled, then the
lease is given up, and Redis is the last to go.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

from smsd import log as logs
from smsd import systemd
from smsd.config import Settings, load
from smsd.daemon import collector, watchdog
from smsd.daemon.build import build_limits, build_provider
from smsd.daemon.checks import Checks
from smsd.daemon.clocks import clock
from smsd.daemon.intake import Intake
from smsd.daemon.readiness import Readiness
from smsd.daemon.reload import reload
from smsd.daemon.storage import Storage
from smsd.daemon.terminal import Terminal
from smsd.daemon.terms import Terms
from smsd.dispatch.hold import Hold
from smsd.dispatch.term import end_all
from smsd.metrics import Metrics
from smsd.provider.base import Provider
from smsd.redis import owner

log = logging.getLogger("smsd.daemon")

DAY_MS = 86_400_000
STOP_S = 25.0  # to stop all else once dispatch has ended, the embedded server too


class Daemon:
    """One process: intake, dispatch, and the parts that serve both."""

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
            settings, config_path, self._owner, self._metrics, on_operator=self._hold.obey_operator
        )
        self._stopping = asyncio.Event()
        self._terms = Terms(
            settings,
            self._storage,
            self._hold,
            self._metrics,
            limits=self._limits,
            owner=self._owner,
            stopping=self._stopping,
        )

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
            intake = Intake(
                self._settings,
                self._limits,
                self._storage,
                self._metrics,
                readiness,
                rate=lambda: self._settings.rate.segments_per_second,
            )
            await intake.open()
            stack.push_async_callback(intake.close)
            collector.tune()
            systemd.notify("READY=1")
            await self._work(provider, intake)

    async def _open_storage(self, stack: AsyncExitStack) -> bool:
        """Open Redis; False if smsd was asked to stop meanwhile."""
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
        """Run all parts until smsd is asked to stop, or one of them fails; raise what it raised."""
        dispatch = asyncio.create_task(self._terms.run(provider), name="dispatch")
        parts = [
            dispatch,
            *(asyncio.create_task(part, name=name) for name, part in self._other_parts().items()),
            asyncio.create_task(intake.progress.run(), name="campaigns"),
        ]
        stop = asyncio.create_task(self._stopping.wait())
        try:
            ended, _ = await asyncio.wait([stop, *parts], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            # Dispatch drains by itself while intake closes. The other parts serve both until then,
            # and neither is cut short if the other fails.
            closing = [dispatch, asyncio.create_task(intake.close(), name="intake")]
            await asyncio.wait(closing)
        finally:
            await end_all([stop, *parts])
            await self._give_up_lease()
        for part in {*ended, *closing} - {stop}:
            part.result()  # a part that ended by itself has failed: systemd restarts smsd

    def _other_parts(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What runs beside intake and dispatch; none of them returns."""
        storage, checks = self._storage, Checks(self._storage, self._metrics)
        timeout_s = self._settings.provider.timeout
        return {
            "lease": storage.store.lease.run(),
            "probe": storage.probe(),
            "server": storage.watch_server(),
            "reconcile": storage.store.reconciler.run(),
            "record": storage.record(),
            "census": checks.count_messages(),
            "keys": checks.examine_keys(),
            "stuck": checks.look_for_stuck(),
            "audiences": checks.clean_audiences(),
            "old campaigns": checks.forget_campaigns(
                round(self._settings.campaign.keep_days * DAY_MS)
            ),
            "watchdog": watchdog.feed(self._terms.last_alive_at, timeout_s=timeout_s),
            "collector": collector.collect(),
        }

    async def _give_up_lease(self) -> None:
        with suppress(Exception):  # the lease runs out by itself
            async with asyncio.timeout(2):
                await self._storage.store.lease.give_up()

    def _hold_changed(self, provider_reason: str) -> None:
        self._metrics.held = self._hold.engaged
        self._storage.store.lease.report_hold(provider_reason)

    def _handle_signals(self) -> None:
        loop, terminal = asyncio.get_running_loop(), Terminal()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop)
        loop.add_signal_handler(signal.SIGHUP, self._hang_up, terminal)

    def _stop(self) -> None:
        log.info("stopping")
        # The provider's timeout may be longer than systemd's for a stop.
        longest_us = round((self._terms.drain_s + STOP_S) * 1e6)
        systemd.notify(f"STOPPING=1\nEXTEND_TIMEOUT_USEC={longest_us}")
        self._stopping.set()

    def _hang_up(self, terminal: Terminal) -> None:
        """Handle SIGHUP: reload, or stop where the terminal that smsd was started in has closed."""
        if terminal.has_closed():
            self._stop()
        else:
            set_rate = self._terms.set_rate
            self._settings = reload(self._settings, self._config_path, set_rate=set_rate)


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
