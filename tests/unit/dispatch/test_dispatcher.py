"""The dispatcher without Redis. Rule: what was not begun is in line again, in its old order."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from smsd.core.message import Content, Limits, Message
from smsd.core.outcome import RetryPolicy
from smsd.core.pacer import Pacer
from smsd.core.segment import Segments
from smsd.dispatch.context import Context
from smsd.dispatch.dispatcher import Dispatcher, Parts
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.in_flight import InFlight
from smsd.dispatch.pace import Pace
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.dispatch.settler import Settler
from smsd.metrics import Metrics
from smsd.redis.errors import Refused
from smsd.store.entry import Entry
from tests.support.provider import ScriptedProvider

NAMES = [f"n1-{number}" for number in range(4)]


class Answers:
    """A queue that answers every `begin` alike."""

    def __init__(self, answer: object) -> None:
        self.answer = answer
        self.asked = asyncio.Event()

    async def begin(self, sends: Sequence[object]) -> list[object]:
        self.asked.set()
        return [self.answer] * len(sends)


@pytest.mark.parametrize("answer", ["fenced", "older", Refused("wrong type", "smsd:inflight")])
async def test_messages_that_could_not_be_marked_keep_their_order(answer: object) -> None:
    def clock() -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    queue: Any = Answers(answer)
    metrics, pacer = Metrics(), Pacer(1000, ceiling="segment")
    hold = Hold(rate=1000, clock=clock, changed=lambda _: None)
    pace, provider = Pace(pacer, clock=clock, metrics=metrics), ScriptedProvider()
    context = Context(
        queue=queue,
        limits=Limits(),
        policy=RetryPolicy(),
        metrics=metrics,
        owner="a",
        clock=clock,
        now_ms=lambda: 0,
        chance=lambda: 0.5,
        may_send=lambda: True,
        on_fenced=lambda: None,
    )
    prefetch, in_flight = Prefetch(1000), InFlight(9, clock=clock, rate=lambda: 1000.0)
    settler = Settler(context, InDoubtAsker(provider), hold, pace)
    work = Dispatcher(context, Parts(provider, prefetch, pace, hold, in_flight, settler))
    for name in NAMES:
        content = Content("Hi", Segments("gsm7", 2, 1))
        prefetch.put(Claimed(Entry(name, (), 0), Message(name[1:], "+12025550123", content)))
    running = asyncio.create_task(work.run())
    async with asyncio.timeout(5):
        await queue.asked.wait()
    running.cancel()
    assert await work.drain(5)
    await asyncio.gather(running, return_exceptions=True)
    assert [prefetch.take().entry.name for _ in NAMES] == NAMES
    assert in_flight.free == 9
    assert provider.submitted == []
