"""Looking things up. Rule: every text can be found in every state, and the numbers add up."""

import asyncio
import random

import pytest

from smsd.core.life import DeadReason
from smsd.redis.scripts import Call
from smsd.store.census import Census
from smsd.store.dead_letter_request import Choice, Order
from smsd.store.entry import LARGEST_ENTRY
from smsd.store.lease import lease_holder
from tests.support.bad_ids import BAD_IDS
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, BOB, OpenStore, Store, Wall, dump, soon

# -- one text in each state ---------------------------------------------------------------------


async def _told(store: Store, message_id: str) -> dict[str, object]:
    told = await store.lookup.message(message_id)
    assert told is not None
    history = told.pop("history")
    assert isinstance(history, list)
    assert told.pop("id") == message_id
    told["states"] = [change["state"] for change in history]
    assert all(isinstance(change["at"], int) for change in history)
    return told


ABOUT = {"segments": 1, "encoding": "gsm7"}


async def test_a_queued_text_is_known_by_its_entry_alone(store: Store) -> None:
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


async def test_a_high_priority_text_is_looked_up_like_any_other(store: Store) -> None:
    [id_] = await store.append(priority="high")
    assert await _told(store, id_) == {"state": "queued", "to": ALICE, "states": ["queued"]}


async def test_a_claimed_text_is_still_queued(store: Store) -> None:
    [id_] = await store.append()
    await store.claim_one()
    assert await store.state(id_) == "queued"


async def test_a_text_under_way_is_being_sent(store: Store) -> None:
    _, _, message = await store.sending()
    told = await _told(store, message.id)
    assert told == {"state": "sending", "to": ALICE, "attempts": 1, "states": ["queued"]}


async def test_a_sent_text_says_when_it_was_queued_begun_and_taken(
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
        **ABOUT,
        "history": [
            {"state": "queued", "at": int(message.id.split("-")[0])},
            {"state": "sending", "at": attempt.started_ms, "detail": "1"},
            {"state": "sent", "at": attempt.started_ms + 1500},
        ],
    }


async def test_a_scheduled_text_says_when_it_is_due(store: Store, wall: Wall) -> None:
    await store.schedule(60)
    assert await store.lookup.message("s1") == {
        "id": "s1",
        "state": "deferred",
        "to": ALICE,
        "due": wall.ms + 60_000,
        **ABOUT,
        "history": [{"state": "deferred", "at": wall.ms, "detail": "scheduled"}],
    }


async def test_a_promoted_text_is_queued_again_and_no_longer_due(store: Store, wall: Wall) -> None:
    await store.schedule(60, ref="r")
    wall.advance(60)
    await store.queue.promote()
    told = await _told(store, "s1")
    assert told == {
        "state": "queued",
        "to": ALICE,
        "ref": "r",
        **ABOUT,
        "states": ["deferred", "queued"],
    }
    await store.begin_next()
    assert await store.state("s1") == "sending"


async def test_a_retried_text_tells_its_whole_life_in_order(store: Store, wall: Wall) -> None:
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
        **ABOUT,
    }


async def test_a_replayed_text_starts_anew_and_remembers(store: Store) -> None:
    letter, id_ = await store.dead_letter()
    await store.queue.replay(letter, id_)
    told = await _told(store, id_)
    assert told == {
        "state": "queued",
        "to": ALICE,
        "attempts": 0,
        **ABOUT,
        "states": ["queued", "sending", "dead", "queued"],
    }
    entry, attempt, message = await store.begin_next()
    await store.queue.ack(entry, attempt, message, "p")
    assert await store.state(id_) == "sent"
    assert await store.redis.pttl(store.keys.message(id_)) > 0


FACTS = {
    "to": ALICE,
    "from": "smsd",
    "campaign": "c",
    "ref": "r",
    "expires_at": "2100-01-01T00:00:00.000+00:00",
}
SAID: dict[str, object] = {
    "sender": "smsd",
    "campaign": "c",
    "ref": "r",
    "expires_at": "2100-01-01T00:00:00Z",
}


async def _shown(store: Store, id_: str) -> dict[str, object]:
    told = await store.lookup.message(id_)
    assert told is not None
    return {name: told.get(name) for name in (*FACTS, *ABOUT)}


async def test_a_scheduled_text_shows_all_that_it_was_accepted_with_in_every_state(
    store: Store, wall: Wall
) -> None:
    await store.schedule(5, "s1", **SAID)
    assert await _shown(store, "s1") == FACTS | ABOUT
    wall.advance(5)
    await store.queue.promote()
    assert await _shown(store, "s1") == FACTS | ABOUT
    life = await store.begin_next()
    assert await _shown(store, "s1") == FACTS | ABOUT
    await store.queue.ack(*life, "p")
    assert await _shown(store, "s1") == FACTS | ABOUT

    await store.schedule(5, "s2", **SAID)
    assert await store.queue.cancel("s2") == "cancelled"
    assert await _shown(store, "s2") == FACTS | ABOUT


@pytest.mark.parametrize("end", ["sent", "deferred", "dead", "expired", "suppressed"])
async def test_a_queued_text_shows_the_same_facts_when_it_is_judged(store: Store, end: str) -> None:
    entry, attempt, message = life = await store.sending(**SAID)
    assert await _shown(store, message.id) == FACTS | dict.fromkeys(ABOUT)
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
    assert await _shown(store, message.id) == FACTS | ABOUT


@pytest.mark.parametrize("came_by", ["append", "XADD"])
async def test_a_queued_text_that_is_cancelled_still_shows_its_facts(
    store: Store, came_by: str
) -> None:
    if came_by == "append":
        [id_] = await store.append(**SAID)
    else:
        said = {"from" if name == "sender" else name: value for name, value in SAID.items()}
        raw = await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi", **said})
        id_ = raw.decode()
    for _ in range(2):
        assert await _shown(store, id_) == FACTS | dict.fromkeys(ABOUT)
        await store.queue.cancel(id_)
    assert await store.state(id_) == "cancelled"


async def test_a_text_that_cannot_be_parsed_shows_what_it_says_of_itself(store: Store) -> None:
    fields = {"to": ALICE, "message": "", "campaign": "c", "ref": "x" * 600, "expires_at": "soon"}
    raw = await store.redis.xadd(store.keys.queue, fields)
    await store.claimer.admit(await store.queue.claim(9, 9))
    told = await _told(store, raw.decode())
    assert (told["state"], told["to"], told["campaign"]) == ("dead", ALICE, "c")
    assert not {"ref", "expires_at"} & told.keys()  # too long to be one; no time


async def test_a_deferred_text_says_how_often_it_was_tried_and_so_when_it_is_cancelled(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.defer(entry, attempt, message, until=wall() + 1000, attempts=1, why="w")
    assert (await _told(store, message.id))["attempts"] == 1
    await store.queue.cancel(message.id)
    told = await _told(store, message.id)
    assert (told["state"], told["attempts"]) == ("cancelled", 1)


async def test_a_text_that_is_begun_in_the_millisecond_in_which_it_was_queued_was_queued(
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
async def test_every_end_is_told_and_forgotten_in_time(store: Store, end: str) -> None:
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
    assert await store.redis.pttl(store.keys.message(id_)) > 0


async def test_a_dead_text_is_remembered_as_long_as_its_letter(store: Store) -> None:
    _, id_ = await store.dead_letter()
    assert await store.redis.pttl(store.keys.message(id_)) == -1


async def test_an_entry_that_cannot_be_parsed_says_why(store: Store) -> None:
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


async def test_a_text_is_not_found_by_the_id_of_the_entry_it_is_in_now(
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


async def test_every_change_is_an_event(store: Store, wall: Wall) -> None:
    await store.schedule(1)
    wall.advance(1)
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.queue.bury(entry, attempt, message, reason=DeadReason.REJECTED)
    [(letter, _)] = await store.dead_letters.page("", 10)
    await store.queue.replay(letter, "s1")
    await store.queue.cancel("s1")
    events = await store.redis.xrange(store.keys.events)
    assert {event[b"id"] for _, event in events} == {b"s1"}
    assert [(event[b"state"].decode(), event[b"detail"].decode()) for _, event in events] == [
        ("deferred", "scheduled"),
        ("queued", "due"),
        ("deferred", "w"),
        ("queued", "due"),
        ("dead", "rejected"),
        ("queued", "replayed"),
        ("cancelled", ""),
    ]


async def test_settled_with_fresh_texts_one_keeps_its_history(store: Store, wall: Wall) -> None:
    await store.schedule(1)
    wall.advance(1)
    await store.queue.promote()
    lives = [await store.sending(), await store.begin_next(), await store.sending()]
    assert await asyncio.gather(*(store.queue.ack(*life, "p") for life in lives)) == [True] * 3
    fresh = ["sending", "sent"]
    told = [await changes(store, message.id) for _, _, message in lives]
    assert sorted(told) == [["deferred", "queued", *fresh], fresh, fresh]


async def test_two_texts_of_one_id_that_are_settled_together_are_both_told(store: Store) -> None:
    entry, attempt, message = await store.sending()
    other, its_attempt, _ = await store.sending()
    lives = [(entry, attempt, message), (other, its_attempt, message)]
    assert await asyncio.gather(*(store.queue.ack(*life, "p") for life in lives)) == [True] * 2
    assert await changes(store, message.id) == ["sending", "sent"] * 2


async def changes(store: Store, message_id: str) -> list[object]:
    history = await store.redis.hget(store.keys.message(message_id), "history")
    return [line.split()[1] for line in history.decode().splitlines()]


async def test_of_too_many_events_the_oldest_go(store: Store) -> None:
    pipeline = store.redis.pipeline(transaction=False)
    for _ in range(100_200):
        pipeline.xadd(store.keys.events, {"id": "old", "state": "sent", "detail": ""})
    await pipeline.execute()
    [id_] = await store.append()
    assert 100_000 <= await store.redis.xlen(store.keys.events) < 100_200
    [(_, last)] = await store.redis.xrevrange(store.keys.events, count=1)
    assert last[b"id"].decode() == id_


# -- dead letters -------------------------------------------------------------------------------


async def test_dead_letters_are_paged_in_the_order_they_died(store: Store) -> None:
    for n in range(7):
        await store.dead_letter(message=f"text {n}")
    texts: list[str] = []
    after = ""
    while page := await store.dead_letters.page(after, 3):
        assert len(page) <= 3
        texts += [fields["message"] for _, fields in page]
        after = page[-1][0]
    assert texts == [f"text {n}" for n in range(7)]


LARGE = 3_000_000  # octets of a text


async def _die_large(store: Store, count: int) -> list[str]:
    """Letters as they are written of texts that are too large to read; their ids."""
    ids: list[str] = []
    for n in range(count):
        await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "x" * LARGE})
        [entry] = await store.queue.claim(0, 1)
        await store.queue.bury(
            entry, None, None, reason=DeadReason.INVALID, code="entry", detail=f"d{n}"
        )
        ids.append(entry.message_id)
    return ids


async def test_of_a_letter_that_is_too_large_what_is_short_is_told(store: Store) -> None:
    [id_] = await _die_large(store, 1)
    [dead_letter] = await store.dead_letters.page("", 10)
    assert dead_letter.fields == {
        "id": id_,
        "to": ALICE,
        "reason": "invalid",
        "code": "entry",
        "detail": "d0",
        "attempts": "0",
        "failed_at": str(store.wall.ms),
        "lane": "n",
    }
    assert await store.dead_letters.get(dead_letter.id) == dead_letter


async def test_of_a_letter_with_very_many_fields_what_is_ours_is_told(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {f"f{n}": "x" for n in range(2000)})
    [entry] = await store.queue.claim(0, 1)
    await store.queue.bury(entry, None, None, reason=DeadReason.INVALID, detail="of many fields")
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert (fields["reason"], fields["detail"]) == ("invalid", "of many fields")
    assert len(fields) <= 50


async def test_the_largest_text_that_is_read_can_be_looked_at_when_it_is_dead(store: Store) -> None:
    message = "x" * (LARGEST_ENTRY - len("to") - len(ALICE) - len("message"))
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": message})
    [entry] = await store.queue.claim(0, 1)
    await store.queue.bury(entry, None, None, reason=DeadReason.REJECTED, detail="d" * 1000)
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert fields["message"] == message


async def test_no_look_at_large_letters_moves_their_octets(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    ids = await _die_large(store, 5)
    dead = store.dead_letters
    told_before = await _octets_told(store)
    all_ = (await dead.find(Choice(reason="invalid"), after="", count=100)).dead_letters
    assert [one.message_id for one in all_] == ids
    fourth = Choice(message_id=ids[3])
    assert (await dead.find(fourth, after="", count=1)).dead_letters == [all_[3]]
    assert (await dead.replay(Order(Choice(message_id=ids[0])))).done == 1
    assert (await dead.drop(Order(Choice()))).done == 4
    assert await _octets_told(store) - told_before < LARGE
    assert await store.difference() == 0


async def _octets_told(store: Store) -> int:
    return int((await store.redis.info("stats"))["total_net_output_bytes"])


async def test_there_are_no_dead_letters_before_the_first(store: Store) -> None:
    assert await store.dead_letters.page("", 10) == []


async def test_the_holder_of_the_lease_is_told(store: Store) -> None:
    assert await lease_holder(store.client) == "a"
    await store.redis.delete(store.keys.lease)
    assert await lease_holder(store.client) is None


# -- census -------------------------------------------------------------------------------------


async def test_an_empty_redis_has_no_texts(open_store: OpenStore) -> None:
    census = await open_store().census()
    assert (census.queued, census.in_flight, census.deferred, census.dead) == (0, 0, 0, 0)
    assert census.accepted == census.waiting == census.difference == 0
    assert set(census.finished.values()) == {0}


async def test_the_census_counts_every_place(store: Store) -> None:
    await store.dead_letter()
    await store.sending()
    await store.append(ALICE, BOB)
    await store.append(priority="high")
    await store.schedule(5)
    [id_] = await store.append()
    await store.queue.cancel(id_)
    census = await store.census()
    assert (census.queued, census.in_flight, census.deferred, census.dead) == (4, 1, 1, 1)
    assert census.accepted == 7
    assert census.waiting == 5
    assert census.finished["cancelled"] == 1
    assert census.difference == 0


@pytest.mark.parametrize("seed", range(5))
async def test_after_anything_at_all_every_text_is_accounted_for(
    store: Store, wall: Wall, seed: int
) -> None:
    chance = random.Random(seed)
    ids: list[str] = []
    for step in range(120):
        ids += await _anything(store, wall, chance, f"s{step}")
        if chance.random() < 0.3:
            await store.queue.cancel(chance.choice(ids or ["none"]))
    census = await store.census()
    assert census.difference == 0
    assert census.accepted == len(ids)
    assert await _look_everywhere(store, ids) == _places(census)


async def _anything(store: Store, wall: Wall, chance: random.Random, name: str) -> list[str]:
    wall.advance(chance.random())
    match chance.randrange(8):
        case 0:
            return await store.append(*[ALICE] * chance.randint(1, 4))
        case 1:
            return await store.append(priority="high")
        case 2:
            return [await store.schedule(chance.random() * 3, name)]
        case 3:
            await store.queue.promote(chance.randint(1, 5))
        case 4:
            for letter, fields in await store.dead_letters.page("", 1):
                await chance.choice((store.queue.replay, store.queue.drop))(letter, fields["id"])
        case _ if await store.length() > len(await store.queue.pending()):
            await _any_fate(store, chance)
    return []


async def _any_fate(store: Store, chance: random.Random) -> None:
    queue, life = store.queue, await store.begin_next()
    until = store.wall() + 500
    fates = (
        lambda: queue.ack(*life, "p"),
        lambda: queue.defer(*life, until=until, attempts=1, why="w"),
        lambda: queue.bury(*life, reason=DeadReason.REJECTED),
        lambda: queue.expire(*life),
        queue.journal,  # it stays in flight
    )
    await chance.choice(fates)()


def _places(census: Census) -> dict[str, int]:
    places = {
        "queued": census.queued - census.in_flight,
        "sending": census.in_flight,
        "deferred": census.deferred,
        "dead": census.dead,
        **census.finished,
    }
    return {place: texts for place, texts in places.items() if texts}


async def _look_everywhere(store: Store, ids: list[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for id_ in ids:
        state = str(await store.state(id_))
        found[state] = found.get(state, 0) + 1
    return found


async def test_a_text_that_somebody_deleted_by_hand_is_missed(store: Store) -> None:
    first, _, third = await store.append(ALICE, BOB, ALICE)
    await store.schedule(5)
    await store.redis.xdel(store.keys.queue, first)
    assert await store.difference() == 1
    await store.redis.xtrim(store.keys.queue, maxlen=0)
    assert await store.difference() == 3
    await store.redis.zrem(store.keys.deferred, "s1")
    assert await store.difference() == 4
    assert await store.state(third) is None


async def test_a_text_that_came_by_xadd_counts_as_accepted(store: Store) -> None:
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "Hi"})
    await store.redis.xadd(store.keys.high, {"nonsense": ""})
    census = await store.census()
    assert census.accepted == census.queued == 2
    assert census.difference == 0


async def test_a_late_ack_does_not_count_a_text_twice(store: Store) -> None:
    life = await store.sending()
    await store.queue.bury(*life, reason=DeadReason.IN_DOUBT)
    await store.queue.ack(*life, "p")
    census = await store.census()
    assert (census.dead, census.finished["sent"], census.difference) == (0, 1, 0)


async def test_the_numbers_survive_a_rewrite_of_the_append_only_file(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    await store.append(*[ALICE] * 10)
    for _ in range(4):
        await store.queue.ack(*await store.begin_next(), "p")
    before = await store.census()
    await store.redis.bgrewriteaof()
    while (await store.redis.info("persistence"))["aof_rewrite_in_progress"]:
        await asyncio.sleep(0.01)
    own_server.kill()
    own_server.start()
    await soon(store.client.insist(Call("census")))  # it is back
    assert await store.census() == before
