"""Faults of campaigns. Rule: each is found, and mended where nothing is lost by it."""

from smsd.store.fsck import Fault, Fsck
from tests.redis.campaigns import audience, frozen, start
from tests.support.store import Store


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
