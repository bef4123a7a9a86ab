"""Pause, resume, cancel, end. Rule: nothing starts while a campaign does not run."""

import pytest

from smsd.core.campaign import Campaign
from smsd.core.life import DeadReason
from tests.redis.recipients import (
    assert_counts_are_true,
    counts,
    expand,
    make,
    numbers,
    results,
    set_state,
)
from tests.support.store import ALICE, BOB, Store


async def _begin(store: Store) -> str:
    entry, message = await store.claim_one()
    return await store.begin(entry, store.attempt(message.attempts + 1), message.recipient)


async def _hold_all(store: Store, campaign: Campaign) -> None:
    """Claim what is in line, and hold it, as the campaign is paused."""
    await set_state(store, campaign, "paused")
    while await store.length():
        entry, message = await store.claim_one()
        assert await store.begin(entry, store.attempt(), message.recipient) == "paused"
        assert await store.queue.hold(entry, message)


async def _tidy(store: Store, campaign: Campaign) -> str:
    """Tidy until nothing is left to do at once; the campaign's state then."""
    while (shown := await store.campaigns.show(campaign.id)) and await store.campaigns.tidy(shown):
        pass
    shown = await store.campaigns.show(campaign.id)
    assert shown is not None
    await assert_counts_are_true(store, campaign)
    assert await store.difference() == 0
    return shown.state


async def _is_active(store: Store, campaign: Campaign) -> bool:
    return campaign.id in {one.id for one in await store.campaigns.active()}


@pytest.mark.parametrize("state", ["paused", "cancelled"])
async def test_no_message_begins_of_a_campaign_that_does_not_run(store: Store, state: str) -> None:
    campaign = await make(store, [ALICE, BOB])
    await expand(store, campaign, ALICE)
    await store.append(BOB)
    await set_state(store, campaign, state)
    assert await _begin(store) == state
    assert await _begin(store) == "begun"  # a message of no campaign


@pytest.mark.parametrize("state", ["running", "finished", "needs_attention"])
async def test_messages_of_other_campaigns_begin(store: Store, state: str) -> None:
    campaign = await make(store, [ALICE])
    await expand(store, campaign, ALICE)
    await set_state(store, campaign, state)
    assert await _begin(store) == "begun"


async def test_what_is_held_is_never_due_and_goes_on_when_it_is_resumed(store: Store) -> None:
    campaign = await make(store, [ALICE, BOB])
    [id_, _] = await expand(store, campaign, ALICE, BOB)
    await _hold_all(store, campaign)
    assert await store.queue.next_due() is None
    store.wall.advance(1e8)
    assert await store.queue.promote() == 0
    assert (await counts(store, campaign))["n:held"] == 2
    assert await _tidy(store, campaign) == "paused"
    assert await store.state(id_) == "deferred"
    await set_state(store, campaign, "running")
    assert await _tidy(store, campaign) == "running"
    assert (await counts(store, campaign))["n:deferred"] == 2
    assert await store.queue.promote() == 2
    assert await _begin(store) == "begun"
    assert not await store.redis.exists(store.keys.campaign_held(campaign.id))


async def test_a_message_keeps_its_attempts_and_its_priority_while_it_is_held(store: Store) -> None:
    campaign = await make(store, [ALICE])
    await expand(store, campaign, ALICE)
    entry, attempt, message = await store.begin_next()
    await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
    await store.queue.promote()
    await _hold_all(store, campaign)
    await set_state(store, campaign, "running")
    await _tidy(store, campaign)
    await store.queue.promote()
    entry, message = await store.claim_one()
    assert (message.attempts, message.content.priority) == (1, "normal")


async def test_what_is_held_just_as_its_campaign_is_resumed_is_due_at_once(store: Store) -> None:
    campaign = await make(store, [ALICE])
    await expand(store, campaign, ALICE)
    await set_state(store, campaign, "paused")
    entry, message = await store.claim_one()
    assert await store.begin(entry, store.attempt(), ALICE) == "paused"
    await set_state(store, campaign, "running")
    assert await store.queue.hold(entry, message)
    assert (await counts(store, campaign))["n:deferred"] == 1
    assert await store.queue.promote() == 1


@pytest.mark.parametrize("state", ["running", "cancelled"])
async def test_what_is_held_is_found_though_it_is_listed_nowhere(store: Store, state: str) -> None:
    people = numbers(250)
    campaign = await make(store, people)
    await expand(store, campaign, *people)
    await _hold_all(store, campaign)
    await store.redis.delete(store.keys.campaign_held(campaign.id))  # by other hands
    await set_state(store, campaign, state)
    await _tidy(store, campaign)
    ended = "deferred" if state == "running" else state
    assert (await counts(store, campaign))[f"n:{ended}"] == 250


async def test_more_are_held_than_one_step_releases(store: Store) -> None:
    people = numbers(250)
    campaign = await make(store, people)
    await expand(store, campaign, *people)
    await _hold_all(store, campaign)
    await set_state(store, campaign, "running")
    await _tidy(store, campaign)
    assert (await counts(store, campaign))["n:deferred"] == 250


async def test_all_that_waits_of_a_cancelled_campaign_is_cancelled(store: Store) -> None:
    people = numbers(200)
    campaign = await make(store, people)
    await expand(store, campaign, *people[:20])
    entry, attempt, message = await store.begin_next()
    await store.queue.defer(entry, attempt, message, until=store.wall() + 9, attempts=1, why="w")
    sending = await store.begin_next()
    await set_state(store, campaign, "paused")
    entry, held = await store.claim_one()
    await store.queue.hold(entry, held)
    await set_state(store, campaign, "cancelled")
    assert await _tidy(store, campaign) == "cancelled"
    expected = {"n:cancelled": 199, "n:queued": 1, "segments_expanded": 20}
    assert await counts(store, campaign) == expected
    assert await _is_active(store, campaign)
    entry, attempt, message = sending
    assert await store.queue.ack(entry, attempt, message, "p")
    assert await _tidy(store, campaign) == "cancelled"
    assert not await _is_active(store, campaign)
    found = await results(store, campaign)
    assert {one.state for one in found.values()} == {"cancelled", "sent"}
    assert await store.length() == 0
    assert await store.redis.zcard(store.keys.deferred) == 0


async def test_what_begins_when_it_is_cancelled_is_taken_back(store: Store) -> None:
    campaign = await make(store, [ALICE])
    [id_] = await expand(store, campaign, ALICE)
    entry, message = await store.claim_one()
    await set_state(store, campaign, "cancelled")
    assert await store.begin(entry, store.attempt(), ALICE) == "cancelled"
    assert await store.queue.take_back(entry, message)
    assert not await store.queue.take_back(entry, message)
    assert (await counts(store, campaign))["n:cancelled"] == 1
    assert not await store.redis.exists(store.keys.message(id_))


@pytest.mark.parametrize("state", ["running", "paused"])
async def test_recipients_without_a_message_expire_with_their_campaign(
    store: Store, state: str
) -> None:
    campaign = await make(store, numbers(50), expires_at=store.wall() + 1000)
    await expand(store, campaign, numbers(50)[0])
    await _hold_all(store, campaign)
    await set_state(store, campaign, state)
    store.wall.advance(1)
    assert await store.campaigns.waiting(campaign, 10) == []
    await expand(store, campaign, numbers(50)[1])
    assert await _tidy(store, campaign) == "finished"
    assert await counts(store, campaign) == {"n:expired": 50, "segments_expanded": 1}
    assert not await _is_active(store, campaign)


async def test_a_campaign_is_finished_when_each_recipient_is_settled(store: Store) -> None:
    campaign = await make(store, [ALICE, BOB])
    await expand(store, campaign, ALICE, BOB)
    first, second = await store.begin_next(), await store.begin_next()
    await store.queue.ack(*first, "p")
    assert await _tidy(store, campaign) == "running"
    entry, attempt, message = second
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
    assert await _tidy(store, campaign) == "needs_attention"
    assert not await _is_active(store, campaign)
    [letter] = await store.dead_letters.page("", 9)
    await store.queue.replay(letter.id, message.id)
    assert await _is_active(store, campaign)
    assert await _tidy(store, campaign) == "running"
    await store.queue.ack(*await store.begin_next(), "p")
    assert await _tidy(store, campaign) == "finished"
    assert not await _is_active(store, campaign)


async def test_a_dead_letter_that_is_dropped_needs_no_attention_any_more(store: Store) -> None:
    campaign = await make(store, [ALICE])
    await expand(store, campaign, ALICE)
    entry, attempt, message = await store.begin_next()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
    assert await _tidy(store, campaign) == "needs_attention"
    [letter] = await store.dead_letters.page("", 9)
    await store.queue.drop(letter.id, message.id)
    assert await _is_active(store, campaign)
    assert await _tidy(store, campaign) == "finished"


async def test_a_campaign_that_is_gone_is_not_active(store: Store) -> None:
    campaign = await make(store, [ALICE])
    await store.redis.delete(store.keys.campaign(campaign.id))
    assert not await store.campaigns.tidy(campaign)
    assert not await store.redis.exists(store.keys.campaigns_active)
