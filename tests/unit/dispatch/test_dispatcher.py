"""The dispatcher without Redis. Rule: what was not begun is in line again, in its old order."""

import asyncio
from collections.abc import Sequence
from typing import Any, cast

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


def dispatcher(queue: Answers, *, rate: float) -> tuple[Dispatcher, Parts]:
    def clock() -> int:
        return round(asyncio.get_running_loop().time() * 1e9)

    metrics, pacer = Metrics(), Pacer(rate, ceiling="segment")
    hold = Hold(rate=rate, clock=clock, changed=lambda _: None)
    pace, provider = Pace(pacer, clock=clock, metrics=metrics), ScriptedProvider()
    context = Context(
        queue=cast("Any", queue),
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
    settler = Settler(context, InDoubtAsker(provider), hold, pace)
    in_flight = InFlight(9, clock=clock, rate=lambda: rate)
    parts = Parts(provider, Prefetch(rate), pace, hold, in_flight, settler)
    return Dispatcher(context, parts), parts


def fill(prefetch: Prefetch, names: Sequence[str]) -> None:
    for name in names:
        content = Content("Hi", Segments("gsm7", 2, 1))
        prefetch.put(Claimed(Entry(name, (), 0), Message(name[1:], "+12025550123", content)))


def submitted(parts: Parts) -> list[str]:
    return cast("ScriptedProvider", parts.provider).submitted


class RefusesToSuppress(Answers):
    """A queue in which all but the last message has an opted-out recipient, and that stays so."""

    def __init__(self, last: str) -> None:
        super().__init__("suppressed")
        self._last = last

    async def begin(self, sends: Sequence[object]) -> list[object]:
        names = [send[0].name for send in sends]  # type: ignore[index]
        return ["begun" if name == self._last else self.answer for name in names]

    async def suppress(self, *_: object) -> bool:
        raise Refused("is a string, not a stream", "smsd:queue")

    async def ack(self, *_: object) -> bool:
        self.asked.set()
        return True


async def test_messages_that_cannot_be_settled_hold_no_slot_of_others() -> None:
    names = [f"n1-{number}" for number in range(40)]
    queue = RefusesToSuppress(names[-1])
    work, parts = dispatcher(queue, rate=5)
    fill(parts.prefetch, names)
    running = asyncio.create_task(work.run())
    async with asyncio.timeout(10):
        await queue.asked.wait()
    running.cancel()
    await work.drain(0)
    await asyncio.gather(running, return_exceptions=True)
    assert submitted(parts) == [names[-1][1:]]


@pytest.mark.parametrize("answer", ["fenced", "older", Refused("wrong type", "smsd:inflight")])
async def test_messages_that_could_not_be_marked_keep_their_order(answer: object) -> None:
    queue = Answers(answer)
    work, parts = dispatcher(queue, rate=1000)
    fill(parts.prefetch, NAMES)
    running = asyncio.create_task(work.run())
    async with asyncio.timeout(20):
        await queue.asked.wait()
    running.cancel()
    assert await work.drain(5)
    await asyncio.gather(running, return_exceptions=True)
    assert [parts.prefetch.take().entry.name for _ in NAMES] == NAMES
    assert parts.in_flight.free == 9
    assert submitted(parts) == []


class Unsent(Answers):
    """A queue that takes whatever is not to be sent."""

    def __init__(self, answer: object) -> None:
        super().__init__(answer)
        self.done: list[str] = []

    async def hold(self, entry: Entry, _: Message) -> bool:
        return self._did(f"hold {entry.name}")

    async def take_back(self, entry: Entry, _: Message) -> bool:
        return self._did(f"take back {entry.name}")

    def _did(self, what: str) -> bool:
        self.done.append(what)
        if len(self.done) == len(NAMES):
            self.asked.set()
        return True

    async def begin(self, sends: Sequence[object]) -> list[object]:
        return [self.answer] * len(sends)


@pytest.mark.parametrize(("answer", "done"), [("paused", "hold"), ("cancelled", "take back")])
async def test_what_is_due_of_a_campaign_that_stopped_is_not_sent(answer: str, done: str) -> None:
    queue = Unsent(answer)
    work, parts = dispatcher(queue, rate=1000)
    fill(parts.prefetch, NAMES)
    running = asyncio.create_task(work.run())
    async with asyncio.timeout(20):
        await queue.asked.wait()
    running.cancel()
    assert await work.drain(5)
    await asyncio.gather(running, return_exceptions=True)
    assert sorted(queue.done) == [f"{done} {name}" for name in NAMES]
    assert len(parts.prefetch) == 0
    assert not any(map(parts.prefetch.knows, NAMES))
    assert parts.in_flight.free == 9
    assert submitted(parts) == []
