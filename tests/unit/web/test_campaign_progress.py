"""Progress. Rule: rates and finish times come from one look a second, whatever is asked."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState, Counts
from smsd.redis.errors import Away
from smsd.store.campaigns import Campaigns
from smsd.web.campaign_progress import REMEMBERED, Progress, segments_of
from smsd.web.campaign_view import CampaignView, Price

NOW = 1_795_788_000_000  # 2026-11-27T14:00:00Z


class Stage:
    """Campaigns, a queue and clocks that are set by hand."""

    def __init__(self) -> None:
        self.active_: Sequence[Campaign] = ()
        self.queue = 0
        self.seconds = 0.0
        self.looks = 0
        self.progress = Progress(
            cast("Campaigns", self),
            queue_length=self.queue_length,
            rate=lambda: 10.0,
            clock=lambda: self.seconds,
            now_ms=lambda: NOW,
        )

    async def active(self) -> Sequence[Campaign]:
        self.looks += 1
        return self.active_

    async def queue_length(self) -> int:
        return self.queue

    def end(self, campaign: Campaign) -> float:
        """In how many seconds it is finished."""
        return (self.progress.finish_times([campaign])[campaign.id] - NOW) / 1000


def campaign(id_: str = "c1", recipients: int = 100, **given: Any) -> Campaign:
    asked = {"name": f"n{id_}", "message": "Hi"} | given.pop("request", {})
    state = given.pop("state", CampaignState.RUNNING)
    waits: dict[str, Any] = {"unexpanded": recipients, "counts": Counts(recipients, recipients)}
    return Campaign(id_, CampaignRequest(**asked), state, NOW, (), (1, 1), **(waits | given))


async def test_the_rate_is_that_of_the_last_seconds() -> None:
    stage = Stage()
    one = campaign()
    assert stage.progress.rate(one) == 0
    for second in range(20):
        stage.seconds = second
        stage.active_ = [replace(one, segments_sent=10 * min(second, 15))]
        await stage.progress.look()
        if second == 10:
            assert stage.progress.rate(one) == 10.0
    assert stage.progress.rate(one) == 10 * (15 - 14) / REMEMBERED
    stage.active_ = []
    await stage.progress.look()
    assert stage.progress.rate(one) == 0


async def test_one_campaign_is_finished_when_its_segments_are_sent() -> None:
    stage = Stage()
    assert stage.end(campaign(recipients=100)) == 10
    assert stage.end(campaign(recipients=100, segments_each=1.5)) == 15
    half = campaign(
        recipients=50,
        unexpanded=50,
        counts=Counts(100, waiting=55, in_flight=3, deferred=2, sent=40),
        segments_expanded=100,  # two each
        segments_each=2.0,
    )
    assert stage.end(half) == 12
    assert segments_of(half) == 200


async def test_others_and_what_is_in_line_are_taken_into_account() -> None:
    stage = Stage()
    mine, other = campaign(recipients=100), campaign("c2", recipients=300)
    stage.active_ = [mine, other]
    await stage.progress.look()
    assert stage.end(mine) == 20
    stage.queue = 50  # of no campaign
    await stage.progress.look()
    assert stage.end(mine) == 25
    first = replace(other, request=replace(other.request, priority="high"))
    stage.active_ = [mine, first]
    await stage.progress.look()
    assert stage.end(mine) == 45
    stage.active_ = [mine, replace(other, state=CampaignState.PAUSED)]
    await stage.progress.look()
    assert stage.end(mine) == 15


async def test_what_a_campaign_has_in_line_is_not_counted_twice() -> None:
    stage = Stage()
    mine = campaign(unexpanded=70, segments_expanded=30)
    stage.active_, stage.queue = [mine], 30
    await stage.progress.look()
    assert stage.end(mine) == 10


@pytest.mark.parametrize(
    "state", [one for one in CampaignState if one not in ("running", "scheduled")]
)
async def test_what_does_not_run_has_no_end(state: CampaignState) -> None:
    stage = Stage()
    assert stage.progress.finish_times([campaign(state=state)]) == {}
    view = CampaignView(stage.progress, Price(0, ""))
    assert "drains_at" not in view.started(campaign(state=state))


async def test_a_campaign_for_later_begins_then_and_expires_at_the_latest() -> None:
    stage = Stage()
    later = campaign(state=CampaignState.SCHEDULED, request={"send_at": NOW + 60_000})
    assert stage.end(later) == 70
    expiring = replace(later, request=replace(later.request, expires_at=NOW + 65_000))
    assert stage.end(expiring) == 65


async def test_nothing_is_known_while_redis_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    stage.active_ = [campaign("c2", recipients=300)]
    await stage.progress.look()

    async def away() -> Sequence[Campaign]:
        raise Away("it is")

    monkeypatch.setattr(stage, "active", away)
    with pytest.raises(Away):
        await stage.progress.look()
    stage.progress.forget()
    assert stage.end(campaign(recipients=100)) == 10


async def test_answers_have_costs_only_where_a_price_is_known() -> None:
    stage = Stage()
    one = campaign(segments_sent=3, counts=Counts(100, waiting=97, sent=3), dead={"rejected": 0})
    free = CampaignView(stage.progress, Price(0.0, "USD")).whole(one)
    assert "cost" not in free
    priced = CampaignView(stage.progress, Price(0.0079, "USD")).whole(one)
    assert priced["cost"] == {"sent": 0.0237, "expected": 0.79, "currency": "USD"}
    unnamed = CampaignView(stage.progress, Price(0.0079, "")).whole(one)
    assert unnamed["cost"] == {"sent": 0.0237, "expected": 0.79}
