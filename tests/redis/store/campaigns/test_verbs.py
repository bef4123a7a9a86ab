"""Verbs of a campaign. Rule: each is one step, done once, with who asked and why."""

import asyncio
from dataclasses import replace

import pytest

from smsd.core.campaign import Campaign, CampaignState
from smsd.store.campaigns import CountChanged, WrongState
from tests.redis.audiences import keys_of_audiences
from tests.redis.campaigns import audience, request, shown, start
from tests.support.store import Store, Wall, dump

MANY = 100
VERBS = ["pause", "resume", "cancel"]
BECOMES = {
    "pause": CampaignState.PAUSED,
    "resume": CampaignState.RUNNING,
    "cancel": CampaignState.CANCELLED,
}


async def started(store: Store, **given: object) -> Campaign:
    await audience(store, MANY)
    return await start(store, request(**given))


async def do(
    store: Store, verb: str, campaign: Campaign, reason: str = "why", expect: int | None = None
) -> Campaign:
    if verb == "edit":
        return await store.campaigns.edit(campaign, by="you", weight=2, expires_at=None)
    method = getattr(store.campaigns, verb)
    changed = await method(campaign, by="you", reason=reason, expect=expect)
    assert isinstance(changed, Campaign)
    return changed


async def bring(store: Store, campaign: Campaign, state: str) -> None:
    await store.redis.hset(store.keys.campaign(campaign.id), "state", state)


async def events(store: Store) -> list[tuple[str, ...]]:
    found = await store.redis.xrange(store.keys.events)
    return [tuple(fields.get(n, b"").decode() for n in (b"state", b"by")) for _, fields in found]


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_a_verb_changes_the_state_and_says_who_asked_and_why(
    store: Store, wall: Wall, verb: str
) -> None:
    campaign = await started(store)
    wall.advance(5)
    changed = await do(store, verb, campaign)
    assert changed.state is BECOMES[verb]
    assert (changed.by, changed.reason, changed.since) == ("you", "why", wall.ms)
    assert changed == await shown(store, campaign)
    assert await events(store) == [("started", "me"), (BECOMES[verb], "you")]


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_that_is_repeated_changes_nothing(store: Store, wall: Wall, verb: str) -> None:
    campaign = await started(store)
    if verb == "resume":
        await do(store, "pause", campaign)
    first = await do(store, verb, campaign, "first", expect=MANY)
    before = await dump(store.redis, store.keys.prefix)
    wall.advance(5)
    assert await do(store, verb, campaign, "second", expect=7) == first
    assert await dump(store.redis, store.keys.prefix) == before


async def test_a_paused_one_goes_on(store: Store) -> None:
    campaign = await started(store)
    await do(store, "pause", campaign)
    resumed = await do(store, "resume", campaign, "mended")
    assert (resumed.state, resumed.reason) == (CampaignState.RUNNING, "mended")


async def test_a_scheduled_one_can_be_paused_and_is_scheduled_again(
    store: Store, wall: Wall
) -> None:
    campaign = await started(store, send_at=wall.ms + 60_000)
    assert (await do(store, "pause", campaign)).state is CampaignState.PAUSED
    assert (await do(store, "resume", campaign)).state is CampaignState.SCHEDULED


async def test_cancelled_all_without_a_message_are_so_at_once(store: Store) -> None:
    campaign = await started(store)
    record = store.keys.campaign(campaign.id)
    await store.redis.hset(record, mapping={"n:unexpanded": 90, "n:queued": 4, "n:sent": 6})
    counts = (await do(store, "cancel", campaign)).counts
    assert counts._replace(recipients=0) == counts._replace(
        recipients=0, waiting=4, sent=6, cancelled=90
    )
    assert counts.recipients == MANY


@pytest.mark.parametrize("state", ["finished", "needs_attention", "cancelled"])
@pytest.mark.parametrize("verb", [*VERBS, "edit"])
async def test_one_that_has_ended_stays_so(store: Store, verb: str, state: str) -> None:
    campaign = await started(store)
    await bring(store, campaign, state)
    before = await dump(store.redis, store.keys.prefix)
    if (verb, state) == ("cancel", "cancelled"):
        assert (await do(store, verb, campaign)).state is CampaignState.CANCELLED
    else:
        with pytest.raises(WrongState, match=state):
            await do(store, verb, campaign)
    assert await dump(store.redis, store.keys.prefix) == before


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_one_that_is_not_as_expected_is_left_alone(store: Store, verb: str) -> None:
    campaign = await started(store)
    record = store.keys.campaign(campaign.id)
    parts = {"n:unexpanded": 40, "n:queued": 3, "n:held": 2, "n:deferred": 1, "n:dead": 54}
    await store.redis.hset(record, mapping=parts)
    before = await dump(store.redis, store.keys.prefix)
    for expected in (0, 45, MANY):
        with pytest.raises(CountChanged) as caught:
            await do(store, verb, campaign, expect=expected)
        assert caught.value.found == 46
    assert await dump(store.redis, store.keys.prefix) == before
    assert (await do(store, verb, campaign, expect=46)).state is BECOMES[verb]


async def test_of_many_verbs_at_once_each_is_done_once(store: Store) -> None:
    campaign = await started(store)
    verbs = [do(store, verb, campaign) for verb in ["pause", "cancel"] * 8]
    ended = await asyncio.gather(*verbs, return_exceptions=True)
    assert all(isinstance(one, Campaign | WrongState) for one in ended)
    assert (await shown(store, campaign)).state is CampaignState.CANCELLED
    done = [state for state, _ in await events(store)]
    assert done in (["started", "paused", "cancelled"], ["started", "cancelled"])
    assert (await shown(store, campaign)).counts.cancelled == MANY


async def test_weight_and_expiry_can_be_changed_one_by_one(store: Store, wall: Wall) -> None:
    campaign = await started(store, expires_at=wall.ms + 60_000)
    later = wall.ms + 90_000
    edit = store.campaigns.edit
    found = await edit(campaign, by="you", weight=5, expires_at=None)
    assert found == replace(campaign, request=replace(campaign.request, weight=5))
    found = await edit(campaign, by="you", weight=None, expires_at=later)
    assert found.request == replace(campaign.request, weight=5, expires_at=later)
    assert await edit(campaign, by="you", weight=None, expires_at=None) == found
    assert await shown(store, campaign) == found


# -- removing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["finished", "needs_attention", "cancelled"])
async def test_one_that_is_removed_leaves_nothing(store: Store, state: str) -> None:
    await audience(store, MANY)
    before = await keys_of_audiences(store)
    campaign = await start(store)
    await bring(store, campaign, state)
    await store.campaigns.remove(campaign, by="you")
    await store.campaigns.remove(campaign, by="you")  # its reply may have been lost
    assert await store.campaigns.show("spring") is None
    assert await store.campaigns.page() == ([], "")
    await store.audiences.clean()
    assert await keys_of_audiences(store) == before
    found = {key async for key in store.redis.scan_iter(match=f"{store.keys.prefix}campaign*")}
    assert found == set()
    for verb in VERBS:
        with pytest.raises(WrongState, match="removed"):
            await do(store, verb, campaign)
    await start(store)  # its name is free again


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_one_that_has_not_ended_is_not_removed(store: Store, state: str) -> None:
    campaign = await started(store)
    await bring(store, campaign, state)
    with pytest.raises(WrongState, match=state):
        await store.campaigns.remove(campaign, by="you")
    await shown(store, campaign)


@pytest.mark.parametrize("place", ["queued", "held", "deferred"])
async def test_one_with_a_message_somewhere_is_not_removed(store: Store, place: str) -> None:
    campaign = await started(store)
    await do(store, "cancel", campaign)
    await store.redis.hincrby(store.keys.campaign(campaign.id), f"n:{place}", 1)
    with pytest.raises(WrongState, match="1 messages"):
        await store.campaigns.remove(campaign, by="you")
    await shown(store, campaign)
