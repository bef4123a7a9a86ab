"""Replicas. Rule: what too few of them have is not promised, and permits no send."""

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from smsd.redis import client as client_module
from smsd.redis.errors import OutOfMemory, TooFewReplicas
from smsd.store.append import Append
from tests.redis.opened import Opened
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    content,
    sha,
    until,
)
from tests.support.topologies import (
    Replicated,
)

SOON_S = 40.0  # far more than a failover takes


@contextmanager
def stopped(replica: RedisServer) -> Iterator[None]:
    """While it stands still, it is waited for only briefly."""
    replica.send_signal(signal.SIGSTOP)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(client_module, "ACK_MS", 300)
            yield
    finally:
        replica.send_signal(signal.SIGCONT)


async def test_without_its_replica_nothing_is_promised_and_nothing_permitted(
    pair: Replicated,
) -> None:
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append(ALICE, ALICE)
        entry, message = await store.claim_one()
        request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
        with stopped(pair.replica):
            with pytest.raises(TooFewReplicas):
                await store.queue.append(request)
            assert await store.length() == 3  # that one had been written before it was known
            with pytest.raises(TooFewReplicas):
                await store.queue.first_answer("k")
            for _ in range(2):
                with pytest.raises(TooFewReplicas):
                    await store.append()
            assert await store.length() == 3
            beginning = asyncio.create_task(store.begin(entry, store.attempt(), message.recipient))
            await asyncio.wait([beginning], timeout=1.0)
            assert not beginning.done()
            assert await store.unsettled.in_flight() == {}  # a stop now leaves nothing in doubt
            assert store.availability.up
        async with asyncio.timeout(SOON_S):
            assert await beginning == "begun"
        assert await store.queue.ack(entry, store.attempt(), message, "p")
        assert (await store.queue.append(request)).answer == b"{}"
        await store.append()
        assert await store.length() == 3
        assert await store.difference() == 0


async def test_a_begin_that_the_replica_did_not_hear_of_in_time_is_undone(
    pair: Replicated,
) -> None:
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append()
        entry, message = await store.claim_one()
        with stopped(pair.replica):
            beginning = asyncio.create_task(store.begin(entry, store.attempt(), message.recipient))
            await until(lambda: not store.client._replicas.enough, "the replica is missed")
            await asyncio.wait([beginning], timeout=0.5)
            assert not beginning.done()
            assert await store.unsettled.in_flight() == {}
        async with asyncio.timeout(SOON_S):
            assert await beginning == "begun"


async def test_a_replica_that_is_back_is_found_to_be_while_redis_is_full(
    pair: Replicated,
) -> None:
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append(ALICE)
        entry, message = await store.claim_one()
        with stopped(pair.replica):
            with pytest.raises(TooFewReplicas):
                await store.append()
            with pair.master.client() as client:
                client.config_set("maxmemory", 1)
        async with asyncio.timeout(SOON_S):
            assert await store.begin(entry, store.attempt(), message.recipient) == "begun"
        assert await store.queue.ack(entry, store.attempt(), message, "p")
        with pytest.raises(OutOfMemory):
            await store.client.try_to_write()


async def test_a_repeated_append_is_not_promised_because_it_wrote_nothing_more(
    pair: Replicated, tmp_path: Path
) -> None:
    """WAIT looks at what its own connection wrote: after a repetition, at nothing."""
    proxy = await Proxy(pair.master.socket, tmp_path / "p").start()
    async with Opened(proxy.url, replicas_ack=1) as opened:
        await opened.store.append()
        with stopped(pair.replica):
            proxy.lose_reply(sha("append"))
            with pytest.raises(TooFewReplicas):
                await opened.store.append()
        assert proxy.lost == 1
        assert await opened.store.length() == 2
    await proxy.stop()


async def test_the_daemon_sends_nothing_while_its_replica_is_stopped_and_goes_on_after(
    pair: Replicated, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path).start()
    environment = {"SMSD_REDIS__URL": pair.master.url, "SMSD_REDIS__REPLICAS_ACK": "1"}
    daemon = Daemon(tmp_path / "d", recorder.settings(), environment)
    daemon.start()
    try:
        first = daemon.send(to=ALICE, message="first")["id"]
        eventually(lambda: len(recorder.arrivals()) == 1, what="the first arrives")
        with stopped(pair.replica):
            with pair.master.client() as client:  # by a way that does not wait for the replica
                for _ in range(20):
                    client.xadd("smsd:queue", {"to": ALICE, "message": "by hand"})
            status, answer = daemon.call("POST", "/send", {"to": ALICE, "message": "second"})
            assert (status, answer["error"]["code"]) == (503, "outcome_unknown")
            status, _ = daemon.call("POST", "/send", {"to": ALICE, "message": "third"})
            assert status == 503
            assert len(recorder.arrivals()) == 1
        last = daemon.send(to=ALICE, message="last")["id"]
        eventually(
            lambda: daemon.call("GET", f"/messages/{last}")[1]["state"] == "sent",
            30,
            "the last is sent",
        )
        eventually(lambda: len(recorder.arrivals()) >= 22, what="all arrive")
        assert 22 <= len(recorder.arrivals()) <= 23  # of `second` nothing was known
        assert daemon.call("GET", f"/messages/{first}")[1]["state"] == "sent"
        assert daemon.stop() == 0
        assert "replicas enough=false" in daemon.log
        assert "replicas enough=true" in daemon.log
    finally:
        daemon.kill()
        recorder.stop()
