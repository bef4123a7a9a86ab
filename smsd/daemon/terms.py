"""Dispatch, as the daemon runs it. Rule: one term after another, each while the lease is held."""

import asyncio
import random

from smsd.config import Settings
from smsd.core.message import Limits
from smsd.core.pacer import Pacer
from smsd.daemon.clocks import clock, now_ms
from smsd.daemon.storage import Storage
from smsd.dispatch.auto_pause import AutoPause
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.context import Context
from smsd.dispatch.dispatcher import Dispatcher, Parts
from smsd.dispatch.expander import Expander
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.in_flight import InFlight
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery
from smsd.dispatch.settler import Settler
from smsd.dispatch.term import Term, end_all
from smsd.metrics import Metrics
from smsd.provider.base import Provider
from smsd.redis.damage import COMMANDS, among

DRAIN_GRACE_S = 5.0  # beyond the provider's timeout, for settling what it answered last


class Terms:
    """Waits for the lease, makes the parts of a term and runs them, until the daemon stops."""

    def __init__(
        self,
        settings: Settings,
        storage: Storage,
        hold: Hold,
        metrics: Metrics,
        *,
        limits: Limits,
        owner: str,
        stopping: asyncio.Event,
    ) -> None:
        self._settings = settings
        self._storage = storage
        self._hold = hold
        self._metrics = metrics
        self._limits = limits
        self._owner = owner
        self._stopping = stopping
        self._rate = settings.rate.segments_per_second
        self._term: Term | None = None
        self.drain_s = settings.provider.timeout + DRAIN_GRACE_S  # how long a term may take to end

    async def run(self, provider: Provider) -> None:
        """Serve a term whenever this daemon has the lease; return once it is to stop."""
        stop = asyncio.create_task(self._stopping.wait())
        try:
            while not self._stopping.is_set():
                taken = asyncio.create_task(self._lease_taken())
                await asyncio.wait([taken, stop], return_when=asyncio.FIRST_COMPLETED)
                await end_all([taken])
                if self._may_dispatch():
                    await self._serve(provider)
                if not taken.cancelled():
                    taken.result()
        finally:
            await end_all([stop])

    def set_rate(self, segments_per_second: float) -> None:
        """Go on at another rate, in this term and in later ones."""
        self._rate = segments_per_second
        if self._term is not None:
            self._term.set_rate(segments_per_second)

    def last_alive_at(self, now: int) -> int:
        """When dispatch was last seen to move; `now` while it need not."""
        storage = self._storage
        damaged = among(storage.damage.found, storage.store.client.keys.for_dispatch | {COMMANDS})
        if not self._may_dispatch() or not storage.availability.up or damaged:
            return now
        return self._term.last_alive_at(now) if self._term else 0

    def _may_dispatch(self) -> bool:
        return self._storage.store.lease.held and not self._stopping.is_set()

    async def _lease_taken(self) -> None:
        await self._storage.ready()
        await self._storage.store.lease.taken.wait()
        while not self._storage.store.lease.held:  # noqa: ASYNC110 - frozen for longer than it lived
            await asyncio.sleep(0.05)

    async def _serve(self, provider: Provider) -> None:
        self._metrics.leader = True
        self._term = self._new_term(provider)
        try:
            await self._term.run(self._may_dispatch, drain_s=self.drain_s)
        finally:
            self._term = None
            self._metrics.leader = False

    def _new_term(self, provider: Provider) -> Term:
        """Each has a pacer of its own, which begins full."""
        settings, identity, rate = self._settings, self._storage.identity, self._rate
        store = self._storage.store
        context = Context(
            queue=store.queue,
            limits=self._limits,
            policy=settings.retry.policy,
            metrics=self._metrics,
            owner=self._owner,
            clock=clock,
            now_ms=now_ms,
            chance=random.random,
            may_send=lambda: store.lease.held and identity.trusted,
            on_fenced=store.lease.fenced,
        )
        pacer = Pacer(rate, ceiling=settings.rate.ceiling)
        pacer.fill(clock() + pacer.gap(settings.message.max_segments))
        prefetch, pace = Prefetch(rate), Pace(pacer, clock=clock, metrics=self._metrics)
        in_flight = InFlight(settings.provider.max_in_flight, clock=clock, rate=lambda: pacer.rate)
        asker = InDoubtAsker(provider, find_settled=store.events.find_settled)
        auto_pause = AutoPause(
            context,
            store.campaigns,
            store.dead_letters,
            most=settings.campaign.pause_on_failures,
        )
        settler = Settler(context, asker, self._hold, pace, on_settled=auto_pause.learn)
        claimer = Claimer(context, store.arrivals, prefetch)
        recovery = Recovery(context, store.unsettled, claimer, prefetch, settler)
        parts = Parts(provider, prefetch, pace, self._hold, in_flight, settler)
        dispatcher, promoter = Dispatcher(context, parts), Promoter(context)
        expander = Expander(
            context,
            store.campaigns,
            store.arrivals,
            prefetch,
            self._hold,
            rate=lambda: pacer.rate,
            most_faults=settings.campaign.pause_on_failures,
        )
        return Term(
            prefetch,
            pace,
            claimer,
            recovery,
            dispatcher,
            promoter,
            expander,
            auto_pause,
            self._hold,
        )
