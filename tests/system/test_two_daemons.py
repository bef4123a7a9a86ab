"""Two daemons on one Redis. Rule: together they send each text once, and no faster than one."""

import signal
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.oracle import judge, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 45
TEXTS = 250
SETTINGS = '[redis]\nurl = "{url}"\nlease = 2.0\n[rate]\nsegments_per_second = 45\n'
NO_FUNDS = "+12025550195"  # the sandbox's number for it
Pair = tuple[Daemon, Daemon]


@pytest.fixture
def pair(tmp_path: Path, own_server: RedisServer, recorder: Recorder) -> Iterator[Pair]:
    """One that dispatches, and its standby."""
    settings = SETTINGS.format(url=own_server.url) + recorder.settings()
    active, standby = Daemon(tmp_path / "a", settings), Daemon(tmp_path / "b", settings)
    active.start()
    eventually(lambda: "ours=true" in active.log, what="the lease")
    standby.start()
    yield active, standby
    active.signal(signal.SIGCONT)
    for daemon in (active, standby):
        daemon.kill()


def in_flight(server: RedisServer) -> int:
    """How many messages may be in doubt when dispatch ends now, and some that are just begun."""
    with server.client() as client:
        return int(client.hlen("smsd:inflight")) + 10


def sleep_past_its_lease(pair: Pair, own_server: RedisServer) -> int:
    """How many messages may be in doubt; a busy machine has more of them in flight."""
    active, standby = pair
    active.signal(signal.SIGSTOP)
    doubtful = in_flight(own_server)
    eventually(lambda: "ours=true" in standby.log, what="the standby takes over")
    eventually(lambda: " sent id=" in standby.log, what="and sends")
    active.signal(signal.SIGCONT)
    return doubtful


def lose_the_lease_alive(pair: Pair, own_server: RedisServer) -> int:
    """As a failover that lost the last writes, or a clock that jumped, makes it."""
    _, standby = pair
    doubtful = 0
    with own_server.client() as client:
        holder = client.get("smsd:lease")
        while client.get("smsd:lease") == holder:  # until the standby is the quicker one
            client.delete("smsd:lease")
            doubtful += in_flight(own_server)
            eventually(lambda: client.get("smsd:lease") is not None)
    eventually(lambda: "ours=true" in standby.log, what="it has heard of it")
    return doubtful


@pytest.mark.parametrize("trouble", [sleep_past_its_lease, lose_the_lease_alive])
def test_one_that_lost_its_lease_sends_nothing_beside_the_other(
    pair: Pair,
    own_server: RedisServer,
    recorder: Recorder,
    trouble: Callable[[Pair, RedisServer], int],
) -> None:
    active, standby = pair
    numbers = [f"+1202555{n:04d}" for n in range(TEXTS)]
    ids = standby.send(to=numbers, message="Hi")["ids"]  # a standby takes texts in
    eventually(lambda: len(recorder.arrivals()) > RATE, what="it is under way")
    doubtful = trouble(pair, own_server)
    eventually(lambda: 'info "dispatch stopped"' in active.log, what="the first has noticed")
    at = len(active.log)
    with own_server.client() as client:
        # Nothing that the first had claimed may wait for the recovery of every half minute.
        eventually(lambda: waiting(client) == 0, 20, "all texts out")
        verdict = judge(ids, recorder.arrivals(), states(client))

    assert verdict.clean, verdict
    assert verdict.states["sent"] > TEXTS - doubtful
    assert max(Counter(one["id"] for one in recorder.arrivals()).values()) == 1
    assert worst_window(instants(recorder.arrivals(), RATE)) <= RATE
    assert " sent id=" not in active.log[at:]


def _metrics(daemon: Daemon) -> str:
    with urllib.request.urlopen(f"{daemon.url}/metrics", timeout=20) as answer:
        return str(answer.read().decode())


def test_a_standby_is_ready_whatever_held_it_up_before(
    own_server: RedisServer, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path, f'[redis]\nurl = "{own_server.url}"\nlease = 2.0\n').start()
    dispatch = "/readyz/dispatch"
    try:
        eventually(lambda: "ours=true" in daemon.log, what="the lease")
        daemon.send(to=NO_FUNDS, message="Hi")
        eventually(lambda: daemon.call("GET", dispatch)[0] == 503, what="dispatch is held")
        assert "smsd_dispatch_held 1.0" in _metrics(daemon)
        assert daemon.call("GET", "/readyz")[0] == 200
        with own_server.client() as client:
            client.set("smsd:lease", "another", px=600_000)
        eventually(lambda: daemon.call("GET", dispatch)[0] == 200, what="it is a standby")
        assert daemon.call("GET", dispatch)[1]["held"] == ""
        eventually(lambda: "smsd_dispatch_held 0.0" in _metrics(daemon), what="and counts as one")
    finally:
        daemon.kill()
