"""Faults made by hand. Rule: each is found, mended, and found no more; a sound queue has none."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from smsd.core.life import DeadReason
from smsd.dispatch.claimer import parse_entry
from smsd.store.append import Append
from smsd.store.fsck import STEP, Fault, Fsck
from smsd.store.keys import GROUP
from tests.redis.dispatching import recovery
from tests.support.proxy import Proxy
from tests.support.store import ALICE, BOB, LIMITS, OpenStore, Store, Wall, at, dump

Spoil = Callable[[Store], Awaitable[str]]


async def look(store: Store, *, repair: bool = False) -> list[Fault]:
    return [fault async for fault in Fsck(store.client, repair=repair).faults()]


async def kinds(store: Store) -> list[tuple[str, str]]:
    return [(fault.kind, fault.name) for fault in await look(store)]


# -- ways to spoil a queue: each returns the name that the fault must tell ----------------------


async def _lose_the_consumer(store: Store) -> str:
    [id_] = await store.append()
    await store.claim_one()
    await store.redis.xgroup_delconsumer(store.keys.queue, GROUP, "smsd")
    return f"n{id_}"


async def _lose_the_consumer_of_the_high_lane(store: Store) -> str:
    [id_] = await store.append(priority="high")
    await store.claim_one()
    await store.redis.xack(store.keys.high, GROUP, id_[1:])
    return id_


async def _skip_an_entry(store: Store) -> str:
    [id_] = await store.append()
    await store.redis.xgroup_setid(store.keys.queue, GROUP, id_)
    return f"n{id_}"


async def _mark_what_is_not_there(store: Store) -> str:
    await store.redis.hset(store.keys.inflight, "n1-1", store.attempt().mark)
    return "n1-1"


async def _mark_nonsense(store: Store) -> str:
    await store.redis.hset(store.keys.inflight, "nonsense", store.attempt().mark)
    return "nonsense"


async def _spoil_a_mark(store: Store) -> str:
    entry, _, _ = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, b"\xff garbage")
    return entry.name


async def _lose_a_due_time(store: Store) -> str:
    id_ = await store.schedule(60)
    await store.redis.zrem(store.keys.deferred, id_)
    return id_


async def _leave_a_message_behind(store: Store) -> str:
    id_ = await store.schedule(1)
    packed = await store.redis.hget(store.keys.deferred_messages, id_)
    store.wall.advance(2)
    assert await store.queue.promote() == 1
    await store.redis.hset(store.keys.deferred_messages, id_, packed)
    return id_


async def _leave_a_message_of_which_nothing_is_known(store: Store) -> str:
    id_ = await store.schedule(60)
    await store.redis.zrem(store.keys.deferred, id_)
    await store.redis.delete(store.keys.message(id_))
    return id_


async def _leave_an_unreadable_message(store: Store) -> str:
    await store.redis.hset(store.keys.deferred_messages, "x", b"\xff{")
    return "x"


async def _spoil_a_message(store: Store) -> str:
    id_ = await store.schedule(60)
    await store.redis.hset(store.keys.deferred_messages, id_, b"\xff{")
    return id_


async def _spoil_a_message_and_lose_its_due_time(store: Store) -> str:
    id_ = await _spoil_a_message(store)
    await store.redis.zrem(store.keys.deferred, id_)
    return id_


async def _lose_a_message(store: Store) -> str:
    id_ = await store.schedule(1)
    await store.redis.hdel(store.keys.deferred_messages, id_)
    return id_


async def _leave_a_due_time_behind(store: Store) -> str:
    [id_] = await store.append()
    await store.queue.cancel(id_)
    await store.redis.zadd(store.keys.deferred, {id_: 1})
    return id_


async def _lose_a_promoted_entry(store: Store) -> str:
    id_ = await store.schedule(1)
    store.wall.advance(2)
    assert await store.queue.promote() == 1
    await store.redis.xtrim(store.keys.queue, maxlen=0)
    return id_


async def _give_its_entry_to_another(store: Store) -> str:
    id_ = await _lose_a_promoted_entry(store)
    [other] = await store.append()
    await store.redis.hset(store.keys.message(id_), "entry", f"n{other}")
    return id_


async def _lose_all_deferred(store: Store) -> str:
    id_ = await store.schedule(60)
    await store.redis.delete(store.keys.deferred, store.keys.deferred_messages)
    return id_


async def _lose_a_dead_letter(store: Store) -> str:
    _, id_ = await store.dead_letter()
    await store.redis.delete(store.keys.dead)
    return id_


async def _lose_queued_texts(store: Store) -> str:
    await store.append(*[ALICE] * 3)
    await store.redis.xtrim(store.keys.queue, maxlen=0)
    return "3"


async def _lose_the_counters(store: Store) -> str:
    await store.queue.ack(*await store.sending(), "p")
    await store.queue.ack(*await store.sending(), "p")
    await store.redis.delete(store.keys.counters)
    return "2"


async def _count_a_stream_anew(store: Store) -> str:
    await store.queue.ack(*await store.sending(), "p")
    await store.redis.delete(store.keys.queue)
    return "1"


FAULTS: list[tuple[Spoil, list[str]]] = [
    (_lose_the_consumer, ["entry"]),
    (_lose_the_consumer_of_the_high_lane, ["entry"]),
    (_skip_an_entry, ["entry"]),
    (_mark_what_is_not_there, ["mark"]),
    (_mark_nonsense, ["mark"]),
    (_spoil_a_mark, ["mark"]),
    (_lose_a_due_time, ["deferred", "counters"]),
    (_leave_a_message_behind, ["deferred"]),
    (_leave_a_message_of_which_nothing_is_known, ["deferred", "counters"]),
    (_leave_an_unreadable_message, ["deferred"]),
    (_spoil_a_message, ["deferred"]),
    (_spoil_a_message_and_lose_its_due_time, ["deferred", "counters"]),
    (_lose_a_message, ["deferred"]),
    (_leave_a_due_time_behind, ["deferred", "counters"]),
    (_lose_a_promoted_entry, ["status", "counters"]),
    (_give_its_entry_to_another, ["status", "counters"]),
    (_lose_all_deferred, ["status", "counters"]),
    (_lose_a_dead_letter, ["status", "counters"]),
    (_lose_queued_texts, ["counters"]),
    (_lose_the_counters, ["counters"]),
    (_count_a_stream_anew, ["counters"]),
]


def _name(value: object) -> str:
    return getattr(value, "__name__", "").strip("_")


@pytest.fixture(params=FAULTS, ids=lambda fault: _name(fault[0]))
def fault(request: pytest.FixtureRequest) -> tuple[Spoil, list[str]]:
    found: tuple[Spoil, list[str]] = request.param
    return found


async def test_a_fault_is_found_and_nothing_is_changed(
    store: Store, fault: tuple[Spoil, list[str]]
) -> None:
    spoil, expected = fault
    name = await spoil(store)
    before = await dump(store.redis, store.keys.prefix)
    found = await look(store)
    assert [one.kind for one in found] == expected
    assert found[0].name == name
    assert all(one.why and one.remedy and not one.mended for one in found)
    assert await dump(store.redis, store.keys.prefix) == before


async def test_a_fault_is_mended_and_found_no_more(
    store: Store, fault: tuple[Spoil, list[str]]
) -> None:
    spoil, expected = fault
    name = await spoil(store)
    mended = await look(store, repair=True)
    assert (mended[0].kind, mended[0].name) == (expected[0], name)
    assert all(one.remedy and one.mended for one in mended)
    after = await dump(store.redis, store.keys.prefix)
    assert await look(store) == []
    assert await look(store, repair=True) == []
    assert await dump(store.redis, store.keys.prefix) == after
    assert await store.difference() == 0


async def test_a_repair_whose_reply_is_lost_can_run_again(
    wired: Store, proxy: Proxy, fault: tuple[Spoil, list[str]]
) -> None:
    await fault[0](wired)
    before = len(proxy.commands)
    mended = await look(wired, repair=True)
    after = await dump(wired.redis, wired.keys.prefix)
    for command in [one for one in proxy.commands[before:] if b"EVALSHA" in one][-8:]:
        await proxy.repeat(command)
    assert await dump(wired.redis, wired.keys.prefix) == after
    assert mended


# -- what mending means -------------------------------------------------------------------------


@pytest.mark.parametrize("spoil", [_lose_the_consumer, _skip_an_entry], ids=_name)
@pytest.mark.parametrize("by_hand", [True, False])
async def test_an_entry_that_is_not_pending_is_delivered_again(
    store: Store, spoil: Spoil, *, by_hand: bool
) -> None:
    name = await spoil(store)
    if by_hand:
        await look(store, repair=True)
    else:
        await recovery(store).recover()
    assert [entry.name for entry in await store.queue.claim(9, 9)] == [name]
    assert await look(store) == []


@pytest.mark.parametrize("repair", [False, True])
async def test_a_spoilt_mark_is_in_doubt_mended_or_not(store: Store, *, repair: bool) -> None:
    await _spoil_a_mark(store)
    await look(store, repair=repair)
    await recovery(store).recover()
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert fields["reason"] == "in_doubt"
    assert await look(store) == []


async def test_a_deferred_text_is_due_again_when_it_was(store: Store, wall: Wall) -> None:
    id_ = await _lose_a_due_time(store)
    await look(store, repair=True)
    assert await store.queue.next_due() == wall.ms + 60_000
    wall.advance(61)
    assert await store.queue.promote() == 1
    assert await store.state(id_) == "queued"


@pytest.mark.parametrize(
    "spoil",
    [_leave_a_message_behind, _leave_a_message_of_which_nothing_is_known],
    ids=_name,
)
async def test_what_may_have_been_sent_becomes_a_dead_letter_in_doubt(
    store: Store, spoil: Spoil
) -> None:
    id_ = await spoil(store)
    await look(store, repair=True)
    [(letter, fields)] = await store.dead_letters.page("", 10)
    assert (fields["id"], fields["reason"], fields["to"]) == (id_, "in_doubt", ALICE)
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    assert await store.queue.replay(letter, id_)
    assert await store.state(id_) == "queued"
    assert await store.difference() == 0


@pytest.mark.parametrize(
    "spoil", [_spoil_a_message, _spoil_a_message_and_lose_its_due_time], ids=_name
)
async def test_what_makes_no_sense_becomes_an_invalid_dead_letter(
    store: Store, spoil: Spoil
) -> None:
    id_ = await spoil(store)
    await look(store, repair=True)
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert (fields["id"], fields["reason"], fields["code"]) == (id_, "invalid", "entry")
    assert await store.state(id_) == "dead"
    assert (await store.census()).adjusted == 0


@pytest.mark.parametrize(
    ("spoil", "state"),
    [(_leave_a_message_behind, "queued"), (_leave_a_due_time_behind, "cancelled")],
    ids=_name,
)
async def test_what_a_status_says_stays_true_when_a_remainder_is_taken_away(
    store: Store, spoil: Spoil, state: str
) -> None:
    id_ = await spoil(store)
    await look(store, repair=True)
    assert await store.state(id_) == state


async def test_a_text_that_is_nowhere_is_marked_lost_and_its_status_ends(store: Store) -> None:
    id_ = await _lose_a_promoted_entry(store)
    await look(store, repair=True)
    told = await store.lookup.message(id_)
    assert told is not None
    assert told["state"] == "lost"
    history = told["history"]
    assert isinstance(history, list)
    assert history[-1]["detail"] == "it was queued and is nowhere"
    assert await store.redis.pttl(store.keys.message(id_)) > 0
    [*_, (_, event)] = await store.redis.xrange(store.keys.events)
    assert event[b"state"] == b"lost"
    assert await store.queue.cancel(id_) == "lost"


async def _bring_back_a_letter(store: Store) -> str:
    """Of a text that has been sent: one place too many."""
    await store.queue.ack(*await store.sending(), "p")
    fields = {"id": "x", "to": ALICE, "message": "Hi", "reason": "rejected", "lane": "n"}
    await store.redis.xadd(store.keys.dead, fields)
    return "1"


@pytest.mark.parametrize(
    ("spoil", "adjusted"),
    [
        (_lose_queued_texts, 3),
        (_lose_a_message, 1),
        (_lose_the_counters, 2),
        (_bring_back_a_letter, -1),
        (_count_a_stream_anew, -1),
    ],
    ids=_name,
)
async def test_what_was_adjusted_stays_to_be_seen(
    store: Store, spoil: Spoil, adjusted: int
) -> None:
    await spoil(store)
    await look(store, repair=True)
    census = await store.census()
    assert (census.adjusted, census.difference) == (adjusted, 0)
    await store.append()
    await store.redis.xtrim(store.keys.queue, maxlen=0)
    await look(store, repair=True)
    assert (await store.census()).adjusted == adjusted + 1


async def test_a_difference_is_booked_once_by_two_at_once(
    store: Store, open_store: OpenStore
) -> None:
    await _lose_queued_texts(store)
    other = open_store("b")
    found = await asyncio.gather(look(store, repair=True), look(other, repair=True))
    assert sorted(map(len, found)) == [0, 1]
    assert (await store.census()).adjusted == 3


# -- a sound queue ------------------------------------------------------------------------------


async def _everything(store: Store) -> None:
    """Texts in every state there is."""
    await store.append(*[ALICE, BOB] * 30)
    for _ in range(10):
        await store.claim_one()
    await store.append(priority="high")
    await store.begin_next()
    for reason in (DeadReason.REJECTED, DeadReason.IN_DOUBT):
        await store.dead_letter(reason, priority="high")
    letter, id_ = await store.dead_letter(priority="high")
    await store.queue.replay(letter, id_)
    letter, id_ = await store.dead_letter(priority="high")
    await store.queue.drop(letter, id_)
    await store.queue.ack(*await store.sending(priority="high"), "p")
    life = await store.sending(priority="high")
    await store.queue.defer(*life, until=store.wall() + 1000, attempts=1, why="w")
    for n in range(5):
        await store.schedule(n + 1, f"s{n}")
    [cancelled] = await store.append()
    await store.queue.cancel(cancelled)
    store.wall.advance(3)
    await store.queue.promote()


@pytest.mark.parametrize("repair", [False, True])
async def test_a_sound_queue_has_no_faults_and_is_left_alone(store: Store, *, repair: bool) -> None:
    await _everything(store)
    before = await dump(store.redis, store.keys.prefix)
    assert await look(store, repair=repair) == []
    assert await dump(store.redis, store.keys.prefix) == before


async def test_where_nothing_has_been_there_is_nothing_to_mend(open_store: OpenStore) -> None:
    store = open_store()  # not even the streams
    assert await look(store, repair=True) == []
    assert await dump(store.redis, store.keys.prefix) == {}


async def test_a_queue_at_work_has_no_faults_at_any_moment(
    store: Store, open_store: OpenStore
) -> None:
    eye, looks = open_store("eye"), 0

    async def work() -> None:
        lives = 0
        while lives < 60 or looks < 5:
            await _one_life(store, lives)
            lives += 1

    working = asyncio.create_task(work())
    while not working.done():
        assert await look(eye, repair=True) == []
        looks += 1
    await working
    assert (await store.census()).adjusted == 0


async def _one_life(store: Store, n: int) -> None:
    queue = store.queue
    await store.append(priority="high")
    life = await store.begin_next()
    match n % 5:
        case 0:
            await queue.ack(*life, "p")
        case 1:
            await queue.bury(*life, reason=DeadReason.REJECTED)
            for letter, fields in await store.dead_letters.page("", 1):
                await (queue.replay, queue.drop)[n % 2](letter, fields["id"])
        case 2:
            await queue.defer(*life, until=store.wall() + 1, attempts=1, why="w")
        case 3:
            await queue.expire(*life)
        case _:
            await queue.defer(*life, until=store.wall() + 60_000, attempts=1, why="w")
            await queue.cancel(life[2].id)
    store.wall.advance(0.01)
    await queue.promote()
    for entry in await queue.claim(100, 0):
        message = parse_entry(entry, LIMITS, store.wall())
        await queue.bury(entry, None, message, reason=DeadReason.INVALID)


# -- many ---------------------------------------------------------------------------------------


async def test_more_than_one_step_of_everything_is_looked_at(store: Store) -> None:
    many = STEP * 2 + 1
    await store.append(*[ALICE] * many)
    await store.redis.xgroup_setid(store.keys.queue, GROUP, "$")
    marks = {f"n1-{n}": store.attempt().mark for n in range(many)}
    await store.redis.hset(store.keys.inflight, mapping=marks)
    ids, due = [f"s{n}" for n in range(many)], store.wall() + 60_000
    await store.queue.append(Append(at(due), [ALICE] * many, ids))
    await store.redis.delete(store.keys.deferred)
    found = await look(store, repair=True)
    by_kind = {kind: sum(one.kind == kind for one in found) for kind in ("entry", "mark")}
    assert by_kind == {"entry": many, "mark": many}
    assert sum(one.kind == "deferred" for one in found) == many
    assert len({one.name for one in found}) == 3 * many
    assert await look(store) == []
    assert await store.redis.zcard(store.keys.deferred) == many
    assert await store.queue.next_due() == due


@pytest.mark.parametrize("prefix", ["t[a-z]*?\\^:", "{t}:"])
async def test_a_prefix_that_looks_like_a_pattern_is_none(store: Store, prefix: str) -> None:
    assert store.keys.prefix == prefix
    id_ = await _lose_a_promoted_entry(store)
    assert ("status", id_) in await kinds(store)
    await look(store, repair=True)
    assert await look(store) == []
