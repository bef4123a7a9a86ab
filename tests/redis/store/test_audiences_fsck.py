"""Faults of audiences, made by hand. Rule: each is found, mended, and found no more."""

from collections.abc import Awaitable, Callable

import pytest

from smsd.store.audiences.record import Source
from smsd.store.fsck import Fault, Fsck
from tests.redis.audiences import import_rows, keys_of_audiences, numbers, values
from tests.support.proxy import Proxy
from tests.support.store import ALICE, BOB, Store, dump

Spoil = Callable[[Store, str], Awaitable[str]]


async def look(store: Store, *, repair: bool = False) -> list[Fault]:
    return [fault async for fault in Fsck(store.client, repair=repair).faults()]


async def _spoil_a_record(store: Store, _: str) -> str:
    await store.redis.hset(store.keys.audiences, "a", "x")
    return "a"


async def _lose_a_record(store: Store, state: str) -> str:
    await store.redis.hdel(store.keys.audiences, "a")
    return state


async def _lose_the_state(store: Store, state: str) -> str:
    await store.redis.delete(state)
    return "a"


async def _spoil_the_state(store: Store, state: str) -> str:
    await store.redis.hset(state, "buckets", "x")
    return "a"


async def _put_something_in_place_of_the_state(store: Store, state: str) -> str:
    await store.redis.set(state, "x")
    return "a"


async def _take_contacts(store: Store, state: str) -> str:
    await store.redis.hdel(f"{state}:0", ALICE[1:], BOB[1:])
    return "a"


async def _lose_a_bucket(store: Store, state: str) -> str:
    await store.redis.delete(f"{state}:0")
    return "a"


async def _put_something_in_place_of_a_bucket(store: Store, state: str) -> str:
    await store.redis.set(f"{state}:0", "x")
    return "a"


async def _put_something_beside_it(store: Store, _: str) -> str:
    key = store.keys.audience("x:y")
    await store.redis.set(key, "x")
    return key


FAULTS = [value for name, value in list(globals().items()) if name.startswith(("_lose", "_spoil"))]
FAULTS += [_put_something_in_place_of_the_state, _take_contacts]
FAULTS += [_put_something_in_place_of_a_bucket, _put_something_beside_it]


@pytest.mark.parametrize("spoil", FAULTS, ids=lambda one: one.__name__.strip("_"))
async def test_a_fault_is_found_and_then_mended(wired: Store, proxy: Proxy, spoil: Spoil) -> None:
    imported = await import_rows(wired, "a", [[ALICE], [BOB]])
    await import_rows(wired, "b", [[number] for number in numbers(1_000)])
    assert await look(wired) == []
    name = await spoil(wired, wired.keys.audience(imported.audience.version))
    before = await dump(wired.redis, wired.keys.prefix)
    found = await look(wired)
    assert {one.kind for one in found} == {"audience"}
    assert name in {one.name for one in found}
    assert all(one.why and one.remedy and not one.mended for one in found)
    assert await dump(wired.redis, wired.keys.prefix) == before

    commands = len(proxy.commands)
    assert all(one.mended for one in await look(wired, repair=True))
    await wired.audiences.clean()
    assert await look(wired, repair=True) == []
    after = await dump(wired.redis, wired.keys.prefix)
    for command in [one for one in proxy.commands[commands:] if b"EVALSHA" in one]:
        await proxy.repeat(command)
    assert await dump(wired.redis, wired.keys.prefix) == after
    assert set(await values(wired, "b")) == set(numbers(1_000))


async def test_an_import_under_way_is_no_fault_and_is_not_repaired(store: Store) -> None:
    await import_rows(store, "a", [[ALICE]])
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add([[number] for number in numbers(1_000)])
        assert await look(store, repair=True) == []
        await under_way.commit(Source("", "", ""))
    assert await look(store, repair=True) == []  # nor is what it replaced
    assert set(await values(store, "a")) == set(numbers(1_000))
    await store.audiences.remove("a")
    await store.audiences.clean()
    assert await keys_of_audiences(store) == set()
