"""The faults of the chaos suite. Rule: what is said to go wrong does go wrong."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import redis

from tests.chaos.faults import fill_disk
from tests.chaos.stage import Stage
from tests.chaos.wire import Wire
from tests.support.processes import Recorder, eventually
from tests.support.redis_server import RedisServer


@pytest.fixture
def wire(own_server: RedisServer) -> Iterator[Wire]:
    wire = Wire(own_server.socket).start()
    yield wire
    wire.stop()


def through(wire: Wire) -> redis.Redis:
    return redis.Redis.from_url(wire.url, socket_timeout=0.3, retry=None)


def test_a_full_disk_fails_a_write_and_redis_ends_itself(
    own_server: RedisServer, tmp_path: Path
) -> None:
    stage = Stage(random.Random(1), own_server, Recorder(tmp_path), [])
    with own_server.client() as client:
        client.set("kept", "1")
    fill_disk(stage)
    fill_disk(stage)  # with a log that has grown
    assert own_server.log.count("Can't recover from AOF write error") == 2
    with own_server.client() as client:
        assert client.get("kept") == b"1"


def test_a_disk_that_did_not_fill_up_is_no_fault_that_was_tried(
    own_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = Stage(random.Random(1), own_server, Recorder(tmp_path), [])
    monkeypatch.setattr("tests.chaos.faults._write_until_it_ends", lambda _: None)
    with pytest.raises(AssertionError, match="did not fill up"):
        fill_disk(stage)


def test_a_dead_wire_holds_back_what_arrives_late(own_server: RedisServer, wire: Wire) -> None:
    with own_server.client() as near, through(wire) as far:
        assert far.ping()
        wire.hold()
        with pytest.raises(redis.TimeoutError):
            far.set("late", "1")
        assert near.get("late") is None
        wire.heal()
        eventually(lambda: near.get("late") == b"1", 5, "it arrives")
        assert far.ping()


def test_what_was_held_back_can_be_given_up(own_server: RedisServer, wire: Wire) -> None:
    with own_server.client() as near, through(wire) as far:
        assert far.ping()
        wire.hold()
        with pytest.raises(redis.TimeoutError):
            far.set("late", "1")
        wire.heal(forget=True)
        assert far.ping()
        assert near.get("late") is None


def test_a_wire_may_lose_the_replies_only(own_server: RedisServer, wire: Wire) -> None:
    with own_server.client() as near, through(wire) as far:
        assert far.ping()
        wire.hold(replies_only=True)
        with pytest.raises(redis.TimeoutError):
            far.set("heard", "1")
        eventually(lambda: near.get("heard") == b"1", 5, "it arrives")
        wire.heal()
        assert far.ping()


def test_a_cut_wire_breaks_the_connections_and_new_ones(wire: Wire) -> None:
    with through(wire) as far:
        assert far.ping()
        wire.cut()
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                far.ping()
        wire.heal()
        assert far.ping()


def test_one_wire_leaves_the_others_alone(own_server: RedisServer, wire: Wire) -> None:
    other = Wire(own_server.socket).start()
    try:
        wire.hold()
        with through(other) as far:
            assert far.ping()
    finally:
        other.stop()


def test_a_wire_carries_a_load(own_server: RedisServer, wire: Wire) -> None:
    def push() -> None:
        with suppress(redis.RedisError), redis.Redis.from_url(wire.url) as client:
            for _ in range(20):
                client.rpush("pushed", "x" * 50_000)

    pushers = [threading.Thread(target=push) for _ in range(4)]
    for pusher in pushers:
        pusher.start()
    for pusher in pushers:
        pusher.join(20)
    with own_server.client() as client:
        assert client.llen("pushed") == 80
