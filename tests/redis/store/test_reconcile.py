"""Older data. Rule: what was sent is not sent again, and where that is not sure nothing is sent."""

import asyncio
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from smsd.core.life import DeadReason
from smsd.store.identity import OlderData
from smsd.store.lost_writes import REMEMBERED
from smsd.store.reconcile import PAUSE_S
from smsd.store.settled import Settled
from tests.redis.older_data import (
    TOGETHER,
    claimed,
    deferred_since,
    held,
    queue,
    reach,
    reasons,
    seen_to_differ,
    send,
    settle,
)
from tests.redis.opened import Opened, Tail
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, Store

SENT = 1_097  # messages that a restored backup had sent twice


# -- a restored backup ----------------------------------------------------------------------------


async def test_what_a_restored_backup_lacks_is_settled_again_before_anything_is_handed_out(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        for many in [TOGETHER] * (SENT // TOGETHER) + [SENT % TOGETHER]:
            await queue(store, many)
        entries = await store.queue.claim(0, SENT)
        sends = [(one, store.attempt(), ALICE) for one in entries]
        tail = Tail(own_server)
        await reach(store)
        for at in range(0, SENT, TOGETHER):
            assert set(await store.queue.begin(sends[at : at + TOGETHER])) == {"begun"}
        await settle(store, sends)
        await send(store, 2 * REMEMBERED)  # more than was remembered once
        tail.lose()
        assert await claimed(store) == []
        assert opened.settled_again == SENT
        assert (await store.census()).finished["sent"] == SENT
        assert await store.length() == 0
        assert await store.operator_hold.look() is None


@pytest.mark.parametrize("scheduled", [False, True])
async def test_what_was_taken_back_stays_so(own_server: RedisServer, scheduled: bool) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        kept = await queue(store, 2)
        id_ = await store.schedule(-1) if scheduled else kept.pop()
        tail = Tail(own_server)
        await reach(store)
        assert await store.queue.cancel(id_) == "cancelled"
        await send(store, 1)
        tail.lose()
        await reach(store)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert id_ not in await claimed(store)
        assert await store.state(id_) == "cancelled"
        assert await store.difference() == 0


async def test_where_not_all_of_it_is_remembered_dispatch_is_held_until_it_is_released(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        opened.lost_writes.settled = Settled(most_octets=1_000)
        await queue(store, TOGETHER)
        tail = Tail(own_server)
        await reach(store)
        await send(store, SENT)
        unknown = opened.lost_writes.settled.unknown(0, SENT)
        assert 0 < unknown < SENT
        tail.lose()
        await seen_to_differ(store)
        hold = await held(store)
        assert hold.by == "smsd"
        assert f"it lacks {SENT} settlements, {unknown} are not remembered" in hold.reason
        [said] = [one for one in caplog.records if one.message == "redis holds older data"]
        assert (said.settlements_lost, said.not_remembered) == (SENT, unknown)  # type: ignore[attr-defined]
        assert "smsd release" in said.choices  # type: ignore[attr-defined]
        await store.append()  # it is taken in
        for _ in range(3):
            with pytest.raises(OlderData):
                await store.queue.claim(0, 1)
            with pytest.raises(OlderData):
                await store.queue.reclaim(["n1-1"])
            await asyncio.sleep(PAUSE_S / 2)
        await store.operator_hold.release("me")
        assert await claimed(store)
        assert store.identity.known.settled >= SENT
        assert await store.operator_hold.look() is None


async def test_what_was_sent_from_a_later_entry_is_not_sent_from_the_first_one(
    own_server: RedisServer,
) -> None:
    """A daemon that died had deferred it since; this one knows only how it was sent."""
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 1)
        tail = Tail(own_server)
        await reach(store)
        entry, message = await store.claim_one()
        assert await store.begin(entry, attempt := store.attempt(), ALICE) == "begun"
        assert await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
        opened.lost_writes.settled = Settled()
        assert await store.queue.promote() == 1
        later, message = await store.claim_one()
        assert later.name != entry.name
        assert await store.begin(later, attempt := store.attempt(), ALICE) == "begun"
        assert await store.queue.ack(later, attempt, message, "p")
        tail.lose()
        await seen_to_differ(store)
        assert "it lacks 2 settlements, 1 are not remembered" in (await held(store)).reason
        await store.operator_hold.release("me")
        assert await claimed(store) == []
        assert (await store.census()).finished["sent"] == 1


@pytest.mark.parametrize("gap", [False, True])
async def test_what_is_under_way_or_in_doubt_is_so_in_older_data_too(
    own_server: RedisServer,
    gap: bool,  # something else is not remembered: dispatch is held
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await queue(store, 4)
        tail = Tail(own_server)
        await reach(store)
        doubtful, settled, released = [await store.begin_next() for _ in range(3)]
        assert await store.queue.ack(*settled, "p")
        await store.queue.release(released[0].name, released[1])
        if gap:
            opened.lost_writes.settled = Settled()
        tail.lose()
        await seen_to_differ(store)
        if gap:
            await held(store)
            await store.operator_hold.release("me")
        ids = await claimed(store)
        assert doubtful[0].first_message_id in ids  # Redis hands it out, and it is not begun
        again = (doubtful[0], store.attempt(2), ALICE)
        assert await store.queue.begin([again]) == ["marked"]
        assert await store.unsettled.in_flight() == {doubtful[0].name: doubtful[1]}


@pytest.mark.parametrize("sent", [False, True])
async def test_what_older_data_defers_again_and_was_being_sent_since_is_in_doubt(
    own_server: RedisServer,
    sent: bool,  # it turns out to be
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        id_, tail, later = await deferred_since(store, own_server)
        tail.lose()
        await seen_to_differ(store)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert await claimed(store) == []
        if sent:
            assert await store.queue.ack(*later, "p")
        ended = ("sent", []) if sent else ("dead", ["in_doubt"])
        assert (await store.state(id_), await reasons(store)) == ended
        assert await store.difference() == 0


async def test_a_settlement_that_older_data_is_the_first_to_hear_is_made_there(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        id_, tail, later = await deferred_since(store, own_server)
        tail.lose()
        assert not await store.queue.bury(*later, reason=DeadReason.REJECTED)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert await claimed(store) == []
        assert (await store.state(id_), await reasons(store)) == ("dead", ["rejected"])
        assert await store.difference() == 0


async def test_newer_data_that_comes_back_needs_no_release(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        opened.lost_writes.settled = Settled(most_octets=1)
        await send(store, 300)
        settled = await store.redis.hget(store.keys.store, "settled")
        await store.redis.hset(store.keys.store, "settled", 1)
        await seen_to_differ(store)
        await held(store)
        await store.redis.hset(store.keys.store, "settled", settled)
        await opened.reconciled()
        assert (await held(store)).by == "smsd"  # that was made in the data which is gone


async def test_what_was_begun_on_data_that_went_older_meanwhile_is_not_sent(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 3)
        await queue(store, 1)
        entry, message = await store.claim_one()
        await store.redis.hset(store.keys.store, "settled", 1)
        assert await store.begin(entry, store.attempt(), message.recipient) == "older"
        assert await store.unsettled.in_flight() == {}
        await store.schedule(-1)
        await opened.reconciled()
        assert await store.begin(entry, store.attempt(), message.recipient) == "begun"
        assert await store.queue.promote() == 1


async def test_settlements_that_are_under_way_when_the_server_goes_are_no_gap(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 3)
        lives = [await store.sending() for _ in range(2)]
        tail = Tail(own_server)
        await reach(store)
        await send(store, 2)
        settling = [asyncio.ensure_future(store.queue.ack(*life, "p")) for life in lives]
        await asyncio.sleep(0)
        tail.lose()
        assert all(await asyncio.gather(*settling))
        assert await claimed(store) == []
        assert (await store.census()).finished["sent"] == 5
        assert await store.operator_hold.look() is None


# -- two daemons ----------------------------------------------------------------------------------


async def test_a_standby_leaves_it_to_the_active_daemon_to_decide(own_server: RedisServer) -> None:
    async with (
        Opened(own_server.url, owner="b", leads=False) as standby,
        Opened(own_server.url) as active,
    ):
        await send(active.store, 5)
        await standby.store.census()  # as its looks at the lease do
        assert standby.store.identity.known.settled == 5
        await active.store.redis.hset(active.store.keys.store, "settled", 2)
        await seen_to_differ(standby.store)
        await asyncio.sleep(2 * PAUSE_S)
        assert await standby.store.operator_hold.look() is None
        assert not standby.store.identity.trusted
        await seen_to_differ(active.store)
        await active.reconciled()
        await standby.reconciled()


async def test_a_daemon_that_takes_over_from_one_that_died_with_its_server_holds(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url, owner="b") as successor:
        async with Opened(own_server.url) as died:
            await send(died.store, 5)
            await successor.store.census()
        await successor.store.lead()
        await successor.store.redis.hset(successor.store.keys.store, "settled", 3)
        await seen_to_differ(successor.store)
        assert "lacks 2 settlements, 2 are not" in (await held(successor.store)).reason


async def test_a_release_is_for_all_daemons(own_server: RedisServer) -> None:
    async with (
        Opened(own_server.url, owner="b", leads=False) as standby,
        Opened(own_server.url) as active,
    ):
        await send(active.store, 5)
        await standby.store.census()
        await active.store.redis.flushall()
        await active.store.lead()
        await held(active.store)
        await active.store.operator_hold.release("me")
        await active.reconciled()
        await standby.store.census()
        await standby.reconciled()
        assert standby.store.identity.known.id == active.store.identity.known.id


# -- data that is gone ----------------------------------------------------------------------------


async def test_after_a_flush_what_was_taken_in_and_is_gone_is_named_and_dispatch_waits(
    own_server: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 132)
        gone = [id_ for _ in range(868) for id_ in await store.append()]
        await store.redis.flushall()
        [after] = await store.append()  # it is durable again
        await seen_to_differ(store)
        hold = await held(store)
        assert f"868 messages taken in, {gone[0]} to {gone[-1]}, are gone" in hold.reason
        [said] = [one for one in caplog.records if one.message == "redis holds other data"]
        assert said.messages_gone == 868  # type: ignore[attr-defined]
        assert opened.messages_lost == 868
        with pytest.raises(OlderData):
            await store.queue.claim(0, 1)
        await store.append()
        await store.operator_hold.release("me")
        assert (await claimed(store))[0] == after
        await store.lead()
        await send(store, 2)
        assert await store.operator_hold.look() is None
        assert opened.messages_lost == 868


async def _delete(store: Store) -> None:
    await store.redis.delete(store.keys.store)


async def _other_type(store: Store) -> None:
    await store.redis.delete(store.keys.store)
    await store.redis.set(store.keys.store, "x")


async def _no_number(store: Store) -> None:
    await store.redis.hset(store.keys.store, "settled", "many")


async def _other_id(store: Store) -> None:
    await store.redis.hset(store.keys.store, "id", "other")


@pytest.mark.parametrize("ruin", [_delete, _other_type, _other_id])
async def test_without_the_identity_of_the_data_dispatch_waits_for_a_release(
    own_server: RedisServer, ruin: Callable[[Store], Any]
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 3)
        [waiting] = await queue(store, 1)
        await ruin(store)
        await seen_to_differ(store)
        assert "other data" in (await held(store)).reason
        await store.operator_hold.release("me")
        assert await claimed(store) == [waiting]
        await store.append()
        entry, attempt, message = await store.begin_next()
        assert await store.queue.ack(entry, attempt, message, "p")
        await opened.reconciled()


async def test_a_count_of_settlements_that_is_no_number_is_mended(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        await send(store, 3)
        await _no_number(store)
        await seen_to_differ(store)
        await opened.reconciled()
        assert await store.redis.hget(store.keys.store, "settled") == b"3"
        assert await store.operator_hold.look() is None


# -- what is no loss ------------------------------------------------------------------------------


async def test_forgotten_scripts_and_statuses_are_no_loss(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        for id_ in await send(store, 5):
            await store.redis.delete(store.keys.message(id_))  # as when `keep_status` has passed
        await store.redis.script_flush()
        await store.redis.connection_pool.disconnect()
        await send(store, 2)
        own_server.kill()
        own_server.start()
        await reach(store)
        await queue(store, 1)
        assert len(await claimed(store)) == 1
        assert store.identity.trusted
        assert opened.losses == []


# -- the daemon -----------------------------------------------------------------------------------


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path).start()
    yield recorder
    recorder.stop()


def _dispatch(daemon: Daemon) -> tuple[int, Any]:
    return daemon.call("GET", "/readyz/dispatch")


def test_a_daemon_that_starts_on_a_restored_backup_sends_nothing_until_it_is_released(
    own_server: RedisServer, tmp_path: Path, recorder: Recorder
) -> None:
    settings = f'[redis]\nurl = "{own_server.url}"\n[rate]\nsegments_per_second = 500\n'
    daemon = Daemon(tmp_path / "d", settings + recorder.settings()).start()
    try:
        sent = daemon.send(to=[f"+1202555{n:04}" for n in range(60)], message="Hi")["ids"]
        tail = Tail(own_server)
        eventually(lambda: len(recorder.arrivals()) == 60, what="all are sent")
        eventually(lambda: "sent 60" in _counts(own_server), what="and settled")
        assert daemon.stop() == 0
        tail.lose()
        daemon.start()
        eventually(lambda: _dispatch(daemon)[0] == 503 and "older" in _dispatch(daemon)[1]["held"])
        assert daemon.call("GET", "/readyz")[0] == 200
        after = daemon.send(to=ALICE, message="later")["id"]
        time.sleep(1.0)
        assert len(recorder.arrivals()) == 60
        assert "60 are not remembered" in _dispatch(daemon)[1]["held"]
        for id_ in sent:  # what a person may do before the release
            daemon.call("DELETE", f"/messages/{id_}")
        assert daemon.call("POST", "/release", {})[0] == 200
        eventually(lambda: recorder.arrivals()[-1]["id"] == after, what="it goes on")
        assert len(recorder.arrivals()) == 61
        assert _dispatch(daemon)[0] == 200
    finally:
        daemon.kill()


def _counts(server: RedisServer) -> str:
    with server.client() as client:
        return f"sent {int(client.hget('smsd:counters', 'sent') or 0)}"


def test_after_a_flush_the_daemon_takes_messages_in_is_red_and_sends_none_until_released(
    own_server: RedisServer, tmp_path: Path, recorder: Recorder
) -> None:
    settings = f'[redis]\nurl = "{own_server.url}"\n[rate]\nsegments_per_second = 20\n'
    daemon = Daemon(tmp_path / "d", settings + recorder.settings()).start()
    try:
        for _ in range(10):
            daemon.send(to=[f"+1202555{n:04}" for n in range(10)], message="Hi")
        eventually(lambda: len(recorder.arrivals()) > 10, what="it is under way")
        with own_server.client() as client:
            client.flushall()
        eventually(lambda: "other data" in str(_dispatch(daemon)[1]["reason"]), what="it is red")
        time.sleep(0.2)  # for what was on its way
        arrived = len(recorder.arrivals())
        id_ = daemon.send(to=ALICE, message="after")["id"]
        assert daemon.call("GET", "/readyz")[0] == 200
        time.sleep(1.0)
        assert len(recorder.arrivals()) == arrived
        assert '"redis holds other data"' in daemon.log
        assert daemon.call("POST", "/release", {})[0] == 200
        eventually(lambda: recorder.arrivals()[-1]["id"] == id_, what="it goes on")
        assert len(recorder.arrivals()) == arrived + 1
    finally:
        daemon.kill()
