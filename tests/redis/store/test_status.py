"""Statuses. Rule: a statistic never undoes a settlement, and a history has a bound."""

import asyncio
from typing import cast

from smsd.store.finished import place_of
from tests.support.store import (
    Store,
)


async def test_a_status_that_cannot_be_written_undoes_no_settlement(store: Store) -> None:
    lives = [await store.sending() for _ in range(5)]
    first, bad, *rest = lives
    await store.redis.set(store.keys.message(bad[2].id), "of another make")
    answers = await asyncio.gather(*(store.queue.ack(*life, "p") for life in (first, bad, *rest)))
    assert answers == [True] * 5
    census = await store.census()
    assert (census.finished["sent"], census.queued, census.in_flight, census.difference) == (
        5,
        0,
        0,
        0,
    )
    assert await store.unsettled.pending() == []
    for _, _, message in (first, *rest):
        found = await store.lookup.message(message.id)
        assert found is not None
        assert found["state"] == "sent"


async def test_a_history_keeps_its_beginning_and_its_end_and_never_grows_beyond_a_bound(
    store: Store,
) -> None:
    entry, attempt, message = await store.sending()
    key = store.keys.message(message.id)
    lines = ["1 queued", *(f"{n} deferred throttled again and again" for n in range(2, 2000))]
    await store.redis.hset(key, mapping={"state": "queued", "history": "\n".join(lines)})
    assert await store.queue.ack(entry, attempt, message, "p")
    told = await store.lookup.message(message.id)
    assert told is not None
    history = cast("list[dict[str, object]]", told["history"])
    assert [change["at"] for change in history[1:3]] == [1, history[2]["at"]]
    assert [change["state"] for change in history[-3:]] == ["deferred", "sending", "sent"]
    assert history[-3]["at"] == 1999
    assert all(change["state"] in ("queued", "deferred", "sending", "sent") for change in history)
    place = place_of(message.id)
    assert place is not None
    assert 0 < await store.redis.hstrlen(store.keys.finished(place.name), place.field) < 8192


async def test_a_history_with_a_line_beyond_all_bounds_can_still_be_read(store: Store) -> None:
    entry, attempt, message = await store.sending()
    key = store.keys.message(message.id)
    history = f"1 queued\n2 dead rejected {'9' * 9000}"
    await store.redis.hset(key, mapping={"state": "queued", "history": history})
    assert await store.queue.ack(entry, attempt, message, "p")
    told = await store.lookup.message(message.id)
    assert told is not None
    changes = cast("list[dict[str, object]]", told["history"])
    assert [change["state"] for change in changes[1:]] == ["queued", "sending", "sent"]
