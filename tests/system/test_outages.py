"""A provider in trouble. Rule: what it can take it gets, and no message is written without end."""

import time
from collections import Counter
from pathlib import Path

import redis

from tests.support.processes import SECOND, Daemon, Recorder, eventually

NUMBERS = [f"+1202556{n:04d}" for n in range(1000)]
ANYBODY = "+12025570000"
FAST = "[rate]\nsegments_per_second = 200\n"


def copies(gateway: Recorder) -> Counter[str]:
    """How often each message was written."""
    return Counter(arrival["id"] for arrival in gateway.arrivals())


def under_way(daemon: Daemon) -> int:
    """How many messages are recorded as in flight."""
    with redis.Redis(unix_socket_path=str(daemon.directory / "var" / "redis.sock")) as client:
        return int(client.hlen("smsd:inflight"))


def test_a_gateway_that_takes_and_says_503_gets_no_message_more_often_than_may_be(
    tmp_path: Path,
) -> None:
    gateway = Recorder(tmp_path, plan={"taken 503": 1}).start()
    retry = "[retry]\nmax_attempts = 3\ninitial_delay = 0.05\nmax_delay = 0.2\n"
    daemon = Daemon(tmp_path, gateway.settings() + retry).start()
    try:
        ids = daemon.send(to=NUMBERS[:4], message="x")["ids"]
        eventually(lambda: copies(gateway).total() >= 7, 30, "it is held, and probes")
        assert daemon.call("GET", "/readyz/dispatch")[0] == 503
        eventually(lambda: under_way(daemon) == 0, what="it is answered, and the next not due")
        daemon.kill()  # what is counted is durable
        daemon.start()
        eventually(lambda: copies(gateway).total() == 8, 30, "all but the last attempts are made")
        time.sleep(1)  # in which each comes back several times
        assert set(copies(gateway).values()) == {2}
        assert daemon.call("GET", "/dead-letters")[1]["dead_letters"] == []

        gateway.stop()
        gateway.start(plan={"ok": 1})
        new = daemon.send(to=ANYBODY, message="x")["id"]
        eventually(lambda: copies(gateway)[new] == 1, what="another message probes")
        eventually(lambda: copies(gateway).total() == 13, what="and the last attempts are made")
        assert {copies(gateway)[id_] for id_ in ids} == {3}
        assert daemon.call("GET", "/readyz/dispatch")[0] == 200
    finally:
        daemon.kill()
        gateway.stop()


def test_a_few_numbers_that_are_answered_403_do_not_hold_up_the_rest(tmp_path: Path) -> None:
    bad = NUMBERS[5:200:20]
    gateway = Recorder(tmp_path, replies=dict.fromkeys(bad, "403")).start()
    daemon = Daemon(tmp_path, gateway.settings() + FAST).start()
    try:
        daemon.send(to=NUMBERS[:200], message="x")
        good = len(NUMBERS[:200]) - len(bad)

        def taken() -> int:
            return sum(arrival["taken"] for arrival in gateway.arrivals())

        eventually(lambda: taken() == good, 30, "all others are sent at nearly the whole rate")
        arrivals = gateway.arrivals()
        assert len(bad) == 10
        assert (
            arrivals[-1]["at"] - arrivals[0]["at"]
        ) / 1e9 <= 10  # a second, a pause, and a busy machine
    finally:
        daemon.kill()
        gateway.stop()


def taken_in_4_s(gateway: Recorder) -> int:
    """How many messages it takes from now on; a busy machine sends fewer."""
    eventually(gateway.arrivals, what="it is under way")
    first = gateway.arrivals()[-1]["at"]
    eventually(lambda: gateway.arrivals()[-1]["at"] - first > 4 * SECOND, what="it goes on")
    return sum(a["taken"] for a in gateway.arrivals() if 0 < a["at"] - first <= 4 * SECOND)


def test_a_gateway_that_takes_half_gets_half(tmp_path: Path) -> None:
    gateway = Recorder(tmp_path).start()
    daemon = Daemon(tmp_path, gateway.settings() + FAST).start()
    try:
        for _ in range(2):
            daemon.send(to=NUMBERS, message="x")
        all_there_is = taken_in_4_s(gateway)
        gateway.behave(plan={"ok": 0.5, "503": 0.5})
        assert taken_in_4_s(gateway) >= 0.5 * 0.5 * all_there_is  # half of that, and much to spare
    finally:
        daemon.kill()
        gateway.stop()
