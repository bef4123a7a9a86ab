"""A store that deals with what its server has lost, and a server that loses it."""

import asyncio
import shutil
from collections.abc import Callable

from smsd.redis.connection import greeting
from smsd.store.lost_writes import Loss, LostWrites
from smsd.store.reconcile import Reconciler
from tests.support.redis_server import RedisServer
from tests.support.store import Store, Ticks, Wall, until


class Opened:
    """A store that is told of losses, as the daemon's is."""

    def __init__(
        self,
        url: str,
        *,
        owner: str = "a",
        prefix: str = "smsd:",
        replicas_ack: int = 0,
        leads: bool = True,
    ) -> None:
        wall = Wall()
        self.store = Store(url, prefix, owner=owner, wall=wall, ticks=Ticks())
        self.losses: list[Loss] = []
        self.lost_writes = lost_writes = LostWrites(
            self.store.keys, owner, lost=self.losses.append, now_ms=wall
        )
        self.store.redis.connection_pool.connection_kwargs["redis_connect_func"] = greeting(
            lost_writes.compare
        )
        self.store.client.lost_writes = lost_writes
        self.store.client._replicas.needed = replicas_ack
        self._reconciler = Reconciler(
            self.store.client,
            lost_writes,
            self.store.operator_hold,
            leads=lambda: leads,
            settle_all=self.store.queue.settle_all,
            mark_again=self.store.queue.mark_again,
            lists_again=self.store.queue.long_lists.queue_again,
        )
        self._reconciling: asyncio.Task[None] | None = None

    @property
    def texts_lost(self) -> int:
        return sum(loss.texts for loss in self.losses)

    @property
    def settled_again(self) -> int:
        return sum(loss.settlements for loss in self.losses)

    async def __aenter__(self) -> "Opened":
        await self.store.lead()
        self._reconciling = asyncio.create_task(self._reconciler.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reconciling is not None
        assert not self._reconciling.done(), self._reconciling
        self._reconciling.cancel()
        await asyncio.gather(self._reconciling, return_exceptions=True)
        await self.store.close()

    async def reconciled(self) -> None:
        """Return when what its server lacked has been dealt with."""
        await until(lambda: self.store.identity.trusted, "the data is as new as known")


class Tail:
    """A server that can lose the end of its history: what it wrote since it was made."""

    def __init__(self, server: RedisServer, name: str = "kept") -> None:
        self._server = server
        self._files = server.directory / "appendonlydir"
        self._kept = server.directory / name
        self._end_with(lambda: shutil.copytree(self._files, self._kept))

    def lose(self) -> None:
        self._end_with(self._restore)

    def _restore(self) -> None:
        shutil.rmtree(self._files)
        shutil.copytree(self._kept, self._files)

    def _end_with(self, change: Callable[[], object]) -> None:
        self._server.kill()
        change()
        self._server.start()
