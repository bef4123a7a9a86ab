"""From start to stop. Rule: a start that cannot be says why in one line; a stop loses nothing.

Every text here holds the word Zebra, which must not stand in any log.
"""

import json
import os
import pty
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import redis

from smsd.redis.binary import find_server
from tests.support.processes import Daemon, Recorder, eventually, impatient
from tests.support.redis_server import RedisServer

TEXT = "Zebra"
ANYBODY = "+12025560100"
SLOW = """
    [rate]
    segments_per_second = 20
    [message]
    max_segments = 1
    [provider.sandbox]
    latency = 1.0
    [log]
    level = "debug"
"""


def assert_discreet(log: str) -> None:
    """Neither a text nor a whole number stands in it."""
    assert TEXT not in log
    assert not re.search(r"20255[56][0-9]{4}", log)


@pytest.fixture
def started() -> Iterator[list[Daemon]]:
    """Daemons that are ended with the test, and whose logs are searched."""
    daemons: list[Daemon] = []
    yield daemons
    for daemon in daemons:
        daemon.kill()
        assert_discreet(daemon.log)


@pytest.fixture
def smsd(tmp_path: Path, started: list[Daemon]) -> Daemon:
    """A daemon that has not been started yet; slow enough to be stopped in the middle."""
    started.append(Daemon(tmp_path / "smsd", SLOW))
    return started[0]


def state(daemon: Daemon, message_id: str) -> str:
    status, found = daemon.call("GET", f"/messages/{message_id}")
    assert status == 200, found
    return str(found["state"])


def states(daemon: Daemon, ids: list[str]) -> list[str]:
    return [state(daemon, message_id) for message_id in ids]


def send_many(daemon: Daemon, count: int) -> list[str]:
    ids = daemon.send(message=TEXT, to=[f"+1202556{one:04}" for one in range(count)])["ids"]
    assert isinstance(ids, list)
    return ids


def send_until_some_are_in_flight(daemon: Daemon, count: int) -> list[str]:
    """Send at the pace of SLOW; what left during the last second has no answer yet."""
    ids = send_many(daemon, count)
    eventually(lambda: " sent id=" in daemon.log, what="the first answer")
    return ids


# -- starts that cannot be ----------------------------------------------------------------------


def failed_start(
    directory: Path, settings: str = "", environment: Mapping[str, str] | None = None
) -> tuple[int, list[str]]:
    """Exit code, and the lines on stderr that are no log lines."""
    directory.mkdir(exist_ok=True)
    (directory / "config.toml").write_text(settings)
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SMSD_")}
    done = subprocess.run(
        [sys.executable, "-m", "smsd", "run"],
        cwd=directory,
        env=clean | {"SMSD_HTTP__PORT": "0"} | dict(environment or {}),
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    return done.returncode, [
        line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)
    ]


def test_where_stderr_is_closed_a_fault_is_printed_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[nonsense]\n")
    command = ["/bin/sh", "-c", 'exec "$0" -m smsd run 2>&-', sys.executable]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, timeout=40, check=False)
    assert done.returncode == 78
    assert b"nonsense" in done.stdout


def test_without_a_configuration_it_names_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smsd", "run", "--config", "nowhere.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "nowhere.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            "[rate]\nsegments_per_secnd = 45",
            "config.toml: [rate] segments_per_secnd: unknown key;"
            " did you mean segments_per_second?",
        ),
        ("[rat]\nsegments_per_second = 45", "config.toml: [rat]: unknown key; did you mean rate?"),
        (
            '[rate]\nsegments_per_second = "45"',
            'config.toml: [rate] segments_per_second: expected a number, got "45"',
        ),
        ("[rate", "config.toml: expected TOML: "),
        ('[provider]\nname = "nobody"', "config.toml: [provider] name: "),
        (
            "[provider.sandbox]\nlatncy = 1.0",
            "config.toml: [provider.sandbox] latncy: unknown key; did you mean latency?",
        ),
        (
            "[provider.sandbox]\nlatency = -1.0",
            "config.toml: [provider.sandbox] latency: expected greater than or equal to 0",
        ),
        (
            '[provider]\nname = "twilio"\n[provider.twilio]\nauth_token = "hunter2"',
            "config.toml: [provider.twilio] account_sid: is required, and not set",
        ),
        (
            '[http]\nhost = "0.0.0.0"',
            "config.toml: [http] tokens: expected at least one token,"
            " since host 0.0.0.0 is not loopback",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_has_an_exit_code_of_its_own(
    tmp_path: Path, settings: str, fault: str
) -> None:
    code, lines = failed_start(tmp_path, settings)

    assert code == 78
    assert lines[0].startswith(fault)
    assert "hunter2" not in "".join(lines)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    settings = "[http]\nport = 99999\n[rate]\nsegments_per_second = 0\n[nonsense]\n"
    code, lines = failed_start(tmp_path, settings, {"SMSD_HTTP__PORT": "99999"})

    assert (code, len(lines)) == (78, 3)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    code, lines = failed_start(tmp_path, "", {"SMSD_RATE__SEGMENTS_PER_SECOND": "fast"})

    assert code == 78
    assert lines == [
        'SMSD_RATE__SEGMENTS_PER_SECOND: [rate] segments_per_second: expected a number, got "fast"'
    ]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = failed_start(tmp_path, "", {"SMSD_HTTP__PORT": str(port)})

    assert code == 1
    [line] = lines
    said = f"cannot listen on 127.0.0.1 port {port}: Address already in use ([http] host, port)"
    assert line == said


def test_a_host_that_is_not_ours_is_named(tmp_path: Path) -> None:
    tokens = '["token-0123456789-abc"]'
    code, lines = failed_start(tmp_path, f'[http]\nhost = "192.0.2.1"\ntokens = {tokens}')

    assert code == 1
    [line] = lines
    assert line.startswith("cannot listen on 192.0.2.1 port 0: ")


def test_a_directory_in_use_is_named_with_who_uses_it(smsd: Daemon) -> None:
    smsd.start()
    code, lines = failed_start(smsd.directory, SLOW)

    assert code == 1
    assert lines == [
        f"data directory {smsd.directory}/var is in use by another smsd (process {smsd.pid})"
    ]
    assert smsd.call("GET", "/readyz")[0] == 200


@pytest.mark.parametrize("data_dir", ["config.toml", "config.toml/var", "/proc/smsd"])
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, data_dir: str) -> None:
    code, lines = failed_start(tmp_path, f'[redis]\ndata_dir = "{data_dir}"')

    assert code == 1
    [line] = lines
    assert line.startswith(f"data directory {tmp_path / data_dir} cannot be written: ")
    assert line.endswith("([redis] data_dir)")


def test_a_start_that_failed_leaves_nothing_behind(tmp_path: Path, started: list[Daemon]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed_start(tmp_path, "", {"SMSD_HTTP__PORT": str(taken.getsockname()[1])})

    started.append(Daemon(tmp_path))
    assert started[0].start().call("GET", "/healthz")[0] == 200


# -- stopping -----------------------------------------------------------------------------------


def test_a_stop_settles_what_is_in_flight_and_leaves_the_rest_for_the_next_start(
    smsd: Daemon,
) -> None:
    smsd.start()
    ids = send_until_some_are_in_flight(smsd, 40)
    assert smsd.stop() == 0
    sent = re.findall(r" sent id=([0-9-]+) ", smsd.log)
    assert 5 <= len(sent) < 40
    assert '"dispatch stopped" drained=true' in smsd.log

    smsd.start()
    assert states(smsd, sent) == ["sent"] * len(sent)
    assert not {"in_doubt", "dead"} & set(states(smsd, ids))
    eventually(lambda: set(states(smsd, ids)) == {"sent"}, what="all are sent")
    assert sorted(re.findall(r" sent id=([0-9-]+) ", smsd.log)) == sorted(ids)


def test_across_stops_each_text_reaches_the_gateway_once(
    tmp_path: Path, started: list[Daemon]
) -> None:
    gateway = Recorder(tmp_path, latency=0.3).start()
    try:
        settings = gateway.settings() + "[message]\nmax_segments = 1\n"
        smsd = Daemon(tmp_path / "smsd", settings)
        started.append(smsd)
        smsd.start()
        ids = send_many(smsd, 60)
        for part in (10, 30):
            eventually(lambda part=part: len(gateway.arrivals()) >= part)
            assert smsd.stop() == 0
            smsd.start()
        eventually(lambda: set(states(smsd, ids[-5:])) == {"sent"}, what="all are sent")
        assert smsd.stop() == 0
        arrived = [arrival["id"] for arrival in gateway.arrivals()]
    finally:
        gateway.stop()

    assert sorted(arrived) == sorted(ids)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_stops_at_once(smsd: Daemon, number: signal.Signals) -> None:
    smsd.start()
    smsd.signal(number)

    assert smsd.wait(20) == 0


def test_a_second_signal_does_not_cut_the_drain_short(smsd: Daemon) -> None:
    smsd.start()
    send_until_some_are_in_flight(smsd, 60)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        smsd.signal(number)

    assert smsd.wait() == 0
    assert "drained=true" in smsd.log


def test_while_it_drains_it_takes_no_more_and_finishes_what_is_in_flight(smsd: Daemon) -> None:
    smsd.start()
    send_until_some_are_in_flight(smsd, 25)
    smsd.signal(signal.SIGTERM)

    def refused() -> bool:
        try:
            smsd.call("GET", "/healthz")
        except (OSError, HTTPException):
            return True
        return False

    eventually(refused, what="takes no more")
    assert smsd.wait() == 0
    assert "drained=true" in smsd.log


def test_a_client_that_never_finishes_its_body_does_not_hold_up_a_stop(
    tmp_path: Path, started: list[Daemon]
) -> None:
    smsd = Daemon(tmp_path, "[http]\nbody_timeout = 1.0")
    started.append(smsd)
    smsd.start()
    host, port = smsd.url.removeprefix("http://").split(":")
    head = "POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with (
        socket.create_connection((host, int(port))) as idle,
        socket.create_connection((host, int(port))) as unfinished,
    ):
        unfinished.sendall(head.encode() + b"Content-Length: 100\r\n\r\n{")
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert idle.recv(12) == b"HTTP/1.1 200"

        assert smsd.stop() == 0


def test_a_caller_who_cannot_be_answered_does_not_cut_the_drain_short(
    tmp_path: Path, own_server: RedisServer, started: list[Daemon]
) -> None:
    gateway = Recorder(tmp_path, latency=7.0).start()
    redis_url = f'[redis]\nurl = "{own_server.url}"\n[http]\nbody_timeout = 0.5\n'
    smsd = Daemon(tmp_path / "d", gateway.settings() + redis_url)
    started.append(smsd)
    smsd.start()
    try:
        smsd.send(message=TEXT, to=[f"+120255501{number:02}" for number in range(20)])
        eventually(lambda: len(gateway.arrivals()) == 20, what="all are in flight")
        host, port = smsd.url.removeprefix("http://").split(":")
        body = json.dumps({"message": TEXT}).encode()
        head = f"POST /send HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        with own_server.client() as client, socket.create_connection((host, int(port))) as caller:
            caller.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert caller.recv(12) == b"HTTP/1.1 200"
            client.execute_command("CLIENT", "PAUSE", 6_500, "WRITE")
            caller.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)

            assert smsd.stop() == 0

            assert client.hgetall("smsd:inflight") == {}
            assert client.hget("smsd:counters", "sent") == b"20"
        assert "callers were cut off" in smsd.log
    finally:
        gateway.stop()


def test_no_more_is_marked_in_flight_than_is_about_to_leave(
    tmp_path: Path, started: list[Daemon]
) -> None:
    smsd = Daemon(tmp_path, "[message]\nmax_segments = 1\n[provider.sandbox]\nlatency = 0.05\n")
    started.append(smsd)
    smsd.start()
    ids = send_many(smsd, 150)
    marked = 0
    with redis.Redis(unix_socket_path=str(tmp_path / "var/redis.sock")) as client:

        def half_is_sent() -> bool:
            nonlocal marked
            marked = max(marked, client.hlen("smsd:inflight"))
            return smsd.log.count(" sent id=") >= len(ids) // 2

        eventually(half_is_sent, what="half of them are sent")

    # A kill leaves all of these in doubt. 100 ms of preparation and 50 ms to the answer are 7.
    assert marked <= 20


# -- SIGHUP -------------------------------------------------------------------------------------


def target(daemon: Daemon) -> str:
    """What /metrics says of the rate."""
    with socket.create_connection(daemon.url.removeprefix("http://").split(":")) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    found = re.search(rb"smsd_pace_target_segments_per_second ([0-9.]+)", answer)
    return found[1].decode() if found else ""


def reconfigure(daemon: Daemon, settings: str, until: str) -> None:
    seen = daemon.log.count(until)
    (daemon.directory / "config.toml").write_text(settings)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.log.count(until) > seen, what=until)


def test_a_hangup_changes_rate_and_log_level(tmp_path: Path, started: list[Daemon]) -> None:
    slow = "[rate]\nsegments_per_second = 0.5\n[message]\nmax_segments = 1\n"
    smsd = Daemon(tmp_path, slow)
    started.append(smsd)
    smsd.start()
    eventually(lambda: target(smsd) == "0.5")
    ids = send_many(smsd, 10)

    # At the old rate this would take 20 s.
    fast = "[rate]\nsegments_per_second = 40\n[message]\nmax_segments = 1\n"
    (smsd.directory / "config.toml").write_text(fast + '[log]\nlevel = "warning"\n')
    smsd.signal(signal.SIGHUP)
    eventually(lambda: target(smsd) == "40.0", what="the new rate")
    eventually(lambda: set(states(smsd, ids)) == {"sent"}, what="all are sent")
    assert " sent id=" not in smsd.log

    reconfigure(smsd, fast, "info reloaded rate=40.0 level=info")
    message_id = smsd.send(message=TEXT, to=ANYBODY)["id"]
    eventually(lambda: f" sent id={message_id} " in smsd.log, what="a line of it")


def test_what_a_hangup_cannot_change_is_told(tmp_path: Path, started: list[Daemon]) -> None:
    smsd = Daemon(tmp_path, "[rate]\nsegments_per_second = 20\n")
    started.append(smsd)
    smsd.start()
    reconfigure(smsd, "[rate]\nsegments_per_second = 30\n", "info reloaded rate=30.0")
    assert "restart" not in smsd.log

    changed = '[rate]\nceiling = "message"\n[queue]\nmax_length = 7\n[log]\nlevel = "debug"\n'
    keys = "queue.max_length,rate.ceiling"
    reconfigure(smsd, changed, f'warning "a change needs a restart" keys={keys}')
    assert target(smsd) == "45.0"


def test_a_broken_configuration_is_told_at_a_hangup_and_ignored(smsd: Daemon) -> None:
    smsd.start()
    eventually(lambda: target(smsd) == "20.0")
    for broken in ("[rate\n", "[rate]\nsegments_per_second = 0\n", "[nonsense]\n"):
        reconfigure(smsd, broken, 'error "not reloaded" because=')
    assert target(smsd) == "20.0"

    (smsd.directory / "config.toml").unlink()
    smsd.signal(signal.SIGHUP)
    eventually(lambda: smsd.log.count('error "not reloaded" because=') == 4)
    assert state(smsd, smsd.send(message=TEXT, to=ANYBODY)["id"]) in ("queued", "sending", "sent")
    assert smsd.stop() == 0


IN_TERMINAL = """
import os, signal, sys
os.setsid()
os.open(sys.argv[1], os.O_RDWR)  # the first one that a session opens is its own
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "smsd", "run"])
"""


@pytest.mark.parametrize("started_with", ["", "nohup"])
def test_a_closed_terminal_stops_what_was_started_in_it_but_not_with_nohup(
    smsd: Daemon, started_with: str
) -> None:
    terminal, inner = pty.openpty()
    smsd.start(program=["-c", IN_TERMINAL, os.ttyname(inner), started_with])
    os.close(inner)
    smsd.signal(signal.SIGHUP)
    eventually(lambda: smsd.log.count(" reloaded ") == 1, what="a reload, while it is open")
    os.close(terminal)
    if started_with == "nohup":
        eventually(lambda: smsd.log.count(" reloaded ") == 2, what="the second reload")
        assert smsd.stop() == 0
    else:
        assert smsd.wait(20) == 0
        assert smsd.log.count(" reloaded ") == 1


# -- systemd ------------------------------------------------------------------------------------


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "notify"))
        receiver.settimeout(20)
        yield receiver


def test_systemd_is_told_of_ready_alive_and_stopping(
    tmp_path: Path, manager: socket.socket, started: list[Daemon]
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    smsd = Daemon(tmp_path / "smsd", "[provider]\ntimeout = 40.0\n", environment)
    started.append(smsd)
    smsd.start()

    assert manager.recv(100) == b"READY=1"
    assert smsd.call("GET", "/healthz")[0] == 200
    assert [manager.recv(100) for _ in range(5)] == [b"WATCHDOG=1"] * 5
    smsd.signal(signal.SIGTERM)
    said = b""
    while said != b"STOPPING=1\nEXTEND_TIMEOUT_USEC=70000000":
        said = manager.recv(100)
        assert said == b"WATCHDOG=1" or said.startswith(b"STOPPING=1\n")
    assert smsd.wait() == 0


def pending(manager: socket.socket) -> list[bytes]:
    """What has been sent to it."""
    messages: list[bytes] = []
    manager.settimeout(0)
    with suppress(BlockingIOError):
        while True:
            messages.append(manager.recv(100))
    manager.settimeout(20)
    return messages


SLOWLY_LOADING = """#!/bin/sh
exec SERVER "$@" --key-load-delay "$LOAD_DELAY"
"""


def test_systemd_is_asked_for_time_while_the_embedded_server_loads_and_a_stop_does_not_wait(
    tmp_path: Path, manager: socket.socket, started: list[Daemon]
) -> None:
    smsd = Daemon(tmp_path / "smsd")
    started.append(smsd)
    smsd.start()
    with redis.Redis(unix_socket_path=str(smsd.directory / "var" / "redis.sock")) as client:
        pipeline = client.pipeline(transaction=False)
        for n in range(5000):  # it looks up from loading every 1024 commands
            pipeline.set(f"filler:{n % 10}", n)
        pipeline.execute()
    assert smsd.stop() == 0
    slow = tmp_path / "valkey-server"
    slow.write_text(SLOWLY_LOADING.replace("SERVER", find_server()))
    slow.chmod(0o755)
    record = smsd.directory / "var" / "server"
    record.write_text(f"{record.read_text().rsplit(' ', 1)[0]} {slow}\n")
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "LOAD_DELAY": "1500"}  # 7.5 s
    stopped = Daemon(tmp_path / "smsd", "", environment)
    started.append(stopped)
    stopped.start(wait=False)
    assert manager.recv(100) == b"EXTEND_TIMEOUT_USEC=120000000"
    assert stopped.stop() == 0
    assert b"READY=1" not in pending(manager)

    again = Daemon(tmp_path / "smsd", "", environment | {"LOAD_DELAY": "300"})
    started.append(again)
    again.start()

    said = b""
    while said != b"READY=1":
        said = manager.recv(100)
        assert said in (b"EXTEND_TIMEOUT_USEC=120000000", b"READY=1")


@pytest.mark.parametrize(("dispatch", "rate"), [("dead", 45), ("slow", 0.1)])
def test_the_watchdog_is_fed_while_dispatch_is_slow_but_not_when_it_is_dead(
    tmp_path: Path, manager: socket.socket, started: list[Daemon], dispatch: str, rate: float
) -> None:
    settings = f"[rate]\nsegments_per_second = {rate}\n[provider]\ntimeout = 0.1\n"
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
    smsd = Daemon(tmp_path / "smsd", settings, environment)
    started.append(smsd)
    smsd.start(program=impatient(dispatch))
    assert manager.recv(100) == b"READY=1"
    send_many(smsd, 3)
    fed_until = time.monotonic()
    deadline = fed_until + 8
    manager.settimeout(4)
    with suppress(TimeoutError):
        while fed_until < deadline:
            assert manager.recv(100) == b"WATCHDOG=1"
            fed_until = time.monotonic()
    assert (fed_until >= deadline) == (dispatch == "slow")
    assert smsd.call("GET", "/healthz")[0] == 200


def test_ready_is_not_said_by_a_start_that_fails(tmp_path: Path, manager: socket.socket) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = {
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "SMSD_HTTP__PORT": str(taken.getsockname()[1]),
        }
        assert failed_start(tmp_path / "smsd", "", environment)[0] == 1

    manager.settimeout(0)
    with pytest.raises(BlockingIOError):
        manager.recv(100)


HAND_DOWN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="1")
os.execv(sys.executable, [sys.executable, "-m", "smsd", "run"])
"""


class Activated:
    """smsd as systemd starts it: the port is ours, and handed down as file descriptor 3."""

    def __init__(self, directory: Path, settings: str) -> None:
        directory.mkdir()
        (directory / "config.toml").write_text(settings)
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        self.port: int = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = directory / "smsd.log"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def start(self) -> None:
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-c", HAND_DOWN, str(self.listener.fileno())],
                cwd=self._directory,
                stdout=log,
                stderr=log,
                pass_fds=[self.listener.fileno()],
            )

    def stop(self) -> int:
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(40)
        self._process = None
        return code

    def end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self.listener.close()


@pytest.fixture
def activated(tmp_path: Path) -> Iterator[Activated]:
    smsd = Activated(tmp_path / "smsd", "[rate]\nsegments_per_second = 1000\n")
    yield smsd
    smsd.end()
    assert_discreet(smsd.log)


def raw_call(port: int, body: Mapping[str, Any], key: str) -> tuple[int, Any]:
    """One request on a connection of its own; raises what the connection does."""
    raw = json.dumps(body).encode()
    head = (
        "POST /send HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        "Content-Type: application/json\r\n"
        f"Idempotency-Key: {key}\r\nContent-Length: {len(raw)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        client.sendall(head.encode() + raw)
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    if not answer:
        raise ConnectionResetError("closed without an answer")
    return int(answer.split()[1]), json.loads(answer.partition(b"\r\n\r\n")[2])


def test_a_socket_of_systemd_is_listened_on(activated: Activated) -> None:
    activated.start()
    # The connection waits in the backlog until the daemon is up.
    status, answer = raw_call(activated.port, {"message": TEXT, "to": ANYBODY}, "k1")

    assert (status, answer["messages"]) == (200, 1)
    assert f"listening address={activated.url}" in activated.log
    assert activated.stop() == 0


def test_a_request_between_two_lives_is_answered_by_the_next(activated: Activated) -> None:
    activated.start()
    raw_call(activated.port, {"message": TEXT, "to": ANYBODY}, "k1")
    assert activated.stop() == 0

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(raw_call, activated.port, {"message": TEXT, "to": ANYBODY}, "k2")
        activated.start()

    assert waiting.result()[0] == 200
    assert activated.stop() == 0


def test_a_restart_refuses_no_connection(activated: Activated) -> None:
    activated.start()
    raw_call(activated.port, {"message": TEXT, "to": ANYBODY}, "k0")
    done = threading.Event()
    answered: list[int] = []
    broken: list[str] = []

    def knock(who: int) -> None:
        count = 0
        while not done.is_set() and not broken:
            count += 1
            body = {"message": TEXT, "to": ANYBODY}
            try:
                status, _ = raw_call(activated.port, body, f"{who}-{count}")
            except OSError as error:
                broken.append(repr(error))
            else:
                answered.append(status)

    def are_answered() -> None:
        enough = len(answered) + 50
        eventually(lambda: broken or len(answered) >= enough, what="answers")

    with ThreadPoolExecutor(4) as pool:
        try:
            knocking = [pool.submit(knock, who) for who in range(4)]
            for _ in range(3):
                are_answered()
                assert activated.stop() == 0
                activated.start()
            are_answered()
        finally:
            done.set()
        for one in knocking:
            one.result()

    assert broken == []
    assert set(answered) == {200}
    assert activated.stop() == 0


def test_a_socket_meant_for_another_process_is_left_alone(
    tmp_path: Path, started: list[Daemon]
) -> None:
    smsd = Daemon(tmp_path, "", {"LISTEN_FDS": "1", "LISTEN_PID": "1"})
    started.append(smsd)

    assert smsd.start().call("GET", "/healthz")[0] == 200


def test_a_socket_open_to_the_world_needs_a_token(tmp_path: Path) -> None:
    smsd = Activated(tmp_path / "smsd", "")
    smsd.listener.close()
    smsd.listener = socket.create_server(("0.0.0.0", 0))
    try:
        smsd.start()
        process = smsd._process
        assert process is not None
        assert process.wait(40) == 1
        lines = [line for line in smsd.log.splitlines() if not line.startswith("20")]
        assert lines == ["systemd listens on 0.0.0.0; that needs [http] tokens"]
    finally:
        smsd.end()


def test_the_log_of_a_whole_life_tells_the_story_without_texts_or_numbers(smsd: Daemon) -> None:
    smsd.start()
    bad = smsd.call("POST", "/send", {"message": TEXT, "to": ["+12025560100", "12025560101"]})
    assert bad[0] == 400
    ids = send_many(smsd, 3)
    eventually(lambda: set(states(smsd, ids)) == {"sent"})
    assert smsd.stop() == 0

    for word in ("listening address=", " lease ", " sent id=", "to=+1202*****0", " stopping"):
        assert word in smsd.log
    assert_discreet(smsd.log)
    with pytest.raises(urllib.error.URLError):
        smsd.call("GET", "/healthz")
