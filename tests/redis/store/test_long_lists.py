"""Long lists. Rule: all of their messages are queued or none, once, crash or not."""

import asyncio
import json

import pytest

from smsd.store.append import Append, KeyConflict, QueueFull
from smsd.store.long_lists import PART, Unfinished
from tests.support.proxy import Proxy
from tests.support.store import OpenStore, Store, Wall, at, content, sha, soon

NUMBERS = [f"+1202555{n:04d}" for n in range(2_500)]
PARTS = 3  # of 1,000, 1,000 and 500


def long_list(wall: Wall, *, scheduled: bool = False, key: str = "") -> Append:
    text = at(wall() + 60_000) if scheduled else content()
    request = Append.of(text, NUMBERS, wall())
    return request._replace(idempotency_key=key, fingerprint="f", answer=b"{}")


async def queued(store: Store) -> list[str]:
    entries = await store.redis.xrange(store.keys.queue)
    return [fields[b"to"].decode() for _, fields in entries]


async def test_it_is_queued_in_order_and_in_short_steps(wired: Store, proxy: Proxy) -> None:
    appended = await wired.queue.append(long_list(wired.wall))
    entries = await wired.redis.xrange(wired.keys.queue)
    assert [entry.decode() for entry, _ in entries] == appended.ids
    assert await queued(wired) == NUMBERS
    assert sum(sha("append_part") in command for command in proxy.commands) == PARTS
    [append] = [command for command in proxy.commands if sha("append") in command]
    assert await wired.redis.exists(wired.keys.staged) == 0
    assert len(NUMBERS) > PART * (PARTS - 1)
    assert b"XADD" not in append
    assert await wired.difference() == 0


@pytest.mark.parametrize("script", ["append", "append_part", "append_end"])
async def test_a_reply_that_is_lost_doubles_nothing(
    wired: Store, proxy: Proxy, script: str
) -> None:
    proxy.lose_reply(sha(script))
    appended = await soon(wired.queue.append(long_list(wired.wall)))
    assert await queued(wired) == NUMBERS
    assert len(set(appended.ids)) == len(NUMBERS)
    assert await wired.redis.exists(wired.keys.staged) == 0
    assert await wired.difference() == 0


async def dies_after(store: Store, parts: int, request: Append) -> None:
    """Accept the list, queue some parts of it, and go no further."""
    insist, left = store.client.insist, parts

    async def stop(call: object) -> object:
        nonlocal left
        left -= 1
        if left < 0:
            raise asyncio.CancelledError
        return await insist(call)  # type: ignore[arg-type]

    store.client.insist = stop  # type: ignore[method-assign]
    with pytest.raises(asyncio.CancelledError):
        await store.queue.append(request)


@pytest.mark.parametrize("scheduled", [False, True], ids=["now", "scheduled"])
@pytest.mark.parametrize("parts", [0, 1, 3])
async def test_one_that_was_left_behind_is_finished_by_whoever_dispatches(
    store: Store, open_store: OpenStore, wall: Wall, parts: int, *, scheduled: bool
) -> None:
    await dies_after(store, parts, long_list(wall, scheduled=scheduled))
    successor = open_store("b")
    await successor.queue.long_lists.finish_left_behind()
    assert await successor.redis.exists(successor.keys.staged) == 1  # perhaps it is being finished
    wall.advance(20)
    await successor.queue.long_lists.finish_left_behind()
    census = await successor.census()
    assert (census.deferred if scheduled else census.queued) == len(NUMBERS)
    assert census.difference == 0
    assert await successor.redis.exists(successor.keys.staged) == 0
    if not scheduled:
        assert await queued(successor) == NUMBERS
    await successor.queue.long_lists.finish_left_behind()
    assert (await successor.census()).waiting == len(NUMBERS)


@pytest.mark.parametrize("scheduled", [False, True], ids=["now", "scheduled"])
async def test_one_that_a_version_before_kept_is_finished(
    store: Store, open_store: OpenStore, wall: Wall, *, scheduled: bool
) -> None:
    """It has `lane` for `stream`, and `facts` for `look_up`."""
    text = at(wall() + 60_000, ref="r") if scheduled else content(priority="high", ref="r")
    await dies_after(store, 0, Append.of(text, NUMBERS, wall()))
    staged = store.keys.staged
    for name, packed in (await store.redis.hgetall(staged)).items():
        if name.count(b":") == 1:
            renamed = packed.replace(b'"stream":', b'"lane":').replace(b'"look_up":', b'"facts":')
            assert renamed != packed
            await store.redis.hset(staged, name, renamed)
    wall.advance(20)
    await open_store("b").queue.long_lists.finish_left_behind()
    place = (
        store.redis.zcard(store.keys.deferred) if scheduled else store.redis.xlen(store.keys.high)
    )
    assert await place == len(NUMBERS)
    if scheduled:
        [id_] = await store.redis.zrange(store.keys.deferred, 0, 0)
        shown = await store.lookup.message(id_.decode())
        assert shown is not None
        assert (shown["ref"], shown["encoding"]) == ("r", "gsm7")


async def test_a_repetition_with_the_key_goes_on_where_the_first_request_died(
    store: Store, open_store: OpenStore, wall: Wall
) -> None:
    request = long_list(wall, key="k")
    await dies_after(store, 1, request)
    again = open_store("b")
    assert await again.queue.first_answer("k") is None
    with pytest.raises(KeyConflict):
        await again.queue.append(request._replace(fingerprint="g"))
    appended = await again.queue.append(request)
    assert await queued(again) == NUMBERS
    assert len(appended.ids) == len(NUMBERS)
    found = await again.queue.first_answer("k")
    assert found is not None
    assert found[1].ids == appended.ids
    assert await again.queue.append(request) == found[1]
    assert await again.difference() == 0


async def test_repetitions_at_once_queue_it_once(store: Store, wall: Wall) -> None:
    request = long_list(wall, key="k")
    results = await asyncio.gather(
        *(store.queue.append(request) for _ in range(5)), return_exceptions=True
    )
    assert await queued(store) == NUMBERS
    for result in results:
        assert isinstance(result, Unfinished) or len(result.ids) == len(NUMBERS)  # type: ignore[union-attr]
    assert len((await store.queue.append(request)).ids) == len(NUMBERS)


async def test_where_there_is_no_room_for_all_nothing_is_kept(
    open_store: OpenStore, wall: Wall
) -> None:
    store = open_store(max_length=len(NUMBERS) - 1)
    with pytest.raises(QueueFull):
        await store.queue.append(long_list(wall))
    assert await store.redis.exists(store.keys.staged, store.keys.queue) == 0


async def test_what_is_kept_takes_the_room_of_what_waits(open_store: OpenStore, wall: Wall) -> None:
    store = open_store(max_length=len(NUMBERS) + 100)
    await dies_after(store, 0, long_list(wall))  # nothing of it is in the queue yet
    with pytest.raises(QueueFull):
        await store.queue.append(long_list(wall))
    del store.client.insist
    wall.advance(20)
    await store.queue.long_lists.finish_left_behind()
    assert await store.redis.exists(store.keys.staged) == 0
    await store.redis.delete(store.keys.queue)
    await store.client.ensure_groups()
    assert len((await store.queue.append(long_list(wall))).ids) == len(NUMBERS)


async def test_what_other_hands_wrote_there_stops_nothing(store: Store, wall: Wall) -> None:
    junk = {"": "", "x": "{", "1": "[]", "2-a": "null", "3-a": "\xff", "4:1": "{}"}
    await store.redis.hset(store.keys.staged, mapping=junk)
    await dies_after(store, 1, long_list(wall))
    await store.redis.hset(store.keys.staged, "5-a", json.dumps({"parts": 2, "scheduled": 1}))
    wall.advance(20)
    del store.client.insist
    await store.queue.long_lists.finish_left_behind()
    assert await queued(store) == NUMBERS
