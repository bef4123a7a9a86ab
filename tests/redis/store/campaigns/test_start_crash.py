"""Starts under faults. Rule: a campaign is there with all its recipients, or not at all."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest
import redis

from smsd.core.campaign import Campaign, CampaignState
from smsd.redis.errors import OutOfMemory, Refused
from smsd.redis.scripts import Call
from smsd.store.audiences import UNTOUCHED_MS
from smsd.store.audiences.version import AudienceChanged
from smsd.store.campaigns import CampaignExists
from smsd.store.keys import Keys
from tests.redis.audiences import import_rows
from tests.redis.campaigns import audience, frozen, request, shown, start
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, BOB, OpenStore, Store, Wall, dump, sha, soon

MANY = 8_000  # contacts: more buckets than one script copies
RECIPIENTS = MANY + 2
STARTING = ["audience_begin", "campaign_copy", "campaign_add", "campaign_start"]


async def run(store: Store) -> Campaign:
    """Start one, as a caller does who repeats a request that was not answered."""
    asked = request(recipients=(ALICE, BOB))
    campaign, _ = await store.campaigns.start(asked, by="me", idempotency=("k", "f"))
    return campaign


@pytest.mark.parametrize("script", STARTING)
async def test_a_reply_that_is_lost_changes_nothing(
    wired: Store, proxy: Proxy, script: str
) -> None:
    given = await audience(wired, MANY)
    proxy.lose_reply(sha(script), times=2)
    campaign = await soon(run(wired))
    assert proxy.lost == 2
    assert set(await frozen(wired, campaign)) == {*given, ALICE, BOB}
    assert campaign.counts.recipients == RECIPIENTS
    assert [one.id for one in (await wired.campaigns.page())[0]] == [campaign.id]


@pytest.mark.parametrize("verb", ["pause", "cancel"])
async def test_a_verb_whose_reply_is_lost_is_done_once(
    wired: Store, proxy: Proxy, verb: str
) -> None:
    await audience(wired, 40)
    campaign = await start(wired)
    proxy.lose_reply(sha("campaign_turn"), times=2)
    await soon(getattr(wired.campaigns, verb)(campaign, by="me", reason="r", expect=40))
    assert proxy.lost == 2
    assert await wired.redis.hget(wired.keys.campaign(campaign.id), "turn") == b"1"
    assert await wired.redis.xlen(wired.keys.events) == 2  # the start, and the verb


async def test_calls_that_arrive_late_bring_nothing_back(wired: Store, proxy: Proxy) -> None:
    """Each of them once more when the campaign goes on, and when it was removed."""
    given = await audience(wired, 500)
    campaign = await run(wired)
    for verb in (wired.campaigns.pause, wired.campaigns.resume):
        await verb(campaign, by="me", reason="r")
    late = [one for one in proxy.commands if any(sha(script) in one for script in STARTING)]
    late += [one for one in proxy.commands if sha("campaign_turn") in one]
    [bucket, *_] = await _buckets(wired, campaign)
    for number in await wired.redis.hkeys(bucket):
        await wired.redis.hset(bucket, number, b"\x05\0\0\1sent")
    before = await dump(wired.redis, wired.keys.prefix)
    for command in late:
        await proxy.repeat(command)
    assert await dump(wired.redis, wired.keys.prefix) == before
    campaign = await wired.campaigns.cancel(campaign, by="me", reason="r")
    await wired.campaigns.remove(campaign, by="me")
    await wired.redis.delete(wired.keys.idempotency("k"))
    for clean in (False, True):
        if clean:
            await wired.audiences.clean()
        for command in reversed(late):  # none of them builds upon another
            await proxy.repeat(command)
        assert await wired.campaigns.show("spring") is None
    wired.wall.advance(UNTOUCHED_MS / 1000 + 1)
    await wired.audiences.clean()
    assert await wired.redis.zcard(wired.keys.audiences_unfinished) == 0
    again = await run(wired)
    assert set(await frozen(wired, again)) == {*given, ALICE, BOB}


async def _buckets(store: Store, campaign: Campaign) -> list[bytes]:
    pattern = f"{store.keys.audience(campaign.id)}:*"
    return [key async for key in store.redis.scan_iter(match=pattern)]


# -- killed ---------------------------------------------------------------------------------------


class Killed(BaseException):
    """The daemon is gone: nothing of it goes on."""


def kill_at(store: Store, step: int, *, done: bool) -> None:
    """At a step of what the store asks of scripts; its script has run by then, or not."""
    insist_all, steps = store.client.insist_all, iter(range(step))

    async def until_killed(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        last = next(steps, None) is None
        if last and not done:
            raise Killed
        replies = await insist_all(calls, patience_s=patience_s)
        if last:
            raise Killed
        return replies

    async def refuse(call: Call) -> object:
        raise Killed

    store.client.insist_all = until_killed  # type: ignore[assignment,method-assign]
    ask = store.client.ask

    async def look(call: Call) -> object:
        return await (ask(call) if call.script == "campaign_look" else refuse(call))

    store.client.ask = look  # type: ignore[method-assign]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(6))
async def test_one_that_is_killed_is_there_or_leaves_nothing(
    store: Store, open_store: OpenStore, wall: Wall, step: int, *, done: bool
) -> None:
    given = await audience(store, MANY)
    before = await dump(store.redis, store.keys.prefix)
    dying = open_store("b")
    kill_at(dying, step, done=done)
    with suppress(Killed):
        await run(dying)
    found = await store.campaigns.show("spring")
    if found is None:
        assert await store.campaigns.page() == ([], "")
        wall.advance(UNTOUCHED_MS / 1000 + 1)
        await store.audiences.clean()
        assert await dump(store.redis, store.keys.prefix) == before
    campaign = await run(store)
    assert found is None or found.id == campaign.id
    assert set(await frozen(store, campaign)) == {*given, ALICE, BOB}
    assert campaign.counts.recipients == RECIPIENTS


async def test_one_that_takes_too_long_begins_anew(store: Store, wall: Wall) -> None:
    """It was cleaned away: nothing had shown for a quarter of an hour that it is under way."""
    given = await audience(store, MANY)
    insist_all, slept = store.client.insist_all, list[bool]()

    async def slowly(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        if calls[0].script == "campaign_start" and not slept:
            slept.append(True)
            wall.advance(UNTOUCHED_MS / 1000 + 1)
            await store.audiences.clean()
        return await insist_all(calls, patience_s=patience_s)

    store.client.insist_all = slowly  # type: ignore[assignment,method-assign]
    campaign = await run(store)
    assert slept
    assert set(await frozen(store, campaign)) == {*given, ALICE, BOB}


# -- an audience that changes ---------------------------------------------------------------------

ROWS = [[ALICE, "new", "new"]]
FIELDS = ["name", "city"]


async def _add(store: Store) -> None:
    await import_rows(store, "a", ROWS, fields=FIELDS, replace=False)


async def _take(store: Store) -> None:
    await store.audiences.discard("a", ALICE)
    await _add(store)
    await store.audiences.discard("a", ALICE)


async def _replace(store: Store) -> None:
    await import_rows(store, "a", ROWS, fields=FIELDS)


async def _remove_and_clean(store: Store) -> None:
    await store.audiences.remove("a")
    await store.audiences.clean()
    await _replace(store)


async def _replace_and_clean(store: Store) -> None:
    await _replace(store)
    await store.audiences.clean()


CHANGES = [_add, _take, _replace, _remove_and_clean, _replace_and_clean]


def change_before(
    store: Store, script: str, change: Callable[[Store], Awaitable[None]], times: int
) -> list[bool]:
    """Change the audience before each of the first `times` calls of a script."""
    insist_all, done = store.client.insist_all, list[bool]()

    async def changing(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        call = calls[0]
        if call.script == script and len(done) < times and call.request.get("at", 1):
            done.append(True)
            await change(store)
        return await insist_all(calls, patience_s=patience_s)

    store.client.insist_all = changing  # type: ignore[assignment,method-assign]
    return done


@pytest.mark.parametrize("script", ["campaign_copy", "campaign_start"])
@pytest.mark.parametrize("change", CHANGES, ids=lambda one: one.__name__.strip("_"))
async def test_the_recipients_are_those_of_one_moment(
    store: Store, change: Callable[[Store], Awaitable[None]], script: str
) -> None:
    given = set(await audience(store, MANY))
    done = change_before(store, script, change, 1)
    campaign = await start(store)
    assert done
    after = {ALICE} if "replace" in change.__name__ or "remove" in change.__name__ else None
    found = await frozen(store, campaign)
    assert set(found) in (given, after or given | {ALICE})
    assert campaign.counts.recipients == len(found)
    await store.audiences.clean()
    assert await frozen(store, campaign) == found


async def test_an_audience_that_changes_again_and_again_starts_none(store: Store) -> None:
    await audience(store, MANY)
    change_before(store, "campaign_copy", _take, 1_000)
    with pytest.raises(AudienceChanged):
        await start(store)
    assert await store.campaigns.page() == ([], "")
    await store.audiences.clean()
    assert await store.redis.zcard(store.keys.audiences_unfinished) == 0


async def test_a_name_that_is_taken_meanwhile_is_refused(store: Store) -> None:
    await audience(store, MANY)
    insist_all = store.client.insist_all
    others = list[Campaign]()

    async def overtaken(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        if calls[0].script == "campaign_start" and not others:
            store.client.insist_all = insist_all  # type: ignore[method-assign]
            others.append(await start(store))
        return await insist_all(calls, patience_s=patience_s)

    store.client.insist_all = overtaken  # type: ignore[assignment,method-assign]
    with pytest.raises(CampaignExists):
        await start(store)
    found, _ = await store.campaigns.page()
    assert found == others


# -- a full Redis ---------------------------------------------------------------------------------


@pytest.fixture
def full(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Call it to fill Redis up; it is emptied in the end."""
    with redis_server.client() as client:
        yield lambda: _configure(client, 1)
        _configure(client, 0)


def _configure(client: "redis.Redis", maxmemory: int) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", maxmemory)


@pytest.mark.parametrize("script", STARTING)
async def test_a_full_redis_refuses_a_start_and_changes_nothing(
    store: Store, full: Callable[[], None], script: str
) -> None:
    await audience(store, MANY)
    before = await dump(store.redis, store.keys.prefix)
    insist_all = store.client.insist_all

    async def filled(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        if calls[0].script == script:
            full()
        return await insist_all(calls, patience_s=patience_s)

    store.client.insist_all = filled  # type: ignore[assignment,method-assign]
    with pytest.raises(OutOfMemory):
        await soon(run(store))
    await store.audiences.clean()
    assert await dump(store.redis, store.keys.prefix) == before


async def test_while_redis_is_full_a_campaign_can_be_paused_cancelled_and_removed(
    store: Store, full: Callable[[], None]
) -> None:
    await audience(store, 40)
    campaign = await start(store)
    full()
    for verb, state in (
        (store.campaigns.pause, CampaignState.PAUSED),
        (store.campaigns.resume, CampaignState.RUNNING),
        (store.campaigns.cancel, CampaignState.CANCELLED),
    ):
        assert (await verb(campaign, by="me", reason="r")).state is state
    await store.campaigns.remove(campaign, by="me")
    assert await store.campaigns.show("spring") is None


# -- other hands ----------------------------------------------------------------------------------

PLACES: dict[str, Callable[[Keys], str]] = {
    "campaigns": lambda keys: keys.campaigns,
    "campaign_names": lambda keys: keys.campaign_names,
    "campaigns_active": lambda keys: keys.campaigns_active,
    "audiences": lambda keys: keys.audiences,
    "audiences_unfinished": lambda keys: keys.audiences_unfinished,
    "idempotency": lambda keys: keys.idempotency("k"),
}
FOREIGN: dict[str, Callable[[Store, str], Awaitable[object]]] = {
    "string": lambda store, key: store.redis.set(key, "x"),
    "stream": lambda store, key: store.redis.xadd(key, {"x": "y"}),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("place", PLACES)
async def test_a_key_of_another_type_refuses_a_start_and_is_left_alone(
    store: Store, place: str, kind: str
) -> None:
    await audience(store, 500)
    key = PLACES[place](store.keys)
    await store.redis.delete(key)
    await FOREIGN[kind](store, key)
    before = await dump(store.redis, store.keys.prefix)
    with pytest.raises(Refused):
        await run(store)
    if place not in ("audiences", "audiences_unfinished"):  # without them nothing is cleaned
        await store.audiences.clean()
    assert await dump(store.redis, store.keys.prefix) == before


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_bucket_of_another_type_refuses_a_start(store: Store, kind: str) -> None:
    await audience(store, 500)
    found = await store.audiences.show("a")
    assert found is not None
    bucket = f"{store.keys.audience(found.version)}:0"
    await store.redis.delete(bucket)
    await FOREIGN[kind](store, bucket)
    with pytest.raises(Refused) as caught:
        await run(store)
    assert caught.value.key == bucket


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_record_of_another_type_refuses_each_verb(store: Store, kind: str) -> None:
    await audience(store, 40)
    campaign = await start(store)
    key = store.keys.campaign(campaign.id)
    await store.redis.delete(key)
    await FOREIGN[kind](store, key)
    before = await dump(store.redis, store.keys.prefix)
    campaigns = store.campaigns
    for ask in (
        campaigns.show(campaign.id),
        campaigns.pause(campaign, by="me", reason=""),
        campaigns.edit(campaign, by="me", weight=2, expires_at=None),
        campaigns.remove(campaign, by="me"),
        campaigns.recipients(campaign),
    ):
        with pytest.raises(Refused):
            await ask
    assert await campaigns.page() == ([], "")
    assert await dump(store.redis, store.keys.prefix) == before


async def test_starts_verbs_and_cleaning_at_once_leave_whole_campaigns(store: Store) -> None:
    given = await audience(store, 2_000)

    async def one(n: int) -> None:
        campaign = await start(store, request(name=f"n{n}"))
        if n % 2:
            campaign = await store.campaigns.cancel(campaign, by="me", reason="")
            await store.campaigns.remove(campaign, by="me")

    await asyncio.gather(*(one(n) for n in range(10)), *(store.audiences.clean() for _ in range(5)))
    await store.audiences.clean()
    found, _ = await store.campaigns.page()
    assert {campaign.request.name for campaign in found} == {f"n{n}" for n in range(0, 10, 2)}
    for campaign in found:
        assert await shown(store, campaign) == campaign
        assert set(await frozen(store, campaign)) == set(given)
