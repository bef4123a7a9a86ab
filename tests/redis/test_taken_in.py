"""What was taken in and is gone. Rule: it is named, whichever data had it."""

import asyncio

from smsd.redis.client import text
from smsd.redis.errors import TooFewReplicas
from smsd.redis.scripts import Call
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import LostWrites
from smsd.store.queue import Append
from tests.redis.opened import Opened, Tail
from tests.redis.test_older_data import held, queue, reach, send
from tests.support.redis_server import RedisServer
from tests.support.store import at, content

LIST = [f"+1202555{number:04}" for number in range(2500)]


async def test_what_was_taken_in_between_a_flush_and_the_return_of_the_data_is_named(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 3)
        await queue(store, 2)
        tail = Tail(own_server)
        await reach(store)
        await store.redis.flushall()
        await reach(store)
        assert "2 messages taken in" in (await held(store)).reason
        ids = await queue(store, 5)
        before = opened.texts_lost
        tail.lose()
        await reach(store)
        await opened.reconciled()
        async with asyncio.timeout(5):
            while opened.texts_lost == before:
                await asyncio.sleep(0.02)
        loss = opened.losses[-1]
        assert (loss.texts, loss.first, loss.last) == (5, ids[0], ids[-1])
        assert await store.length() == 2
        await store.redis.flushall()  # what came back can be lost again
        await reach(store)
        assert "2 messages taken in" in (await held(store)).reason


async def test_a_long_list_is_counted_among_what_is_gone(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        [before] = await queue(store, 1)
        await store.queue.append(Append.of(content(), LIST, store.wall()))
        [last] = await queue(store, 1)
        await store.redis.flushall()
        await reach(store)
        reason = (await held(store)).reason
        assert f"2502 messages taken in, {before} to {last}, are gone" in reason
        assert opened.texts_lost == 2502


async def test_a_long_list_that_is_not_queued_yet_is_counted_too(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        later = at(store.wall() + 60_000)
        request = Append.of(later, LIST[:1200], store.wall())
        await store.client.insist(store.queue._append_call(1, 0, request))
        await store.redis.flushall()
        await reach(store)
        assert "1200 messages taken in are gone" in (await held(store)).reason


async def test_what_is_sent_of_a_long_list_is_not_gone(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await store.queue.append(Append.of(content(), LIST[:1010], store.wall()))
        for _ in range(10):
            entry, attempt, message = await store.begin_next()
            assert await store.queue.ack(entry, attempt, message, "p")
        await store.redis.flushall()
        await reach(store)
        assert "1000 messages taken in" in (await held(store)).reason


async def test_what_is_lost_with_the_last_second_is_known_of_long_lists_too(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 1)
        tail = Tail(own_server)
        await reach(store)
        await store.queue.append(Append.of(content(), LIST, store.wall()))
        tail.lose()
        await reach(store)
        async with asyncio.timeout(5):
            while not opened.losses:
                await asyncio.sleep(0.02)
        assert opened.texts_lost == 2500


async def test_parts_of_a_long_list_are_acknowledged_by_replicas(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        request = Append.of(content(), LIST, store.wall())
        reply = await store.client.insist(store.queue._append_call(1, 0, request))
        assert isinstance(reply, list)
        store.client._replicas.needed = 1  # and there is none
        call = Call("append_part", {"list": text(reply[1]), "part": 1}, [store.keys.staged])
        try:
            await store.client.ask(call)
        except TooFewReplicas:
            return
        raise AssertionError("it counts as durable")


async def test_naming_what_is_gone_does_not_hold_the_loop() -> None:
    lost_writes = LostWrites(Keys(), "a", lost=lambda _: None, now_ms=lambda: 0)
    identity = Identity(Data("d"))
    for number in range(2000):
        ids = ",".join(f"1764201{number * 40 + one:06}-0" for one in range(40))
        call = Call("append", {"group": str(number)})
        lost_writes.observe([call], [[b"queued", ids.encode()]], identity)
    finished = {f"1764201{number:06}-0" for number in range(79_990)}
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counting = asyncio.create_task(count_turns())
    loss = await lost_writes.gone("d", finished)
    counting.cancel()
    assert loss.texts == 10
    assert turns >= 300  # for 80,000 ids
