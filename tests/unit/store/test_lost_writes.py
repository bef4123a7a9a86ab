"""What Redis lost. Rule: however many connections find it out, it is reported once."""

import asyncio

from smsd.redis.scripts import Call
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import Loss, LostWrites


class Forgetful:
    """A server that has forgotten all but the id of its data."""

    def __init__(self) -> None:
        self._answers = [None, b"d"]

    async def read_field(self, *_: str) -> bytes | None:
        await asyncio.sleep(0)
        return self._answers.pop(0)


async def test_a_loss_that_several_connections_find_is_reported_once() -> None:
    losses: list[Loss] = []
    lost_writes = LostWrites(Keys(), "a", report=losses.append, now_ms=lambda: 0)
    identity = Identity()
    identity.seen = Data("d", 0)
    append = Call("append", {"group": "1"})
    lost_writes.observe([append], [[b"queued", b"1-0,1-1", 0]], identity)
    await asyncio.gather(*(lost_writes.compare(Forgetful().read_field) for _ in range(2)))
    assert [loss.messages for loss in losses] == [2]
