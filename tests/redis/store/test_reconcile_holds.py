"""Holds that Redis loses. Rule: nothing but a release ends a hold, and each data is compared."""

import asyncio

import pytest

from smsd.core.outcome import Halted
from smsd.dispatch.hold import Hold
from smsd.redis.scripts import Call
from smsd.store.fsck import Fsck
from smsd.store.identity import Data
from smsd.store.operator_hold import HeldBy, Operator
from smsd.store.reconcile import PAUSE_S
from smsd.store.settled import Settled
from tests.redis.dispatching import nanoseconds
from tests.redis.older_data import claimed, held, queue, reach
from tests.redis.opened import Opened, Tail
from tests.redis.store.test_operator_hold import renewed
from tests.support.redis_server import RedisServer
from tests.support.store import SOON_S, Store


def obeying(store: Store) -> Hold:
    """A hold that obeys what each renewal of a lease finds."""
    hold = Hold(rate=45, clock=nanoseconds, changed=lambda _: None)
    store.lease._operator = hold.obey_operator
    return hold


async def send_waiting(store: Store, many: int) -> list[str]:
    ids = []
    for _ in range(many):
        entry, attempt, message = await store.begin_next()
        assert await store.queue.ack(entry, attempt, message, "p")
        ids.append(message.id)
    return ids


async def partly_remembered(store: Store, server: RedisServer) -> tuple[Tail, str, str]:
    """Older data that lacks two settlements, and their messages: only the second is remembered."""
    await queue(store, 3)
    tail = Tail(server)
    await reach(store)
    [forgotten] = await send_waiting(store, 1)
    store.lost_writes.settled = Settled()
    [remembered] = await send_waiting(store, 1)
    tail.lose()
    await reach(store)
    return tail, forgotten, remembered


async def flushed(store: Store) -> HeldBy:
    """Send a message, lose all data, and wait for the hold that is made for that."""
    await queue(store, 1)
    await send_waiting(store, 1)
    await store.redis.flushall()
    await reach(store)
    return await held(store)


# -- for the data ---------------------------------------------------------------------------------


async def test_a_second_backup_is_compared_as_the_first_was(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 6)
        first = Tail(own_server, "first")
        await reach(store)
        await send_waiting(store, 2)
        opened.lost_writes.settled = Settled()  # those two are not remembered
        second = Tail(own_server, "second")
        await reach(store)
        later = await send_waiting(store, 3)
        first.lose()
        await reach(store)
        assert "2 are not remembered" in (await held(store)).reason
        second.lose()  # newer, and it lacks three all the same
        await reach(store)
        ids = await claimed(store)
        assert set(ids) & set(later) == set()
        assert len(ids) == 1


async def test_a_hold_for_the_data_that_a_crash_loses_is_made_again(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        tail, sent, later = await partly_remembered(store, own_server)
        reason = (await held(store)).reason
        tail.lose()  # the same again: nobody has released it
        await reach(store)
        assert (await held(store)).reason == reason
        assert not store.identity.trusted
        await store.operator_hold.release("me")
        ids = await claimed(store)
        assert sent in ids  # it is not remembered: that is what was released
        assert later not in ids


async def test_what_a_crash_loses_of_a_comparison_is_made_again_before_a_release_counts(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        tail, _, later = await partly_remembered(store, own_server)
        await held(store)
        await store.operator_hold.release("me")
        tail.lose()
        await reach(store)
        await held(store)  # that release was for data which is gone
        await store.operator_hold.release("me")
        assert later not in await claimed(store)


async def test_a_release_while_no_daemon_runs_counts(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 1)
        await send_waiting(store, 1)
        known = store.identity.known
        await store.redis.flushall()
        await reach(store)
        await held(store)
    successor = Opened(own_server.url, owner="b")
    await successor.store.operator_hold.release("me")
    successor.store.identity.known = successor.store.identity.seen = known
    async with successor:
        await reach(successor.store)
        await successor.reconciled()
        assert await successor.store.operator_hold.look() is None


async def test_a_standby_that_slept_through_two_replacements_does_not_hold(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as active:
        store = active.store
        await queue(store, 1)
        await send_waiting(store, 1)
        known = store.identity.known
        for _ in range(2):
            await store.redis.flushall()
            await reach(store)
            await held(store)
            await store.operator_hold.release("me")
            await active.reconciled()
        standby = Opened(own_server.url, owner="b", leads=False)
        standby.store.identity.known = standby.store.identity.seen = known
        reconciling = asyncio.create_task(standby.store.reconciler.run())
        await reach(standby.store)
        await standby.reconciled()
        assert await store.operator_hold.look() is None
        reconciling.cancel()
        await asyncio.gather(reconciling, return_exceptions=True)
        await standby.store.aclose()


async def test_a_standby_does_not_hold_for_other_data_while_another_leads(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url, leads=False) as standby:
        store = standby.store
        await queue(store, 1)
        await store.redis.hset(store.keys.store, "id", "other")
        await reach(store)
        await asyncio.sleep(2 * PAUSE_S)
        assert await store.operator_hold.look() is None
        assert not store.identity.trusted


async def test_an_operators_hold_does_not_hide_that_the_one_for_the_data_is_lost(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        reason = (await flushed(store)).reason
        await store.redis.hset(store.keys.held, mapping={"reason": "lunch", "by": "ann"})
        async with asyncio.timeout(SOON_S):
            while reason not in (found := await held(store)).reason:
                await asyncio.sleep(0.02)
        assert found.reason == f"lunch; {reason}"
        assert found.by == "ann"


async def test_a_release_at_any_moment_of_a_look_counts(
    own_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await flushed(store)
        reconciler = opened.store.reconciler
        look, released = reconciler._is_released, False

        async def released_behind(known: Data) -> bool:
            nonlocal released
            found = await look(known)
            if not released:
                released = True
                await store.operator_hold.release("me")
            return found

        monkeypatch.setattr(reconciler, "_is_released", released_behind)
        await opened.reconciled()
        assert await store.operator_hold.look() is None


async def test_a_release_between_two_looks_at_the_hold_is_not_taken_for_a_loss(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url, leads=False) as opened:
        store, known = opened.store, Data("known", 5)
        await store.client.ask(Call("compared", {"token": "t"}))
        after = await store.operator_hold.hold_for("other data", known, "t", 0)
        assert after is not None
        await store.operator_hold.release("me")
        assert await store.operator_hold.hold_for("other data", known, "t", after) is None
        assert await store.operator_hold.look() is None


# -- an operator's --------------------------------------------------------------------------------


@pytest.mark.parametrize("release", [False, True])
async def test_a_hold_that_is_lost_is_made_again_and_one_that_is_released_is_not(
    store: Store,
    release: bool,
) -> None:
    hold = obeying(store)
    await store.operator_hold.hold("first", "bob")
    await store.operator_hold.release("bob")
    await renewed_of(store)
    await store.operator_hold.hold("wrong list, STOP", "ann")
    await renewed_of(store)
    made = await store.operator_hold.look()
    await store.redis.delete(store.keys.held, store.keys.released)
    await renewed_of(store)
    assert hold.reason == "held by ann: wrong list, STOP"
    assert not hold.permits(probe=True)
    store.wall.advance(1)
    if release:  # before it could be made again
        await store.operator_hold.release("bob")
    await renewed_of(store)
    assert await store.operator_hold.look() == (None if release else made)
    assert hold.engaged is not release
    if not release:
        await store.operator_hold.release("bob")
        await renewed_of(store)
        assert not hold.engaged


async def renewed_of(store: Store) -> None:
    await store.lease._acquire("")


async def test_an_operators_hold_outlives_a_crash_that_loses_the_last_second(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        hold = obeying(store)
        await queue(store, 1)
        tail = Tail(own_server)
        await reach(store)
        await store.operator_hold.hold("wrong list, STOP", "ann")
        keeping = asyncio.create_task(store.lease.run())
        async with asyncio.timeout(SOON_S):
            while not hold.engaged:
                await asyncio.sleep(0.02)
        tail.lose()
        await reach(store)
        found = await held(store)
        assert found == HeldBy("wrong list, STOP", "ann", store.wall.ms)
        assert hold.reason == "held by ann: wrong list, STOP"
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def test_what_fsck_sets_aside_goes_on_holding(store: Store) -> None:
    hold = obeying(store)
    await store.redis.set(store.keys.held, "STOP")
    await renewed_of(store)
    assert hold.engaged
    faults = [fault async for fault in Fsck(store.client, repair=True).faults()]
    assert [fault.mended for fault in faults if fault.name == store.keys.held] == [True]
    found = await store.operator_hold.look()
    assert found is not None
    assert "set aside" in found.reason
    await renewed_of(store)
    assert hold.engaged
    await store.operator_hold.release("ann")
    await renewed_of(store)
    assert not hold.engaged


@pytest.mark.parametrize("number", [0, 1700])
def test_a_release_number_that_does_not_grow_is_no_release(number: int) -> None:
    hold = Hold(rate=45, clock=lambda: 0, changed=lambda _: None)
    hold.obey_operator(Operator(None, 1764))
    hold.learn("1", Halted("20003", "auth"), probe=False, waiting=True)
    hold.obey_operator(Operator(None, number))  # older data, or a flush
    assert hold.engaged
    hold.obey_operator(Operator(None, 1764))
    assert hold.engaged
    hold.obey_operator(Operator(None, 1765))
    assert not hold.engaged


async def test_a_number_that_is_none_is_no_release(store: Store) -> None:
    await store.operator_hold.release("ann")
    assert (await renewed(store)).release == store.wall.ms
    await store.redis.set(store.keys.released, "9" * 30)
    assert (await renewed(store)).release == 0
    await store.operator_hold.hold("why", "ann")
    await store.operator_hold.release("ann")
    assert (await renewed(store)).release > store.wall.ms
