"""A store that deals with what its server has lost, and a server that loses it."""

import asyncio
import shutil
from collections.abc import Callable

from smsd.redis.errors import Away
from tests.support.redis_server import RedisServer
from tests.support.store import Store, Ticks, Wall, until


class _Store(Store):
    """It takes itself for the leader, or not, whoever holds the lease."""

    leading: bool

    def leads(self) -> bool:
        return self.leading


class Opened:
    """A store that repairs what its server has lost, as the daemon's does."""

    def __init__(
        self,
        url: str,
        *,
        owner: str = "a",
        prefix: str = "smsd:",
        replicas_ack: int = 0,
        leads: bool = True,
    ) -> None:
        self.store = _Store(
            url, prefix, owner=owner, wall=Wall(), ticks=Ticks(), replicas_ack=replicas_ack
        )
        self.store.leading = leads
        self.losses = self.store.losses
        self.lost_writes = self.store.lost_writes
        self._reconciling: asyncio.Task[None] | None = None

    @property
    def messages_lost(self) -> int:
        return sum(loss.messages for loss in self.losses)

    @property
    def settled_again(self) -> int:
        return sum(loss.settlements for loss in self.losses)

    async def __aenter__(self) -> "Opened":
        await self.store.lead()
        self._reconciling = asyncio.create_task(self.store.reconciler.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reconciling is not None
        assert not self._reconciling.done(), self._reconciling
        self._reconciling.cancel()
        await asyncio.gather(self._reconciling, return_exceptions=True)
        await self.store.aclose()

    async def reconciled(self) -> None:
        """Return when what its server lacked has been dealt with."""
        await until(lambda: self.store.identity.trusted, "the data is as new as known")


async def insist(store: Store) -> list[str]:
    """Ask until it is queued, as a caller would; their ids."""
    while True:
        try:
            return await store.append()
        except Away:
            pass


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
