"""Parts of a term at work over a store, in real time."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from smsd.core.pacer import Pacer
from smsd.dispatch.claimer import Claimer
from smsd.dispatch.context import Context
from smsd.dispatch.dispatcher import Dispatcher, Parts
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.in_flight import InFlight
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Prefetch
from smsd.dispatch.promoter import Promoter
from smsd.dispatch.recovery import Recovery
from smsd.dispatch.settler import Settler
from smsd.provider.base import FindSettled, Provider
from tests.support.provider import ScriptedProvider
from tests.support.store import SECOND, Store


def nanoseconds() -> int:
    return round(asyncio.get_running_loop().time() * SECOND)


class Clock:
    """Real time, which can be moved ahead."""

    def __init__(self) -> None:
        self._ahead = 0

    def __call__(self) -> int:
        return nanoseconds() + self._ahead

    def advance(self, seconds: float) -> None:
        self._ahead += round(seconds * SECOND)


def new_hold(clock: Clock | None = None) -> Hold:
    return Hold(rate=1000, clock=clock or nanoseconds, changed=lambda _: None)


async def none_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
    return {}


def settler(
    context: Context,
    provider: Provider,
    hold: Hold,
    pace: Pace,
    find_settled: FindSettled = none_settled,
) -> Settler:
    """One that asks without pauses."""
    asker = InDoubtAsker(provider, find_settled=find_settled, sleep=lambda _: asyncio.sleep(0))
    return Settler(context, asker, hold, pace)


def dispatcher(
    store: Store,
    provider: Provider,
    *,
    hold: Hold | None = None,
    max_in_flight: int = 2,
    rate: float = 1000,
    **changes: Any,
) -> Dispatcher:
    """A dispatcher. `changes`: of the store's context."""
    context = replace(store.context, clock=nanoseconds, **changes)
    pacer, hold = Pacer(rate, ceiling="segment"), hold or new_hold()
    pace = Pace(pacer, clock=nanoseconds, metrics=context.metrics)
    in_flight = InFlight(max_in_flight, clock=nanoseconds, rate=lambda: pacer.rate)
    settling = settler(context, provider, hold, pace)
    return Dispatcher(context, Parts(provider, store.prefetch, pace, hold, in_flight, settling))


def recovery(
    store: Store,
    provider: Provider | None = None,
    *,
    prefetch: Prefetch | None = None,
    **changes: Any,
) -> Recovery:
    """A recovery that asks `provider`, if there is one. `changes`: of the store's context."""
    context = replace(store.context, clock=nanoseconds, **changes)
    pace = Pace(Pacer(1000, ceiling="segment"), clock=nanoseconds, metrics=context.metrics)
    provider = provider or ScriptedProvider()
    settling = settler(context, provider, new_hold(), pace, store.events.find_settled)
    return Recovery(context, store.unsettled, store.claimer, prefetch or store.prefetch, settling)


async def claimed(store: Store, *recipients: str) -> list[str]:
    """Queue a message to each, and put them into the prefetch; their ids."""
    ids = await store.append(*recipients)
    await store.claimer.admit(await store.queue.claim(10, 10))
    return ids


@asynccontextmanager
async def at_work(part: Recovery | Dispatcher | Claimer | Promoter) -> AsyncIterator[None]:
    task = asyncio.create_task(part.run())
    try:
        yield
    finally:
        assert not task.done(), task
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
