"""Beginning. Rule: one attempt at a time, by whoever holds the lease."""

from tests.support.store import (
    ALICE,
    OpenStore,
    Store,
)


async def test_begin_marks_an_entry_in_flight(store: Store) -> None:
    entry, attempt, _ = await store.sending()
    assert await store.unsettled.in_flight() == {entry.name: attempt}
    assert (await store.census()).in_flight == 1


async def test_begin_again_with_the_same_mark_is_begun(store: Store) -> None:
    entry, attempt, message = await store.sending()
    assert await store.begin(entry, attempt, message.recipient) == "begun"


async def test_begin_without_the_lease_is_fenced(store: Store, open_store: OpenStore) -> None:
    await store.append()
    entry, message = await store.claim_one()
    other = open_store("b")
    assert await other.begin(entry, other.attempt(), message.recipient) == "fenced"
    await store.redis.delete(store.keys.lease)
    assert await store.begin(entry, store.attempt(), message.recipient) == "fenced"
    assert await store.unsettled.in_flight() == {}


async def test_begin_beside_another_attempt_is_refused(store: Store, open_store: OpenStore) -> None:
    entry, attempt, message = await store.sending()
    second = attempt._replace(number=2)
    assert await store.begin(entry, second, message.recipient) == "marked"
    other = await open_store("b").lead()
    assert await other.begin(entry, other.attempt(), message.recipient) == "marked"
    assert await store.unsettled.in_flight() == {entry.name: attempt}


async def test_begin_of_what_is_settled_is_refused(store: Store) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, "p")
    assert await store.begin(entry, attempt, message.recipient) == "gone"
    assert await store.unsettled.in_flight() == {}


async def test_begin_for_a_number_that_opted_out_is_refused(store: Store) -> None:
    await store.redis.sadd(store.keys.optouts, ALICE)
    await store.append()
    entry, message = await store.claim_one()
    assert await store.begin(entry, store.attempt(), ALICE) == "suppressed"
    assert await store.queue.suppress(entry, message)
    assert await store.unsettled.in_flight() == {}
