"""The stream of events. Rule: every change is one, and a provider id leads to its message."""

import time

import pytest

from smsd.core.life import DeadReason
from tests.redis.campaigns import request, start
from tests.redis.recipients import expand
from tests.support.store import ALICE, Store, Wall

MANY_EVENTS = """
for _ = 1, tonumber(ARGV[1]) do
    redis.call('XADD', KEYS[1], '*', 'id', 'old', 'state', 'sent', 'detail', '')
end
"""


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


async def test_of_too_many_events_the_oldest_go(store: Store) -> None:
    await store.redis.eval(MANY_EVENTS, 1, store.keys.events, 100_200)
    [id_] = await store.append()
    assert 100_000 <= await store.redis.xlen(store.keys.events) < 100_200
    [(_, last)] = await store.redis.xrevrange(store.keys.events, count=1)
    assert last[b"id"].decode() == id_


async def test_what_was_settled_under_some_names_is_found_among_many(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsd.store.events.PAGE", 2)
    lives = [await store.sending() for _ in range(3)]
    for number, life in enumerate(lives):
        assert await store.queue.ack(*life, f"p{number}")
    await store.redis.xadd(store.keys.events, {"other": "hands"})
    await store.redis.xadd(store.keys.events, {"id": "another", "state": "sent"})
    await store.redis.set(store.keys.message("another"), "is no hash")
    now = int(time.time() * 1000)
    assert await store.events.find_settled(["p1", "p9", "p2"], now - 60_000, now + 60_000) == {
        "p1": lives[1][2].id,
        "p2": lives[2][2].id,
    }
    assert await store.events.find_settled(["p1"], now - 120_000, now - 60_000) == {}


async def test_that_of_a_message_of_a_campaign_is_found_too(store: Store) -> None:
    sid = "SM" + "0123456789abcdef" * 2
    campaign = await start(store, request(audience="", recipients=(ALICE,)))
    [id_] = await expand(store, campaign, ALICE)
    assert await store.queue.ack(*await store.begin_next(), sid)
    now = int(time.time() * 1000)
    assert await store.events.find_settled([sid], now - 60_000, now + 60_000) == {sid: id_}
