"""Whether Redis can be worked with. Rule: each change is told once, and what passes is noticed."""

import asyncio
import re
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import redis
from redis.exceptions import TimeoutError as RedisTimeoutError

from smsd.config import Settings
from smsd.daemon import storage as storage_module
from smsd.daemon.storage import Storage
from smsd.metrics import Metrics
from smsd.redis.availability import Availability
from smsd.redis.errors import Away, NoReply, OutOfMemory, RefusesWrites, meaning
from tests.redis.dispatching import at_work
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import RedisServer
from tests.support.store import OpenStore, Store, until

ANYBODY = {"to": "+12025550123", "message": "x"}


class Told:
    """An availability, and what it told."""

    def __init__(self) -> None:
        self.changes: list[bool] = []
        self.filled: list[bool] = []
        self.availability = Availability(
            changed=lambda up, _: self.changes.append(up), filled=self.filled.append
        )


@pytest.fixture
async def told(own_server: RedisServer, open_store: OpenStore) -> tuple[Store, Told]:
    told = Told()
    store = open_store(url=own_server.url)
    store.availability = told.availability
    store.client._availability = told.availability
    return await store.lead(), told


# -- it refuses writes -----------------------------------------------------------------------------


async def test_a_server_that_refuses_writes_is_away_once_however_much_is_read(
    told: tuple[Store, Told], own_server: RedisServer
) -> None:
    store, heard = told
    await store.append()
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        for _ in range(10):
            with pytest.raises(RefusesWrites):
                await store.queue.claim(1, 1)
            await store.unsettled.pending()
            assert (await store.census()).queued == 1
            assert await store.queue.cancel("1-1") == "unknown"  # a script that wrote nothing
        assert heard.changes == [True, False]
        assert store.availability.reason.startswith("ReadOnlyError: ")

        client.replicaof("NO", "ONE")
        await store.unsettled.pending()
        assert heard.changes == [True, False]
        await store.queue.claim(1, 1)
        await store.unsettled.pending()
        assert heard.changes == [True, False, True]
        assert store.availability.reason == ""


async def test_a_claimer_without_room_does_not_call_back_a_server_that_refuses_writes(
    told: tuple[Store, Told], own_server: RedisServer
) -> None:
    store, heard = told
    high, normal = store.prefetch.room
    recipients = [ANYBODY["to"]] * (high + normal)
    await store.append(*recipients[:high], priority="high")
    await store.append(*recipients[high:])
    await store.claimer.admit(await store.queue.claim(high, normal))
    assert store.prefetch.room == (0, 0)
    store.prefetch.half_s = 0.01  # so that it looks often whether there is room
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        with pytest.raises(RefusesWrites):
            await store.client.try_to_write()
        async with at_work(store.claimer):
            await asyncio.sleep(0.1)
    assert heard.changes == [True, False]


async def test_a_server_that_refuses_writes_and_dies_is_back_when_one_succeeds(
    told: tuple[Store, Told], own_server: RedisServer
) -> None:
    store, heard = told
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
    with pytest.raises(RefusesWrites):
        await store.client.try_to_write()
    own_server.kill()
    with pytest.raises(Away):
        await store.unsettled.pending()
    own_server.start()
    await store.unsettled.pending()
    assert heard.changes == [True, False]
    await store.client.try_to_write()
    assert heard.changes == [True, False, True]


async def test_a_server_that_was_only_gone_is_back_with_any_answer(
    told: tuple[Store, Told], own_server: RedisServer
) -> None:
    store, heard = told
    own_server.kill()
    with pytest.raises(Away):
        await store.unsettled.pending()
    own_server.start()
    await store.unsettled.pending()
    assert heard.changes == [True, False, True]


def test_an_error_of_the_library_is_reported_with_its_name() -> None:
    availability = Availability()
    availability.saw(NoReply())
    assert availability.reason == "not in time"
    error = meaning(RedisTimeoutError("Timeout reading from socket"))
    assert isinstance(error, Away)
    availability.saw(error)
    assert availability.reason == "TimeoutError: Timeout reading from socket"


# -- it is full ------------------------------------------------------------------------------------


async def test_a_full_server_is_told_once_and_is_not_away(
    told: tuple[Store, Told], own_server: RedisServer
) -> None:
    store, heard = told
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        results = await asyncio.gather(*(store.append() for _ in range(9)), return_exceptions=True)
        assert all(isinstance(result, Exception) for result in results)
        await store.queue.claim(1, 1)
        with pytest.raises(OutOfMemory):
            await store.client.try_to_write()
        assert heard.filled == [True]
        assert heard.changes == [True]


# -- it is back ------------------------------------------------------------------------------------


async def test_one_that_is_back_is_found_though_nobody_asks_it_anything_else(
    own_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a standby, where all who wait for Redis soon ask it only every two seconds."""
    monkeypatch.setattr(storage_module, "RETURN_S", 0.02)
    settings = Settings.model_validate({"redis": {"url": own_server.url}})
    config_path, metrics = tmp_path / "config.toml", Metrics()
    storage = Storage(settings, config_path, "a", metrics, on_operator=lambda _: None)
    tries, availability = 0, storage.availability
    async with AsyncExitStack() as stack:
        await storage.open(stack)
        write = storage.store.client.try_to_write

        async def counted() -> None:
            nonlocal tries
            tries += 1
            await write()

        monkeypatch.setattr(storage.store.client, "try_to_write", counted)
        own_server.kill()
        with pytest.raises(Away):
            await storage.store.unsettled.pending()
        probing = asyncio.create_task(storage.probe())
        await until(lambda: tries >= 100, "it is tried as often as in the beginning")
        assert not availability.up
        await asyncio.to_thread(own_server.start)
        await until(lambda: availability.up, "it is noticed")
        probing.cancel()
        await asyncio.wait([probing])


# -- the daemon ------------------------------------------------------------------------------------


@pytest.fixture
def smsd(own_server: RedisServer, tmp_path: Path) -> Iterator[Daemon]:
    settings = f"""
        [redis]
        url = "{own_server.url}"
        lease = 2
        [rate]
        segments_per_second = 1000
        [provider.sandbox]
        latency = 0.01
        rate = 1000000
    """
    daemon = Daemon(tmp_path / "smsd", settings).start()
    eventually(lambda: daemon.call("GET", "/readyz/dispatch")[1]["role"] == "active")
    yield daemon
    daemon.stop()


def lines(daemon: Daemon) -> list[str]:
    """What its log says of Redis, in order."""
    return re.findall(r" \"(redis (?:away|answers|full|takes messages again))\"", daemon.log)


def ready(daemon: Daemon) -> bool:
    return daemon.call("GET", "/readyz")[0] == 200


def test_readiness_stays_red_while_writes_are_refused_and_comes_back_without_a_request(
    own_server: RedisServer, smsd: Daemon
) -> None:
    with own_server.client() as client:
        client.replicaof("127.0.0.1", "1")
        assert smsd.call("POST", "/send", ANYBODY)[0] == 503
        for _ in range(100):
            status, told = smsd.call("GET", "/readyz")
            assert (status, told["redis"]["up"]) == (503, False)
            assert "ReadOnlyError" in told["redis"]["reason"]
            assert smsd.call("GET", "/messages/1-1")[0] == 404
            time.sleep(0.01)
        client.replicaof("NO", "ONE")
    eventually(lambda: ready(smsd), what="it is noticed")
    eventually(lambda: lines(smsd) == ["redis answers", "redis away", "redis answers"])


def test_a_full_redis_is_logged_once_and_red_until_there_is_room_while_texts_go_out(
    own_server: RedisServer, smsd: Daemon
) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    id_ = smsd.send(**ANYBODY, send_at=soon)["id"]
    with own_server.client() as client:
        client.config_set("maxmemory", 1_000_000)
        for _ in range(5):
            status, answer = smsd.call("POST", "/send", ANYBODY)
            assert (status, answer["error"]["code"]) == (503, "redis_full")
        eventually(lambda: smsd.call("GET", f"/messages/{id_}")[1]["state"] == "sent")
        for _ in range(25):  # more than one probe: none must call it well
            status, told = smsd.call("GET", "/readyz")
            assert (status, told["ready"]) == (503, False)
            assert told["redis"] == {
                "up": True,
                "reason": "out of memory: it takes no more messages",
            }
            time.sleep(0.1)
        assert lines(smsd) == ["redis answers", "redis full"]
        client.config_set("maxmemory", 0)
    eventually(lambda: ready(smsd), what="it is noticed without a request")
    logged = ["redis answers", "redis full", "redis takes messages again"]
    eventually(lambda: lines(smsd) == logged, what="a thread logs it, a little later")
    smsd.send(**ANYBODY)


def fill_up(client: "redis.Redis", texts: int) -> None:
    """Queue texts, and leave no room for more."""
    for _ in range(texts):
        client.xadd("smsd:queue", {"to": ANYBODY["to"], "message": "x"})
    client.config_set("maxmemory", 1)


def sent(client: "redis.Redis") -> int:
    return int(client.hget("smsd:counters", "sent") or 0)


def test_a_daemon_that_starts_while_redis_is_full_empties_it(
    own_server: RedisServer, smsd: Daemon
) -> None:
    assert smsd.stop() == 0
    with own_server.client() as client:
        fill_up(client, 5)
        smsd.start()
        eventually(lambda: sent(client) == 5, what="all that was queued is sent")


def test_a_daemon_that_loses_its_lease_while_redis_is_full_goes_on_when_it_is_back(
    own_server: RedisServer, smsd: Daemon
) -> None:
    with own_server.client() as client:
        client.set("smsd:lease", "another", px=600_000)
        fill_up(client, 5)
        eventually(lambda: '"dispatch stopped"' in smsd.log, what="it has noticed")
        client.delete("smsd:lease")
        eventually(lambda: sent(client) == 5, what="all that was queued is sent")
    assert smsd.stop() == 0
