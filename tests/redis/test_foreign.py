"""Foreign hands. Rule: whatever they put at a key, what can goes on, and what cannot is named."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.dispatch.claimer import parse_entry
from smsd.dispatch.promoter import Promoter
from smsd.redis.damage import COMMANDS
from smsd.redis.errors import Refused
from smsd.store.dead_letter_request import Choice, Order
from smsd.store.entry import LAST_ID, Attempt, Entry
from smsd.store.examine import examine
from smsd.store.fsck import Fault, Fsck
from smsd.store.identity import OlderData
from smsd.store.keys import GROUP, Keys
from smsd.store.lease import lease_holder, reported_hold
from tests.redis.audiences import import_rows
from tests.redis.campaigns import request
from tests.redis.dispatching import at_work, dispatcher, recovery
from tests.redis.recipients import expand
from tests.support.provider import ScriptedProvider
from tests.support.store import ALICE, BOB, LIMITS, Store, until

Sending = tuple[Entry, Attempt, Message]
Put = Callable[[Any, str], Awaitable[Any]]

KINDS: dict[str, Put] = {
    "string": lambda client, key: client.set(key, "of another make"),
    "list": lambda client, key: client.rpush(key, "x"),
    "hash": lambda client, key: client.hset(key, "x", "y"),
    "set": lambda client, key: client.sadd(key, "x"),
    "zset": lambda client, key: client.zadd(key, {"x": 1}),
    "stream": lambda client, key: client.xadd(key, {"x": "y"}),
}
NAMES = [
    name
    for name, kind in vars(Keys).items()
    if isinstance(kind, property) and name not in ("kinds", "for_intake", "for_dispatch")
]


def test_every_key_has_a_type() -> None:
    keys = Keys()
    assert {getattr(keys, name) for name in NAMES} == set(keys.kinds)


async def fsck(store: Store, *, repair: bool = False) -> list[Fault]:
    return [fault async for fault in Fsck(store.client, repair=repair).faults()]


# -- a life, each step of which works or is refused by the name of the key ------------------------


async def _sending(store: Store, **fields: object) -> Sending:
    """A message of its own that has been queued, claimed and begun, whatever else is in line."""
    [id_] = await store.append(**fields)
    [entry] = [one for one in await store.queue.claim(100, 100) if one.message_id == id_]
    message = parse_entry(entry, LIMITS, store.wall())
    attempt = store.attempt()
    assert await store.begin(entry, attempt, ALICE) == "begun"
    return entry, attempt, message


async def _send(store: Store, **fields: object) -> None:
    life = await _sending(store, **fields)
    assert await store.queue.ack(*life, "p")


async def _retry(store: Store) -> None:
    due = store.wall() + 1
    assert await store.queue.defer(*await _sending(store), until=due, attempts=1, why="later")
    store.wall.advance(1)
    assert await store.queue.promote()


async def _die_and_rise(store: Store) -> None:
    for sweep in (store.dead_letters.replay, store.dead_letters.drop):
        assert await store.queue.bury(*await _sending(store), reason=DeadReason.EXHAUSTED)
        assert (await sweep(Order(Choice(reason="exhausted")))).done


async def _cancel(store: Store) -> None:
    [id_] = await store.append()
    assert await store.queue.cancel(id_) == "cancelled"
    assert await store.queue.cancel(await store.schedule(60)) == "cancelled"


async def _import(store: Store) -> None:
    await import_rows(store, "a", [[ALICE]])
    await import_rows(store, "a", [[BOB]], replace=False)
    assert await store.audiences.discard("a", BOB)
    assert await store.audiences.remove("a")
    await store.audiences.clean()


async def _campaign(store: Store) -> None:
    asked = request(name="", audience="", recipients=(ALICE, BOB))
    campaign, _ = await store.campaigns.start(asked, by="me")
    campaign = await store.campaigns.pause(campaign, by="me", reason="")
    campaign = await store.campaigns.resume(campaign, by="me", reason="")
    assert len((await store.campaigns.recipients(campaign)).recipients) == 2
    assert campaign.id in {one.id for one in (await store.campaigns.page())[0]}
    assert campaign.id in {one.id for one in await store.campaigns.active()}
    campaign = await store.campaigns.cancel(campaign, by="me", reason="")
    assert campaign.counts.cancelled == 2
    assert not await store.campaigns.tidy(campaign)
    await store.campaigns.remove(campaign, by="me")
    await store.audiences.clean()


async def _send_of_campaign(store: Store) -> None:
    asked = request(name="", audience="", recipients=(ALICE,))
    campaign, _ = await store.campaigns.start(asked, by="me")
    [id_] = await expand(store, campaign, ALICE)
    [entry] = [one for one in await store.queue.claim(100, 100) if one.message_id == id_]
    message = parse_entry(entry, LIMITS, store.wall())
    attempt = store.attempt()
    assert await store.begin(entry, attempt, ALICE) == "begun"
    assert await store.queue.ack(entry, attempt, message, "p")
    found = await store.campaigns.show(campaign.id)
    assert found is not None
    assert found.counts.sent == 1


STEPS: dict[str, Callable[[Store], Awaitable[Any]]] = {
    "send": _send,
    "send with high priority": lambda store: _send(store, priority="high"),
    "schedule": lambda store: store.schedule(60, "s2"),
    "retry": _retry,
    "die and rise": _die_and_rise,
    "cancel": _cancel,
    "import": _import,
    "campaign": _campaign,
    "send of a campaign": _send_of_campaign,
    "count": lambda store: store.census(),
    "look up the hold": lambda store: reported_hold(store.client, store.owner),
    "ask who holds the lease": lambda store: lease_holder(store.client),
    "wait": lambda store: store.arrivals.wait(normal_too=True, patience_s=0.001),
    "recover": lambda store: recovery(store)._recover(),
    "make the groups": lambda store: store.client.ensure_groups(),
}
# What each key is needed for; the rest goes on without it.
SENDS = {"send", "retry", "die and rise", "send of a campaign"}
CAMPAIGN = {"campaign", "send of a campaign"}
NEEDED = {
    "queue": SENDS | {"cancel", "wait", "make the groups"},
    "high": {"send with high priority", "retry", "wait", "make the groups"},
    "deferred": {"schedule", "retry", "cancel"},
    "deferred_messages": {"schedule", "retry", "cancel"},
    "inflight": SENDS | {"send with high priority", "cancel", "recover"},
    "dead": {"die and rise"},
    "optouts": SENDS | {"send with high priority"},
    "hold": {"look up the hold"},
    "audiences": {"import"},
    "audiences_unfinished": {"import", *CAMPAIGN},
    "campaigns": CAMPAIGN,
    "campaign_names": CAMPAIGN,
    "campaigns_active": CAMPAIGN,
    "store": SENDS | {"send with high priority", "recover"},
}


TAKEN_OVER = ("lease", "hold", "store")  # the next write replaces them


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
async def test_a_wrong_type_is_named_and_the_rest_goes_on(
    store: Store, name: str, kind: str
) -> None:
    key = getattr(store.keys, name)
    if store.keys.kinds[key] == kind:
        return
    await store.append()  # it is there when the key changes
    await store.redis.delete(key)
    await KINDS[kind](store.redis, key)
    await store.lease._acquire("")
    refused: dict[str, str] = {}
    for step, run in STEPS.items():
        await store.redis.delete(store.keys.message("s2"))
        try:
            await run(store)
        except Refused as error:
            refused[step] = error.key
        except OlderData:  # nothing is sent from data without a name
            refused[step] = key
    assert refused.keys() <= NEEDED.get(name, set())
    assert set(refused.values()) <= {key, ""}  # "": of a plain command; the look below names it
    await examine(store.client)
    assert store.damage.found.keys() - {COMMANDS} == (set() if name in TAKEN_OVER else {key})


@pytest.mark.parametrize("name", NAMES)
async def test_what_runs_goes_on_past_a_wrong_type_and_after_it_is_mended(
    store: Store, name: str
) -> None:
    key = getattr(store.keys, name)
    provider = ScriptedProvider()
    async with AsyncExitStack() as parts:
        for part in (
            store.claimer,
            recovery(store),
            dispatcher(store, provider),
            Promoter(store.context),
        ):
            await parts.enter_async_context(at_work(part))
        await store.redis.delete(key)
        await KINDS["string" if store.keys.kinds[key] != "string" else "list"](store.redis, key)
        for priority in ("high", "normal"):
            with suppress(Refused):
                await store.append(priority=priority)
        await asyncio.sleep(0.1)
        faults = await fsck(store, repair=True)
        assert all(fault.mended for fault in faults) == (name != "optouts"), faults
        await store.redis.delete(store.keys.optouts)  # which a person has to decide
        if name == "store":
            await store.client.ensure_groups()
            store.client.identity.accepted(store.client.identity.seen)  # as a release does
        await store.lease._acquire("")
        [last] = await store.append(priority="high")
        await until(lambda: last in provider.submitted, "it sends again")
    assert await fsck(store) == []
    await examine(store.client)
    assert not store.damage.found


async def test_where_the_in_flight_records_were_all_that_is_claimed_is_in_doubt(
    store: Store,
) -> None:
    _, _, message = await store.sending()
    await store.redis.set(store.keys.inflight, "x")
    [fault] = await fsck(store, repair=True)
    assert fault.mended
    await recovery(store).recover()
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert (fields["id"], fields["reason"]) == (message.id, "in_doubt")


async def test_a_success_is_settled_though_the_in_flight_records_are_gone(store: Store) -> None:
    life = await store.sending()
    await store.redis.set(store.keys.inflight, "x")
    assert await store.queue.ack(*life, "p")
    assert await store.length() == 0


# -- values that are no numbers, names or ids -----------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value"),
    [("note", "x"), ("sent", "1.5"), ("scheduled", "x"), ("sent", "9223372036854775807")],
)
async def test_a_count_that_is_none_stops_nothing_and_is_begun_anew(
    store: Store, field: str, value: str
) -> None:
    await _send(store)
    await store.redis.hset(store.keys.counters, field, value)
    for run in STEPS.values():
        await run(store)
    await examine(store.client)
    known = field != "note"  # one that smsd does not know disturbs nobody
    assert store.damage.found.keys() == ({store.keys.counters} if known else set())
    await fsck(store, repair=True)
    assert await fsck(store) == []
    assert await store.difference() == 0


JUNK: dict[str, Put] = {
    "inflight": lambda client, key: client.hset(key, mapping={b"\xff": b"\xff", "n1-1": ""}),
    "deferred": lambda client, key: client.zadd(key, {b"\xff": "-inf", "x": "inf", "y": 1e300}),
    "deferred_messages": lambda client, key: client.hset(key, "s1", b"\xff"),
    "dead": lambda client, key: client.xadd(key, {b"\xff": b"\xff"}),
    "events": lambda client, key: client.xadd(key, {b"\xff": b"\xff"}),
    "queue": lambda client, key: client.xadd(key, {b"\xff": b"\xff"}),
    "high": lambda client, key: client.xadd(key, {"id": "x", "attempts": "x"}),
    "optouts": lambda client, key: client.sadd(key, b"\xff"),
    "hold": lambda client, key: client.hset(key, mapping={"by": "a", "seconds": "x"}),
    "held": lambda client, key: client.hset(key, "since", b"\xff"),
    "audiences": lambda client, key: client.hset(key, mapping={b"\xff": b"\xff", "x": "{"}),
    "audiences_unfinished": lambda client, key: client.zadd(key, {b"\xff": "-inf", "x": "inf"}),
    "campaigns": lambda client, key: client.zadd(key, {b"\xff": "-inf", "c1": 0, "x": 1}),
    "campaign_names": lambda client, key: client.hset(key, mapping={b"\xff": b"\xff", "x": "c1"}),
    "campaigns_active": lambda client, key: client.sadd(key, b"\xff", "c1", "x"),
    "released": lambda client, key: client.set(key, b"\xff"),
    "store": lambda client, key: client.hset(key, mapping={"lease_ms": b"\xff", "x": "y"}),
    "lease": lambda client, key: client.set(key, b"\xff", px=1),
    "ack": lambda client, key: client.set(key, b"\xff"),
}


@pytest.mark.parametrize("name", JUNK)
async def test_junk_at_a_key_stops_nothing(store: Store, name: str) -> None:
    await JUNK[name](store.redis, getattr(store.keys, name))
    await asyncio.sleep(0.002)
    await store.lease._acquire("")
    for run in STEPS.values():
        await run(store)
    await examine(store.client)
    assert not store.damage.found


@pytest.mark.parametrize("group", ["x", "1e300", "999999999", "-1", ""])
async def test_junk_in_the_record_of_intake_keeps_no_message_out(store: Store, group: str) -> None:
    intake = store.keys.intake(store.owner)
    await store.redis.hset(intake, "group", group)
    with suppress(Refused):
        await store.append()
    await store.append()


@pytest.mark.parametrize("put", [*KINDS.values()], ids=KINDS)
async def test_a_record_of_a_wrong_type_keeps_no_message_out(store: Store, put: Put) -> None:
    intake = store.keys.intake(store.owner)
    await store.append()
    await store.redis.delete(intake)
    await put(store.redis, intake)
    await store.append()
    assert await store.length() == 2


@pytest.mark.parametrize(
    "told", [{"state": "sent"}, {"x": "y"}, {"state": "queued", "entry": "n0-99999999999999999999"}]
)
async def test_a_status_of_another_make_is_shown_as_far_as_it_goes(
    store: Store, told: dict[str, str]
) -> None:
    await store.redis.hset(store.keys.message("1-1"), mapping=told)
    found = await store.lookup.message("1-1")
    assert (found and found["state"]) == told.get("state")


# -- the last id of a stream ----------------------------------------------------------------------

STREAMS = ["queue", "high", "dead", "events"]


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("empty", [False, True])
async def test_a_stream_whose_ids_have_run_out_is_made_anew(
    store: Store, name: str, *, empty: bool
) -> None:
    key = getattr(store.keys, name)
    kept = [] if empty else [await store.append(priority=one) for one in ("high", "normal")]
    if not empty:
        await store.dead_letter()
    fields = {"to": ALICE, "message": "the last", "id": "x"}
    await store.redis.xadd(key, fields, id=LAST_ID)
    if empty:
        await store.redis.xdel(key, LAST_ID)
    for part in (store.claimer, Promoter(store.context)):
        async with at_work(part):
            await asyncio.sleep(0.02)
    with suppress(Refused):
        await store.append(priority="high" if name == "high" else "normal")

    await examine(store.client)
    assert not store.damage.found
    for step in ("send", "send with high priority", "die and rise", "retry"):
        await STEPS[step](store)
    assert await store.redis.xlen(key) >= len(kept) / 2
    for [id_] in kept:
        assert (await store.state(id_)) is not None


async def test_the_message_with_the_last_id_keeps_its_name_and_is_sent(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"}, id=LAST_ID)
    claimed = await store.queue.claim(0, 10)
    assert [entry.message_id for entry in claimed] == [LAST_ID]
    await examine(store.client)
    assert await store.state(LAST_ID) == "queued"
    [entry] = await store.queue.claim(0, 10)
    assert (entry.message_id, entry.name == f"n{LAST_ID}") == (LAST_ID, False)
    message = parse_entry(entry, LIMITS, store.wall())
    assert await store.begin(claimed[0], store.attempt(), ALICE) == "gone"
    assert await store.begin(entry, store.attempt(), ALICE) == "begun"
    assert await store.queue.ack(entry, store.attempt(), message, "p")
    assert (await store.state(LAST_ID), await store.difference()) == ("sent", 0)


async def test_a_message_that_is_being_sent_is_not_moved(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"}, id=LAST_ID)
    life = await store.begin_next()
    await examine(store.client)
    assert store.keys.queue in store.damage.found
    [fault] = [one for one in await fsck(store, repair=True) if one.kind == "key"]
    assert not fault.mended
    assert await store.queue.ack(*life, "p")
    await examine(store.client)
    assert not store.damage.found
    assert (await store.state(LAST_ID), await store.difference()) == ("sent", 0)


async def test_what_is_claimed_and_marked_stays_so_in_a_stream_that_is_made_anew(
    store: Store,
) -> None:
    life = await store.sending()
    [waiting] = await store.append()
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"}, id=LAST_ID)
    await examine(store.client)
    assert await store.unsettled.pending() == [life[0].name]
    assert [entry.message_id for entry in await store.queue.claim(0, 9)] == [waiting, LAST_ID]
    assert await store.queue.ack(*life, "p")
    assert await store.difference() == 0


async def test_an_append_is_all_or_none_where_the_ids_run_out(store: Store) -> None:
    almost = LAST_ID[:-1] + "3"
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"}, id=almost)
    with pytest.raises(Refused):
        await store.append(*[ALICE] * 5)
    assert await store.redis.xlen(store.keys.queue) == 1
    await examine(store.client)
    assert await store.difference() == 0
    assert len(await store.append(*[ALICE] * 5)) == 5


async def test_a_due_message_waits_for_its_stream_and_those_of_the_other_do_not(
    store: Store,
) -> None:
    await store.redis.set(store.keys.queue, "x")
    await store.schedule(1, "s1")
    await store.schedule(1, "s2", priority="high")
    store.wall.advance(2)
    with pytest.raises(Refused):
        await store.queue.promote(1)
    assert await store.queue.promote(1) == 1
    assert await store.redis.xlen(store.keys.high) == 1
    await store.redis.delete(store.keys.queue)
    assert await store.queue.promote() + await store.queue.promote() == 1


# -- delivered and not pending --------------------------------------------------------------------


async def _delete_the_consumer(store: Store) -> None:
    await store.redis.xgroup_delconsumer(store.keys.queue, GROUP, "smsd")


async def _acknowledge(store: Store) -> None:
    rows = await store.redis.xpending_range(store.keys.queue, GROUP, "-", "+", 100)
    await store.redis.xack(store.keys.queue, GROUP, *(row["message_id"] for row in rows))


async def _move_the_group(store: Store) -> None:
    await store.redis.xgroup_setid(store.keys.queue, GROUP, "$")


@pytest.mark.parametrize("spoil", [_delete_the_consumer, _acknowledge, _move_the_group])
async def test_what_was_delivered_and_is_not_pending_is_sent_once_after_a_restart(
    store: Store, spoil: Callable[[Store], Awaitable[None]]
) -> None:
    ids = await store.append(*[ALICE] * 60)
    assert len(await store.queue.claim(0, 26)) == 26  # by a predecessor
    await spoil(store)
    provider = ScriptedProvider()
    await recovery(store).recover()
    async with at_work(store.claimer), at_work(dispatcher(store, provider)):
        await until(lambda: len(provider.submitted) >= 60, "all are sent")
        await asyncio.sleep(0.05)
    assert sorted(provider.submitted) == sorted(ids)


async def test_those_that_are_known_are_not_sent_again_beside_one_that_is_delivered_again(
    store: Store,
) -> None:
    ids = await store.append(*[ALICE] * 5)
    await store.claimer.admit(await store.queue.claim(0, 3))
    await store.redis.xack(store.keys.queue, GROUP, ids[0])
    await recovery(store).recover()
    provider = ScriptedProvider()
    async with at_work(store.claimer), at_work(dispatcher(store, provider)):
        await until(lambda: len(provider.submitted) >= 5, "all are sent")
        await asyncio.sleep(0.05)
    assert sorted(provider.submitted) == sorted(ids)
