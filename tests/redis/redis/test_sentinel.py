"""Sentinels. Rule: they lead to the master, and what a failover loses is reported."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio.sentinel import MasterNotFoundError

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.redis import sentinel as pool_module
from smsd.redis.availability import persevere
from smsd.redis.connection import connect
from smsd.redis.errors import Away
from smsd.redis.group_commit import Full
from smsd.redis.sentinel import Sentinels as Sentinels_
from smsd.store.entry import Entry
from smsd.store.lost_writes import Loss
from tests.redis.opened import Opened, insist
from tests.redis.reaching import refusal_of, whole_life
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.store import (
    ALICE,
    Store,
    content,
    soon,
    until,
)
from tests.support.topologies import (
    PASSWORD,
    QUOTED,
    Replicated,
    Sentinels,
    entries,
    role,
)

SOON_S = 40.0  # far more than a failover takes


async def test_a_text_lives_its_life_over_sentinels_that_want_a_login(
    sentinels: Sentinels,
) -> None:
    async with Opened(sentinels.url) as opened:
        assert opened.store.redis.connection_pool.connection_kwargs["retry"]._retries == 0
        for sentinel in opened.store.redis.connection_pool.sentinel_manager.sentinels:
            assert sentinel.connection_pool.connection_kwargs["retry"]._retries == 0
        await whole_life(opened.store)
        assert PASSWORD not in repr(opened.store.redis)
        wrong = sentinels.url.replace(f"sentinel_password={QUOTED}", "sentinel_password=wrong")
        refusal = await refusal_of(wrong)
        assert "AuthenticationError" in str(refusal)
        assert "wrong" not in str(refusal).replace("WRONGPASS", "")
        other = sentinels.url.replace("/texts", "/other")
        assert "does not know it" in str(await refusal_of(other))


async def test_a_sentinel_that_hangs_costs_no_time(
    sentinels: Sentinels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_module, "ANSWER_S", 600.0)  # for which a silent one is waited for
    sentinels.send_signal(0, signal.SIGSTOP)
    try:
        async with connect(sentinels.url, connections=1, timeout_s=600.0) as client:
            assert await soon(client.ping())
    finally:
        sentinels.send_signal(0, signal.SIGCONT)


async def test_a_sentinel_that_has_not_heard_of_a_failover_does_not_lead_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentinels = Sentinels_([("a", 1)])  # type: ignore[no-untyped-call]
    heard: list[dict[str, Any]] = []

    async def answers(_: object, __: str) -> tuple[list[dict[str, Any]], list[str]]:
        return heard, ["AuthenticationError: no"]

    monkeypatch.setattr(Sentinels_, "_answers", answers)
    with pytest.raises(MasterNotFoundError, match="AuthenticationError"):
        await sentinels.discover_master("texts")
    heard[:] = [_state("old", 6), _state("new", 7)]
    assert await sentinels.discover_master("texts") == ("new", 1)
    heard[:] = [_state("old", 6)]
    assert await sentinels.discover_master("texts") == ("new", 1)
    heard[:] = [_state("new", 7, is_odown=True)]
    with pytest.raises(MasterNotFoundError, match="it is down"):
        await sentinels.discover_master("texts")
    heard[:] = [_state("third", 0)]
    monkeypatch.setattr(pool_module, "BEHIND_S", -1.0)  # as if a long time had passed
    assert await sentinels.discover_master("texts") == ("third", 1)


def _state(ip: str, epoch: int, *, is_odown: bool = False) -> dict[str, Any]:
    flags = {"is_master": True, "is_sdown": False, "is_odown": is_odown, "num-other-sentinels": 2}
    return {"ip": ip, "port": 1, "config-epoch": epoch, **flags}


async def test_a_master_that_was_demoted_is_left_for_the_new_one(
    sentinels: Sentinels, pair: Replicated
) -> None:
    """Until it is demoted, the old master goes on taking what the new one will never have."""
    async with Opened(sentinels.url) as opened, asyncio.timeout(SOON_S):
        store = opened.store
        lives = [await store.sending() for _ in range(5)]
        pair.wait_until_they_follow()
        await asyncio.to_thread(sentinels.fail_over)
        told: list[str] = []
        while await asyncio.to_thread(role, pair.replica) != "master":
            told += await insist(store)
        told += await insist(store)
        while told[-1] not in await asyncio.to_thread(entries, pair.replica, [store.keys.queue]):
            told += await insist(store)
        assert await asyncio.to_thread(role, pair.master) == "master"  # nobody waited for that
        told += await insist(store)
        for life in lives:
            assert await store.queue.ack(*life, "p")
        assert (await store.census()).finished["sent"] == 5
        present = await asyncio.to_thread(entries, pair.replica, [store.keys.queue])
        assert told[-1] in present
        missing = [id_ for id_ in told if id_ not in present]
        assert len(missing) == opened.messages_lost
        if missing:
            assert _texts(opened.losses) == [(len(missing), missing[0], missing[-1], True)]


async def test_what_a_failover_lost_is_counted_said_and_never_sent_again(
    sentinels: Sentinels, pair: Replicated
) -> None:
    async with Opened(sentinels.url) as opened, asyncio.timeout(SOON_S):
        store = opened.store
        await store.append(*[ALICE] * 3)
        settled_before = await store.begin_next()
        assert await store.queue.ack(*settled_before, "p")
        lives = [await store.sending() for _ in range(8)]
        pair.wait_until_they_follow()
        await asyncio.to_thread(pair.part)
        lost = [id_ for _ in range(4) for id_ in await store.append(ALICE, ALICE)]
        for life in lives[:6]:
            assert await store.queue.ack(*life, "p")
        assert await store.queue.bury(*lives[6], reason=DeadReason.REJECTED)
        assert await store.queue.defer(*lives[7], until=9_000_000_000_000, attempts=1, why="w")
        pair.master.kill()
        [after] = await insist(store)
        await opened.reconciled()
        assert _texts(opened.losses) == [(8, lost[0], lost[-1], True)]
        census = await store.census()
        assert opened.settled_again == 8
        assert len(opened.losses) == 2
        assert census.finished["sent"] == 1 + 6
        assert (census.dead, census.deferred, census.in_flight) == (1, 1, 0)
        assert census.difference == 0
        present = await asyncio.to_thread(entries, pair.replica, [store.keys.queue])
        assert after in present
        assert not present & {*lost, *(entry.name[1:] for entry, _, _ in lives)}
        assert await store.unsettled.in_flight() == {}


def _texts(losses: list[Loss]) -> list[tuple[int, str, str, bool]]:
    return [
        (loss.messages, loss.first, loss.last, loss.complete) for loss in losses if loss.messages
    ]


@pytest.mark.parametrize("replicas_ack", [0, 1])
async def test_a_master_killed_under_load_loses_nothing_that_is_not_said(
    tmp_path: Path, replicas_ack: int
) -> None:
    nodes = Replicated(tmp_path, replicas=2)
    sentinels = Sentinels(tmp_path, nodes)
    try:
        nodes.start()
        sentinels.start()
        async with Opened(sentinels.url, replicas_ack=replicas_ack) as opened:
            load = Load(opened)
            async with asyncio.timeout(SOON_S):
                await load.start()
                await until(lambda: len(load.acked) > 100, "it runs")
                nodes.master.kill()
                before = len(load.acked)
                while len(load.acked) < before + 100:
                    await asyncio.sleep(0.01)
                await load.stop()
                present = await _present(opened.store, sentinels)
        missing = load.told - present - load.acked
        assert len(missing) <= opened.messages_lost
        assert not present & load.acked  # they would be sent a second time
        assert load.sent_twice == set()
        if replicas_ack:
            assert not missing
            assert opened.messages_lost == 0
    finally:
        sentinels.stop()
        nodes.stop()


async def _present(store: Store, sentinels: Sentinels) -> set[str]:
    """Ids in the master's streams, when the store and the sentinels mean the same one."""
    while True:
        await insist(store)  # finds out what a new server lacks, and whatever comes next tells it
        [last] = await insist(store)
        master = await asyncio.to_thread(sentinels.master)
        present = await asyncio.to_thread(entries, master, [store.keys.high, store.keys.queue])
        if last in present:
            return present


async def test_the_daemon_goes_on_with_the_new_master(
    sentinels: Sentinels, pair: Replicated, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path).start()
    daemon = Daemon(tmp_path / "d", recorder.settings(), {"SMSD_REDIS__URL": sentinels.url})
    daemon.start()
    try:
        ids = [daemon.send(to=ALICE, message="before")["id"] for _ in range(30)]
        eventually(lambda: len(recorder.arrivals()) > 5, what="it sends")
        pair.wait_until_they_follow()
        pair.master.kill()
        eventually(lambda: daemon.call("POST", "/send", {"to": ALICE, "message": "x"})[0] == 503)
        await asyncio.to_thread(pair.promoted)
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, 30, "it has found it")
        ids.append(daemon.send(to=ALICE, message="after")["id"])

        def all_sent() -> bool:
            answers = [daemon.call("GET", f"/messages/{id_}")[1] for id_ in ids]
            return all(answer["state"] == "sent" for answer in answers)

        eventually(all_sent, 30, "all are sent")
        arrived = [arrival["id"] for arrival in recorder.arrivals()]
        assert all(arrived.count(id_) == 1 for id_ in ids)
        assert daemon.stop() == 0
        for secret in (PASSWORD, QUOTED):
            assert secret not in daemon.log
    finally:
        daemon.kill()
        recorder.stop()


class Load:
    """Appends, and a dispatch that does all but send."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.told: set[str] = set()
        self.acked: set[str] = set()
        self.sent: set[str] = set()
        self.sent_twice: set[str] = set()
        self._stop = asyncio.Event()
        self._parts: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._parts = [asyncio.create_task(self._append()) for _ in range(4)]
        self._parts.append(asyncio.create_task(self._dispatch()))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._parts)

    async def _append(self) -> None:
        while not self._stop.is_set():
            try:
                self.told.update(await self.opened.store.append())
            except Full:
                pass  # in line for too long, and so not made: a failover takes longer at times
            except Away:
                pass
            await asyncio.sleep(0.002)

    async def _dispatch(self) -> None:
        store: Any = self.opened.store
        while not self._stop.is_set():
            try:
                claimed = await store.queue.claim(0, 8)
            except Away:
                await asyncio.sleep(0.05)
                claimed = await self._recovered()
            await asyncio.gather(*(self._deliver(entry) for entry in claimed))
            await asyncio.sleep(0.002)

    async def _recovered(self) -> list[Entry]:
        store = self.opened.store

        async def recover() -> list[Entry]:
            pending = await store.unsettled.pending()
            return await store.queue.reclaim(pending)

        return await persevere(recover)

    async def _deliver(self, entry: Entry) -> None:
        store, id_ = self.opened.store, entry.first_message_id
        attempt = store.attempt()
        begun = await store.begin(entry, attempt, ALICE)
        if begun == "fenced":  # the lease was lost with the master
            await store.lead()
            begun = await store.begin(entry, attempt, ALICE)
        if begun != "begun":
            return
        self.sent_twice |= {id_} & self.sent
        self.sent.add(id_)
        message = Message(id_, ALICE, content(), 0)
        await store.queue.ack(entry, attempt, message, "p")
        self.acked.add(id_)
