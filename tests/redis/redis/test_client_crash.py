"""A server that dies, loads or hangs. Rule: what was answered holds, and nobody hangs."""

import asyncio
import signal
from pathlib import Path

import pytest
import redis

from smsd.core.life import DeadReason
from smsd.redis.connection import connect
from smsd.redis.errors import (
    Away,
    Loading,
    RedisError,
    meaning,
)
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    OpenStore,
    Store,
    dump,
    soon,
    until,
)


async def test_a_server_that_loads_its_data_is_away_until_it_has(
    tmp_path: Path, open_store: OpenStore
) -> None:
    server = RedisServer(tmp_path / "l").start()
    store = await open_store(url=server.url).lead()
    life = await store.sending()
    async with store.redis.pipeline(transaction=False) as pipeline:
        for n in range(8000):  # it looks up from loading every 1024 commands
            pipeline.set(f"filler:{n % 10}", n)
        await pipeline.execute()
    server.kill()
    slow = RedisServer(tmp_path / "l", options=("--key-load-delay", "250"))
    starting = asyncio.create_task(asyncio.to_thread(slow.start))
    try:
        error = await soon(_first_loading(slow))
        assert isinstance(meaning(error), Loading)
        assert await soon(store.queue.ack(*life, "p"))
        await starting
        assert await store.difference() == 0
        assert (await store.census()).finished["sent"] == 1
    finally:
        await starting
        slow.kill()


async def _first_loading(server: RedisServer) -> Exception:
    async with connect(server.url, connections=1, timeout_s=3.0) as client:
        while True:
            try:
                await client.get("x")
            except (redis.RedisError, OSError) as error:
                if "loading" in str(error):  # already the greeting of a connection may say so
                    return error
                await asyncio.sleep(0.002)
            else:
                raise AssertionError("it had loaded already")


async def test_what_was_answered_is_there_after_sigkill(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    await store.append(*[ALICE] * 20)
    await store.schedule(5)
    life = await store.begin_next()
    gone = await store.begin_next()
    assert await store.queue.bury(*gone, reason=DeadReason.REJECTED)
    before = await dump(store.redis, store.keys.prefix)
    own_server.kill()
    own_server.start()
    assert await soon(_when_back(store)) == before
    assert await store.unsettled.in_flight() == {life[0].name: life[1]}
    assert await store.difference() == 0


async def _when_back(store: Store) -> dict[str, object]:
    while True:
        try:
            return await dump(store.redis, store.keys.prefix)
        except redis.RedisError:
            await asyncio.sleep(0.01)


async def test_insisting_waits_for_a_killed_server_and_then_answers(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    await store.append(*[ALICE] * 6)
    lives = [await store.begin_next() for _ in range(5)]
    entry, message = await store.claim_one()
    own_server.kill()
    queue = store.queue
    waiting = asyncio.gather(
        queue.ack(*lives[0], "p"),
        queue.defer(*lives[1], until=1, attempts=1, why="w"),
        queue.bury(*lives[2], reason=DeadReason.REJECTED),
        queue.expire(*lives[3]),
        queue.release(lives[4][0].name, lives[4][1]),
        store.begin(entry, store.attempt(), message.recipient),
    )
    await until(lambda: not store.availability.up, "it is noticed")
    await asyncio.sleep(0.2)
    assert not waiting.done()
    own_server.start()
    assert await soon(waiting) == [True, True, True, True, None, "begun"]
    assert store.availability.up
    assert await store.difference() == 0


async def test_an_append_outlives_a_short_absence(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    own_server.kill()
    appends = [asyncio.create_task(store.append(ALICE, ALICE)) for _ in range(10)]
    await until(lambda: not store.availability.up, "it is noticed")
    own_server.start()
    made = await soon(asyncio.gather(*appends))
    assert len({id_ for ids in made for id_ in ids}) == await store.length() == 20


async def test_an_append_to_an_absent_redis_fails_when_its_patience_ends(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    own_server.kill()
    appends = asyncio.gather(*(store.append() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, Away) for result in await soon(appends))


async def test_an_append_to_a_server_that_hangs_fails_and_does_not_hang(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    own_server.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(Away):
            await soon(store.append())
    finally:
        own_server.send_signal(signal.SIGCONT)
    # It was told that the text may be queued or not; it is so once at most.
    await store.append()
    assert await store.length() in (1, 2)
    assert await store.difference() == 0


async def test_a_server_killed_again_and_again_takes_each_text_once(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    answered: list[str] = []
    unanswered = 0
    stop = asyncio.Event()

    async def intake() -> None:
        nonlocal unanswered
        while not stop.is_set():
            try:
                answered.extend(await store.append())
            except RedisError:
                unanswered += 1

    takers = [asyncio.create_task(intake()) for _ in range(20)]
    for _ in range(4):
        await asyncio.sleep(0.1)
        own_server.kill()
        await asyncio.to_thread(own_server.start)
    stop.set()
    await soon(asyncio.gather(*takers))
    entries = [entry.decode() for entry, _ in await store.redis.xrange(store.keys.queue)]
    assert len(answered) == len(set(answered))
    assert set(answered) <= set(entries)
    assert len(entries) <= len(answered) + unanswered
