"""One operation for each thing that a script does, on a store that was prepared for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from smsd.core.campaign import Campaign
from smsd.core.life import DeadReason
from smsd.dispatch.claimer import parse_entry
from smsd.redis.scripts import Call
from smsd.store.append import Append
from smsd.store.campaigns import expansion
from smsd.store.identity import Data, accept
from smsd.store.lease import lease_keys
from smsd.store.operator_hold import OperatorHold
from tests.redis import campaigns, recipients
from tests.redis.audiences import import_rows
from tests.support.store import (
    ALICE,
    BOB,
    LIMITS,
    Store,
    content,
)

Operation = Callable[[], Awaitable[object]]


Prepared = Callable[[Store], Awaitable[Operation]]


async def append_one(store: Store) -> Operation:
    return store.append


async def append_many_high(store: Store) -> Operation:
    return lambda: store.append(ALICE, BOB, priority="high")


async def append_group(store: Store) -> Operation:
    return lambda: asyncio.gather(*(store.append() for _ in range(50)))


async def append_scheduled(store: Store) -> Operation:
    return lambda: store.schedule(5)


async def append_idempotent(store: Store) -> Operation:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    return lambda: store.queue.append(request)


async def append_long(store: Store) -> Operation:
    request = Append(content(), [ALICE] * 1001, idempotency_key="k", fingerprint="f", answer=b"{}")
    return lambda: store.queue.append(request)


async def append_repeated(store: Store) -> Operation:
    operation = await append_idempotent(store)
    await operation()
    return operation


async def claim(store: Store) -> Operation:
    await store.append()
    return lambda: store.queue.claim(10, 10)


async def begin(store: Store) -> Operation:
    await store.append()
    entry, message = await store.claim_one()
    return lambda: store.begin(entry, store.attempt(), message.recipient)


async def release(store: Store) -> Operation:
    entry, attempt, _ = await store.sending()
    return lambda: store.queue.release(entry.name, attempt)


async def ack(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.ack(entry, attempt, message, "p")


async def late_ack(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)
    return lambda: store.queue.ack(entry, attempt, message, "p")


async def expire(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.expire(entry, attempt, message)


async def suppress(store: Store) -> Operation:
    await store.append()
    entry, message = await store.claim_one()
    return lambda: store.queue.suppress(entry, message)


async def defer(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")


async def bury(store: Store) -> Operation:
    entry, attempt, message = await store.sending()
    return lambda: store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, opted_out=True
    )


async def bury_unparsed(store: Store) -> Operation:
    await store.redis.xadd(store.keys.queue, {"nonsense": "x"})
    [entry] = await store.queue.claim(0, 1)
    return lambda: store.queue.bury(entry, None, None, reason=DeadReason.INVALID)


async def promote(store: Store) -> Operation:
    await store.schedule(1, "s1")
    await store.schedule(1, "s2", priority="high")
    store.wall.advance(2)
    return store.queue.promote


async def cancel_queued(store: Store) -> Operation:
    [id_] = await store.append()
    return lambda: store.queue.cancel(id_)


async def cancel_deferred(store: Store) -> Operation:
    id_ = await store.schedule(5)
    return lambda: store.queue.cancel(id_)


async def replay(store: Store) -> Operation:
    letter, id_ = await store.dead_letter()
    return lambda: store.queue.replay(letter, id_)


async def drop(store: Store) -> Operation:
    letter, id_ = await store.dead_letter()
    return lambda: store.queue.drop(letter, id_)


async def reclaim(store: Store) -> Operation:
    await store.append()
    [entry] = await store.queue.claim(0, 1)
    return lambda: store.queue.reclaim([entry.name])


async def take_key(store: Store) -> Operation:
    for _ in range(2):
        await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi", "key": "k"})
    entries = await store.queue.claim(0, 9)
    keyed = [(entry, parse_entry(entry, LIMITS, store.wall())) for entry in entries]
    return lambda: store.queue.take_keys(keyed)


async def census(store: Store) -> Operation:
    await store.append()
    return store.census


async def letters(store: Store) -> Operation:
    await store.dead_letter()
    return lambda: store.dead_letters.page("", 10)


async def groups(store: Store) -> Operation:
    await store.append()
    await store.redis.delete(store.keys.high)
    await store.redis.xgroup_destroy(store.keys.queue, "smsd")
    return store.client.ensure_groups


async def touch(store: Store) -> Operation:
    call = Call("touch", {"life_ms": 60_000}, [store.keys.ack])
    return lambda: store.client.ask(call)


async def acquire(store: Store) -> Operation:
    await store.redis.delete(store.keys.lease)
    return lambda: store.client.ask(
        Call(
            "acquire",
            {"life_ms": 60_000, "dead": "", "unrenewed_ms": 0, "hold": "x", "held_s": 1},
            lease_keys(store.keys),
        )
    )


async def operator_hold(store: Store) -> Operation:
    return lambda: OperatorHold(store.client).hold("maintenance", "me")


async def operator_release(store: Store) -> Operation:
    await OperatorHold(store.client).hold("maintenance", "me")
    return lambda: OperatorHold(store.client).release("me")


async def accept_data(store: Store) -> Operation:
    compared = {"id": "other", "settled": 3, "compared": "t"}
    await store.redis.hset(store.keys.store, mapping=compared)
    return lambda: store.client.ask(accept(Data("known", 5), "t"))


async def compared(store: Store) -> Operation:
    return lambda: store.client.ask(Call("compared", {"token": "t"}))


async def mark_again(store: Store) -> Operation:
    await store.sending()
    await store.redis.delete(store.keys.inflight)
    return store.queue.mark_again


async def yield_lease(store: Store) -> Operation:
    return lambda: store.client.ask(Call("yield", keys=[store.keys.hold]))


async def import_audience(store: Store) -> Operation:
    return lambda: import_rows(store, "a", [[ALICE], [BOB], [ALICE]])


async def add_to_audience(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE]])
    return lambda: import_rows(store, "a", [[BOB]], replace=False)


async def add_much_to_audience(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE, "Anna"]], fields=["name"])
    rows = [[f"+1202556{n:04d}", "x"] for n in range(600)]
    return lambda: import_rows(store, "a", rows, fields=["name"], replace=False)


async def give_up_an_import(store: Store) -> Operation:
    async def operation() -> None:
        async with store.audiences.begin("a", replace=True) as staging:
            await staging.add([[f"+1202556{n:04d}"] for n in range(600)])

    return operation


async def ask_for_a_provider_id(store: Store) -> Operation:
    assert await store.queue.ack(*await store.sending(), "p")
    now = int(time.time() * 1000)
    return lambda: store.events.find_settled(["p"], now - 60_000, now + 60_000)


async def look_at_a_contact(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE]])
    return lambda: store.audiences.lookup("a", ALICE)


async def page_of_audience(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE], [BOB]])
    return lambda: store.audiences.page("a")


async def discard_contact(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE], [BOB]])
    return lambda: store.audiences.discard("a", BOB)


async def remove_audience(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE]])
    return lambda: store.audiences.remove("a")


async def clean_audiences(store: Store) -> Operation:
    await import_rows(store, "a", [[ALICE]])
    await store.audiences.remove("a")
    return store.audiences.clean


async def start_campaign(store: Store) -> Callable[[], Awaitable[tuple[Campaign, bool]]]:
    await import_rows(store, "a", [[ALICE, "x"]], fields=["name"])
    asked = campaigns.request(recipients=(BOB,))
    return lambda: store.campaigns.start(asked, by="me", idempotency=("k", "f"))


async def look_at_campaign(store: Store) -> Operation:
    await (await start_campaign(store))()
    return lambda: store.campaigns.show("spring")


async def wait_for_expansion(store: Store) -> Operation:
    people = recipients.numbers(200)
    campaign = await recipients.make(store, people)
    await recipients.expand(store, campaign, *people)
    return lambda: expansion.waiting(store.client, campaign, 10)


async def expand_campaign(store: Store) -> Operation:
    campaign = await recipients.make(store, [ALICE, BOB])
    return lambda: recipients.expand(store, campaign, ALICE, BOB)


async def ack_of_campaign(store: Store) -> Operation:
    campaign = await recipients.make(store, [ALICE, BOB])
    await recipients.expand(store, campaign, ALICE)
    entry, attempt, message = await store.begin_next()
    return lambda: store.queue.ack(entry, attempt, message, "p")


async def bury_of_campaign(store: Store) -> Operation:
    campaign = await recipients.make(store, [ALICE, BOB])
    await recipients.expand(store, campaign, ALICE)
    entry, attempt, message = await store.begin_next()
    return lambda: store.queue.bury(entry, attempt, message, reason=DeadReason.IN_DOUBT)


async def page_of_campaign(store: Store) -> Operation:
    campaign, _ = await (await start_campaign(store))()
    return lambda: store.campaigns.recipients(campaign)


async def pause_campaign(store: Store) -> Operation:
    campaign, _ = await (await start_campaign(store))()
    return lambda: store.campaigns.pause(campaign, by="me", reason="r")


async def cancel_campaign(store: Store) -> Operation:
    campaign, _ = await (await start_campaign(store))()
    return lambda: store.campaigns.cancel(campaign, by="me", reason="r")


async def edit_campaign(store: Store) -> Operation:
    campaign, _ = await (await start_campaign(store))()
    return lambda: store.campaigns.edit(campaign, by="me", weight=2, expires_at=None)


async def remove_campaign(store: Store) -> Operation:
    campaign, _ = await (await start_campaign(store))()
    campaign = await store.campaigns.cancel(campaign, by="me", reason="r")
    return lambda: store.campaigns.remove(campaign, by="me")


async def _in_state(store: Store, state: str) -> tuple[Campaign, list[str]]:
    """A campaign with a message in line, claimed, as it has this state."""
    campaign = await recipients.make(store, [ALICE, BOB])
    ids = await recipients.expand(store, campaign, ALICE)
    await recipients.set_state(store, campaign, state)
    return campaign, ids


async def hold(store: Store) -> Operation:
    await _in_state(store, "paused")
    entry, message = await store.claim_one()
    return lambda: store.queue.hold(entry, message)


async def take_back(store: Store) -> Operation:
    await _in_state(store, "cancelled")
    entry, message = await store.claim_one()
    return lambda: store.queue.take_back(entry, message)


async def resume_held(store: Store) -> Operation:
    campaign, _ = await _in_state(store, "paused")
    entry, message = await store.claim_one()
    await store.queue.hold(entry, message)
    await recipients.set_state(store, campaign, "running")
    return lambda: store.campaigns.tidy(campaign)


async def finish_campaign(store: Store) -> Operation:
    campaign = await recipients.make(store, [ALICE])
    await recipients.expand(store, campaign, ALICE)
    await store.queue.ack(*await store.begin_next(), "p")
    return lambda: store.campaigns.tidy(campaign)


async def sweep_cancelled(store: Store) -> Operation:
    campaign, _ = await _in_state(store, "cancelled")
    return lambda: store.campaigns.tidy(campaign)


CASES: list[tuple[str, Prepared]] = [
    ("append", append_one),
    ("append", append_many_high),
    ("append", append_group),
    ("append", append_scheduled),
    ("append", append_idempotent),
    ("append", append_repeated),
    ("append_part", append_long),
    ("append_end", append_long),
    ("claim", claim),
    ("begin", begin),
    ("release", release),
    ("finish", ack),
    ("finish", late_ack),
    ("finish", expire),
    ("finish", suppress),
    ("defer", defer),
    ("bury", bury),
    ("bury", bury_unparsed),
    ("promote", promote),
    ("cancel", cancel_queued),
    ("cancel", cancel_deferred),
    ("replay", replay),
    ("drop", drop),
    ("reclaim", reclaim),
    ("take_key", take_key),
    ("census", census),
    ("letters", letters),
    ("provider_ids", ask_for_a_provider_id),
    ("groups", groups),
    ("touch", touch),
    ("acquire", acquire),
    ("accept", accept_data),
    ("compared", compared),
    ("mark_again", mark_again),
    ("yield", yield_lease),
    ("operator_hold", operator_hold),
    ("operator_release", operator_release),
    ("audience_begin", import_audience),
    ("audience_stage", import_audience),
    ("audience_commit", import_audience),
    ("audience_add", add_to_audience),
    ("audience_merge", add_much_to_audience),
    ("audience_commit", add_much_to_audience),
    ("audience_touch", give_up_an_import),
    ("audience_look", look_at_a_contact),
    ("audience_page", page_of_audience),
    ("audience_discard", discard_contact),
    ("audience_remove", remove_audience),
    ("audience_clean", clean_audiences),
    ("campaign_copy", start_campaign),
    ("campaign_add", start_campaign),
    ("campaign_start", start_campaign),
    ("campaign_look", look_at_campaign),
    ("campaign_waiting", wait_for_expansion),
    ("campaign_expand", expand_campaign),
    ("finish", ack_of_campaign),
    ("bury", bury_of_campaign),
    ("defer", hold),
    ("finish", take_back),
    ("campaign_tidy", finish_campaign),
    ("campaign_unsettled", sweep_cancelled),
    ("cancel", sweep_cancelled),
    ("campaign_release", resume_held),
    ("campaign_page", page_of_campaign),
    ("campaign_turn", pause_campaign),
    ("campaign_turn", cancel_campaign),
    ("campaign_edit", edit_campaign),
    ("campaign_remove", remove_campaign),
]
