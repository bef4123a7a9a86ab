"""Redis as the daemon has it. Rule: a Redis that is away or full is waited for, and logged once."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path

from smsd import systemd
from smsd.config import Settings, data_dir
from smsd.daemon.build import open_daemon_store
from smsd.daemon.clocks import clock
from smsd.daemon.errors import StartError
from smsd.metrics import Metrics
from smsd.redis.availability import Availability
from smsd.redis.damage import Damage
from smsd.redis.durability import persistence
from smsd.redis.embedded import START_S, Embedded
from smsd.redis.errors import Away, OutOfMemory, Refused
from smsd.store import DaemonStore
from smsd.store.client import SCRIPTS
from smsd.store.identity import Identity
from smsd.store.lost_writes import Loss
from smsd.store.operator_hold import HeldBy, Operator
from smsd.store.record import Record

log = logging.getLogger("smsd.storage")
PAUSE_S = 0.5  # before Redis is asked again after it was away
RECORD_S = 5.0  # between records of what is known of the data
RETURN_S = 0.2  # between writes that find out whether it is back
PROBE_S = 1.0  # and whether it has room again


class Storage:
    """The queue, look-ups, the lease, and the server they are on."""

    def __init__(
        self,
        settings: Settings,
        config_path: Path,
        owner: str,
        metrics: Metrics,
        *,
        on_operator: Callable[[Operator], HeldBy | None],
    ) -> None:
        """`on_operator`: see `Lease`."""
        self._on_operator = on_operator
        self._settings = settings
        self._config_path = config_path
        self._owner = owner
        self._metrics = metrics
        self._examined = False  # whether it can be used, and what it may lose
        self.damage = Damage(clock)  # what is wrong in Redis itself
        self._recordable = True  # as far as is known
        self.availability = Availability(changed=self._changed, filled=self._filled)
        redis = settings.redis
        self._record = Record(
            data_dir(settings, config_path), redis.url.get_secret_value(), redis.prefix
        )
        self._recorded = self._record.read()
        self.identity = Identity(self._recorded)

    async def open(self, stack: AsyncExitStack) -> None:
        """Start the embedded server, if that is asked for, and connect; `stack` undoes it.

        A server that is away is no fault: intake answers so, and dispatch waits for it.
        Raises `EmbeddedError` and `StartError`.
        """
        SCRIPTS.load()
        url = await self._url(stack)
        self.store = await stack.enter_async_context(self._open_store(url))
        await self._prepare()
        stack.callback(self._record_known)

    async def ready(self) -> None:
        """Return when the server answers and has the groups. Raises `StartError`."""
        while not await self._prepare():  # noqa: ASYNC110 - it waits for another process
            await asyncio.sleep(PAUSE_S)

    async def watch_server(self) -> None:
        """Examine a server that has come back; it may be another. Raises `StartError`."""
        while True:
            await asyncio.sleep(PROBE_S)
            if self.availability.up and not self._examined:
                await self._prepare()

    async def probe(self) -> None:
        """While Redis is away or full, try a write now and then; ends only when cancelled.

        Nothing else may find out: callers are answered to come later, and dispatch may have
        nothing to do, or be another daemon's.
        """
        async with asyncio.TaskGroup() as probes:
            probes.create_task(self._probe_return())
            probes.create_task(self._probe_room())

    async def _probe_return(self) -> None:
        while True:
            await asyncio.sleep(RETURN_S)
            if not self.availability.up:
                await self._try_to_write(room=False)

    async def _probe_room(self) -> None:
        """Where Redis keeps refusing messages, one small write is no proof of room."""
        availability = self.availability
        while True:
            found_full = availability.found_full
            await asyncio.sleep(PROBE_S)
            if availability.full:
                await self._try_to_write(room=availability.found_full == found_full)

    async def record(self) -> None:
        """Write down now and then what is known of the data; ends only when cancelled."""
        while True:
            await asyncio.sleep(RECORD_S)
            await asyncio.to_thread(self._record_known)

    def _record_known(self) -> None:
        known = self.identity.known
        if not known.id or known == self._recorded:
            return
        try:
            self._record.write(known)
        except OSError as error:
            if self._recordable:
                log.warning("data not recorded", extra={"reason": str(error)})
            self._recordable = False
        else:
            self._recorded, self._recordable = known, True

    async def _try_to_write(self, *, room: bool) -> None:
        try:
            await self.store.client.try_to_write()
        except (Away, OutOfMemory):
            pass  # still
        except Refused:
            pass  # it writes, and not this
        else:
            if room:
                self.availability.saw_room(full=False)

    async def _prepare(self) -> bool:
        """Log once what an external server may lose, and make the groups; False: it is away."""
        try:
            await self._examine()
            await self.store.client.ensure_groups()
        except Refused:
            return True  # it answers; what can go on goes on
        except Away:
            return False
        return True

    async def _url(self, stack: AsyncExitStack) -> str:
        url = self._settings.redis.url.get_secret_value()
        if url != "embedded":
            return url
        directory = data_dir(self._settings, self._config_path)
        embedded = Embedded(directory, loading=_ask_for_time)
        stack.push_async_callback(embedded.stop)
        await embedded.start()
        supervisor = asyncio.create_task(embedded.supervise())
        stack.callback(supervisor.cancel)
        return embedded.url

    def _open_store(self, url: str) -> DaemonStore:
        return open_daemon_store(
            self._settings,
            url,
            owner=self._owner,
            availability=self.availability,
            damage=self.damage,
            identity=self.identity,
            on_operator=self._on_operator,
            on_loss=self._lost,
        )

    async def _examine(self) -> None:
        redis = self._settings.redis
        if self._examined:
            return
        found = await self.store.client.read(
            lambda raw: persistence(raw, prefix=redis.prefix, replicas_ack=redis.replicas_ack)
        )
        if found.fault:
            raise StartError(found.fault)
        self._examined = True
        if redis.url.get_secret_value() != "embedded":
            for warning in found.warnings:
                log.warning("persistence", extra={"warning": warning})

    def _changed(self, up: bool, reason: str) -> None:  # noqa: FBT001 - a callback
        self._metrics.redis_up = up
        self._examined &= up
        if up:
            log.info("redis answers")
        else:
            log.error("redis away", extra={"reason": reason})

    def _filled(self, full: bool) -> None:  # noqa: FBT001 - a callback
        if full:
            log.error("redis full", extra={"refuses": "messages"})
        else:
            log.info("redis takes messages again")

    def _lost(self, loss: Loss) -> None:
        self._metrics.redis_lost["message"] += loss.messages
        self._metrics.redis_lost["settlement"] += loss.settlements
        if loss.messages:
            ids = {"first": loss.first, "last": loss.last, "complete": loss.complete}
            fields = {"messages": loss.messages} | ids
            log.error("redis lost its last writes: messages", extra=fields)
        if loss.settlements:
            fields = {"settled_again": loss.settlements, "complete": loss.complete}
            log.error("redis lost its last writes: settlements", extra=fields)


def _ask_for_time() -> None:
    """A unit gives a start so long; a long queue may take longer to load."""
    systemd.notify(f"EXTEND_TIMEOUT_USEC={round(START_S * 1e6)}")
