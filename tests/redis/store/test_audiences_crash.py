"""Imports under faults. Rule: an import that breaks off changes nothing, and leaves nothing."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import redis

from smsd.redis.errors import OutOfMemory
from smsd.redis.scripts import Call
from smsd.store.audiences import UNTOUCHED_MS
from smsd.store.audiences.record import Counts, Source
from smsd.store.audiences.staging import IN_PLACE, TOUCH_S
from smsd.store.audiences.version import StagingLost
from tests.redis.audiences import import_rows, numbers, values
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, BOB, OpenStore, Store, Wall, dump, sha, soon

COUNT = IN_PLACE + 300  # of an import that takes a version of its own
OLD = [[number, "old"] for number in [ALICE, *numbers(3)]]
NEW = [[number, "new"] for number in [*numbers(COUNT), *numbers(2)]]
SCRIPTS = {
    "replace": ["audience_begin", "audience_stage", "audience_commit"],
    "add much": ["audience_begin", "audience_stage", "audience_merge", "audience_commit"],
    "add": ["audience_add"],
}
CASES = [(how, script) for how, scripts in SCRIPTS.items() for script in scripts]


async def run(store: Store, how: str) -> Counts:
    given = NEW[:5] + NEW[-2:] if how == "add" else NEW
    replace = how == "replace"
    return (await import_rows(store, "a", given, fields=["name"], replace=replace)).counts


EXPECTED = {
    "replace": Counts(added=COUNT, duplicates=2),
    "add much": Counts(added=COUNT - 3, updated=3, duplicates=2),
    "add": Counts(added=2, updated=3, duplicates=2),
}


@pytest.mark.parametrize(("how", "script"), CASES)
async def test_a_reply_that_is_lost_counts_nothing_twice(
    wired: Store, proxy: Proxy, how: str, script: str
) -> None:
    await import_rows(wired, "a", OLD, fields=["name"])
    proxy.lose_reply(sha(script), times=2)
    assert await soon(run(wired, how)) == EXPECTED[how]
    assert proxy.lost == 2
    found = await values(wired, "a")
    assert len(found) == {"replace": COUNT, "add much": COUNT + 1, "add": 6}[how]
    shown = await wired.audiences.show("a")
    assert shown is not None
    assert shown.contacts == len(found)


class Killed(BaseException):
    """The daemon is gone: nothing of it goes on."""


def kill_at(store: Store, step: int, *, done: bool) -> None:
    """At a step of what the store asks of scripts; its script has run by then, or not."""
    insist_all, steps = store.client.insist_all, iter(range(step))

    async def until_killed(calls: list[Call], *, patience_s: float | None = None) -> list[object]:
        last = next(steps, None) is None
        if last and not done:
            raise Killed
        replies = await insist_all(calls, patience_s=patience_s)
        if last:
            raise Killed
        return replies

    async def refuse(call: Call) -> object:
        raise Killed

    store.client.insist_all = until_killed  # type: ignore[assignment,method-assign]
    store.client.ask = refuse  # type: ignore[method-assign]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("step", range(6))
@pytest.mark.parametrize("how", SCRIPTS)
async def test_one_that_is_killed_changes_nothing_and_is_removed_in_time(
    store: Store, open_store: OpenStore, wall: Wall, how: str, step: int, *, done: bool
) -> None:
    await import_rows(store, "a", OLD, fields=["name"])
    before = await dump(store.redis, store.keys.prefix)
    dying = open_store("b")
    kill_at(dying, step, done=done)
    with suppress(Killed):
        await run(dying, how)
    found = await values(store, "a")
    names = {contact["name"] for contact in found.values()}
    committed = "new" in names
    if not committed:
        assert len(found) == len(OLD)
        wall.advance(UNTOUCHED_MS / 1000 - 1)
        await store.audiences.clean()
        assert await values(store, "a") == found  # and what is staged is still there
        wall.advance(2)
        await store.audiences.clean()
        assert await dump(store.redis, store.keys.prefix) == before
    else:
        assert len(found) == {"replace": COUNT, "add much": COUNT + 1, "add": 6}[how]
    await run(store, how)
    again = await values(store, "a")
    assert len(again) == {"replace": COUNT, "add much": COUNT + 1, "add": 6}[how]
    await store.audiences.clean()
    assert await values(store, "a") == again


async def test_one_that_is_committed_late_is_refused(store: Store, wall: Wall) -> None:
    """It was cleaned away: nobody had shown for a quarter of an hour that it is under way."""
    await import_rows(store, "a", OLD, fields=["name"])
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(NEW)
        wall.advance(UNTOUCHED_MS / 1000 + 1)
        await store.audiences.clean()
        with pytest.raises(StagingLost):
            await under_way.commit(Source("", "", ""))
    assert len(await values(store, "a")) == len(OLD)


async def test_one_whose_caller_is_slow_is_kept(
    store: Store, wall: Wall, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("smsd.store.audiences.staging.TOUCH_S", TOUCH_S / 10_000)
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(NEW)
        for _ in range(5):
            wall.advance(UNTOUCHED_MS / 1000 - 1)
            await asyncio.sleep(0.1)
            await store.audiences.clean()
        assert (await under_way.commit(Source("", "", ""))).counts == EXPECTED["replace"]


async def test_one_of_which_redis_has_lost_a_part_is_refused(store: Store) -> None:
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(NEW)
        await store.redis.hset(store.keys.audience(under_way.id), "batch", 0)
        with pytest.raises(StagingLost):
            await under_way.commit(Source("", "", ""))
    assert await store.audiences.show("a") is None


async def test_calls_that_arrive_late_bring_nothing_back(wired: Store, proxy: Proxy) -> None:
    """Each of them once more when the audience was removed, and when another has its name."""
    await import_rows(wired, "a", OLD, fields=["name"])
    await run(wired, "add much")
    await run(wired, "add")
    await wired.audiences.discard("a", ALICE)
    late = [one for one in proxy.commands if b"EVALSHA" in one and b'"name"' in one]
    late += [one for one in proxy.commands if sha("audience_stage") in one]
    late += [one for one in proxy.commands if sha("audience_merge") in one]
    await wired.audiences.remove("a")
    for command in late:
        await proxy.repeat(command)
    assert await wired.audiences.show("a") is None
    await import_rows(wired, "a", [[ALICE, "new"], [BOB, "new"]], fields=["name"])
    before = await values(wired, "a")
    late += [one for one in proxy.commands if sha("audience_remove") in one]
    for command in late:
        await proxy.repeat(command)
    assert await values(wired, "a") == before
    wired.wall.advance(UNTOUCHED_MS / 1000 + 1)
    await wired.audiences.clean()
    assert await values(wired, "a") == before
    assert await wired.redis.zcard(wired.keys.audiences_unfinished) == 0


@pytest.mark.parametrize("script", ["audience_discard", "audience_remove"])
async def test_a_lost_reply_does_not_make_it_look_absent(
    wired: Store, proxy: Proxy, script: str
) -> None:
    await import_rows(wired, "a", OLD, fields=["name"])
    proxy.lose_reply(sha(script))
    if script == "audience_discard":
        assert await soon(wired.audiences.discard("a", ALICE))
        assert ALICE not in await values(wired, "a")
    else:
        assert await soon(wired.audiences.remove("a"))
        assert await wired.audiences.show("a") is None


# -- a full Redis ---------------------------------------------------------------------------------


@pytest.fixture
def full(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Call it to fill Redis up; it is emptied in the end."""
    with redis_server.client() as client:
        yield lambda: _configure(client, 1)
        _configure(client, 0)


def _configure(client: "redis.Redis", maxmemory: int) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", maxmemory)


@pytest.mark.parametrize("how", SCRIPTS)
async def test_a_full_redis_refuses_an_import_and_changes_nothing(
    store: Store, full: Callable[[], None], how: str
) -> None:
    await import_rows(store, "a", OLD, fields=["name"])
    before = await dump(store.redis, store.keys.prefix)
    full()
    with pytest.raises(OutOfMemory):
        await soon(run(store, how))
    await store.audiences.clean()
    assert await dump(store.redis, store.keys.prefix) == before


async def test_while_redis_is_full_what_is_unfinished_or_removed_makes_room(
    store: Store, full: Callable[[], None]
) -> None:
    await import_rows(store, "a", OLD, fields=["name"])
    await import_rows(store, "b", NEW, fields=["name"])
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(NEW)
        full()
        with pytest.raises(OutOfMemory):
            await under_way.add(NEW)
    assert await store.audiences.discard("a", ALICE)
    assert await store.audiences.remove("b")
    await store.audiences.clean()
    assert await store.redis.zcard(store.keys.audiences_unfinished) == 0
    assert len(await values(store, "a")) == len(OLD) - 1


async def test_one_that_is_staged_when_redis_gets_full_is_committed(
    store: Store, full: Callable[[], None]
) -> None:
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(NEW)
        await under_way.add([])
        under_way._waiting.clear()
        full()
        await under_way.commit(Source("", "", ""))
    assert await values(store, "a")
