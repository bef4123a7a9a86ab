"""Old campaigns. Rule: those that ended long ago go, and no others."""

from smsd.core.campaign import CampaignState
from tests.redis.campaigns import audience, request, start
from tests.support.store import Store, Wall


async def test_what_ended_long_ago_is_forgotten_and_nothing_else(store: Store, wall: Wall) -> None:
    await audience(store, 5)
    for state in CampaignState:
        for age in ("old", "young"):
            campaign = await start(store, request(name=f"{state}-{age}"))
            since = wall.ms - (1001 if age == "old" else 1000)
            stored = "running" if state is CampaignState.SCHEDULED else state
            changes = {"state": stored, "since": since}
            await store.redis.hset(store.keys.campaign(campaign.id), mapping=changes)

    assert await store.campaigns.forget_ended(wall.ms - 1000) >= 2
    left, after = await store.campaigns.page()
    assert after == ""
    assert {one.request.name for one in left}.isdisjoint({"finished-old", "cancelled-old"})
    assert len(left) == 2 * len(CampaignState) - 2
    assert await store.campaigns.forget_ended(wall.ms - 1000) == 0


async def test_many_pages_of_them_are_forgotten(store: Store, wall: Wall) -> None:
    await audience(store, 1)
    for n in range(230):
        campaign = await start(store, request(name=f"n{n}"))
        if n % 5:
            key = store.keys.campaign(campaign.id)
            await store.redis.hset(key, mapping={"state": "cancelled", "since": 0})
    assert await store.campaigns.forget_ended(wall.ms) == 184
    left, _ = await store.campaigns.page(count=100)
    assert len(left) == 46
