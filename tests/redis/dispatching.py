"""Parts of a term at work over a store, in real time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from typing import Any

from smsd.core.outcome import RetryPolicy
from smsd.core.pacer import Pacer
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.dispatcher import Dispatcher
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.pace import Pace
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery
from smsd.metrics import Metrics
from smsd.provider.base import FindSettled
from tests.support.store import SECOND, Store


def nanoseconds() -> int:
    return round(asyncio.get_running_loop().time() * SECOND)


async def none_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
    return {}


def impatient(provider: Any, find_settled: FindSettled = none_settled) -> InDoubtAsker:
    return InDoubtAsker(provider, settled_as=find_settled, sleep=lambda _: asyncio.sleep(0))


def dispatcher(
    store: Store,
    provider: Any,  # as far as a dispatcher needs one
    policy: RetryPolicy | None = None,
    *,
    hold: Hold | None = None,
    max_in_flight: int = 2,
    rate: float = 1000,
    may_send: Callable[[], bool] = lambda: True,
) -> Dispatcher:
    metrics = Metrics()
    return Dispatcher(
        store.queue,
        provider,
        store.prefetch,
        Pace(Pacer(rate, ceiling="segment"), clock=nanoseconds, metrics=metrics),
        hold or Hold(rate=1000, clock=nanoseconds, changed=lambda _: None),
        owner=store.owner,
        default_sender="",
        may_send=may_send,
        on_fenced=store.lease.doubt,
        policy=policy or RetryPolicy(),
        max_in_flight=max_in_flight,
        clock=nanoseconds,
        now_ms=store.wall,
        chance=lambda: 0.5,
        metrics=metrics,
        asker=impatient(provider),
    )


@asynccontextmanager
async def at_work(part: Recovery | Dispatcher | Claimer | Promoter) -> AsyncIterator[None]:
    task = asyncio.create_task(part.run())
    try:
        yield
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
