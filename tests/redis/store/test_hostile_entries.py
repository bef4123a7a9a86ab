"""Entries by other hands. Rule: none delays the next, and none takes over another's id."""

import json
from dataclasses import replace

import pytest
from redis.exceptions import BusyLoadingError

from smsd.core.message import Limits
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.redis.errors import Loading
from tests.support.store import (
    ALICE,
    BOB,
    LIMITS,
    Store,
    Wall,
)

HOSTILE: dict[str, list[bytes]] = {
    "nothing known": [b"nonsense", b"x"],
    "no recipient": [b"message", b"Hi"],
    "no text": [b"to", ALICE.encode()],
    "empty names": [b"", b"", b"", b""],
    "100,000 fields": [word for n in range(100_000) for word in (b"%d" % n, b"")],
    "100,000 times one field": [b"to", ALICE.encode()] * 100_000,
    "501 fields": [word for n in range(501) for word in (b"%d" % n, b"")],
    "invalid UTF-8": [b"to", ALICE.encode(), b"message", b"\xff\xfe\x80"],
    "invalid UTF-8 in a name": [b"\xff", b"x", b"to", ALICE.encode()],
    "half a surrogate pair": [b"to", ALICE.encode(), b"message", b"\xed\xa0\x80"],
    "10 MB": [b"to", ALICE.encode(), b"message", b"x" * 10_000_000],
    "10 MB of zeros": [b"\0" * 10_000_000, b""],
    "duplicate fields": [b"to", ALICE.encode(), b"to", BOB.encode(), b"message", b"Hi"],
    "NULs": [b"to", ALICE.encode(), b"message", b"a\0b"],
    "NULs in a name": [b"to\0", ALICE.encode(), b"message", b"Hi"],
    "an id that is none": [b"id", b"\xff/../\n", b"to", ALICE.encode(), b"message", b"Hi"],
    "an id of 10 MB": [b"id", b"x" * 10_000_000, b"to", ALICE.encode(), b"message", b"Hi"],
    "our own fields": [b"reason", b"x", b"lane", b"q", b"attempts", b"-1", b"failed_at", b"\xff"],
    "attempts beyond all": [b"to", ALICE.encode(), b"message", b"Hi", b"attempts", b"9" * 400],
    "words for numbers": [b"attempts", b"many", b"segments", b"\xff", b"due", b"9" * 5000],
    "a name of newlines": [b"a\nb\r\nc", b"\r\n"],
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("lane", ["h", "n"])
async def test_a_hostile_entry_is_buried_and_never_delays_the_next(
    store: Store, name: str, lane: str
) -> None:
    stream = store.keys.high if lane == "h" else store.keys.queue
    raw = await store.redis.execute_command("XADD", stream, "*", *HOSTILE[name])
    await store.append(priority="high" if lane == "h" else "normal")
    entries = await store.queue.claim(10, 10)
    assert len(entries) == 2
    await store.claimer.admit(entries)
    assert len(store.prefetch) == 1
    held = store.prefetch.take()
    assert held.message.content.text == "Hi"
    [(letter, fields)] = await store.dead_letters.page("", 10)
    id_ = raw.decode() if lane == "n" else f"h{raw.decode()}"
    assert fields["reason"] == "invalid"
    assert fields["id"] == id_
    told = await store.lookup.message(id_)
    assert told is not None
    assert told["state"] == "dead"
    assert await store.unsettled.pending() == [held.entry.name]
    assert await store.difference() == 0
    # Replayed it is parsed again, and buried again: no daemon stumbles over it.
    assert await store.queue.replay(letter, id_)
    assert await store.difference() == 0
    await store.claimer.admit(await store.queue.claim(10, 10))
    assert await store.difference() == 0


async def test_a_text_that_can_no_longer_be_parsed_is_buried_under_its_own_id(
    store: Store, wall: Wall
) -> None:
    """The limits were lowered while it waited."""
    await store.schedule(1, message="x" * 400)
    wall.advance(2)
    await store.queue.promote()
    context = replace(store.context, limits=Limits(max_segments=1))
    strict = Claimer(context, store.arrivals, store.prefetch)
    for _ in range(2):
        await strict.admit(await store.queue.claim(10, 10))
        assert await store.state("s1") == "dead"
        [(letter, fields)] = await store.dead_letters.page("", 10)
        assert fields["id"] == "s1"
        assert await store.queue.replay(letter, "s1")
    assert await store.queue.cancel("s1") == "cancelled"
    assert await store.difference() == 0


@pytest.mark.parametrize("name", HOSTILE)
async def test_a_hostile_entry_can_be_looked_up_and_cancelled(store: Store, name: str) -> None:
    raw = await store.redis.execute_command("XADD", store.keys.queue, "*", *HOSTILE[name])
    told = await store.lookup.message(raw.decode())
    assert told is None or told["state"] == "queued"
    assert await store.queue.cancel(raw.decode()) in ("cancelled", "unknown")
    assert await store.difference() == 0


async def test_a_hostile_entry_that_was_pending_is_buried_too(store: Store) -> None:
    for fields in HOSTILE.values():
        await store.redis.execute_command("XADD", store.keys.queue, "*", *fields)
    while await store.queue.claim(0, 100):  # whose replies were lost
        pass
    await store.claimer.admit(await store.queue.reclaim(await store.unsettled.pending()))
    assert await store.length() == 0
    assert await store.redis.xlen(store.keys.dead) == len(HOSTILE)
    assert await store.difference() == 0


@pytest.mark.parametrize(
    ("fields", "code"), [(500, "is no known field"), (501, "of more than 500 fields")]
)
async def test_an_entry_with_too_many_fields_is_told_how_many_are_read(
    store: Store, fields: int, code: str
) -> None:
    words = [word for n in range(fields - 2) for word in (f"x{n}", "")]
    await store.redis.execute_command(
        "XADD", store.keys.queue, "*", "to", ALICE, "message", "Hi", *words
    )
    await store.claimer.admit(await store.queue.claim(9, 9))
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert letter["detail"].startswith(code)


async def test_a_status_of_another_type_vouches_for_no_entry(store: Store) -> None:
    impostor = await _claiming_to_be(store, "x")
    await store.redis.set(store.keys.message("x"), "")
    [entry] = await store.queue.claim(0, 1)
    assert entry.message_id == impostor


async def test_a_redis_that_is_away_does_not_take_a_text_its_id(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def loading(*_: object, **__: object) -> list[object]:
        return [BusyLoadingError("LOADING")]

    await store.schedule(1)
    store.wall.advance(2)
    await store.queue.promote()
    with monkeypatch.context() as patch:
        patch.setattr("redis.asyncio.client.Pipeline.execute", loading)
        with pytest.raises(Loading):
            await store.queue.claim(0, 1)
    [entry] = await store.queue.reclaim(await store.unsettled.pending())
    assert entry.message_id == "s1"


async def _claiming_to_be(store: Store, id_: str, **fields: str) -> str:
    """An entry that says another text's id; its own."""
    said = {"id": id_, "to": BOB, "message": "Ho", **fields}
    raw = await store.redis.xadd(store.keys.queue, said)
    return str(raw.decode())


async def test_an_entry_cannot_take_over_the_id_of_a_scheduled_text(store: Store) -> None:
    await store.schedule(60)
    before = await store.lookup.message("s1")
    impostor = await _claiming_to_be(store, "s1")
    assert await store.state(impostor) == "queued"
    await store.claimer.admit(await store.queue.claim(9, 9))
    told = await store.lookup.message(impostor)
    assert told is not None
    assert (told["state"], told["reason"], told["code"]) == ("dead", "invalid", "id")
    assert await store.lookup.message("s1") == before
    assert await store.queue.cancel("s1") == "cancelled"
    assert await store.difference() == 0


@pytest.mark.parametrize("field", ["id", "attempts"])
async def test_what_only_we_write_is_an_unknown_field_of_anybody_else(
    store: Store, field: str
) -> None:
    """Two producers of one id, or one that spends a message's attempts, would be believed."""
    for text in ("one", "two"):
        fields = {"to": ALICE, "message": text, field: "5"}
        await store.redis.xadd(store.keys.queue, fields)
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert len(store.prefetch) == 0
    letters = await store.dead_letters.page("", 10)
    assert [letter["code"] for _, letter in letters] == [field, field]
    assert len({letter["id"] for _, letter in letters}) == 2
    # The letter has our own of each, so that a person may replay it.
    assert await store.queue.replay(letters[0][0], letters[0][1]["id"])
    [entry] = await store.queue.claim(9, 9)
    assert parse_entry(entry, LIMITS, store.wall()).attempts == 0
    assert await store.difference() == 0


async def test_an_entry_cannot_take_over_the_id_of_one_that_is_queued(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1)
    wall.advance(2)
    await store.queue.promote()
    [(home, _)] = await store.redis.xrange(store.keys.queue)
    impostor = await _claiming_to_be(store, "s1")
    assert await store.queue.cancel(home.decode()) == "unknown"  # it is s1's
    assert await store.queue.cancel(impostor) == "cancelled"
    assert await store.state("s1") == "queued"
    assert (await store.claim_one())[1].id == "s1"
    assert await store.difference() == 0


async def test_entries_for_later_that_say_the_same_id_are_known_as_their_own(
    store: Store,
) -> None:
    later = "2027-01-01T00:00:00Z"
    ids = [await _claiming_to_be(store, "dup", send_at=later) for _ in range(2)]
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert await store.lookup.message("dup") is None
    assert await store.queue.cancel("dup") == "unknown"
    assert [await store.state(id_) for id_ in ids] == ["dead", "dead"]
    assert await store.difference() == 0


async def test_a_bad_entry_that_says_another_id_is_buried_as_its_own(store: Store) -> None:
    await store.schedule(60)
    impostor = await _claiming_to_be(store, "s1", message="")
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert (await store.state(impostor), await store.state("s1")) == ("dead", "deferred")


async def test_an_entry_that_was_left_behind_is_not_believed_either(store: Store) -> None:
    await store.schedule(60)
    impostor = await _claiming_to_be(store, "s1")
    await store.queue.claim(9, 9)  # whose reply was lost
    [entry] = await store.queue.reclaim(await store.unsettled.pending())
    assert entry.message_id == impostor


async def test_a_text_deferred_where_other_hands_put_another_goes_by_its_entry(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1)
    wall.advance(2)
    await store.queue.promote()
    entry, attempt, message = await store.begin_next()
    await store.redis.zadd(store.keys.deferred, {"s1": wall() + 60_000})
    other = ["to", BOB, "message", "Ho"]
    await store.redis.hset(store.keys.deferred_messages, "s1", json.dumps(other))
    before = await store.lookup.message("s1")
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    assert await store.state(entry.first_message_id) == "deferred"
    told = await store.lookup.message("s1")
    assert told is not None
    assert before is not None
    assert told["history"] == before["history"]
