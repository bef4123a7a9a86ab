"""A message of a campaign by its id, before it is made and when it is settled."""

import pytest

from smsd.core.campaign import Campaign, message_id
from smsd.core.life import DeadReason
from tests.redis.recipients import assert_counts_are_true, counts, expand, make, set_state
from tests.support.store import ALICE, BOB, Store

SID = "SM" + "0123456789abcdef" * 2


async def _sent(store: Store) -> tuple[Campaign, str]:
    campaign = await make(store, [ALICE, BOB], ref="r")
    [id_] = await expand(store, campaign, ALICE)
    sending = await store.begin_next()
    store.wall.advance(2)
    await store.queue.ack(*sending, SID)
    return campaign, id_


async def test_a_sent_message_is_found_by_its_id(store: Store) -> None:
    campaign, id_ = await _sent(store)
    assert await store.lookup.message(id_) == {
        "id": id_,
        "state": "sent",
        "to": ALICE,
        "campaign": "spring",
        "ref": "r",
        "provider_id": SID,
        "history": [{"state": "sent", "at": campaign.created + 2000}],
    }


async def test_a_message_that_is_not_made_yet_is_queued(store: Store) -> None:
    campaign, _ = await _sent(store)
    found = await store.lookup.message(message_id(campaign.id, campaign.key, BOB))
    assert found is not None
    assert (found["state"], found["to"], found["history"]) == ("queued", BOB, [])


async def test_a_message_that_will_not_be_made_has_the_state_of_the_rest(store: Store) -> None:
    campaign, _ = await _sent(store)
    await store.campaigns.cancel(campaign, by="me", reason="")
    assert await store.state(message_id(campaign.id, campaign.key, BOB)) == "cancelled"


async def test_a_message_on_its_way_is_looked_up_as_any_other(store: Store) -> None:
    campaign = await make(store, [ALICE])
    [id_] = await expand(store, campaign, ALICE)
    assert await store.state(id_) == "queued"
    entry, attempt, message = await store.begin_next()
    assert await store.state(id_) == "sending"
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED, code="30007")
    found = await store.lookup.message(id_)
    assert found is not None
    assert (found["state"], found["reason"], found["code"]) == ("dead", "rejected", "30007")


@pytest.mark.parametrize("part", ["campaign", "audience"])
@pytest.mark.parametrize("spoiled", [False, True])
async def test_nothing_is_found_where_a_part_is_gone(
    store: Store, part: str, *, spoiled: bool
) -> None:
    campaign, id_ = await _sent(store)
    key = getattr(store.keys, part)(campaign.id)
    await store.redis.delete(key)
    if spoiled:
        await store.redis.hset(key, "key", "x")
    assert await store.lookup.message(id_) is None


async def test_a_stranger_is_not_found(store: Store) -> None:
    campaign, _ = await _sent(store)
    assert await store.lookup.message(message_id(campaign.id, campaign.key, "+12025550199")) is None
    assert await store.lookup.message("c1_5") is None


# -- taking one back ------------------------------------------------------------------------------


async def test_what_is_settled_cannot_be_cancelled(store: Store) -> None:
    campaign, id_ = await _sent(store)
    assert await store.queue.cancel(id_) == "sent"
    await assert_counts_are_true(store, campaign)


async def test_a_message_is_cancelled_before_it_is_made(store: Store) -> None:
    campaign, _ = await _sent(store)
    id_ = message_id(campaign.id, campaign.key, BOB)
    assert await store.queue.cancel(id_) == "cancelled"
    assert await store.queue.cancel(id_) == "cancelled"
    await expand(store, campaign, BOB)
    assert await store.length() == 0
    assert await store.state(id_) == "cancelled"
    assert (await counts(store, campaign))["n:cancelled"] == 1
    await assert_counts_are_true(store, campaign)
    assert await store.difference() == 0


async def test_a_message_is_cancelled_while_it_is_held(store: Store) -> None:
    campaign = await make(store, [ALICE, BOB])
    [id_] = await expand(store, campaign, ALICE)
    await set_state(store, campaign, "paused")
    entry, message = await store.claim_one()
    await store.queue.hold(entry, message)
    assert await store.queue.cancel(id_) == "cancelled"
    await set_state(store, campaign, "running")
    await store.campaigns.tidy(campaign)
    assert await store.queue.next_due() is None
    await assert_counts_are_true(store, campaign)
    assert await store.difference() == 0
