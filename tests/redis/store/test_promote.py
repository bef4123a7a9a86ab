"""Promotion. Rule: what is due goes back into line, and nothing delays the rest."""

import asyncio

import pytest

from smsd.dispatch.claimer import parse_entry
from smsd.dispatch.promoter import Promoter
from smsd.store.fsck import Fsck
from tests.redis.dispatching import at_work
from tests.support.store import (
    ALICE,
    LIMITS,
    Store,
    Wall,
    soon,
)


async def test_only_what_is_due_is_promoted(store: Store, wall: Wall) -> None:
    await store.schedule(5, "s1")
    await store.schedule(10, "s2")
    wall.advance(4.999)
    assert await store.queue.promote() == 0
    wall.advance(0.001)
    assert await store.queue.promote() == 1
    assert await store.queue.promote() == 0
    assert await store.state("s1") == "queued"
    assert await store.state("s2") == "deferred"
    assert await store.difference() == 0


async def test_promotion_is_bounded_and_in_the_order_of_the_due_times(
    store: Store, wall: Wall
) -> None:
    for n in range(5):
        await store.schedule(5 - n, f"s{n}")
    wall.advance(10)
    assert await store.queue.promote(2) == 2
    assert [await store.state(f"s{n}") for n in range(5)] == ["deferred"] * 3 + ["queued"] * 2
    assert await store.queue.promote() == 3
    assert await store.queue.next_due() is None


async def test_a_text_that_is_never_due_stays_and_one_that_always_is_goes(
    store: Store, wall: Wall
) -> None:
    for id_, due in (("never", "+inf"), ("always", "-inf"), ("late", 1e308)):
        await store.schedule(1, id_)
        await store.redis.zadd(store.keys.deferred, {id_: due})
    assert await store.queue.next_due() == 0
    promoter = Promoter(store.context)
    async with at_work(promoter):
        await soon(_promoted(store, "always"))
    assert await store.queue.next_due() == int(1e308)
    await store.redis.zadd(store.keys.deferred, {"late": "+inf"})
    assert await store.queue.next_due() is None
    async with at_work(promoter):
        await asyncio.sleep(0.1)
    assert await store.redis.zcard(store.keys.deferred) == 2
    assert [fault async for fault in Fsck(store.client, repair=True).faults()] == []
    assert await store.queue.cancel("never") == "cancelled"
    assert await store.difference() == 0


async def _promoted(store: Store, id_: str) -> None:
    while await store.state(id_) != "queued":
        await asyncio.sleep(0.01)


async def test_a_scheduled_text_goes_into_the_lane_of_its_priority(
    store: Store, wall: Wall
) -> None:
    await store.schedule(1, "s1")
    await store.schedule(1, "s2", priority="high")
    wall.advance(2)
    assert await store.queue.promote() == 2
    high, normal = await store.queue.claim(9, 9)
    first, second = (parse_entry(entry, LIMITS, wall()) for entry in (high, normal))
    assert (high.stream, first.id, first.attempts) == ("h", "s2", 0)
    assert (normal.stream, second.id, second.attempts) == ("n", "s1", 0)


async def test_a_retried_text_goes_ahead_and_keeps_its_priority_id_and_attempts(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending(ref="r")
    for spent in (1, 2):
        assert await store.queue.defer(
            entry, attempt, message, until=wall(), attempts=spent, why="w"
        )
        assert await store.queue.promote() == 1
        entry, attempt, again = await store.begin_next()
        assert entry.stream == "h"
        assert (again.id, again.attempts) == (message.id, spent)
        assert again.content == message.content._replace(priority="normal")
        message = again
    assert await store.difference() == 0


async def test_a_text_that_came_with_a_time_by_xadd_waits_for_it_and_goes_in_line(
    store: Store, wall: Wall
) -> None:
    raw = await store.redis.xadd(
        store.keys.queue, {"to": ALICE, "message": "Hi", "send_at": "2999-01-01T00:00:00Z"}
    )
    [entry] = await store.queue.claim(9, 9)
    message = parse_entry(entry, LIMITS, now_ms=32_503_680_000_000)
    assert await store.queue.defer(
        entry, None, message, until=wall() + 1000, attempts=0, why="scheduled"
    )
    wall.advance(1)
    assert await store.queue.promote() == 1
    entry, message = await store.claim_one()
    assert entry.stream == "n"
    assert message.id == raw.decode()
    assert message.content.send_at is None
    assert message.attempts == 0


@pytest.mark.parametrize(
    "packed",
    [
        b"garbage",
        b"",
        b"\xff{",
        b"[" * 2000,
        b"null",
        b"7",
        b'"to"',
        b"[]",
        b"{}",
        b'{"to": "x"}',
        b'["to"]',
        b'["to", true]',
        b'["to", null]',
        b'["to", ["x"]]',
        b"[" + b",".join([b'"a"'] * 10_000) + b"]",
    ],
    ids=lambda packed: repr(packed[:12]),
)
async def test_a_deferred_text_that_cannot_be_read_is_buried_and_delays_no_other(
    store: Store, wall: Wall, packed: bytes
) -> None:
    for id_ in ("s1", "s2", "s3"):
        await store.schedule(1, id_)
    await store.redis.hset(store.keys.deferred_messages, "s2", packed)
    wall.advance(2)
    assert await store.queue.promote() == 2
    assert [await store.state(id_) for id_ in ("s1", "s2", "s3")] == ["queued", "dead", "queued"]
    [(letter, fields)] = await store.dead_letters.page("", 10)
    assert (fields["id"], fields["reason"], fields["code"]) == ("s2", "invalid", "entry")
    assert await store.redis.hget(store.keys.message("s2"), "letter") == letter.encode()
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    assert await store.queue.next_due() is None
    assert await store.difference() == 0
    assert await store.queue.replay(letter, "s2")  # to be buried again: it is no text
    await store.claimer.admit(await store.queue.claim(9, 9))
    assert [await store.state(id_) for id_ in ("s1", "s2", "s3")] == ["queued", "dead", "queued"]
    assert await store.difference() == 0


async def test_what_is_deferred_under_no_id_is_set_aside_and_delays_no_other(
    store: Store, wall: Wall, caplog: pytest.LogCaptureFixture
) -> None:
    await store.schedule(1, "s1")
    packed = await store.redis.hget(store.keys.deferred_messages, "s1")
    names = [b"\xff%d" % n for n in range(200)]  # as many as are promoted at once
    await store.redis.zadd(store.keys.deferred, dict.fromkeys(names, 1))
    await store.redis.zadd(store.keys.deferred, {b"\xff\x00": 1, b"\xfe": wall() + 60_000})
    await store.redis.hset(store.keys.deferred_messages, b"\xff\x00", packed)
    await store.redis.hset(store.keys.deferred_messages, b"\xff1", b"\xff")
    wall.advance(2)
    promoted = [await store.queue.promote() for _ in range(3)]
    assert sum(promoted) == 1
    assert await store.state("s1") == "queued"
    assert await store.redis.zrange(store.keys.deferred, 0, -1) == [b"\xfe"]
    assert await store.redis.hlen(store.keys.deferred_messages) == 0
    died = sorted(await store.redis.xrange(store.keys.dead), key=lambda row: len(row[1]))
    unreadable, readable = (fields for _, fields in died)
    assert unreadable[b"message"] == b"\xff"
    assert (readable[b"message"], readable[b"to"]) == (b"Hi", ALICE.encode())
    assert readable[b"reason"] == b"invalid"
    assert "deferred under no id" in caplog.text
    for letter, fields in died:
        id_ = fields[b"id"].decode()
        assert await store.state(id_) == "dead"
        assert await store.queue.replay(letter.decode(), id_)
        assert await store.state(id_) == "queued"


async def test_what_other_hands_deferred_again_is_buried_and_its_status_stays_true(
    store: Store, wall: Wall
) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, "p")
    await store.redis.zadd(store.keys.deferred, {message.id: wall()})
    await store.redis.hset(store.keys.deferred_messages, message.id, "garbage")
    assert await store.queue.promote() == 0
    assert await store.state(message.id) == "sent"
    assert await store.redis.xlen(store.keys.dead) == 1
