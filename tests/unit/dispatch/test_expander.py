"""Expansion without Redis. Rule: enough in line and no more, and nobody's trouble is another's."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState, Counts
from smsd.core.message import Limits, Message, parse
from smsd.core.outcome import Halted, RetryPolicy
from smsd.core.pacer import SECOND
from smsd.dispatch.context import Context
from smsd.dispatch.expander import AHEAD_S, LEAST_AHEAD, LOOK_S, Expander
from smsd.dispatch.hold import Hold
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.metrics import Metrics
from smsd.redis.errors import OutOfMemory, RedisError, Refused, Unreachable
from smsd.store.arrivals import Unclaimed
from smsd.store.campaigns import Rendered, Waiting
from smsd.store.entry import Entry
from smsd.store.handed_out import Fenced
from smsd.store.operator_hold import HeldBy, Operator

BODY = "Hi {{ name }}"
TOO_LONG = "ж" * 250  # four segments


def campaign(id_: str, *, waiting: int = 10_000, **changes: Any) -> Campaign:
    request = CampaignRequest(name=f"name of {id_}", message=BODY, **changes)
    return Campaign(id_, request, CampaignState.RUNNING, 0, ("name",), (1, 1), unexpanded=waiting)


class Campaigns:
    """Campaigns in memory."""

    def __init__(self, *campaigns: Campaign) -> None:
        self.by_id = {one.id: one for one in campaigns}
        self.made: list[tuple[str, Rendered]] = []
        self.untidy: Counter[str] = Counter()  # steps that are left
        self.fails: dict[str, RedisError | Fenced] = {}  # `expand`, by id; "": `active`
        self.values: dict[str, Sequence[str]] = {}  # by number, of the campaign a
        self.paused: list[tuple[str, str]] = []

    async def active(self) -> list[Campaign]:
        if "" in self.fails:
            raise self.fails[""]
        return list(self.by_id.values())

    async def waiting(self, one: Campaign, most: int) -> list[Waiting]:
        first = sum(id_ == one.id for id_, _ in self.made)
        numbers = [f"+1202555{place:04d}" for place in range(first, min(first + most, 10_000))]
        left = numbers[: self.by_id[one.id].unexpanded - first]
        values = self.values if one.id == "a" else {}
        return [Waiting(number, values.get(number, ("you",))) for number in left]

    async def expand(self, one: Campaign, messages: Sequence[Rendered]) -> int:
        if one.id in self.fails:
            raise self.fails[one.id]
        if self.by_id[one.id].state is not CampaignState.RUNNING:
            return 0
        self.made += [(one.id, message) for message in messages]
        return len(messages)

    async def tidy(self, one: Campaign) -> bool:
        if self.untidy[one.id] == 0:
            return False
        self.untidy[one.id] -= 1
        return self.untidy[one.id] > 0

    async def pause(self, one: Campaign, *, by: str, reason: str) -> None:
        self.paused.append((one.id, by))
        self.by_id[one.id] = replace(one, state=CampaignState.PAUSED, reason=reason)

    def segments(self, *ids: str) -> int:
        return sum(message.segments for id_, message in self.made if not ids or id_ in ids)


class Line:
    """What waits in the streams: all that was made, until it is taken."""

    def __init__(self, campaigns: Campaigns) -> None:
        self._campaigns = campaigns
        self.taken = 0
        self.high = 0

    async def unclaimed(self) -> Unclaimed:
        return Unclaimed(self.high, len(self._campaigns.made) - self.taken)


class Work:
    """An expander over clocks that are moved by hand."""

    def __init__(self, *campaigns: Campaign, rate: float = 100) -> None:
        self.campaigns = Campaigns(*campaigns)
        self.line = Line(self.campaigns)
        self.now = 1000 * SECOND
        self.may_send = True
        self.rate = rate
        self.fenced = asyncio.Event()
        self.metrics = Metrics()
        self.prefetch = Prefetch(rate)
        self.hold = Hold(rate=rate, clock=lambda: self.now, changed=lambda _: None)
        context = Context(
            queue=Any,  # type: ignore[arg-type]
            limits=Limits(max_segments=3),
            policy=RetryPolicy(),
            metrics=self.metrics,
            owner="a",
            clock=lambda: self.now,
            now_ms=lambda: self.now // 1_000_000,
            chance=lambda: 0.5,
            may_send=lambda: self.may_send,
            on_fenced=self.fenced.set,
        )
        store: Any = self.campaigns
        line: Any = self.line
        self.expander = Expander(
            context,
            store,
            line,
            self.prefetch,
            self.hold,
            rate=lambda: self.rate,
            most_faults=5,
        )

    async def step(self, seconds: float = 0.0) -> None:
        self.now += round(seconds * SECOND)
        await self.expander._step()

    def claim(self, segments: int, *, stream: str = "n") -> None:
        """A message waits in the prefetch."""
        content = parse({"message": "x" * 153 * segments}, Limits(), 0)
        name = f"{stream}{len(self.prefetch)}-1"
        self.prefetch.put(Claimed(Entry(name, (), 0), Message("m", "+12025550101", content)))


@pytest.mark.parametrize("rate", [0.5, 45.0, 100.0, 5000.0])
async def test_little_more_than_enough_lies_in_line(rate: float) -> None:
    work = Work(campaign("a"), rate=rate)
    await work.step()
    enough = rate * AHEAD_S["normal"]
    assert enough <= work.campaigns.segments() < enough + 1
    await work.step()
    assert work.campaigns.segments() < enough + 1
    assert work.metrics.recipients_expanded == len(work.campaigns.made)


async def test_long_messages_count_as_what_they_are() -> None:
    work = Work(campaign("a"))
    work.campaigns.values = {f"+1202555{place:04d}": ("x" * 250,) for place in range(10_000)}
    for _ in range(9):
        await work.step()
    assert 125 <= work.campaigns.segments() <= 126
    assert len(work.campaigns.made) * 2 == work.campaigns.segments()


async def test_as_much_is_made_as_is_taken() -> None:
    work = Work(campaign("a"))
    await work.step()
    before = work.campaigns.segments()
    work.line.taken = 50
    await work.step()
    assert 40 <= work.campaigns.segments() - before <= 60


@pytest.mark.parametrize("stream", ["n", "h"])
async def test_what_others_have_in_line_counts(stream: str) -> None:
    work = Work(campaign("a"))
    while work.prefetch.segments("n") + work.prefetch.segments("h") < 125:
        work.claim(2, stream=stream)
    await work.step()
    assert work.campaigns.made == []
    work.prefetch.take()
    await work.step()
    assert 0 < work.campaigns.segments() <= 11


async def test_high_priority_does_not_wait_for_what_is_normal() -> None:
    work = Work(campaign("a", priority="high"), campaign("b"))
    for _ in range(100):
        work.claim(2)
    await work.step()
    assert {id_ for id_, _ in work.campaigns.made} == {"a"}
    assert 75 <= work.campaigns.segments() <= 85


async def test_campaigns_share_by_their_weights() -> None:
    work = Work(campaign("a", weight=3), campaign("b", weight=1))
    for _ in range(20):
        await work.step()
        work.line.taken = len(work.campaigns.made)
    share = work.campaigns.segments("a") / work.campaigns.segments()
    assert share == pytest.approx(0.75, rel=0.05)


async def test_one_that_has_no_recipients_left_takes_no_turns() -> None:
    work = Work(campaign("a", waiting=5), campaign("b"))
    await work.step()
    assert work.campaigns.segments("a") == 5
    assert work.campaigns.segments("b") >= 100


@pytest.mark.parametrize("state", [one for one in CampaignState if one != "running"])
async def test_only_those_that_run_are_expanded(state: CampaignState) -> None:
    work = Work(replace(campaign("a"), state=state))
    await work.step()
    assert work.campaigns.made == []
    assert work.metrics.campaigns_active == 1


async def test_one_that_begins_or_stops_is_seen_at_the_next_look() -> None:
    work = Work(replace(campaign("a"), state=CampaignState.SCHEDULED))
    await work.step()
    work.campaigns.by_id["a"] = campaign("a")
    await work.step()
    assert work.campaigns.made == []
    await work.step(LOOK_S)
    assert work.campaigns.segments() >= 125
    work.campaigns.by_id["a"] = replace(campaign("a"), state=CampaignState.PAUSED)
    made, work.line.taken = len(work.campaigns.made), len(work.campaigns.made)
    await work.step()  # not known yet, but the store refuses
    await work.step(LOOK_S)
    assert len(work.campaigns.made) == made


@pytest.mark.parametrize(
    ("one", "left"),
    [
        (campaign("a"), 1),
        (replace(campaign("a"), state=CampaignState.SCHEDULED), 1),
        (replace(campaign("a"), counts=Counts(held=1)), 0),
        (replace(campaign("a"), state=CampaignState.PAUSED), 0),
        (replace(campaign("a"), state=CampaignState.NEEDS_ATTENTION), 0),
        (campaign("a", expires_at=1), 0),
        (campaign("a", waiting=0), 0),
    ],
)
async def test_where_nothing_can_be_left_to_do_nobody_looks_for_it(
    one: Campaign, left: int
) -> None:
    work = Work(one)
    work.campaigns.untidy["a"] = 1
    await work.step()
    assert work.campaigns.untidy["a"] == left


async def test_very_many_are_looked_at_less_often() -> None:
    work = Work(campaign("a"))
    looks = 0

    async def active() -> list[Campaign]:
        nonlocal looks
        looks += 1
        work.now += SECOND  # so long it takes
        return []

    work.campaigns.active = active  # type: ignore[method-assign]
    for _ in range(12):
        await work.step(1.0)
    assert looks == 2


async def test_one_that_has_expired_is_not_expanded() -> None:
    work = Work(campaign("a", expires_at=1000 * 1000))
    await work.step()
    assert work.campaigns.made == []


async def test_nothing_is_made_while_an_operator_holds_dispatch() -> None:
    work = Work(campaign("a"), replace(campaign("b"), state=CampaignState.CANCELLED))
    work.campaigns.untidy["b"] = 3
    work.hold.obey_operator(Operator(HeldBy("ops", "wait", 0), 0))
    for _ in range(4):
        await work.step()
    assert work.campaigns.made == []
    assert work.campaigns.untidy["b"] == 0, "what a verb left to do is done all the same"


async def test_in_data_that_is_not_trusted_nothing_is_done() -> None:
    work = Work(campaign("a"), replace(campaign("b"), state=CampaignState.CANCELLED))
    work.campaigns.untidy["b"] = 1
    work.may_send = False
    await work.step(LOOK_S)
    assert work.campaigns.made == []
    assert work.campaigns.untidy["b"] == 1
    work.may_send = True
    await work.step(LOOK_S)
    assert work.campaigns.untidy["b"] == 0
    assert work.campaigns.made


async def test_few_are_made_to_probe_with_while_the_provider_is_at_fault() -> None:
    work = Work(campaign("a"))
    work.hold.learn("1-0", Halted("30002", "suspended"), probe=False, waiting=False)
    for _ in range(4):
        await work.step()
    assert work.campaigns.segments() == LEAST_AHEAD


@pytest.mark.parametrize("fault", [Refused("is a string", "smsd:campaign:a")])
async def test_one_with_a_damaged_key_does_not_stop_the_others(fault: Refused) -> None:
    work = Work(campaign("a"), campaign("b"))
    work.campaigns.fails["a"] = fault
    await work.step()
    assert work.campaigns.segments("b") >= 125
    del work.campaigns.fails["a"]
    work.line.taken = len(work.campaigns.made)
    await work.step(LOOK_S)
    assert work.campaigns.segments("a") > 0


async def test_one_whose_body_cannot_be_read_is_paused() -> None:
    work = Work(replace(campaign("a"), columns=("other",)), campaign("b"))
    await work.step()
    assert work.campaigns.paused == [("a", "smsd")]
    assert "name" in work.campaigns.by_id["a"].reason
    assert work.campaigns.segments("b") >= 125


async def test_who_cannot_get_a_message_is_put_in_line_with_the_reason() -> None:
    work = Work(campaign("a", waiting=4), rate=10)
    numbers = [f"+1202555000{n}" for n in range(4)]
    work.campaigns.values = {numbers[1]: ("",), numbers[2]: (TOO_LONG,)}
    await work.step()
    fields = [
        dict(zip(one.fields[::2], one.fields[1::2], strict=True)) for _, one in work.campaigns.made
    ]
    assert [one["to"] for one in fields] == numbers
    assert fields[1]["fault"].startswith("name: ")
    assert fields[2]["message"] == f"Hi {TOO_LONG}"
    assert [one["message"] for one in fields[::3]] == ["Hi you", "Hi you"]


@pytest.mark.parametrize(("value", "field"), [("", "name"), (TOO_LONG, "message")])
async def test_one_in_which_many_cannot_get_a_message_is_paused(value: str, field: str) -> None:
    work = Work(campaign("a"), campaign("b"))
    work.campaigns.values = {f"+1202555{place:04d}": (value,) for place in range(7, 30, 2)}
    await work.step()
    assert work.campaigns.paused == [("a", "smsd")]
    assert work.campaigns.by_id["a"].reason == f"6 of the last 11 cannot be sent: {field}"
    assert sum(id_ == "a" for id_, _ in work.campaigns.made) <= 17, "the sixth is not spent"
    assert work.campaigns.segments("b") >= 100


async def test_a_message_carries_what_the_campaign_says() -> None:
    one = campaign("a", waiting=1, sender="Acme", ref="r-1", expires_at=4_102_444_800_000)
    work = Work(one)
    await work.step()
    [(_, message)] = work.campaigns.made
    assert list(message.fields) == [
        *("to", "+12025550000", "message", "Hi you", "from", "Acme"),
        *("expires_at", "2100-01-01T00:00:00.000+00:00", "campaign", "name of a", "ref", "r-1"),
    ]


@pytest.mark.parametrize(
    "fails", [Unreachable("gone"), OutOfMemory("full"), Refused("wrong"), Fenced()]
)
async def test_it_goes_on_when_redis_does(
    fails: RedisError | Fenced, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsd.dispatch.expander.FAILED_PAUSE_S", 0.0)
    work = Work(campaign("a"))
    work.campaigns.fails[""] = fails
    running = asyncio.create_task(work.expander.run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert work.campaigns.made == []
    assert work.fenced.is_set() == isinstance(fails, Fenced)
    del work.campaigns.fails[""]
    for _ in range(2000):
        await asyncio.sleep(0)
    assert work.campaigns.segments() >= 125
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
