"""Redis at its worst. Rule: what was answered holds, what is repeated counts once, nobody hangs."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio import Redis

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.dispatch.claimer import parse_entry
from smsd.redis import availability, scripts
from smsd.redis.client import PLACES
from smsd.redis.connection import command, connect
from smsd.redis.errors import (
    Away,
    Loading,
    OutOfMemory,
    RedisError,
    RefusesWrites,
    meaning,
)
from smsd.redis.scripts import Call
from smsd.store import queue as queue_module
from smsd.store.entry import Attempt, Entry
from smsd.store.identity import Data
from smsd.store.lease import lease_keys
from smsd.store.queue import APPEND_PATIENCE_S, Append
from tests.redis.dispatching import recovery
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    LIMITS,
    OpenStore,
    Store,
    Wall,
    content,
    dump,
    load_scripts,
    sha,
    soon,
    until,
)

Life = tuple[Entry, Attempt, Message]

# -- the groups are gone ------------------------------------------------------------------------


async def _destroy_groups(store: Store) -> None:
    for stream in (store.keys.high, store.keys.queue):
        await store.redis.xgroup_destroy(stream, "smsd")


async def _delete_streams(store: Store) -> None:
    await store.redis.delete(store.keys.high, store.keys.queue)


async def _flush(store: Store) -> None:
    await store.redis.flushall()
    store.identity.accepted(Data())  # as for a daemon that has never seen what is gone


Ruin = Callable[[Store], Awaitable[None]]
ruins = pytest.mark.parametrize("ruin", [_destroy_groups, _delete_streams, _flush])


@ruins
async def test_a_claim_makes_the_groups_again_and_skips_no_entry(store: Store, ruin: Ruin) -> None:
    await store.append()
    await store.queue.claim(10, 10)
    await ruin(store)
    ids = await store.append(ALICE, ALICE, priority="high") + await store.append(ALICE, ALICE)
    entries = await store.queue.claim(10, 10)
    claimed = [entry.first_message_id for entry in entries]
    assert [id_ for id_ in claimed if id_ in ids] == ids


@ruins
async def test_the_pending_list_makes_the_groups_again(store: Store, ruin: Ruin) -> None:
    await store.append()
    await store.queue.claim(10, 10)
    await ruin(store)
    assert await store.queue.pending() == []
    [id_] = await store.append()
    assert id_ in [entry.first_message_id for entry in await store.queue.claim(10, 10)]


@ruins
async def test_waiting_for_arrivals_makes_the_groups_again(store: Store, ruin: Ruin) -> None:
    await ruin(store)
    await soon(store.arrivals.wait(normal_too=True))
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    [id_] = await store.append(priority="high")
    await soon(waiting)
    [entry] = await store.queue.claim(10, 10)
    assert entry.first_message_id == id_


@ruins
async def test_who_waits_for_arrivals_while_it_happens_goes_on(store: Store, ruin: Ruin) -> None:
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    await asyncio.sleep(0.05)
    await ruin(store)
    await soon(waiting)
    [id_] = await store.append()
    await soon(store.arrivals.wait(normal_too=True))
    [entry] = await store.queue.claim(10, 10)
    assert entry.first_message_id == id_


@ruins
async def test_recovery_goes_on_without_groups(store: Store, ruin: Ruin) -> None:
    await store.sending()
    await store.append()
    await store.claim_one()
    await ruin(store)
    await soon(recovery(store).recover())
    await store.append()
    await store.claimer.admit(await store.queue.claim(10, 10))
    assert await store.queue.journal() == {}
    assert len(store.prefetch) >= 1


async def test_a_claim_that_finds_one_group_gone_loses_none_of_the_other_lane(
    store: Store,
) -> None:
    ids = await store.append(ALICE, priority="high") + await store.append(ALICE)
    await store.redis.xgroup_destroy(store.keys.queue, "smsd")
    entries = await store.queue.claim(10, 10)
    entries += await store.queue.claim(10, 10)
    assert [entry.first_message_id for entry in entries] == ids


async def test_what_is_being_sent_is_settled_though_its_group_was_destroyed(store: Store) -> None:
    life = await store.sending()
    await _destroy_groups(store)
    assert await store.queue.ack(*life, "p")
    assert await store.length() == 0
    assert await store.difference() == 0


async def test_what_is_being_sent_settles_to_nothing_after_a_flush(store: Store) -> None:
    life = await store.sending()
    await _flush(store)
    assert not await store.queue.ack(*life, "p")
    assert not await store.queue.defer(*life, until=0, attempts=1, why="w")
    assert not await store.queue.bury(*life, reason=DeadReason.REJECTED)
    await store.queue.release(life[0].name, life[1])


async def test_groups_made_by_two_at_once_are_made(store: Store, open_store: OpenStore) -> None:
    await _flush(store)
    other = open_store("b")
    await asyncio.gather(*(one.client.ensure_groups() for one in (store, other) * 10))
    assert await store.queue.claim(1, 1) == []


# -- the scripts are gone -----------------------------------------------------------------------


async def test_scripts_are_sent_again_to_a_server_that_forgot_them(
    store: Store, wall: Wall
) -> None:
    async def forget() -> None:
        await store.redis.script_flush()

    await store.schedule(1)
    await forget()
    wall.advance(2)
    assert await store.queue.promote() == 1
    await forget()
    entry, message = await store.claim_one()
    await forget()
    attempt = store.attempt()
    assert await store.begin(entry, attempt, message.recipient) == "begun"
    await forget()
    assert await store.queue.ack(entry, attempt, message, "p")
    await forget()
    assert await store.difference() == 0


async def test_a_whole_group_survives_forgotten_scripts(store: Store) -> None:
    await store.redis.script_flush()
    made = await asyncio.gather(*(store.append() for _ in range(150)))
    assert len({id_ for [id_] in made}) == await store.length() == 150
    lives = [await store.begin_next() for _ in range(100)]
    await store.redis.script_flush()
    halves = zip(lives[:50], lives[50:], strict=True)
    settled = await asyncio.gather(
        *(
            one
            for first, second in halves
            for one in (
                store.queue.ack(*first, "p"),
                store.queue.bury(*second, reason=DeadReason.REJECTED),
            )
        )
    )
    assert settled == [True] * 100
    assert await store.difference() == 0


# -- Redis is full ------------------------------------------------------------------------------


@pytest.fixture
def full(redis_server: RedisServer) -> Iterator[Callable[[], None]]:
    """Call it to fill Redis up; it is emptied in the end."""
    with redis_server.client() as client:
        yield lambda: _configure(client, 1)
        _configure(client, 0)


def _configure(client: "redis.Redis", maxmemory: int) -> None:
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", maxmemory)


Full = Callable[[], None]


async def test_a_full_redis_refuses_to_append_and_queues_nothing(store: Store, full: Full) -> None:
    await store.append()
    before = await dump(store.redis, store.keys.prefix)
    full()
    requests = [
        Append(content(), [ALICE]),
        Append(content(priority="high"), [ALICE] * 3),
        Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}"),
    ]
    for request in requests:
        with pytest.raises(OutOfMemory):
            await soon(store.queue.append(request))
    with pytest.raises(OutOfMemory):
        await soon(store.schedule(5))
    assert await dump(store.redis, store.keys.prefix) == before


async def test_every_append_of_a_group_is_refused_when_redis_is_full(
    store: Store, full: Full
) -> None:
    full()
    results = await soon(
        asyncio.gather(*(store.append() for _ in range(100)), return_exceptions=True)
    )
    assert all(isinstance(result, OutOfMemory) for result in results)
    assert await store.length() == 0


async def test_an_append_is_taken_or_refused_as_a_whole_where_redis_fills_up(
    wired: Store, proxy: Proxy, full: Full
) -> None:
    """A group is cut off between two of its calls: the first is done, the rest finds Redis full."""
    proxy.lose_reply(sha("append"))
    appends = [asyncio.create_task(wired.append(ALICE, ALICE)) for _ in range(5)]
    await until(lambda: proxy.lost == 1, "the reply was lost")
    full()
    results = await soon(asyncio.gather(*appends, return_exceptions=True))
    taken = [result for result in results if isinstance(result, list)]
    assert all(isinstance(result, list | OutOfMemory | Away) for result in results)
    assert await wired.length() == 2 * len(taken)
    assert await wired.difference() == 0


async def test_intake_goes_on_when_there_is_room_again(
    store: Store, full: Full, redis_server: RedisServer
) -> None:
    full()
    with pytest.raises(OutOfMemory):
        await store.append()
    with redis_server.client() as client:
        _configure(client, 0)
    await store.append()
    assert await store.length() == 1


async def test_everything_but_intake_works_while_redis_is_full(
    store: Store, open_store: OpenStore, wall: Wall, full: Full
) -> None:
    for n in range(3):
        await store.schedule(1, f"s{n}")
    await store.append(*[ALICE] * 10)
    letter, dead_id = await store.dead_letter()
    lost, lost_id = await store.dead_letter()
    full()
    wall.advance(2)
    queue = store.queue
    assert await queue.promote() == 3
    entries = await queue.claim(20, 20)
    lives: list[Life] = []
    for entry in entries:
        message = parse_entry(entry, LIMITS, wall())
        assert await store.begin(entry, store.attempt(), message.recipient) == "begun"
        lives.append((entry, store.attempt(), message))
    assert len(lives) == 13
    assert await queue.ack(*lives[0], "p")
    assert await queue.defer(*lives[1], until=wall(), attempts=1, why="w")
    assert await queue.bury(*lives[2], reason=DeadReason.IN_DOUBT, suppress=True)
    assert await queue.ack(*lives[2], "p")
    assert await queue.expire(*lives[3])
    await queue.release(lives[4][0].name, lives[4][1])
    assert await queue.suppress(lives[4][0], lives[4][2])
    assert await queue.replay(letter, dead_id)
    assert await queue.drop(lost, lost_id)
    assert await queue.cancel(dead_id) == "cancelled"
    assert len(await queue.reclaim(await queue.pending())) == 8
    await store.client.ensure_groups()
    await _destroy_groups(store)
    assert len(await queue.claim(20, 20)) == 8
    assert await store.difference() == 0
    await store.redis.delete(store.keys.lease)
    acquire = Call(
        "acquire", {"life_ms": 60_000, "dead": "", "hold": "x", "held_s": 1}, lease_keys(store.keys)
    )
    for _ in range(2):
        acquired = await store.client.ask(acquire)
        assert acquired == [b"a", 0, b"0"]
    await store.client.ask(Call("yield", keys=[store.keys.hold]))
    taken = await open_store("b").client.ask(acquire)
    assert taken == [b"b", 0, b"0"]


# -- Redis is a replica -------------------------------------------------------------------------


@contextmanager
def _demoted(server: RedisServer) -> Iterator["redis.Redis"]:
    """A failover: the server is a replica of one that nobody reaches, until told otherwise."""
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        yield client


async def test_a_replica_is_away_and_insisting_comes_back_with_it(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    life = await store.sending()
    await store.append()
    entry, message = await store.claim_one()
    with _demoted(own_server) as client:
        for operation in (store.queue.claim(1, 1), store.queue.cancel(message.id)):
            with pytest.raises(RefusesWrites):
                await operation
        ack = store.queue.ack(*life, "p")
        begin = asyncio.create_task(store.begin(entry, store.attempt(), ALICE))
        await until(lambda: not store.availability.up, "it is noticed")
        assert "ReadOnlyError" in store.availability.reason
        assert not ack.done()
        client.replicaof("NO", "ONE")
        assert await soon(ack)
        assert await soon(begin) == "begun"
        assert store.availability.up
    assert await store.queue.bury(entry, store.attempt(), message, reason=DeadReason.REJECTED)
    assert await store.difference() == 0


async def test_groups_are_not_made_on_a_replica_which_is_away(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = open_store(url=own_server.url)
    with _demoted(own_server) as client:
        for _ in range(2):  # by a script that it does not know yet, or does
            with pytest.raises(RefusesWrites):
                await store.client.ensure_groups()
            assert not store.availability.up
        client.replicaof("NO", "ONE")
    await store.client.ensure_groups()
    assert store.availability.up
    assert await store.queue.claim(1, 1) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """An append gives up soon."""
    monkeypatch.setattr(queue_module, "APPEND_PATIENCE_S", 0.3)


@pytest.mark.usefixtures("impatient")
async def test_an_append_to_a_replica_is_told_that_redis_is_away(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    with _demoted(own_server):
        with pytest.raises(RefusesWrites):
            await soon(store.append())
        assert not store.availability.up
    assert await store.length() == 0


async def test_an_append_waits_out_a_short_failover(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    with _demoted(own_server) as client:
        append = asyncio.create_task(store.append(ALICE, ALICE))
        await until(lambda: not store.availability.up, "it is noticed")
        client.replicaof("NO", "ONE")
        await soon(append)
    assert await store.length() == 2


async def test_who_waits_for_arrivals_survives_a_failover(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    await asyncio.sleep(0.05)
    with _demoted(own_server):
        [result] = await soon(asyncio.gather(waiting, return_exceptions=True))
    assert result is None or isinstance(result, Away), result


async def test_a_waiting_read_that_is_unblocked_by_hand_is_no_fault(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    with own_server.client() as client:

        def blocked() -> list[Any]:
            return [one for one in client.client_list() if "b" in one["flags"]]

        await until(lambda: bool(blocked()), "it waits")
        client.client_unblock(blocked()[0]["id"], error=True)
    await soon(waiting)


# -- Redis loads, dies, and comes back ----------------------------------------------------------


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
    slow = RedisServer(tmp_path / "l", options=("--key-load-delay", "60"))
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
    assert await store.queue.journal() == {life[0].name: life[1]}
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
    started = time.monotonic()
    results = await asyncio.gather(*(store.append() for _ in range(5)), return_exceptions=True)
    assert all(isinstance(result, Away) for result in results)
    assert time.monotonic() - started < 2 * APPEND_PATIENCE_S + 3


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


# -- many ask at once ---------------------------------------------------------------------------


async def test_however_much_is_asked_for_a_text_is_begun_meanwhile(store: Store) -> None:
    await store.append()
    entry, message = await store.claim_one()
    answered: list[str] = []

    async def cancel(number: int) -> None:
        answered.append(await store.queue.cancel(f"{number}-0"))

    cancels = [asyncio.create_task(cancel(number)) for number in range(1, 1001)]
    await asyncio.sleep(0)
    assert await soon(store.begin(entry, store.attempt(), message.recipient)) == "begun"
    before = len(answered)
    await soon(asyncio.gather(*cancels))
    assert before < 500


@pytest.mark.parametrize("script", ["census", "cancel"])
async def test_who_waits_behind_others_does_not_take_redis_for_away(
    wired: Store, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    call = Call(script, {"id": "1-0"}, [wired.keys.message("1-0")])
    seen: list[bool] = []
    wired.availability.changed = lambda up, _why: seen.append(up)
    monkeypatch.setattr(availability, "REPLY_S", 1.5)
    proxy.reply_takes_s = 0.1
    callers = int(PLACES * availability.REPLY_S / proxy.reply_takes_s) + 2 * PLACES
    answers = await soon(
        asyncio.gather(*(wired.client.ask(call) for _ in range(callers)), return_exceptions=True)
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert False not in seen


# -- a reply is lost ----------------------------------------------------------------------------


async def test_an_append_whose_reply_was_lost_is_repeated_and_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    for _ in range(10):
        proxy.lose_reply(sha("append"))
        await soon(wired.append(ALICE, ALICE))
    proxy.lose_reply(sha("append"), times=3)
    made = await soon(asyncio.gather(*(wired.append() for _ in range(100))))
    assert proxy.lost == 13
    assert len({id_ for [id_] in made}) == 100
    assert await wired.length() == 120


async def test_an_append_that_never_arrived_is_repeated_and_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_request(sha("append"), times=2)
    made = await soon(asyncio.gather(*(wired.append() for _ in range(100))))
    assert proxy.lost == 2
    assert len({id_ for [id_] in made}) == await wired.length() == 100


async def test_a_scheduled_and_an_idempotent_append_are_repeated_too(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_reply(sha("append"))
    await soon(wired.schedule(5))
    assert await wired.redis.zcard(wired.keys.deferred) == 1
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    proxy.lose_reply(sha("append"))
    first = await soon(wired.queue.append(request))
    assert first.answer is None
    assert (await wired.queue.append(request)).ids == first.ids
    assert await wired.length() == 1
    assert await wired.difference() == 0


@pytest.mark.usefixtures("impatient")
async def test_an_append_whose_every_reply_is_lost_fails_and_is_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_reply(sha("append"), times=1000)
    with pytest.raises(Away):
        await soon(wired.append())
    assert proxy.lost > 1
    assert await wired.length() == 1


async def test_a_begin_whose_reply_was_lost_is_begun(wired: Store, proxy: Proxy) -> None:
    await wired.append()
    entry, message = await wired.claim_one()
    proxy.lose_reply(sha("begin"), times=2)
    begun = await soon(wired.begin(entry, wired.attempt(), message.recipient))
    assert proxy.lost == 2
    assert begun == "begun"
    assert await wired.queue.journal() == {entry.name: wired.attempt()}


SETTLED = {
    "finish": lambda store, life: store.queue.ack(*life, "p"),
    "defer": lambda store, life: store.queue.defer(*life, until=1, attempts=1, why="w"),
    "bury": lambda store, life: store.queue.bury(*life, reason=DeadReason.REJECTED),
    "release": lambda store, life: store.queue.release(life[0].name, life[1]),
}


@pytest.mark.parametrize("script", SETTLED)
async def test_a_settlement_whose_reply_was_lost_is_done_once(
    wired: Store, proxy: Proxy, script: str
) -> None:
    life = await wired.sending()
    proxy.lose_reply(sha(script), times=2)
    await soon(SETTLED[script](wired, life))
    assert proxy.lost == 2
    assert await wired.queue.journal() == {}
    assert await wired.difference() == 0
    settled = wired.length() if script != "release" else wired.redis.xlen(wired.keys.dead)
    assert await settled == 0


async def test_a_promotion_whose_reply_was_lost_is_done_once(
    wired: Store, proxy: Proxy, wall: Wall
) -> None:
    for n in range(10):
        await wired.schedule(1, f"s{n}")
    wall.advance(2)
    proxy.lose_reply(sha("promote"))
    await soon(wired.queue.promote())
    assert await wired.length() == 10
    assert await wired.difference() == 0


@pytest.mark.parametrize("script", ["cancel", "replay", "drop"])
async def test_what_a_person_asked_for_is_not_repeated_by_itself_and_can_be_asked_for_again(
    wired: Store, proxy: Proxy, script: str
) -> None:
    letter, dead_id = await wired.dead_letter()
    [id_] = await wired.append()
    operation: dict[str, Callable[[], Awaitable[object]]] = {
        "cancel": lambda: wired.queue.cancel(id_),
        "replay": lambda: wired.queue.replay(letter, dead_id),
        "drop": lambda: wired.queue.drop(letter, dead_id),
    }
    proxy.lose_reply(sha(script))
    with pytest.raises(Away):
        await soon(operation[script]())
    assert await operation[script]() in ("cancelled", False)
    assert await wired.difference() == 0


async def test_a_claim_whose_reply_was_lost_is_recovered(wired: Store, proxy: Proxy) -> None:
    await wired.append(*[ALICE] * 5)
    proxy.lose_reply(sha("claim"))
    with pytest.raises(Away):
        await soon(wired.queue.claim(5, 5))
    assert await wired.queue.claim(5, 5) == []
    await recovery(wired).recover()
    assert len(wired.prefetch) == 5


@pytest.fixture
async def claiming(wired: Store) -> AsyncIterator[Store]:
    """The daemon's own claimer and recovery, at work."""
    parts = [
        asyncio.create_task(wired.claimer.run()),
        asyncio.create_task(recovery(wired).run()),
    ]
    yield wired
    for part in parts:
        assert not part.done(), part
        part.cancel()
    await asyncio.gather(*parts, return_exceptions=True)


async def test_the_claimer_goes_on_through_all_of_it(
    claiming: Store, proxy: Proxy, wall: Wall
) -> None:
    store = claiming
    seen: set[str] = set()

    async def arrives(id_: str) -> None:
        while id_ not in seen:
            await store.prefetch.arrival()
            held = store.prefetch.take()
            seen.add(held.message.id)
            store.prefetch.forget(held.entry.name)
            await store.queue.suppress(held.entry, held.message)

    for disturb in (
        lambda: _destroy_groups(store),
        lambda: _delete_streams(store),
        lambda: _flush(store),
        store.redis.script_flush,
    ):
        await disturb()
        [id_] = await store.append()
        await soon(arrives(id_))
        [id_] = await store.append(priority="high")
        await soon(arrives(id_))
    await load_scripts(store.redis)
    proxy.lose_reply(sha("claim"))
    [id_] = await store.append()
    await soon(arrives(id_))
    assert wall() > 0


async def test_a_script_that_is_forgotten_all_the_time_still_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgetful(client: Redis, words: tuple[str | bytes | int, ...]) -> object:
        await store.redis.script_flush()
        return await command(client, words)

    monkeypatch.setattr(scripts, "command", forgetful)
    [id_] = await store.append(ALICE)
    assert await store.queue.ack(*await store.begin_next(), "p")
    assert await store.state(id_) == "sent"


# -- connections ----------------------------------------------------------------------------------


async def test_idle_connections_are_closed_under_nobody_who_takes_one(
    redis_server: RedisServer,
) -> None:
    """One command that finds Redis away has all idle connections closed, beside other commands."""
    async with connect(redis_server.url, connections=16, timeout_s=3.0) as client:
        await asyncio.gather(*(client.ping() for _ in range(8)))

        async def close_idle() -> None:
            for _ in range(300):
                await client.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(0)

        async def ask(closing: "asyncio.Task[None]") -> None:
            while not closing.done():
                await client.ping()

        closing = asyncio.create_task(close_idle())
        await asyncio.gather(closing, *(ask(closing) for _ in range(8)))
