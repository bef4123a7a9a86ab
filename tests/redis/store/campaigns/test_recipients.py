"""Recipients of a campaign. Rule: whoever follows the cursors meets each once, with their state."""

from dataclasses import replace

import pytest

from smsd.core.campaign import Campaign, message_id
from smsd.redis.errors import Refused
from smsd.store.audiences import BadCursor
from smsd.store.campaigns.recipients import STATES, Recipient
from smsd.store.campaigns.results import _STATES
from tests.redis.audiences import numbers
from tests.redis.campaigns import audience, request, shown, start
from tests.redis.recipients import expand
from tests.support.store import ALICE, BOB, Store, Wall

MANY = 3_000


async def everybody(
    store: Store, campaign: Campaign, state: str = "", count: int = 500
) -> dict[str, Recipient]:
    found: list[Recipient] = []
    cursor = ""
    while True:
        page = await store.campaigns.recipients(campaign, state=state, cursor=cursor, count=count)
        found += page.recipients
        if not (cursor := page.cursor):
            break
    by_number = {one.number: one for one in found}
    assert len(by_number) == len(found)
    return by_number


async def put(store: Store, campaign: Campaign, number: str, state: str) -> None:
    """Bring a recipient that has a message into a state, as the scripts do."""
    code, digits = 1 + _STATES.index(state), number.removeprefix("+")
    async for key in store.redis.scan_iter(match=f"{store.keys.audience(campaign.id)}:*"):
        if await store.redis.hexists(key, digits):
            await store.redis.hset(key, digits, bytes([code, 0, 0, 7]))
    record = store.keys.campaign(campaign.id)
    await store.redis.hincrby(record, "n:queued", -1)
    await store.redis.hincrby(record, f"n:{state}", 1)


@pytest.mark.parametrize("count", [1, 7, 500, 1_000_000])
async def test_each_is_met_once(store: Store, count: int) -> None:
    given = await audience(store, 300)
    campaign = await start(store)
    found = await everybody(store, campaign, count=count)
    assert set(found) == set(given)
    for number, one in found.items():
        id_ = message_id(campaign.id, campaign.key, number)
        assert one == Recipient(number, id_, "waiting")


async def test_those_of_one_state_are_found_among_many(store: Store) -> None:
    given = await audience(store, MANY)
    campaign = await start(store)
    kept = [kept for states in STATES.values() for kept in states if kept != "unexpanded"]
    await expand(store, campaign, *given[: 3 * len(kept)])
    expected: dict[str, set[str]] = {"waiting": set(given[3 * len(kept) :])}
    for n, state in enumerate(kept):
        for number in given[3 * n : 3 * n + 3]:
            await put(store, campaign, number, state)
            shown_as = "waiting" if state == "queued" else state
            expected.setdefault(shown_as, set()).add(number)
    for state in STATES:
        found = await everybody(store, campaign, state)
        assert set(found) == expected[state]
        assert {one.state for one in found.values()} == {state}
        for number, one in found.items():
            assert await store.campaigns.recipient(campaign, number) == one
    counts = (await shown(store, campaign)).counts._asdict()
    assert {state: len(found) for state, found in expected.items()} == {
        state: counts[state] for state in STATES
    }


async def test_what_became_of_one_is_shown(store: Store, wall: Wall) -> None:
    campaign = await start(store, request(audience="", recipients=(ALICE,)))
    await expand(store, campaign, ALICE)
    wall.advance(65)
    entry, attempt, message = await store.begin_next()
    assert await store.queue.ack(entry, attempt, message, "p-1")
    found = await store.campaigns.recipient(campaign, ALICE)
    at = campaign.created + 65_000
    assert found == Recipient(ALICE, message.id, "sent", at, "p-1")


async def test_those_without_a_message_share_one_state_once_they_are_to_get_none(
    store: Store,
) -> None:
    campaign = await start(store, request(audience="", recipients=(ALICE, BOB)))
    await expand(store, campaign, ALICE)
    campaign = await store.campaigns.cancel(campaign, by="me", reason="")
    assert set(await everybody(store, campaign, "cancelled")) == {BOB}
    assert set(await everybody(store, campaign, "waiting")) == {ALICE}
    one = await store.campaigns.recipient(campaign, BOB)
    assert one is not None
    assert one.state == "cancelled"


async def test_who_is_none_is_none(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store)
    for number in (BOB, "", "x", "9" * 16, "1e5"):
        assert await store.campaigns.recipient(campaign, number) is None
    assert await store.campaigns.recipient(replace(campaign, id="c1"), numbers(1)[0]) is None


@pytest.mark.parametrize("cursor", ["x", "-1", "1" * 11, "²"])
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: str) -> None:
    await audience(store, 3)
    with pytest.raises(BadCursor):
        await store.campaigns.recipients(await start(store), cursor=cursor)


async def test_recipients_of_one_that_is_gone_are_refused(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store)
    await store.redis.delete(store.keys.audience(campaign.id))
    with pytest.raises(Refused):
        await store.campaigns.recipients(campaign)
