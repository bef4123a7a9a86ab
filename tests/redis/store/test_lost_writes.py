"""Lost writes. Rule: what Redis acknowledged and lost is counted, named and never sent again."""

import asyncio
import shutil
import urllib.request
from pathlib import Path

import pytest

from smsd.redis.client import text
from smsd.redis.errors import TooFewReplicas, Unreachable
from smsd.redis.scripts import Call
from smsd.store.append import Append
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import LostWrites
from tests.redis.older_data import held, queue, reach, send
from tests.redis.opened import Opened, Tail, insist
from tests.support.processes import Daemon, eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    SOON_S,
    at,
    content,
    load_scripts,
    sha,
)


async def test_a_server_that_came_back_whole_is_believed(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        lives = [await store.sending() for _ in range(3)]
        assert await store.queue.ack(*lives[0], "p")
        assert await store.queue.defer(*lives[1], until=1, attempts=1, why="w")
        assert await store.queue.promote() == 1
        for _ in range(3):
            own_server.kill()
            own_server.start()
            await store.append()
            assert await store.queue.ack(*lives[2], "p")
            lives[2] = await store.sending()
        assert opened.losses == []
        assert await store.difference() == 0


async def test_the_daemon_says_and_counts_what_a_restored_server_has_forgotten(
    own_server: RedisServer, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path / "d", environment={"SMSD_REDIS__URL": own_server.url})
    daemon.start()
    try:
        daemon.send(to=ALICE, message="kept")
        own_server.kill()
        shutil.copytree(own_server.directory / "appendonlydir", tmp_path / "backup")
        own_server.start()
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, what="it is back")
        ids = [daemon.send(to=ALICE, message="forgotten")["id"] for _ in range(3)]
        assert "its last writes" not in daemon.log
        own_server.kill()
        shutil.rmtree(own_server.directory / "appendonlydir")
        shutil.copytree(tmp_path / "backup", own_server.directory / "appendonlydir")
        own_server.start()
        # ("lost" alone is also what a broken connection is.)
        eventually(lambda: "its last writes" in daemon.log, what="it is noticed")
        said = f'"redis lost its last writes: messages" messages=3 first={ids[0]} last={ids[2]}'
        assert said in daemon.log
        with urllib.request.urlopen(f"{daemon.url}/metrics") as answer:
            assert b'smsd_redis_lost_total{what="message"} 3.0' in answer.read()
    finally:
        daemon.kill()


async def test_settlements_are_told_again_though_the_last_is_of_a_text_that_was_lost_too(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        life = await store.sending()
        tail = Tail(own_server)
        await insist(store)
        lost = await store.begin_next()
        assert await store.queue.ack(*life, "p")
        assert await store.queue.ack(*lost, "p")
        tail.lose()
        await insist(store)
        await opened.reconciled()
        assert await store.state(life[2].id) == "sent"
        assert opened.settled_again == 1
        assert await store.unsettled.in_flight() == {}


@pytest.mark.parametrize("scheduled", [False, True])
async def test_a_text_whose_promotion_was_lost_as_well_is_not_sent_again(
    own_server: RedisServer, scheduled: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        if scheduled:
            await store.schedule(-1)
        else:
            life = await store.sending()
            assert await store.queue.defer(*life, until=1, attempts=1, why="w")
        tail = Tail(own_server)
        await reach(store)
        assert await store.queue.promote() == 1
        life = await store.begin_next()
        assert await store.queue.ack(*life, "p")
        tail.lose()
        await reach(store)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert await store.state(life[2].id) == "sent"
        assert opened.settled_again == 1
        census = await store.census()
        assert (census.deferred, census.finished["sent"], census.difference) == (0, 1, 0)


async def test_a_server_that_has_the_last_settlement_is_told_none_of_them_again(
    redis_server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    proxy = await Proxy(redis_server.socket, tmp_path / "p").start()
    async with Opened(proxy.url, prefix=prefix) as opened:
        store = opened.store
        await load_scripts(store.redis)
        for _ in range(3):
            assert await store.queue.ack(*await store.sending(), "p")
        proxy.commands.clear()
        proxy.lose_reply(sha("claim"))
        with pytest.raises(Unreachable):
            await store.queue.claim(0, 1)
        assert await store.queue.claim(0, 1) == []
        await store.append()
        assert sha("append") in b"".join(proxy.commands)
        assert sha("finish") not in b"".join(proxy.commands)
        assert opened.losses == []
    await proxy.stop()


# -- what was taken in and is gone -----------------------------------------------------------------


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
        before = opened.messages_lost
        tail.lose()
        await reach(store)
        await opened.reconciled()
        async with asyncio.timeout(SOON_S):
            while opened.messages_lost == before:
                await asyncio.sleep(0.02)
        loss = opened.losses[-1]
        assert (loss.messages, loss.first, loss.last) == (5, ids[0], ids[-1])
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
        assert opened.messages_lost == 2502


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
        async with asyncio.timeout(SOON_S):
            while not opened.losses:
                await asyncio.sleep(0.02)
        assert opened.messages_lost == 2500


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
    lost_writes = LostWrites(Keys(), "a", report=lambda _: None, now_ms=lambda: 0)
    identity = Identity(Data("d"))
    for number in range(2000):
        ids = ",".join(f"1764201{number * 40 + one:06}-0" for one in range(40))
        call = Call("append", {"group": str(number)})
        lost_writes.observe([call], [[b"queued", ids.encode(), 0]], identity)
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
    assert loss.messages == 10
    assert turns >= 300  # for 80,000 ids
