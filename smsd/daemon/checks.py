"""Checks that run now and then. Rule: a fault is logged and counted, and stops nothing."""

import asyncio
import logging
from contextlib import suppress

from smsd.daemon.clocks import now_ms
from smsd.daemon.storage import Storage
from smsd.metrics import Metrics
from smsd.redis.errors import Away, RedisError, Refused
from smsd.store.census import Census
from smsd.store.examine import examine
from smsd.store.fsck import Fsck

log = logging.getLogger("smsd.checks")
CENSUS_S = 5.0  # between counts of all messages
EXAMINE_S = 5.0  # between looks at the keys themselves
DAMAGED_S = 1.0  # the same, while something is wrong with one
SUSPECT_S = 0.2  # before the look that a refusal asks for
STUCK_EVERY_S = 300.0  # between looks for messages that nothing would send
STUCK_PAUSE_S = 0.05  # between steps of such a look, of some 50 messages
FORGET_S = 600.0  # between looks for campaigns that ended long ago
CLEAN_S = 30.0  # between looks for contacts that no audience holds any more


class Checks:
    """Each runs until it is cancelled."""

    def __init__(self, storage: Storage, metrics: Metrics) -> None:
        self._storage = storage
        self._metrics = metrics

    async def count_messages(self) -> None:
        """Count all messages for the metrics, and log an error when one is unaccounted for."""
        while True:
            with suppress(Away, Refused):  # the client has logged it
                self._report(await self._storage.store.census())
            await asyncio.sleep(CENSUS_S)

    def _report(self, census: Census) -> None:
        places = {
            "queued": census.queued - census.in_flight,
            "in_flight": census.in_flight,
            "deferred": census.deferred,
            "dead": census.dead,
            "adjusted": census.adjusted,
        }
        self._metrics.messages = places | dict(census.finished)
        self._metrics.difference = census.difference
        if census.difference:
            fields = {"difference": census.difference, "look": "smsd fsck"}
            log.error("messages unaccounted for", extra=fields)

    async def examine_keys(self) -> None:
        """Examine what smsd's keys hold, and soon after Redis has refused a command."""
        damage = self._storage.damage
        while True:
            try:
                await examine(self._storage.store.client)
                self._metrics.damaged_keys = len(damage.found)
            except (Away, Refused):
                pass  # it is logged elsewhere; the next look comes
            with suppress(TimeoutError):
                async with asyncio.timeout(DAMAGED_S if damage.found else EXAMINE_S):
                    await damage.suspected.wait()
            await asyncio.sleep(SUSPECT_S)
            damage.suspected.clear()

    async def look_for_stuck(self) -> None:
        """While this daemon holds the lease, look for deferred messages that nothing would send.

        It looks slowly, since there may be millions. Recovery looks at the entries of the streams.
        """
        while True:
            await self._storage.store.lease.taken.wait()
            with suppress(Away):
                await self._look_for_stuck()
            await asyncio.sleep(STUCK_EVERY_S)

    async def forget_campaigns(self, keep_ms: int) -> None:
        """Remove campaigns that ended so long ago."""
        while True:
            with suppress(Away, Refused):  # the next look comes
                forgotten = await self._storage.store.campaigns.forget_ended(now_ms() - keep_ms)
                if forgotten:
                    log.info("campaigns forgotten", extra={"campaigns": forgotten})
            await asyncio.sleep(FORGET_S)

    async def clean_audiences(self) -> None:
        """Remove what replaced audiences and imports that broke off have left."""
        while True:
            with suppress(RedisError):  # the client has logged it
                await self._storage.store.audiences.clean()
            await asyncio.sleep(CLEAN_S)

    async def _look_for_stuck(self) -> None:
        fsck = Fsck(self._storage.store.client, repair=False, pause_s=STUCK_PAUSE_S)
        stuck, last = 0, ""
        async for fault in fsck.stuck():
            stuck, last = stuck + 1, fault.name
        self._metrics.stuck = stuck
        if stuck:
            fields = {"messages": stuck, "one": last, "look": "smsd fsck"}
            log.error("deferred messages that nothing would send", extra=fields)
