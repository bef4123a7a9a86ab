"""Campaigns in older data. Rule: no recipient gets a second message, whatever that data knows."""

import pytest

from smsd.core.campaign import Campaign
from smsd.core.life import DeadReason
from tests.redis.older_data import Sending, claimed, reach, reasons, seen_to_differ
from tests.redis.opened import Opened, Tail
from tests.redis.recipients import assert_counts_are_true, counts, expand, make, rendered, results
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, BOB, Store


async def _sending_since(
    store: Store, server: RedisServer, *, expanded: bool
) -> tuple[Campaign, Tail, Sending]:
    """A message that is being sent, and data that has it in line, or its recipient without one."""
    campaign = await make(store, [ALICE, BOB])
    if expanded:
        await expand(store, campaign, ALICE)
    tail = Tail(server)
    await reach(store)
    await expand(store, campaign, ALICE)
    return campaign, tail, await store.begin_next()


async def _with_older_data(opened: Opened, tail: Tail) -> None:
    tail.lose()
    await seen_to_differ(opened.store)
    await opened.reconciled()


async def _assert_sound(store: Store, campaign: Campaign) -> None:
    await assert_counts_are_true(store, campaign)
    assert await store.difference() == 0


@pytest.mark.parametrize("expanded", [True, False])
async def test_what_was_sent_is_sent_in_older_data(
    own_server: RedisServer, *, expanded: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=expanded)
        assert await store.queue.ack(*sending, "p1")
        await _with_older_data(opened, tail)
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 0
        assert await claimed(store) == []
        found = (await results(store, campaign))[ALICE]
        assert (found.state, found.provider_id) == ("sent", "p1")
        await _assert_sound(store, campaign)


@pytest.mark.parametrize("expanded", [True, False])
async def test_what_expired_is_so_in_older_data(own_server: RedisServer, *, expanded: bool) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=expanded)
        assert await store.queue.expire(*sending)
        await _with_older_data(opened, tail)
        assert await claimed(store) == []
        assert (await results(store, campaign))[ALICE].state == "expired"
        await _assert_sound(store, campaign)


@pytest.mark.parametrize("expanded", [True, False])
async def test_what_was_in_doubt_is_so_in_older_data(
    own_server: RedisServer, *, expanded: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=expanded)
        assert await store.queue.bury(*sending, reason=DeadReason.IN_DOUBT)
        await _with_older_data(opened, tail)
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 0
        assert (await claimed(store), await reasons(store)) == ([], ["in_doubt"])
        assert (await results(store, campaign))[ALICE].reason == "in_doubt"
        await _assert_sound(store, campaign)


@pytest.mark.parametrize("under_way", [True, False])
async def test_what_is_in_doubt_without_its_text_is_made_anew_when_it_is_replayed(
    own_server: RedisServer, *, under_way: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=False)
        if under_way:
            await store.append(BOB)
            assert await store.queue.ack(*await store.begin_next(), "p0")
        else:
            assert await store.queue.bury(*sending, reason=DeadReason.IN_DOUBT)
        await expand(store, campaign, BOB)
        await _with_older_data(opened, tail)
        await expand(store, campaign, BOB)
        assert await store.campaigns.waiting(campaign, 9) == []  # all buckets are done with
        [letter] = await store.dead_letters.page("", 9)
        id_ = sending[2].id
        assert await store.queue.replay(letter.id, id_)
        assert not await store.queue.replay(letter.id, id_)
        assert await store.state(id_) == "queued"
        await _assert_sound(store, campaign)
        assert await store.campaigns.waiting(campaign, 9) == [(ALICE, ["1"])]
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 1
        await _assert_sound(store, campaign)


async def test_what_was_surely_not_sent_is_tried_again_from_older_data(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=False)
        assert await store.queue.bury(*sending, reason=DeadReason.REJECTED)
        await _with_older_data(opened, tail)
        assert await counts(store, campaign) == {"n:unexpanded": 2}
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 1
        await _assert_sound(store, campaign)


async def test_what_is_under_way_is_not_expanded_again(own_server: RedisServer) -> None:
    """It is in doubt in the older data, until it turns out to be sent."""
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=False)
        await store.append(BOB)
        assert await store.queue.ack(*await store.begin_next(), "p0")
        await _with_older_data(opened, tail)
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 0
        assert (await claimed(store), await reasons(store)) == ([], ["in_doubt"])
        await _assert_sound(store, campaign)
        assert await store.queue.ack(*sending, "p1")
        assert await reasons(store) == []
        assert (await results(store, campaign))[ALICE].provider_id == "p1"
        await _assert_sound(store, campaign)


async def test_what_is_under_way_is_not_sent_again_where_nothing_shows_that_data_is_older(
    own_server: RedisServer,
) -> None:
    """Nothing was settled since. The recipient is expanded again, and that entry goes unsent."""
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=False)
        tail.lose()
        await reach(store)
        assert await store.campaigns.expand(campaign, [rendered(ALICE)]) == 1
        entry, message = await store.claim_one()
        assert message.id == sending[2].id
        assert await store.begin(entry, store.attempt(), ALICE) == "marked"
        assert await store.queue.ack(*sending, "p1")
        assert await store.length() == 0
        await _assert_sound(store, campaign)


@pytest.mark.parametrize(
    ("verbs", "state"),
    [
        (["pause"], "paused"),
        (["pause", "resume"], "running"),
        (["pause", "resume", "pause", "cancel"], "cancelled"),
    ],
)
async def test_a_campaign_is_in_older_data_as_it_was_asked_to_be(
    own_server: RedisServer, verbs: list[str], state: str
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        campaign, tail, sending = await _sending_since(store, own_server, expanded=True)
        assert await store.queue.ack(*sending, "p1")
        for verb in verbs:
            await getattr(store.campaigns, verb)(campaign, by="me", reason=verb, expect=1)
        await _with_older_data(opened, tail)
        shown = await store.campaigns.show(campaign.id)
        assert shown is not None
        assert shown.state == state
        assert await store.campaigns.expand(campaign, [rendered(BOB)]) == (state == "running")
        await _assert_sound(store, campaign)
