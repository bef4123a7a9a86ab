"""Keys of entries. Rule: of the entries that bring one key, exactly one is sent, crash or not."""

import asyncio

import pytest

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.dispatch.claimer import parse_entry
from smsd.store.entry import Entry
from tests.support.store import ALICE, BOB, LIMITS, OpenStore, Store, Wall

FIELDS = {"to": ALICE, "message": "Hi", "key": "order-7"}


async def add(store: Store, stream: str = "", **fields: str) -> str:
    raw = await store.redis.xadd(stream or store.keys.queue, {**FIELDS, **fields})
    return str(raw.decode())


async def admit(store: Store) -> list[str]:
    """Ids of the messages that are to be sent."""
    await store.claimer.admit(await store.queue.claim(99, 99))
    return waiting(store)


def waiting(store: Store) -> list[str]:
    held = [store.prefetch.take() for _ in range(len(store.prefetch))]
    return [one.message.id for one in held]


async def test_a_repeated_entry_is_passed_over_and_counted(store: Store) -> None:
    first, again, other = await add(store), await add(store), await add(store, key="order-8")
    assert await admit(store) == [first, other]
    told = await store.lookup.message(again)
    assert told is not None
    assert (told["state"], told["detail"], told["to"]) == ("duplicate", f"of {first}", ALICE)
    assert [change["state"] for change in told["history"]] == ["queued", "duplicate"]  # type: ignore[attr-defined]
    census = await store.census()
    assert (census.finished["duplicate"], census.queued, census.difference) == (1, 2, 0)
    assert await store.kept_ms(again) > 0


async def test_one_that_comes_later_in_the_other_stream_or_spelled_in_another_order_is_too(
    store: Store,
) -> None:
    first = await add(store)
    assert await admit(store) == [first]
    backwards = dict(reversed(FIELDS.items()))
    await store.redis.xadd(store.keys.queue, backwards)
    await add(store, store.keys.high)
    assert await admit(store) == []
    assert (await store.census()).finished["duplicate"] == 2


async def test_a_key_that_came_with_another_message_loses_neither(store: Store) -> None:
    first, other = await add(store), await add(store, to=BOB)
    assert await admit(store) == [first]
    [(_, letter)] = await store.dead_letters.page("", 10)
    assert (letter["id"], letter["reason"], letter["code"]) == (other, "invalid", "key")
    assert letter["detail"] == "was used for another message"
    assert await store.difference() == 0


async def test_who_was_first_is_so_again_after_a_crash(store: Store, open_store: OpenStore) -> None:
    first, again = await add(store), await add(store)
    entries = await store.queue.claim(9, 9)
    keyed = [(entry, parse_entry(entry, LIMITS, store.wall())) for entry in entries]
    assert await store.queue.take_keys(keyed[:1]) == ["first"]  # and here it died
    await store.lease.give_up()
    successor = await open_store("b").lead()
    names = await successor.unsettled.pending()
    await successor.claimer.admit(await successor.queue.reclaim(names))
    assert waiting(successor) == [first]
    assert await successor.state(again) == "duplicate"
    assert await successor.difference() == 0


async def test_it_may_be_deferred_promoted_and_replayed_and_is_no_repetition_of_itself(
    store: Store, wall: Wall
) -> None:
    first = await add(store)
    await admit(store)
    entry, message = await _only(store)
    attempt = store.attempt()
    await store.begin(entry, attempt, message.recipient)
    await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="w")
    await store.queue.promote()
    store.prefetch.forget(entry.name)
    assert await admit(store) == [first]
    entry, message = await _only(store)
    assert (message.id, message.attempts, message.key) == (first, 1, "order-7")
    await store.queue.bury(entry, None, message, reason=DeadReason.EXHAUSTED)
    [(letter, _)] = await store.dead_letters.page("", 10)
    assert await store.queue.replay(letter, first)
    assert await admit(store) == [first]
    again = await add(store)
    assert await admit(store) == []
    assert await store.state(again) == "duplicate"
    assert await store.difference() == 0


async def _only(store: Store) -> tuple[Entry, Message]:
    [entry] = await store.queue.reclaim(await store.unsettled.pending())
    return entry, parse_entry(entry, LIMITS, store.wall())


async def test_keys_are_forgotten_in_time(store: Store) -> None:
    await add(store)
    await admit(store)
    [record] = await store.redis.keys(f"{store.keys.prefix}idempotency:*")
    assert 0 < await store.redis.pttl(record) <= 86_400_000
    await store.redis.delete(record)
    again = await add(store)
    assert await admit(store) == [again]


async def test_an_entry_and_a_request_of_one_key_are_two_messages(store: Store) -> None:
    [id_] = await store.append(ALICE)
    first = await add(store)
    assert await admit(store) == [id_, first]


async def test_a_record_that_other_hands_wrote_decides_nothing(store: Store) -> None:
    await add(store)
    await admit(store)
    [record] = await store.redis.keys(f"{store.keys.prefix}idempotency:*")
    await store.redis.set(record, "x")
    again = await add(store)
    assert await admit(store) == [again]
    assert await store.difference() == 0


@pytest.mark.parametrize("at_once", [2, 20])
async def test_claims_and_recovery_at_once_put_it_in_line_once(store: Store, at_once: int) -> None:
    first = await add(store)
    entries = await store.queue.claim(9, 9)
    await asyncio.gather(*(store.claimer.admit(entries) for _ in range(at_once)))
    assert waiting(store) == [first]
