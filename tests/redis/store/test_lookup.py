"""Looking up a message. Rule: it can be found in every state, and reading changes nothing."""

import asyncio
from typing import cast

import pytest

from smsd.core.life import DeadReason
from smsd.store.lease import lease_holder
from tests.support.bad_ids import BAD_IDS
from tests.support.store import ALICE, BOB, Store, Wall, dump


async def _told(store: Store, message_id: str) -> dict[str, object]:
    told = await store.lookup.message(message_id)
    assert told is not None
    history = told.pop("history")
    assert isinstance(history, list)
    assert told.pop("id") == message_id
    told["states"] = [change["state"] for change in history]
    assert all(isinstance(change["at"], int) for change in history)
    return told


SHOWN_ALWAYS = {"segments": 1, "encoding": "gsm7"}


async def test_a_queued_message_is_known_by_its_entry_alone(store: Store) -> None:
    [id_] = await store.append(sender="smsd", campaign="c", ref="r")
    assert await store.redis.exists(store.keys.message(id_)) == 0
    assert await _told(store, id_) == {
        "state": "queued",
        "to": ALICE,
        "from": "smsd",
        "campaign": "c",
        "ref": "r",
        "states": ["queued"],
    }
    told = await store.lookup.message(id_)
    assert told is not None
    assert told["history"] == [{"state": "queued", "at": int(id_.split("-")[0])}]


async def test_a_high_priority_message_is_looked_up_like_any_other(store: Store) -> None:
    [id_] = await store.append(priority="high")
    assert await _told(store, id_) == {"state": "queued", "to": ALICE, "states": ["queued"]}


async def test_a_claimed_message_is_still_queued(store: Store) -> None:
    [id_] = await store.append()
    await store.claim_one()
    assert await store.state(id_) == "queued"


async def test_a_message_under_way_is_being_sent(store: Store) -> None:
    _, _, message = await store.sending()
    told = await _told(store, message.id)
    assert told == {"state": "sending", "to": ALICE, "attempts": 1, "states": ["queued"]}


async def test_a_sent_message_shows_when_it_was_queued_begun_and_taken(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending(ref="r")
    wall.advance(1.5)
    await store.queue.ack(entry, attempt, message, "SM1")
    told = await store.lookup.message(message.id)
    assert told == {
        "id": message.id,
        "state": "sent",
        "to": ALICE,
        "ref": "r",
        "attempts": 1,
        "provider_id": "SM1",
        **SHOWN_ALWAYS,
        "history": [
            {"state": "queued", "at": int(message.id.split("-")[0])},
            {"state": "sending", "at": attempt.started_ms, "detail": "1"},
            {"state": "sent", "at": attempt.started_ms + 1500},
        ],
    }


async def test_a_scheduled_message_shows_when_it_is_due(store: Store, wall: Wall) -> None:
    await store.schedule(60)
    assert await store.lookup.message("s1") == {
        "id": "s1",
        "state": "deferred",
        "to": ALICE,
        "due": wall.ms + 60_000,
        **SHOWN_ALWAYS,
        "history": [{"state": "deferred", "at": wall.ms, "detail": "scheduled"}],
    }


async def test_a_promoted_message_is_queued_and_no_longer_due(store: Store, wall: Wall) -> None:
    await store.schedule(60, ref="r")
    wall.advance(60)
    await store.queue.promote()
    told = await _told(store, "s1")
    assert told == {
        "state": "queued",
        "to": ALICE,
        "ref": "r",
        **SHOWN_ALWAYS,
        "states": ["deferred", "queued"],
    }
    await store.begin_next()
    assert await store.state("s1") == "sending"


async def test_a_retried_message_shows_its_whole_life_in_order(store: Store, wall: Wall) -> None:
    entry, attempt, message = await store.sending()
    until = wall() + 1000
    wall.advance(0.2)
    await store.queue.defer(
        entry, attempt, message, until=until, attempts=1, why="connection\nrefused"
    )
    wall.advance(0.8)
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    wall.advance(0.1)
    await store.queue.bury(
        entry, attempt, message, reason=DeadReason.REJECTED, code="21211", detail="not a  mobile"
    )
    told = await store.lookup.message(message.id)
    assert told is not None
    history = told["history"]
    assert isinstance(history, list)
    start = until - 1000
    assert history[1:] == [
        {"state": "sending", "at": start, "detail": "1"},
        {"state": "deferred", "at": start + 200, "detail": "connection refused"},
        {"state": "queued", "at": start + 1000},
        {"state": "sending", "at": start + 1000, "detail": "2"},
        {"state": "dead", "at": start + 1100, "detail": "rejected 21211 not a mobile"},
    ]
    del told["history"]
    assert told == {
        "id": message.id,
        "state": "dead",
        "to": ALICE,
        "attempts": 2,
        "reason": "rejected",
        "code": "21211",
        "detail": "not a  mobile",
        **SHOWN_ALWAYS,
    }


async def test_a_replayed_message_starts_anew_and_remembers(store: Store) -> None:
    letter, id_ = await store.dead_letter()
    await store.queue.replay(letter, id_)
    told = await _told(store, id_)
    assert told == {
        "state": "queued",
        "to": ALICE,
        "attempts": 0,
        **SHOWN_ALWAYS,
        "states": ["queued", "sending", "dead", "queued"],
    }
    entry, attempt, message = await store.begin_next()
    await store.queue.ack(entry, attempt, message, "p")
    assert await store.state(id_) == "sent"
    assert await store.kept_ms(id_) > 0


FIELDS = {
    "to": ALICE,
    "from": "smsd",
    "campaign": "c",
    "ref": "r",
    "expires_at": "2100-01-01T00:00:00.000+00:00",
}
GIVEN: dict[str, object] = {
    "sender": "smsd",
    "campaign": "c",
    "ref": "r",
    "expires_at": "2100-01-01T00:00:00Z",
}


async def _shown(store: Store, id_: str) -> dict[str, object]:
    told = await store.lookup.message(id_)
    assert told is not None
    return {name: told.get(name) for name in (*FIELDS, *SHOWN_ALWAYS)}


async def test_a_scheduled_message_shows_all_that_it_was_accepted_with_in_every_state(
    store: Store, wall: Wall
) -> None:
    await store.schedule(5, "s1", **GIVEN)
    assert await _shown(store, "s1") == FIELDS | SHOWN_ALWAYS
    wall.advance(5)
    await store.queue.promote()
    assert await _shown(store, "s1") == FIELDS | SHOWN_ALWAYS
    life = await store.begin_next()
    assert await _shown(store, "s1") == FIELDS | SHOWN_ALWAYS
    await store.queue.ack(*life, "p")
    assert await _shown(store, "s1") == FIELDS | SHOWN_ALWAYS

    await store.schedule(5, "s2", **GIVEN)
    assert await store.queue.cancel("s2") == "cancelled"
    assert await _shown(store, "s2") == FIELDS | SHOWN_ALWAYS


@pytest.mark.parametrize("end", ["sent", "deferred", "dead", "expired", "suppressed"])
async def test_a_queued_message_shows_the_same_when_it_is_settled(store: Store, end: str) -> None:
    entry, attempt, message = life = await store.sending(**GIVEN)
    assert await _shown(store, message.id) == FIELDS | dict.fromkeys(SHOWN_ALWAYS)
    await {
        "sent": lambda: store.queue.ack(*life, "p"),
        "deferred": lambda: store.queue.defer(*life, until=1, attempts=1, why="w"),
        "dead": lambda: store.queue.bury(*life, reason=DeadReason.REJECTED),
        "expired": lambda: store.queue.expire(*life),
        "suppressed": lambda: store.queue.suppress(entry, message),
    }[end]()
    if end == "suppressed":
        await store.queue.release(entry.name, attempt)
        await store.queue.suppress(entry, message)
    assert await _shown(store, message.id) == FIELDS | SHOWN_ALWAYS


@pytest.mark.parametrize("came_by", ["append", "XADD"])
async def test_a_queued_message_that_is_cancelled_still_shows_its_fields(
    store: Store, came_by: str
) -> None:
    if came_by == "append":
        [id_] = await store.append(**GIVEN)
    else:
        said = {"from" if name == "sender" else name: value for name, value in GIVEN.items()}
        raw = await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi", **said})
        id_ = raw.decode()
    for _ in range(2):
        assert await _shown(store, id_) == FIELDS | dict.fromkeys(SHOWN_ALWAYS)
        await store.queue.cancel(id_)
    assert await store.state(id_) == "cancelled"


async def test_a_message_that_cannot_be_parsed_shows_what_it_shows_of_itself(store: Store) -> None:
    fields = {"to": ALICE, "message": "", "campaign": "c", "ref": "x" * 600, "expires_at": "soon"}
    raw = await store.redis.xadd(store.keys.queue, fields)
    await store.claimer.admit(await store.queue.claim(9, 9))
    told = await _told(store, raw.decode())
    assert (told["state"], told["to"], told["campaign"]) == ("dead", ALICE, "c")
    assert not {"ref", "expires_at"} & told.keys()  # too long to be one; no time


async def test_a_deferred_message_shows_how_often_it_was_tried_and_so_when_it_is_cancelled(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.defer(entry, attempt, message, until=wall() + 1000, attempts=1, why="w")
    assert (await _told(store, message.id))["attempts"] == 1
    await store.queue.cancel(message.id)
    told = await _told(store, message.id)
    assert (told["state"], told["attempts"]) == ("cancelled", 1)


async def test_a_message_that_is_begun_in_the_millisecond_in_which_it_was_queued_was_queued(
    store: Store, wall: Wall
) -> None:
    [id_] = await store.append()
    wall.ms = int(id_.split("-")[0])
    life = await store.begin_next()
    await store.queue.ack(*life, "p")
    assert (await _told(store, id_))["states"] == ["queued", "sending", "sent"]


async def test_what_an_entry_makes_up_is_not_shown(store: Store) -> None:
    fields = {"to": ALICE, "message": "Hi", "reason": "r", "encoding": "e", "provider_id": "p"}
    raw = await store.redis.xadd(store.keys.queue, fields)
    assert await _told(store, raw.decode()) == {
        "state": "queued",
        "to": ALICE,
        "states": ["queued"],
    }


@pytest.mark.parametrize("end", ["suppressed", "expired", "cancelled", "dropped"])
async def test_every_end_is_recorded_and_forgotten_in_time(store: Store, end: str) -> None:
    if end == "dropped":
        letter, id_ = await store.dead_letter()
        await store.queue.drop(letter, id_)
    elif end == "cancelled":
        [id_] = await store.append()
        await store.queue.cancel(id_)
    else:
        [id_] = await store.append()
        entry, message = await store.claim_one()
        if end == "suppressed":
            await store.queue.suppress(entry, message)
        else:
            await store.queue.expire(entry, None, message)
    told = await _told(store, id_)
    assert told["state"] == end
    assert told["to"] == ALICE
    assert await store.kept_ms(id_) > 0


async def test_a_dead_message_is_remembered_as_long_as_its_dead_letter(store: Store) -> None:
    _, id_ = await store.dead_letter()
    assert await store.redis.pttl(store.keys.message(id_)) == -1


async def test_an_entry_that_cannot_be_parsed_shows_why(store: Store) -> None:
    raw = await store.redis.xadd(store.keys.queue, {"to": "nobody", "message": "Hi"})
    await store.claimer.admit(await store.queue.claim(9, 9))
    told = await _told(store, raw.decode())
    assert told["state"] == "dead"
    assert told["reason"] == "invalid"
    assert told["code"] == "to"
    assert told["states"] == ["queued", "dead"]


@pytest.mark.parametrize("id_", BAD_IDS, ids=lambda id_: repr(id_[:24]))
async def test_nothing_is_known_of_an_id_that_is_unknown_or_malformed(
    store: Store, id_: str
) -> None:
    await store.append()
    assert await store.lookup.message(id_) is None


async def test_a_message_is_not_found_by_the_id_of_the_entry_it_is_in_now(
    store: Store, wall: Wall
) -> None:
    await store.schedule(5)
    wall.advance(5)
    await store.queue.promote()
    [(entry, _)] = await store.redis.xrange(store.keys.queue)
    assert await store.lookup.message(entry.decode()) is None


async def test_looking_changes_nothing(store: Store) -> None:
    await store.append(ALICE, BOB)
    await store.schedule(5)
    _, _, message = await store.sending()
    before = await dump(store.redis, store.keys.prefix)
    for id_ in (message.id, "s1", "1-1", "nonsense"):
        await store.lookup.message(id_)
    await store.dead_letters.page("", 10)
    await store.census()
    await lease_holder(store.client)
    assert await dump(store.redis, store.keys.prefix) == before


async def test_settled_with_fresh_messages_one_keeps_its_history(store: Store, wall: Wall) -> None:
    await store.schedule(1)
    wall.advance(1)
    await store.queue.promote()
    lives = [await store.sending(), await store.begin_next(), await store.sending()]
    assert await asyncio.gather(*(store.queue.ack(*life, "p") for life in lives)) == [True] * 3
    fresh = ["sending", "sent"]
    told = [await changes(store, message.id) for _, _, message in lives]
    assert sorted(told) == [["deferred", "queued", *fresh], ["queued", *fresh], ["queued", *fresh]]


async def test_two_messages_of_one_id_settled_together_are_both_recorded(
    store: Store,
) -> None:
    entry, attempt, message = await store.sending()
    other, its_attempt, _ = await store.sending()
    lives = [(entry, attempt, message), (other, its_attempt, message)]
    assert await asyncio.gather(*(store.queue.ack(*life, "p") for life in lives)) == [True] * 2
    assert await changes(store, message.id) == ["queued", *["sending", "sent"] * 2]


async def changes(store: Store, message_id: str) -> list[object]:
    found = await store.lookup.message(message_id)
    assert found is not None
    return [change["state"] for change in cast("list[dict[str, object]]", found["history"])]
