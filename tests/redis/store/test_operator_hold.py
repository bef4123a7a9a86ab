"""The operator's hold. Rule: it is durable, on record, and whatever stands at its key holds."""

import asyncio

import pytest

from smsd.core.fields import FieldError
from smsd.core.outcome import Halted
from smsd.dispatch.hold import Hold
from smsd.redis.client import text
from smsd.store.operator_hold import HeldBy, Operator
from tests.redis.dispatching import at_work, claimed, dispatcher, nanoseconds
from tests.support.provider import ScriptedProvider
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, OpenStore, Store, soon, until

NONE = Operator(None, 0)


async def renewed(store: Store) -> Operator:
    """What the next renewal finds."""
    await soon(store.lease._acquire(""))
    return store.found[-1]


async def events(store: Store) -> list[dict[str, str]]:
    found = await store.redis.xrange(store.keys.events)
    return [{text(name): text(value) for name, value in event.items()} for _, event in found]


async def test_a_renewal_finds_it_with_who_and_why_and_so_does_whoever_starts(
    store: Store, open_store: OpenStore
) -> None:
    assert await renewed(store) == NONE
    await store.operator_hold.hold("the numbers are wrong", "ann@host")
    held = HeldBy("the numbers are wrong", "ann@host", store.wall.ms)

    assert (await renewed(store)).held == held
    assert await store.operator_hold.look() == held
    assert (await renewed(open_store("b"))).held == held  # a standby, or the next start
    assert (await events(store))[-1] == {
        "id": "",
        "state": "held",
        "detail": "the numbers are wrong",
        "by": "ann@host",
    }


async def test_a_release_ends_it_and_has_a_new_number(store: Store) -> None:
    await store.operator_hold.hold("why", "ann")
    await store.operator_hold.release("bob")
    first = await renewed(store)
    assert (first.held, await store.operator_hold.look()) == (None, None)
    assert (await events(store))[-1] == {"id": "", "state": "released", "detail": "", "by": "bob"}

    store.wall.advance(1)
    await store.operator_hold.release("bob")
    assert (await renewed(store)).release > first.release


async def test_a_second_reason_is_kept_beside_the_first(store: Store) -> None:
    for reason, by in (("older data", "smsd"), ("lunch", "ann"), ("older data", "smsd")):
        await store.operator_hold.hold(reason, by)
        store.wall.advance(1)
    held = await store.operator_hold.look()
    assert held == HeldBy("older data; lunch", "ann", store.wall.ms - 3000)


@pytest.mark.parametrize("reason", ["", "  ", "two\nlines", "x" * 201])
async def test_a_reason_that_is_none_is_refused(store: Store, reason: str) -> None:
    with pytest.raises(FieldError):
        await store.operator_hold.hold(reason, "ann")
    assert await store.operator_hold.look() is None


@pytest.mark.parametrize(
    "command",
    [
        ["SET", "held", "x"],
        ["HSET", "held", "note", "x"],
        ["HSET", "held", "reason", "x", "since", "-1.5e99"],
        ["HSET", "held", "since", "9" * 400],
        ["XADD", "held", "*", "a", "b"],
        ["SADD", "held", "a"],
    ],
)
async def test_whatever_stands_at_its_key_holds_and_can_be_held_or_released(
    store: Store, command: list[str]
) -> None:
    command[1] = store.keys.held
    await store.redis.execute_command(*command)
    found = await renewed(store)
    assert found.held is not None
    assert found.held.reason
    assert await store.operator_hold.look() is not None

    await store.operator_hold.hold("mine", "ann")
    held = (await renewed(store)).held
    assert held is not None
    assert held.reason.endswith("mine")
    await store.operator_hold.release("ann")
    assert (await renewed(store)).held is None


@pytest.mark.parametrize("kind", ["released", "events"])
async def test_junk_beside_it_does_not_keep_it_from_acting(store: Store, kind: str) -> None:
    await store.redis.delete(getattr(store.keys, kind))
    await store.redis.sadd(getattr(store.keys, kind), "junk")
    assert await renewed(store) == NONE
    await store.operator_hold.hold("why", "ann")
    assert (await renewed(store)).held is not None
    await store.operator_hold.release("ann")
    assert (await renewed(store)).held is None


async def test_it_works_while_redis_is_full(redis_server: RedisServer, store: Store) -> None:
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            await store.operator_hold.hold("full", "ann")
            assert (await renewed(store)).held is not None
            await store.operator_hold.release("ann")
            assert (await renewed(store)).held is None
        finally:
            client.config_set("maxmemory", 0)


async def test_nothing_leaves_while_it_stands_and_all_goes_on_after_a_release(
    store: Store,
) -> None:
    hold, carrier = Hold(rate=1000, clock=nanoseconds, changed=lambda _: None), ScriptedProvider()
    store.lease._operator = hold.obey_operator
    await store.operator_hold.hold("maintenance", "ann")
    keeping = asyncio.create_task(store.lease.run())
    await soon(store.lease.taken.wait())  # it is obeyed before anything may be sent
    assert hold.reason == "held by ann: maintenance"
    work = dispatcher(store, carrier, hold=hold)
    ids = await claimed(store, ALICE, ALICE)
    async with at_work(work):
        await asyncio.sleep(0.3)
        assert (carrier.submitted, await store.unsettled.in_flight()) == ([], {})
        await store.operator_hold.release("bob")
        await until(lambda: len(carrier.submitted) == 2, "all goes on")
        assert carrier.submitted == ids
        await store.operator_hold.hold("again", "ann")
        await until(lambda: hold.engaged, "it is obeyed")
        assert await soon(work.drain(5))  # SIGTERM while it stands
    keeping.cancel()


async def test_a_release_ends_a_hold_for_the_providers_sake(store: Store) -> None:
    told: list[str] = []
    hold = Hold(rate=1000, clock=nanoseconds, changed=told.append)
    hold.obey_operator(await renewed(store))
    hold.learn("1-0", Halted("20005", "no funds"), probe=False, waiting=False)
    hold.obey_operator(await renewed(store))
    assert told == ["halted: 20005 no funds"]

    await store.operator_hold.release("ann")
    hold.obey_operator(await renewed(store))
    assert told[-1] == ""
    assert not hold.engaged


async def test_a_release_of_long_ago_does_not_end_a_hold(store: Store) -> None:
    await store.operator_hold.release("ann")
    hold = Hold(rate=1000, clock=nanoseconds, changed=lambda _: None)
    hold.learn(
        "1-0", Halted("20005", "no funds"), probe=False, waiting=False
    )  # (in a standby it is none)
    hold.obey_operator(await renewed(store))
    assert hold.engaged
