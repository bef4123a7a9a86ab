"""Pausing a campaign that fails. Rule: what showed that it fails waits, and is not spent."""

import asyncio
from typing import Any

import pytest

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState
from smsd.core.life import DeadReason
from smsd.core.message import Limits
from smsd.core.outcome import Ack, Bury, RetryPolicy, Verdict
from smsd.dispatch.auto_pause import AutoPause
from smsd.dispatch.context import Context
from smsd.metrics import Metrics
from smsd.redis.errors import RedisError, Refused, Unreachable
from smsd.store.campaigns import WrongState
from smsd.store.dead_letter_request import Order
from smsd.store.entry import Attempt

REJECTED = Bury(DeadReason.REJECTED, "30007", "filtered")
NOW = 1_000_000
NONE: Any = None


class Store:
    """Campaigns and dead letters in memory."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.fails: list[Exception] = []  # what the next pauses raise

    async def show(self, id_: str) -> Campaign | None:
        request = CampaignRequest(id_, "Hi")
        return Campaign(id_, request, CampaignState.RUNNING, 0, (), (1, 1)) if id_ != "c0" else None

    async def pause(self, campaign: Campaign, *, by: str, reason: str) -> None:
        if self.fails:
            raise self.fails.pop(0)
        self.done.append(f"pause {campaign.id}: {by}: {reason}")

    async def replay(self, order: Order) -> None:
        self.done.append(f"replay {order.choice.message_id}")


class Work:
    """An automatic pause, with a bound of two."""

    def __init__(self) -> None:
        self.store = Store()
        self.now = NOW
        store: Any = self.store
        context = Context(
            queue=NONE,
            limits=Limits(),
            policy=RetryPolicy(),
            metrics=Metrics(),
            owner="a",
            clock=lambda: 0,
            now_ms=lambda: self.now,
            chance=lambda: 0.5,
            may_send=lambda: True,
            on_fenced=NONE,
        )
        self.part = AutoPause(context, store, store, most=2)

    def settle(self, *ids: str, verdict: Verdict = REJECTED, started_ms: int = NOW - 1) -> None:
        for id_ in ids:
            self.part.learn(id_, Attempt(1, started_ms, "a"), verdict)

    async def done(self) -> list[str]:
        """What it does once it runs."""
        running = asyncio.create_task(self.part.run())
        for _ in range(50):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        return self.store.done


REASON = "pause c1: smsd: 3 of the last 3 were rejected: 30007"
REPLAYS = ["replay c1_1", "replay c1_2", "replay c1_3"]


async def test_those_that_were_rejected_wait_again_once_their_campaign_is_paused() -> None:
    work = Work()
    work.settle("c1_1", "c1_2")
    assert await work.done() == []
    work.settle("c1_3")
    assert await work.done() == [REASON, *REPLAYS]


async def test_one_that_was_under_way_meanwhile_waits_too() -> None:
    work = Work()
    work.settle("c1_1", "c1_2", "c1_3", "c1_4")
    assert await work.done() == [REASON, *REPLAYS, "replay c1_4"]


async def test_once_it_goes_on_it_is_looked_at_anew() -> None:
    work = Work()
    work.settle("c1_1", "c1_2", "c1_3")
    work.settle("c1_1", "c1_2", started_ms=NOW + 1)
    assert await work.done() == [REASON, *REPLAYS]
    work.now += 2
    work.settle("c1_3", started_ms=NOW + 2)
    assert await work.done() == [REASON, *REPLAYS] * 2


@pytest.mark.parametrize(
    "verdict",
    [
        Ack("p"),
        Bury(DeadReason.REJECTED, "21610", "opted out", opted_out=True),
        Bury(DeadReason.EXHAUSTED, "", "down"),
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ],
)
async def test_what_is_not_the_messages_own_fault_does_not_count(verdict: Verdict) -> None:
    work = Work()
    work.settle(*(f"c1_{n}" for n in range(100)), verdict=verdict)
    assert await work.done() == []


async def test_messages_of_no_campaign_do_not_count() -> None:
    work = Work()
    work.settle(*(f"1700000000000-{n}" for n in range(100)), "s0123_1", "c_1")
    assert await work.done() == []


@pytest.mark.parametrize("fails", [WrongState("is cancelled"), Refused("is a string", "k")])
async def test_where_it_cannot_be_paused_nothing_is_sent_again(fails: Exception) -> None:
    work = Work()
    work.store.fails = [fails]
    work.settle("c1_1", "c1_2", "c1_3", "c2_1", "c2_2", "c2_3")
    done = await work.done()
    assert not any("c1" in one for one in done)
    assert len(done) == 4


async def test_a_campaign_that_is_gone_is_none_to_pause() -> None:
    work = Work()
    work.settle("c0_1", "c0_2", "c0_3")
    assert await work.done() == []


async def test_it_is_tried_until_redis_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("smsd.dispatch.auto_pause.PAUSE_S", 0.0)
    work = Work()
    fails: list[RedisError] = [Unreachable("gone")] * 3
    work.store.fails = [*fails]
    work.settle("c1_1", "c1_2", "c1_3")
    assert await work.done() == [REASON, *REPLAYS]
