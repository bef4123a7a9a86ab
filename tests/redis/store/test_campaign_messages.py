"""Messages of campaigns. Rule: whatever becomes of one moves its recipient and the counts."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from smsd.core.campaign import MOST_KEY, Campaign
from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.store.campaigns import expansion
from smsd.store.campaigns.results import unpack
from smsd.store.entry import Attempt, Entry
from smsd.store.fsck import Fsck
from smsd.store.handed_out import Fenced
from smsd.store.identity import Data, OlderData
from tests.redis.recipients import (
    assert_counts_are_true,
    counts,
    expand,
    make,
    numbers,
    rendered,
    results,
    set_state,
)
from tests.support.store import ALICE, BOB, OpenStore, Store

SID = "SM" + "0123456789abcdef" * 2


async def _sending(store: Store, campaign: Campaign) -> tuple[Entry, Attempt, Message]:
    await expand(store, campaign, ALICE)
    return await store.begin_next()


# -- expansion ------------------------------------------------------------------------------------


async def test_all_recipients_are_handed_out_and_expanded_once(store: Store) -> None:
    campaign = await make(store, numbers(300))
    seen: list[str] = []
    while found := await expansion.waiting(store.client, campaign, 20):
        assert len(found) <= 20
        assert all(values == [number[-1]] for number, values in found)
        seen += [number for number, _ in found]
        assert await expand(store, campaign, *(number for number, _ in found))
        await assert_counts_are_true(store, campaign)
    assert sorted(seen) == numbers(300)
    assert await counts(store, campaign) == {"n:queued": 300, "segments_expanded": 300}
    assert await expansion.queued(store.client) == 300
    assert await store.difference() == 0


async def test_a_recipient_who_has_a_message_gets_no_other(store: Store) -> None:
    campaign = await make(store, [ALICE, BOB])
    await expand(store, campaign, ALICE)
    messages = [rendered(ALICE), rendered(BOB), rendered(ALICE), rendered("+12025550199")]
    assert await expansion.expand(store.client, campaign, messages) == 1
    assert await store.length() == 2


async def test_lua_and_python_agree_on_the_ids_of_all_numbers(store: Store) -> None:
    chance = random.Random(7)
    for n in range(5):
        key = (chance.randint(1, MOST_KEY), chance.randint(1, MOST_KEY))
        some = {f"+{chance.randrange(10 ** (k % 15), 10 ** (k % 15 + 1))}" for k in range(300)}
        some |= {"+1", "+9", "+999999999999999", "+100000000", "+99999999"}
        campaign = replace(await make(store, sorted(some), name=f"n{n}"), key=key)
        record = store.keys.campaign(campaign.id)
        await store.redis.hset(record, "key", f"{key[0]} {key[1]}")
        ids = await expand(store, campaign, *some)
        assert (await counts(store, campaign))["n:queued"] == len(some)
        assert {await store.state(one) for one in ids[:20]} == {"queued"}


async def test_messages_of_high_priority_go_into_the_high_stream(store: Store) -> None:
    campaign = await make(store, [ALICE], priority="high")
    [id_] = await expand(store, campaign, ALICE)
    entry, message = await store.claim_one()
    assert (entry.stream, message.id, message.content.campaign) == ("h", id_, "spring")


@pytest.mark.parametrize("state", ["paused", "cancelled", "scheduled", "finished"])
async def test_a_campaign_that_does_not_run_expands_nothing(store: Store, state: str) -> None:
    campaign = await make(store, [ALICE])
    await set_state(store, campaign, state)
    assert await expansion.expand(store.client, campaign, [rendered(ALICE)]) == 0
    assert await store.length() == 0


async def test_only_the_daemon_that_holds_the_lease_expands(
    store: Store, open_store: OpenStore
) -> None:
    campaign = await make(store, [ALICE])
    with pytest.raises(Fenced):
        await expand(open_store("b"), campaign, ALICE)
    store.identity.known = Data("other", 5)
    with pytest.raises(OlderData):
        await expand(store, campaign, ALICE)
    assert await counts(store, campaign) == {"n:unexpanded": 1}


async def test_there_are_no_more_of_a_campaign_that_is_gone(store: Store) -> None:
    campaign = await make(store, [ALICE])
    await store.redis.delete(store.keys.campaign(campaign.id))
    assert await expansion.waiting(store.client, campaign, 10) == []
    assert await expansion.expand(store.client, campaign, [rendered(ALICE)]) == 0


# -- what becomes of a message --------------------------------------------------------------------


async def test_a_message_that_is_sent_leaves_its_result_alone(store: Store) -> None:
    campaign = await make(store, [ALICE, BOB])
    entry, attempt, message = await _sending(store, campaign)
    store.wall.advance(61.5)
    assert await store.queue.ack(entry, attempt, message, SID)
    assert await counts(store, campaign) == {
        "n:unexpanded": 1, "n:sent": 1, "segments_expanded": 1, "segments_sent": 1,
    }  # fmt: skip
    result = (await results(store, campaign))[ALICE]
    assert result == ("sent", campaign.created + 61_000, SID, "")
    assert not await store.redis.exists(store.keys.message(message.id))
    assert not await store.queue.ack(entry, attempt, message, SID)
    assert (await counts(store, campaign))["n:sent"] == 1
    assert await store.difference() == 0


@pytest.mark.parametrize(
    "provider_id",
    [SID, "MM" + "ab" * 16, "0123456789abcdef", "ab" * 20, "12345678-1234", "abc", "", "ä" * 9,
     "SM" + "a" * 31, "SM" + "A" * 32, "a" * 17],
)  # fmt: skip
async def test_any_id_of_a_provider_comes_back_as_it_was(store: Store, provider_id: str) -> None:
    campaign = await make(store, [ALICE])
    entry, attempt, message = await _sending(store, campaign)
    await store.queue.ack(entry, attempt, message, provider_id)
    assert (await results(store, campaign))[ALICE].provider_id == provider_id


@pytest.mark.parametrize("seconds", [0, 1, 255, 256, 16_777_215, 16_777_216, 4_000_000_000])
async def test_any_time_comes_back_to_the_second(store: Store, seconds: int) -> None:
    campaign = await make(store, [ALICE])
    entry, attempt, message = await _sending(store, campaign)
    store.wall.advance(seconds)
    await store.queue.ack(entry, attempt, message, SID)
    result = (await results(store, campaign))[ALICE]
    assert result == ("sent", campaign.created + seconds * 1000, SID, "")


async def test_a_clock_that_was_set_back_gives_the_time_of_the_start(store: Store) -> None:
    campaign = await make(store, [ALICE])
    store.wall.advance(-100)
    await expand(store, campaign, ALICE)
    assert (await results(store, campaign))[ALICE] == ("queued", campaign.created, "", "")


async def test_a_dead_message_says_why_and_a_replay_takes_that_back(store: Store) -> None:
    campaign = await make(store, [ALICE])
    entry, attempt, message = await _sending(store, campaign)
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED, code="30007")
    assert await counts(store, campaign) == {
        "n:dead": 1, "n:dead:rejected": 1, "segments_expanded": 1,
    }  # fmt: skip
    assert (await results(store, campaign))[ALICE].reason == "rejected 30007"
    await store.redis.srem(store.keys.campaigns_active, campaign.id)
    [letter] = await store.dead_letters.page("", 9)
    assert await store.queue.replay(letter.id, message.id)
    assert await counts(store, campaign) == {"n:queued": 1, "segments_expanded": 1}
    assert await store.redis.smembers(store.keys.campaigns_active) == {campaign.id.encode()}
    await assert_counts_are_true(store, campaign)


async def _expire(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await store.queue.expire(entry, attempt, message)


async def _suppress(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await store.queue.release(entry.name, attempt)
    await store.queue.suppress(entry, message)


async def _cancel(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await store.queue.release(entry.name, attempt)
    assert await store.queue.cancel(message.id) == "cancelled"


async def _drop(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await store.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)
    [letter] = await store.dead_letters.page("", 9)
    assert await store.queue.drop(letter.id, message.id)


async def _defer(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    until = store.wall() + 1000
    await store.queue.defer(entry, attempt, message, until=until, attempts=1, why="w")


async def _promote(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await _defer(store, entry, attempt, message)
    store.wall.advance(2)
    assert await store.queue.promote() == 1


async def _cancel_deferred(store: Store, entry: Entry, attempt: Attempt, message: Message) -> None:
    await _defer(store, entry, attempt, message)
    assert await store.queue.cancel(message.id) == "cancelled"


@pytest.mark.parametrize(
    ("end", "state", "is_settled"),
    [
        (_expire, "expired", True),
        (_suppress, "suppressed", True),
        (_cancel, "cancelled", True),
        (_drop, "dropped", True),
        (_defer, "deferred", False),
        (_promote, "queued", False),
        (_cancel_deferred, "cancelled", True),
    ],
)
async def test_every_change_of_a_message_is_counted(
    store: Store, end: Callable[..., Awaitable[None]], state: str, is_settled: bool
) -> None:
    campaign = await make(store, [ALICE, BOB])
    sending = await _sending(store, campaign)
    await end(store, *sending)
    counted = await counts(store, campaign)
    assert counted == {"n:unexpanded": 1, f"n:{state}": 1, "segments_expanded": 1}
    await assert_counts_are_true(store, campaign)
    assert await store.redis.exists(store.keys.message(sending[2].id)) == (not is_settled)
    assert await store.difference() == 0


async def test_other_messages_have_a_status_as_ever(store: Store) -> None:
    await make(store, [ALICE])
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, SID)
    assert await store.kept_ms(message.id) > 0


@pytest.mark.parametrize("spoiled", ["campaign", "audience"])
async def test_a_campaign_that_is_spoiled_keeps_no_message_from_being_settled(
    store: Store, spoiled: str
) -> None:
    campaign = await make(store, [ALICE])
    entry, attempt, message = await _sending(store, campaign)
    key = getattr(store.keys, spoiled)(campaign.id)
    await store.redis.delete(key)
    await store.redis.set(key, "of another make")
    assert await store.queue.ack(entry, attempt, message, SID)
    assert await store.state(message.id) == "sent"


def test_a_contact_is_taken_for_no_result() -> None:
    for value in (b"", b"Anna", b"\x1fAnna", b"1", b"!", b"-", "Ä".encode(), b"\x0e", b"\x1e"):
        assert unpack(value, 0) == ("unexpanded", None, "", "")
        assert unpack(value, 0, "expired") == ("expired", None, "", "")


# -- a look at everything -------------------------------------------------------------------------


async def _one_in_each_state(store: Store) -> Campaign:
    people = numbers(6)
    campaign = await make(store, people)
    await expand(store, campaign, *people[:5])
    await store.queue.ack(*await store.begin_next(), SID)
    entry, attempt, message = await store.begin_next()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
    await _defer(store, *await store.begin_next())
    await set_state(store, campaign, "paused")
    entry, message = await store.claim_one()
    await store.queue.hold(entry, message)
    await set_state(store, campaign, "running")
    return campaign


async def _faults(store: Store, *, repair: bool = False) -> set[tuple[str, str]]:
    found = [fault async for fault in Fsck(store.client, repair=repair).faults()]
    return {(fault.kind, fault.name) for fault in found}


async def test_no_state_of_a_message_is_a_fault(store: Store) -> None:
    campaign = await _one_in_each_state(store)
    assert await _faults(store, repair=True) == set()
    counted = await counts(store, campaign)
    states = ("unexpanded", "queued", "held", "deferred", "dead", "sent")
    assert [counted[f"n:{state}"] for state in states] == [1] * 6


async def test_a_message_that_other_hands_deleted_is_lost_to_its_recipient(store: Store) -> None:
    campaign = await _one_in_each_state(store)
    keys = store.keys
    await store.redis.delete(keys.queue, keys.deferred, keys.deferred_messages, keys.dead)
    await store.client.ensure_groups()
    assert {kind for kind, _ in await _faults(store, repair=True)} == {"status", "counters"}
    assert await counts(store, campaign) == {
        "n:unexpanded": 1, "n:lost": 4, "n:sent": 1, "segments_expanded": 5, "segments_sent": 1,
    }  # fmt: skip
    await assert_counts_are_true(store, campaign)
    assert await _faults(store) == set()
