"""Starting a campaign. Rule: its recipients are frozen, all of them, or there is no campaign."""

import asyncio
import random
from dataclasses import replace

import pytest

from smsd.core.campaign import CampaignState, Counts
from smsd.store.append import KeyConflict
from smsd.store.campaigns import (
    CampaignExists,
    MissingValue,
    NoRecipients,
    NoSuchAudience,
    WrongState,
)
from tests.redis.audiences import import_rows, keys_of_audiences, numbers
from tests.redis.calls import Watched
from tests.redis.campaigns import audience, frozen, request, start
from tests.redis.recipients import expand
from tests.support.store import ALICE, BOB, Store, Wall

MANY = 3_000  # contacts: some 94 buckets


async def test_the_recipients_are_those_of_the_audience_with_their_values(store: Store) -> None:
    given = await audience(store, MANY)
    campaign = await start(store)
    assert campaign.counts == Counts(recipients=MANY, waiting=MANY)
    assert campaign.unexpanded == MANY
    assert campaign.columns == ("name", "city")
    assert await frozen(store, campaign) == {
        number: f"name {n}\x1fcity {n}" for n, number in enumerate(given)
    }


async def test_what_was_asked_for_is_shown(store: Store, wall: Wall) -> None:
    await audience(store, 3)
    asked = request(
        sender="+12025550199",
        priority="high",
        kind="service",
        send_at=wall.ms + 60_000,
        expires_at=wall.ms + 120_000,
        weight=7,
        ref="r",
        transliterate=True,
    )
    campaign = await start(store, asked)
    assert campaign == await store.campaigns.show(campaign.id)
    assert campaign == await store.campaigns.show("spring")
    assert campaign.request == asked
    assert (campaign.by, campaign.reason) == ("me", "")
    assert campaign.created == campaign.since == wall.ms
    assert campaign.state is CampaignState.SCHEDULED
    wall.advance(60)
    later = await store.campaigns.show("spring")
    assert later is not None
    assert later.state is CampaignState.RUNNING


async def test_one_without_a_name_has_its_id_for_one(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store, request(name=""))
    assert campaign.request.name == campaign.id
    other = await start(store, request(name=""))
    assert other.id != campaign.id


async def test_numbers_of_the_request_are_added_and_folded(store: Store) -> None:
    given = await audience(store, MANY)
    more = [ALICE, BOB, given[0], ALICE, *numbers(MANY, first=MANY // 2)]
    campaign = await start(store, request(recipients=tuple(more)))
    found = await frozen(store, campaign)
    assert set(found) == {*given, *more}
    assert campaign.counts.recipients == len(found)
    assert found[given[0]] == "name 0\x1fcity 0"
    assert found[ALICE] == ""
    assert campaign.request.recipients == ()  # they are with the others


async def test_numbers_alone_will_do(store: Store) -> None:
    campaign = await start(store, request(audience="", recipients=(ALICE, BOB)))
    assert await frozen(store, campaign) == {ALICE: "", BOB: ""}
    assert campaign.columns == ()


async def test_an_audience_of_the_configuration_brings_its_numbers(store: Store) -> None:
    campaign, _ = await store.campaigns.start(
        request(recipients=(BOB,)), by="me", numbers=[ALICE, BOB]
    )
    assert set(await frozen(store, campaign)) == {ALICE, BOB}
    assert campaign.request.audience == "a"


async def test_later_changes_of_the_audience_do_not_matter(store: Store) -> None:
    given = await audience(store, 300)
    campaign = await start(store)
    assert await store.audiences.discard("a", given[0])
    await import_rows(store, "a", [[BOB, "b", "c"]], fields=["name", "city"], replace=False)
    await store.audiences.remove("a")
    await store.audiences.clean()
    assert set(await frozen(store, campaign)) == set(given)


# -- refused --------------------------------------------------------------------------------------


async def nothing_is_left(store: Store) -> None:
    """No campaign, and no key of one once it was cleaned up."""
    keys = store.keys
    await store.audiences.clean()
    left = await keys_of_audiences(store)
    audiences = await store.audiences.all()
    versions = [keys.audience(one.version) for one in audiences]
    assert {key for key in left if not key.startswith(tuple(versions))} <= {keys.audiences}
    found = {key async for key in store.redis.scan_iter(match=f"{keys.prefix}campaign*")}
    assert found == set()


async def test_without_an_audience_or_without_contacts_there_is_none(store: Store) -> None:
    with pytest.raises(NoSuchAudience):
        await start(store)
    await audience(store, 1)
    await store.audiences.discard("a", numbers(1)[0])
    for asked in (request(), request(audience="")):
        with pytest.raises(NoRecipients):
            await start(store, asked)
    await nothing_is_left(store)


async def test_a_column_that_the_audience_has_not_is_named(store: Store) -> None:
    await audience(store, 3)
    with pytest.raises(KeyError, match="phone"):
        await start(store, columns=["name", "phone"])
    with pytest.raises(KeyError, match="name"):
        await start(store, request(audience="", recipients=(ALICE,)), columns=["name"])
    await nothing_is_left(store)


async def test_recipients_that_lack_a_value_are_counted_and_one_is_named(store: Store) -> None:
    rows = [[number, "x", f"city {n}" if n % 3 else ""] for n, number in enumerate(numbers(MANY))]
    await import_rows(store, "a", rows, fields=["name", "city"])
    with pytest.raises(MissingValue) as caught:
        await start(store, required=["name", "city"])
    error = caught.value
    assert (error.column, error.missing) == ("city", MANY // 3)
    assert error.number in {number for number, _, city in rows if not city}
    await nothing_is_left(store)
    await start(store, required=["name"])


@pytest.mark.parametrize("packed", ["", "\x1f", "\x1fb", "\x1f\x1fc"])
@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_value_is_missing_where_it_is_empty(store: Store, packed: str, place: int) -> None:
    columns = ["one", "two", "three"]
    values = (packed.split("\x1f") + [""] * 3)[:3]
    await import_rows(store, "a", [[ALICE, *values]], fields=columns)
    if values[place]:
        await start(store, required=[columns[place]])
        return
    with pytest.raises(MissingValue) as caught:
        await start(store, required=[columns[place]])
    assert (caught.value.number, caught.value.column) == (ALICE, columns[place])


@pytest.mark.parametrize("seed", range(10))
async def test_of_any_rows_those_that_lack_a_value_are_counted(store: Store, seed: int) -> None:
    chance, columns = random.Random(seed), ["one", "two", "three"]
    rows = [[n, *(chance.choice(["", "x", "é %d"]) for _ in columns)] for n in numbers(300)]
    await import_rows(store, "a", rows, fields=columns)
    required = chance.sample(columns, chance.randint(1, 3))

    def at(column: str) -> int:
        return 1 + columns.index(column)

    lacking = {
        row[0]: next(one for one in sorted(required, key=columns.index) if not row[at(one)])
        for row in rows
        if not all(row[at(one)] for one in required)
    }
    with pytest.raises(MissingValue) as caught:
        await start(store, required=required)
    assert caught.value.missing == len(lacking)
    assert lacking[caught.value.number] == caught.value.column


async def test_the_more_there_is_to_look_at_the_less_one_script_does(
    store: Store, watched: Watched
) -> None:
    columns = [f"f{n}" for n in range(50)]
    await import_rows(store, "a", [[n, *["x"] * 50] for n in numbers(1_000)], fields=columns)
    steps = []
    for n, required in enumerate(([], columns[:1], columns[-1:], columns)):
        watched.calls.clear()
        await start(store, request(name=f"{n}"), required=required)
        steps.append(sum(call.script == "campaign_copy" for call in watched.calls))
    assert steps == sorted(steps)
    assert steps[2] > steps[1]


async def test_a_number_of_the_request_has_no_values(store: Store) -> None:
    await audience(store, 3)
    given = numbers(3)
    await start(store, request(recipients=tuple(given)), required=["name"])  # the audience's
    with pytest.raises(MissingValue) as caught:
        await start(store, request(name="x", recipients=(given[0], BOB)), required=["name"])
    assert (caught.value.number, caught.value.missing) == (BOB, 1)


async def test_a_name_stands_for_one_campaign(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store)
    for name in ("spring", campaign.id):
        with pytest.raises(CampaignExists):
            await start(store, request(name=name))


async def test_of_two_with_one_name_at_once_one_is_started(store: Store) -> None:
    await audience(store, MANY)
    starts = [store.campaigns.start(request(), by=by) for by in "abc"]
    ended = await asyncio.gather(*starts, return_exceptions=True)
    assert sum(isinstance(one, CampaignExists) for one in ended) == 2
    campaigns, _ = await store.campaigns.page()
    assert [one.request.name for one in campaigns] == ["spring"]
    await store.audiences.clean()
    versions = {key.split(":")[2] for key in await keys_of_audiences(store) if key.count(":") > 2}
    assert len(versions) == 2  # the audience's and the campaign's


# -- idempotency ----------------------------------------------------------------------------------


async def test_the_same_request_again_is_answered_with_its_campaign(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store, idempotency=("k", "f"))
    await store.audiences.remove("a")
    again = await store.campaigns.start(request(), by="you", idempotency=("k", "f"))
    assert again == (campaign, True)
    assert 0 < await store.redis.pttl(store.keys.idempotency("k")) <= 86_400_000


async def test_the_same_key_with_another_request_is_a_conflict(store: Store) -> None:
    await audience(store, 3)
    await start(store, idempotency=("k", "f"))
    with pytest.raises(KeyConflict):
        await start(store, request(name="x"), idempotency=("k", "g"))
    await store.redis.hset(store.keys.idempotency("l"), mapping={"fingerprint": "f", "ids": "1-0"})
    with pytest.raises(KeyConflict):
        await start(store, request(name="x"), idempotency=("l", "f"))


async def test_the_same_request_twice_at_once_is_one_campaign(store: Store) -> None:
    await audience(store, MANY)
    starts = [store.campaigns.start(request(), by=by, idempotency=("k", "f")) for by in "abc"]
    ended = await asyncio.gather(*starts)
    assert sorted(before for _, before in ended) == [False, True, True]
    assert len({campaign.id for campaign, _ in ended}) == 1


async def test_a_request_whose_campaign_was_removed_starts_none(store: Store) -> None:
    await audience(store, 3)
    campaign = await start(store, idempotency=("k", "f"))
    await store.redis.delete(store.keys.campaign(campaign.id))
    with pytest.raises(WrongState):
        await start(store, idempotency=("k", "f"))


# -- the list -------------------------------------------------------------------------------------


async def test_they_are_listed_the_latest_first(store: Store, wall: Wall) -> None:
    await audience(store, 3)
    started = []
    for n in range(5):
        started.append(await start(store, request(name=f"n{n}")))
        wall.advance(0.001)
    expected = [one.id for one in reversed(started)]
    found, cursor = await store.campaigns.page()
    assert ([one.id for one in found], cursor) == (expected, "")
    paged: list[str] = []
    while True:
        some, cursor = await store.campaigns.page(cursor, 2)
        paged += [one.id for one in some]
        if not cursor:
            break
    assert paged == expected


async def test_one_that_cannot_be_read_does_not_hide_the_others(store: Store) -> None:
    await audience(store, 3)
    one, other = await start(store), await start(store, request(name="x"))
    await store.redis.hset(store.keys.campaign(one.id), "request", "{")
    found, _ = await store.campaigns.page()
    assert found == [await store.campaigns.show("x")] == [other]


async def test_what_is_not_there_is_none(store: Store) -> None:
    for name in ("", "x", "c1", "x" * 1000, "c" * 14, "*"):
        assert await store.campaigns.show(name) is None
    assert await store.campaigns.page() == ([], "")
    assert await store.campaigns.page("c1") == ([], "")


async def test_messages_in_flight_are_a_part_of_what_waits(store: Store) -> None:
    await audience(store, 5)
    campaign = await start(store)
    record = store.keys.campaign(campaign.id)
    await store.redis.hset(record, mapping={"n:unexpanded": 3, "n:queued": 2})
    for n in (1, 2):
        fields = {"id": f"{campaign.id}_{n}", "to": ALICE, "message": "x"}
        entry = await store.redis.xadd(store.keys.queue, fields)
        if n == 1:
            await store.redis.hset(store.keys.inflight, f"n{entry.decode()}", "1 0 x")
    [found], _ = await store.campaigns.page()
    assert found.counts == replace_counts(campaign.counts, waiting=4, in_flight=1)
    assert found.unexpanded == 3
    assert found == replace(campaign, counts=found.counts, unexpanded=3)


async def test_of_very_many_in_flight_some_are_looked_at(store: Store) -> None:
    people = numbers(2_000)
    campaign = await start(store, request(audience="", recipients=tuple(people)))
    other = await start(store, request(name="x", audience="", recipients=tuple(people)))
    for one in (campaign, other):
        await expand(store, one, *people)
    for entry in await store.queue.claim(0, 4_000):
        await store.redis.hset(store.keys.inflight, entry.name, "1 0 x")
    found, _ = await store.campaigns.page()
    in_flight = [one.counts.in_flight for one in found]
    assert sum(in_flight) <= 4_000
    assert min(in_flight) > 1_000
    assert all(sum(one.counts[1:]) == 2_000 for one in found)
    assert [one.counts.in_flight for one in await store.campaigns.active()] == [0, 0]


def replace_counts(counts: Counts, **changes: int) -> Counts:
    return counts._replace(**changes)
