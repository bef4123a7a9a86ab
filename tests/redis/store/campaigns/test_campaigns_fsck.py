"""Faults of campaigns. Rule: each is found, and mended where nothing is lost by it."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from smsd.core.campaign import Campaign, CampaignState, Counts
from smsd.store.fsck import Fault, Fsck
from tests.redis.campaigns import audience, frozen, request, shown, start
from tests.redis.recipients import expand
from tests.support.store import Store, dump

MANY = 500


async def look(store: Store, *, repair: bool = False) -> list[Fault]:
    return [fault async for fault in Fsck(store.client, repair=repair).faults()]


async def test_a_campaign_is_no_fault_and_keeps_its_recipients(store: Store) -> None:
    given = await audience(store, 300)
    campaign = await start(store)
    await store.audiences.remove("a")
    await store.audiences.clean()
    assert await look(store, repair=True) == []
    # Other hands have listed its recipients among what is to be removed.
    await store.redis.zadd(store.keys.audiences_unfinished, {campaign.id: 0})
    await store.audiences.clean()
    assert set(await frozen(store, campaign)) == set(given)
    assert not await store.redis.exists(store.keys.audiences_unfinished)


Spoil = Callable[[Store, Campaign], Awaitable[str]]


async def _lose_the_index(store: Store, campaign: Campaign) -> str:
    await store.redis.delete(store.keys.campaigns)
    return campaign.id


async def _lose_the_names(store: Store, campaign: Campaign) -> str:
    await store.redis.delete(store.keys.campaign_names)
    return campaign.id


async def _lose_what_is_active(store: Store, campaign: Campaign) -> str:
    await store.redis.delete(store.keys.campaigns_active)
    return campaign.id


async def _list_another(store: Store, campaign: Campaign) -> str:
    keys = store.keys
    await store.redis.zadd(keys.campaigns, {"c1": 0})
    await store.redis.hset(keys.campaign_names, "x", "c1")
    await store.redis.sadd(keys.campaigns_active, "c1")
    return "c1"


async def _a_bucket(store: Store, campaign: Campaign) -> bytes:
    pattern = f"{store.keys.audience(campaign.id)}:*"
    found: list[bytes] = [key async for key in store.redis.scan_iter(match=pattern)]
    return found[0]


async def _take_recipients(store: Store, campaign: Campaign) -> str:
    await store.redis.delete(await _a_bucket(store, campaign))
    return campaign.id


async def _count_wrongly(store: Store, campaign: Campaign) -> str:
    await store.redis.hincrby(store.keys.campaign(campaign.id), "n:sent", 3)
    return campaign.id


async def _count_in_another_state(store: Store, campaign: Campaign) -> str:
    record = store.keys.campaign(campaign.id)
    await store.redis.hincrby(record, "n:sent", 3)
    await store.redis.hincrby(record, "n:unexpanded", -3)
    return campaign.id


async def _count_dead_wrongly(store: Store, campaign: Campaign) -> str:
    await store.redis.hincrby(store.keys.campaign(campaign.id), "n:dead:rejected", 1)
    return campaign.id


async def _count_nonsense(store: Store, campaign: Campaign) -> str:
    await store.redis.hset(store.keys.campaign(campaign.id), "n:held", "x")
    return campaign.id


async def _lose_recipients(store: Store, campaign: Campaign) -> str:
    await store.redis.delete(store.keys.audience(campaign.id))
    return campaign.id


async def _put_something_in_place_of_recipients(store: Store, campaign: Campaign) -> str:
    await store.redis.set(await _a_bucket(store, campaign), "x")
    return campaign.id


async def _put_something_in_place_of_their_state(store: Store, campaign: Campaign) -> str:
    await store.redis.set(store.keys.audience(campaign.id), "x")
    return campaign.id


FAULTS = [
    _lose_the_index,
    _lose_the_names,
    _lose_what_is_active,
    _list_another,
    _take_recipients,
    _count_wrongly,
    _count_in_another_state,
    _count_dead_wrongly,
    _count_nonsense,
    _lose_recipients,
    _put_something_in_place_of_recipients,
    _put_something_in_place_of_their_state,
]


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda one: one.__name__.strip("_"))
async def test_a_fault_is_found_and_then_mended(store: Store, spoil: Spoil) -> None:
    given = await audience(store, MANY)
    campaign, other = await start(store), await start(store, request(name="other"))
    ids = await expand(store, campaign, *given[:20])
    assert await look(store) == []
    name = await spoil(store, campaign)
    before = await dump(store.redis, store.keys.prefix)
    found = await look(store)
    assert name in {one.name for one in found}
    assert not any(one.mended for one in found)
    assert await dump(store.redis, store.keys.prefix) == before
    mended = await look(store, repair=True)
    assert all(one.mended for one in mended)
    assert await look(store) == []
    counts = (await shown(store, campaign)).counts
    assert counts.recipients == sum(counts[1:])
    assert await store.campaigns.show("other") == other
    found_, _ = await store.campaigns.page()
    assert {one.id for one in found_} == {campaign.id, other.id}
    assert await store.redis.smembers(store.keys.campaigns_active) >= {other.id.encode()}
    assert [await store.state(one) for one in ids] == ["queued"] * 20  # messages are left alone


async def test_what_can_be_no_campaign_is_listed_no_more(store: Store) -> None:
    await audience(store, 40)
    campaign, keys = await start(store), store.keys
    for junk in (b"\xff", "x", "c1_2"):
        await store.redis.zadd(keys.campaigns, {junk: 1})
        await store.redis.sadd(keys.campaigns_active, junk)
        await store.redis.hset(keys.campaign_names, junk, "c" * 40)
    await store.redis.hset(keys.campaign_names, b"\xfe", campaign.id)
    found = await look(store, repair=True)
    assert {one.name for one in found} == {"\ufffd", "x", "c1_2"}
    assert all(one.mended for one in found)
    assert await look(store) == []
    assert await store.campaigns.show("spring") == campaign
    assert await store.redis.hlen(keys.campaign_names) == 1


async def test_what_lost_its_recipients_is_cancelled_and_can_be_removed(store: Store) -> None:
    given = await audience(store, MANY)
    campaign = await start(store)
    await expand(store, campaign, *given[:5])
    await _lose_recipients(store, campaign)
    await look(store, repair=True)
    found = await shown(store, campaign)
    assert (found.state, found.by) == (CampaignState.CANCELLED, "smsd fsck")
    assert found.counts == Counts(recipients=MANY, lost=MANY)
    await store.campaigns.remove(found, by="me")
    assert await store.campaigns.show("spring") is None


@pytest.mark.parametrize("field", ["request", "state", "key"])
@pytest.mark.parametrize("value", ["", "x", "{}", b"\xff"])
async def test_a_record_that_cannot_be_read_is_named_and_kept(
    store: Store, field: str, value: str
) -> None:
    await audience(store, 40)
    campaign = await start(store)
    await store.redis.hset(store.keys.campaign(campaign.id), field, value)
    before = await dump(store.redis, store.keys.prefix)
    found = await look(store, repair=True)
    assert {(one.kind, one.name, one.mended) for one in found} == {("campaign", campaign.id, False)}
    assert await dump(store.redis, store.keys.prefix) == before


@pytest.mark.parametrize("name", ["c1", "x", "c1:held", "c1:x", "C", "c1:held:x"])
async def test_a_key_that_is_none_of_a_campaign_is_named(store: Store, name: str) -> None:
    key = store.keys.campaign(name)
    await store.redis.set(key, "x")
    [fault] = await look(store, repair=True)
    assert (fault.kind, fault.name, fault.mended) == ("campaign", name, False)
    assert await store.redis.get(key) == b"x"


async def test_a_campaign_that_changes_all_the_time_is_no_fault(store: Store) -> None:
    given = await audience(store, 2_000)
    campaign = await start(store)
    working = asyncio.create_task(_expand_all(store, campaign, given))
    while not working.done():
        assert [one for one in await look(store) if one.kind == "campaign"] == []
    await working
    assert await look(store) == []


async def _expand_all(store: Store, campaign: Campaign, given: list[str]) -> None:
    for at in range(0, len(given), 10):
        await expand(store, campaign, *given[at : at + 10])
