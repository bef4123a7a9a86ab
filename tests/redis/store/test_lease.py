"""The lease. Rule: two never hold it at once, and a death does not keep it."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from smsd.redis import owner
from smsd.redis.scripts import Call
from smsd.store import lease as lease_module
from smsd.store.handed_out import Fenced
from smsd.store.lease import (
    MARGIN,
    SILENT_S,
    STANDBY_S,
    Lease,
    ReportedHold,
    lease_holder,
    lease_keys,
    reported_hold,
)
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import OpenStore, Store, Ticks, soon, until

Keep = Callable[[Store], "asyncio.Task[None]"]


@pytest.fixture
async def keep() -> AsyncIterator[Keep]:
    """Run a store's lease, as the daemon does, until the test ends."""
    tasks: list[asyncio.Task[None]] = []

    def run(store: Store) -> "asyncio.Task[None]":
        tasks.append(asyncio.create_task(store.lease.run()))
        return tasks[-1]

    yield run
    broken = [task for task in tasks if task.done() and not task.cancelled()]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert not broken


async def _taken(lease: Lease) -> None:
    await soon(lease.taken.wait())


def _held(store: Store) -> bool:
    return store.lease.held


def _has_holder(store: Store) -> bool:
    return store.lease.has_holder


async def _renewed(store: Store) -> None:
    """Return when the lease, of which little is left, has its whole life of 10 s again."""
    await store.redis.pexpire(store.keys.lease, 5_000)

    async def is_whole() -> bool:
        return bool(await store.redis.pttl(store.keys.lease) > 5_000)

    await until(is_whole, "it is renewed")


async def test_a_free_lease_is_taken(open_store: OpenStore, keep: Keep) -> None:
    store = open_store()
    assert not _held(store)
    keep(store)
    await _taken(store.lease)
    assert _held(store)
    assert store.lease.holder == "a"
    assert await lease_holder(store.client) == "a"
    assert 0 < await store.redis.pttl(store.keys.lease) <= 10_000


async def test_a_lease_is_renewed_for_as_long_as_its_holder_lives(
    open_store: OpenStore, keep: Keep
) -> None:
    store = open_store()
    keep(store)
    await _taken(store.lease)
    for _ in range(3):
        await _renewed(store)
    assert await lease_holder(store.client) == "a"


@pytest.mark.parametrize(("life_s", "pause_s"), [(1.2, 0.4), (1.5, 0.5), (3600.0, 0.5)])
async def test_a_lease_is_renewed_at_a_third_of_its_life_and_every_half_second_at_least(
    open_store: OpenStore, keep: Keep, life_s: float, pause_s: float
) -> None:
    store = open_store(lease_s=life_s)
    keep(store)
    await _taken(store.lease)
    assert store.lease._pause_s("") == pytest.approx(pause_s)


async def test_a_standby_waits_while_the_lease_is_held_and_takes_it_when_given_up(
    open_store: OpenStore, keep: Keep
) -> None:
    active, standby = open_store("a"), open_store("b")
    keeping = keep(active)
    await _taken(active.lease)
    keep(standby)
    await until(lambda: standby.lease.holder == "a", "the standby has looked")
    assert not _held(standby)
    assert active.lease.has_holder
    assert standby.lease.has_holder
    assert not standby.lease.taken.is_set()
    keeping.cancel()
    await active.lease.give_up()
    assert not _held(active)
    await _taken(standby.lease)
    assert _held(standby)
    assert await lease_holder(standby.client) == "b"


async def test_a_lease_that_is_not_renewed_runs_out_and_the_standby_takes_it(
    open_store: OpenStore, keep: Keep
) -> None:
    active, standby = open_store("a", lease_s=1.0), open_store("b")
    keeping = keep(active)
    await _taken(active.lease)
    keeping.cancel()  # as if it hung
    keep(standby)
    await _taken(standby.lease)
    assert await lease_holder(standby.client) == "b"


async def test_one_that_hung_learns_that_another_holds_the_lease(
    open_store: OpenStore, keep: Keep
) -> None:
    hung = open_store("a")
    keeping = keep(hung)
    await _taken(hung.lease)
    keeping.cancel()
    await open_store("b").lead()
    keep(hung)
    await until(lambda: hung.lease.holder == "b", "it has asked again")
    assert not hung.lease.taken.is_set()
    assert not _held(hung)


async def test_a_lease_that_is_taken_from_a_living_holder_is_missed_at_the_next_renewal(
    open_store: OpenStore, keep: Keep
) -> None:
    holder, other = open_store("a", lease_s=600.0), open_store("b")
    keep(holder)
    await _taken(holder.lease)
    await holder.redis.delete(holder.keys.lease)
    await other.lead()
    await until(lambda: not _held(holder), "it is missed")  # and not after a third of its life


async def test_in_doubt_it_is_not_held_and_redis_is_asked_at_once(
    open_store: OpenStore, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease_module, "RENEW_S", 600.0)
    store = open_store(lease_s=3600.0)
    keep(store)
    await _taken(store.lease)
    await asyncio.sleep(0.1)  # it rests until the next renewal
    store.lease.fenced()
    assert not _held(store)
    await _taken(store.lease)  # and not after ten minutes
    assert _held(store)


async def test_a_renewal_that_was_under_way_when_it_came_into_doubt_does_not_count(
    open_store: OpenStore, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store()
    keep(store)
    await _taken(store.lease)
    ask, renewed, door = store.lease._client.ask, asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> object:
        reply = await ask(call)
        renewed.set()
        await door.wait()  # the reply is on its way
        return reply

    monkeypatch.setattr(store.lease._client, "ask", slow)
    await soon(renewed.wait())
    await store.redis.delete(store.keys.lease)
    await open_store("b").lead()
    store.lease.fenced()
    renewed.clear()
    door.set()
    while not renewed.is_set():
        assert not _held(store)
        await asyncio.sleep(0)
    await until(lambda: store.lease.holder == "b", "it has asked again")
    assert not _held(store)
    assert not store.lease.taken.is_set()


async def test_the_lease_is_no_longer_held_before_it_can_have_run_out(
    open_store: OpenStore, keep: Keep, ticks: Ticks
) -> None:
    store = open_store()
    keep(store)
    await _taken(store.lease)
    ticks.ns += round(10 * (1 - MARGIN) * 1e9) - 1
    assert _held(store)
    ticks.ns += 1
    assert not _held(store)


async def test_the_lease_counts_from_before_the_request_however_late_the_reply(
    own_server: RedisServer, open_store: OpenStore, keep: Keep, ticks: Ticks
) -> None:
    store = open_store(url=own_server.url)
    await store.redis.ping()
    own_server.send_signal(signal.SIGSTOP)
    keep(store)
    await asyncio.sleep(0.1)
    ticks.advance(10 * (1 - MARGIN))
    own_server.send_signal(signal.SIGCONT)
    await _taken(store.lease)
    assert not _held(store)


async def test_a_lease_given_up_is_not_taken_from_whoever_has_it_now(
    open_store: OpenStore,
) -> None:
    await open_store("b").lead()
    stale = open_store("a")
    await stale.lease.give_up()
    assert await lease_holder(stale.client) == "b"


async def test_a_renewal_whose_reply_is_lost_is_tried_again(
    proxy: Proxy, open_store: OpenStore, keep: Keep
) -> None:
    store = open_store(url=proxy.url)
    proxy.lose_reply(b"EVALSHA", times=2)
    keep(store)
    await _taken(store.lease)
    assert _held(store)


async def test_the_lease_is_taken_when_redis_comes_back(
    own_server: RedisServer, open_store: OpenStore, keep: Keep
) -> None:
    store = open_store(url=own_server.url)
    own_server.kill()
    keep(store)
    await asyncio.sleep(0.1)
    assert not _held(store)
    own_server.start()
    await _taken(store.lease)
    assert _held(store)


async def test_a_lease_outlives_a_short_absence_of_redis(
    own_server: RedisServer, open_store: OpenStore, keep: Keep
) -> None:
    store = open_store(url=own_server.url, lease_s=3.0)
    keep(store)
    await _taken(store.lease)
    own_server.kill()
    seen = store.lease._client._availability
    await until(lambda: not seen.up, "a renewal failed")
    assert _held(store)
    own_server.start()
    await until(lambda: seen.up, "a later one did not")
    assert _held(store)
    assert await lease_holder(store.client) == "a"


async def test_the_lease_works_while_redis_is_full(
    redis_server: RedisServer, open_store: OpenStore, keep: Keep
) -> None:
    store = open_store()
    store.lease.report_hold("provider down")
    with redis_server.client() as client:
        client.config_set("maxmemory", 1)
        try:
            keep(store)
            await _taken(store.lease)
            await _renewed(store)
            assert await lease_holder(store.client) == "a"
            assert await reported_hold(store.client, "a") == ReportedHold("provider down", 0)
            await store.lease.give_up()
        finally:
            client.config_set("maxmemory", 0)


# -- what the holder tells of a hold ------------------------------------------------------------


async def _told(store: Store, what: ReportedHold | None) -> None:
    """Return when all see this of a hold, as they do after the next renewal."""

    async def is_seen() -> bool:
        return await reported_hold(store.client, store.owner) == what

    await until(is_seen, f"{what} is reported")


async def _hung(store: Store, keep: Keep) -> None:
    """It has taken the lease and reported a hold, and renews nothing any more."""
    store.lease.report_hold("provider down")
    keeping = keep(store)
    await _taken(store.lease)
    keeping.cancel()


async def test_the_holder_tells_why_dispatch_is_held_and_when_it_goes_on(
    open_store: OpenStore, keep: Keep, ticks: Ticks
) -> None:
    store = open_store()
    keep(store)
    await _taken(store.lease)
    assert await reported_hold(store.client, "a") is None
    store.lease.report_hold("halted: no_funds")
    await _told(store, ReportedHold("halted: no_funds", 0))
    assert 0 < await store.redis.pttl(store.keys.hold) <= 10_000
    ticks.advance(5)
    store.lease.report_hold("halted: still no_funds")  # a probe failed: the same hold
    await _told(store, ReportedHold("halted: still no_funds", 5))
    store.lease.report_hold("")
    await _told(store, None)
    assert await store.redis.exists(store.keys.hold) == 0
    ticks.advance(5)
    store.lease.report_hold("provider down")
    await _told(store, ReportedHold("provider down", 0))


async def test_what_is_told_of_a_hold_ends_when_the_lease_is_given_up(
    open_store: OpenStore, keep: Keep
) -> None:
    store, standby = open_store("a"), open_store("b")
    await _hung(store, keep)
    await standby.lease.give_up()  # it had none
    assert await reported_hold(standby.client, "a") == ReportedHold("provider down", 0)
    await store.lease.give_up()
    assert await store.redis.exists(store.keys.hold) == 0


async def test_what_is_told_of_a_hold_does_not_outlive_its_daemon_by_more_than_the_lease(
    open_store: OpenStore, keep: Keep
) -> None:
    store = open_store(lease_s=1.0)
    await _hung(store, keep)
    await asyncio.sleep(1.1)
    assert await store.redis.exists(store.keys.lease, store.keys.hold) == 0


async def test_a_new_holder_does_not_tell_what_the_last_one_told(
    open_store: OpenStore, keep: Keep
) -> None:
    store, standby = open_store("a"), open_store("b")
    await _hung(store, keep)
    assert await reported_hold(standby.client, "b") is None  # of whom nothing is told
    standby.lease.report_hold("held of old, but it does not dispatch")
    keep(standby)
    await until(lambda: standby.lease.holder == "a", "the standby has looked")
    assert await reported_hold(standby.client, "a") == ReportedHold("provider down", 0)
    standby.lease.report_hold("")
    await store.redis.delete(store.keys.lease)  # by other hands: what it told is left
    await _taken(standby.lease)
    assert await standby.redis.exists(standby.keys.hold) == 0


@pytest.mark.parametrize(("before", "after"), [("", "provider down"), ("provider down", "")])
async def test_a_hold_that_changes_while_redis_is_away_is_told_right_afterwards(
    own_server: RedisServer, open_store: OpenStore, keep: Keep, before: str, after: str
) -> None:
    store = open_store(url=own_server.url)
    store.lease.report_hold(before)
    keep(store)
    await _taken(store.lease)
    own_server.kill()
    store.lease.report_hold(after)
    seen = store.lease._client._availability
    await until(lambda: not seen.up, "a renewal failed")
    own_server.start()
    await until(lambda: seen.up, "a later one did not")
    assert await reported_hold(store.client, "a") == (ReportedHold(after, 0) if after else None)


async def test_nothing_that_stands_in_the_place_of_a_hold_costs_the_lease(
    open_store: OpenStore, keep: Keep
) -> None:
    store = open_store()
    await store.redis.set(store.keys.hold, "nonsense")
    store.lease.report_hold("half a pair: \ud83d")
    keep(store)
    await _taken(store.lease)
    assert await reported_hold(store.client, "a") == ReportedHold("half a pair: ?", 0)


async def test_the_holder_of_the_lease_is_told(store: Store) -> None:
    assert await lease_holder(store.client) == "a"
    await store.redis.delete(store.keys.lease)
    assert await lease_holder(store.client) is None


# -- a death ------------------------------------------------------------------------------------


HOLDER = """
import asyncio, sys
from smsd.redis import owner
from tests.support.store import Store, Ticks, Wall

async def main(url, prefix):
    me = Store(url, prefix, owner=owner.name(), wall=Wall(), ticks=Ticks(), lease_s=600.0)
    keeping = asyncio.create_task(me.lease.run())
    await me.lease.taken.wait()
    print(me.owner, flush=True)
    await keeping

asyncio.run(main(*sys.argv[1:]))
"""


async def test_the_lease_of_a_killed_daemon_on_this_machine_is_taken_over_at_once(
    redis_server: RedisServer, prefix: str, open_store: OpenStore, keep: Keep
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, redis_server.url, prefix],
        cwd=Path(__file__).parents[3],
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = await asyncio.to_thread(process.stdout.readline)
        standby = open_store("b")
        keep(standby)
        await until(lambda: standby.lease.holder == name.strip() != "", "the standby has looked")
        await asyncio.sleep(0.7)  # while its holder lives, it looks again and waits on
        assert not _held(standby)
        process.kill()
        process.wait()
        await _taken(standby.lease)  # and not after ten minutes
    assert _held(standby)
    assert await standby.redis.pttl(standby.keys.lease) <= 10_000


async def test_a_holder_that_cannot_be_known_to_be_dead_keeps_the_lease(
    open_store: OpenStore, keep: Keep
) -> None:
    elsewhere = "host:0123.456:1:2:abcd"
    other = open_store(elsewhere)
    await other.client.ask(
        Call("acquire", {"life_ms": 60_000, "dead": "", "unrenewed_ms": 0}, lease_keys(other.keys))
    )
    standby = open_store("b")
    keep(standby)
    await until(lambda: standby.lease.holder == elsewhere, "the standby has looked")
    await asyncio.sleep(0.7)
    assert not _held(standby)


async def test_a_holder_whose_process_is_gone_here_is_not_dead_while_it_renews(
    open_store: OpenStore, keep: Keep, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two machines cloned with their memory each takes the other's processes for its own."""
    monkeypatch.setattr(lease_module, "RENEW_S", 0.1)  # a busy machine may well miss one or two
    monkeypatch.setattr(lease_module, "GONE_S", gone_s := 3.0)
    holder, standby = open_store("a", lease_s=600.0), open_store("b")
    keeping = keep(holder)
    await _taken(holder.lease)
    monkeypatch.setattr(owner, "is_dead", lambda name: name == "a")
    keep(standby)
    await until(lambda: standby.lease.holder == "a", "the standby has looked")
    await asyncio.sleep(gone_s + 0.5)
    assert _held(holder)
    assert not _held(standby)
    keeping.cancel()  # as a kill -9 does it
    await _taken(standby.lease)  # and not after ten minutes


# -- what other hands leave at the key ------------------------------------------------------------


JUNK: dict[str, tuple[str | int, ...]] = {
    "no time to live": ("SET", "{}", "x"),
    "nothing in it": ("SET", "{}", ""),
    "no characters": ("SET", "{}", b"\xff\xfe:\x00:-1:9:z"),  # type: ignore[dict-item]
    "a day to live": ("SET", "{}", "x", "EX", 86_400),
    "a list": ("RPUSH", "{}", "x"),
    "a hash": ("HSET", "{}", "x", "y"),
    "a set": ("SADD", "{}", "x"),
    "a sorted set": ("ZADD", "{}", 1, "x"),
    "a stream": ("XADD", "{}", "*", "x", "y"),
}


@pytest.mark.parametrize("junk", JUNK)
async def test_whatever_other_hands_leave_at_the_lease_it_is_taken_within_its_life(
    open_store: OpenStore, keep: Keep, junk: str
) -> None:
    store = open_store(lease_s=0.5)
    await store.redis.execute_command(*(store.keys.lease if w == "{}" else w for w in JUNK[junk]))
    keep(store)
    await _taken(store.lease)

    async def is_a_lease() -> bool:
        """It may have run out, where this process was held up, until it is renewed."""
        holder, life_ms = await asyncio.gather(
            lease_holder(store.client), store.redis.pttl(store.keys.lease)
        )
        return bool(holder == "a" and 0 < life_ms <= 500)

    await until(is_a_lease, "it is a lease like any other")


async def test_a_holder_whose_lease_becomes_a_hash_sends_nothing_and_has_it_again(
    open_store: OpenStore, keep: Keep
) -> None:
    store = await open_store().lead()
    await store.append()
    entry, message = await store.claim_one()
    await store.redis.delete(store.keys.lease)
    await store.redis.hset(store.keys.lease, "x", "y")
    assert await lease_holder(store.client) is None
    assert await store.begin(entry, store.attempt(), message.recipient) == "fenced"
    with pytest.raises(Fenced):
        await store.queue.claim(0, 1)
    keep(store)
    await _taken(store.lease)
    assert await store.begin(entry, store.attempt(), message.recipient) == "begun"


async def test_one_that_does_not_renew_is_not_taken_to_dispatch(
    open_store: OpenStore, keep: Keep, ticks: Ticks
) -> None:
    standby = open_store("b", lease_s=600.0)
    await standby.redis.set(standby.keys.lease, "x")
    keep(standby)
    await until(lambda: standby.lease.holder == "x", "the standby has looked")
    assert _has_holder(standby)
    ticks.advance(SILENT_S)
    assert not _has_holder(standby)
    await asyncio.sleep(2 * STANDBY_S)
    assert not _has_holder(standby)


async def test_one_that_renews_is_taken_to_dispatch_until_it_falls_silent(
    open_store: OpenStore, keep: Keep, ticks: Ticks
) -> None:
    active, standby = open_store("a", lease_s=600.0), open_store("b")
    keeping = keep(active)
    await _taken(active.lease)
    keep(standby)
    await until(lambda: standby.lease.holder == "a", "the standby has looked")
    ticks.advance(SILENT_S)
    await until(lambda: _has_holder(standby), "it has looked again, and found it renewed")
    keeping.cancel()
    await until(lambda: not _has_holder(standby), "the silence is seen, though no clock moves")
