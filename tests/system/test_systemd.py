"""systemd. Rule: it is told what the daemon does, and its sockets outlive the daemon."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from smsd.redis.binary import find_server
from tests.support.lives import (
    ANYBODY,
    BODY,
    assert_discreet,
    failed_start,
    send_many,
)
from tests.support.processes import Daemon, eventually, impatient


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
    status, answer = raw_call(activated.port, {"message": BODY, "to": ANYBODY}, "k1")

    assert (status, answer["messages"]) == (200, 1)
    assert f"listening address={activated.url}" in activated.log
    assert activated.stop() == 0


def test_a_request_between_two_lives_is_answered_by_the_next(activated: Activated) -> None:
    activated.start()
    raw_call(activated.port, {"message": BODY, "to": ANYBODY}, "k1")
    assert activated.stop() == 0

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(raw_call, activated.port, {"message": BODY, "to": ANYBODY}, "k2")
        activated.start()

    assert waiting.result()[0] == 200
    assert activated.stop() == 0


def test_a_restart_refuses_no_connection(activated: Activated) -> None:
    activated.start()
    raw_call(activated.port, {"message": BODY, "to": ANYBODY}, "k0")
    done = threading.Event()
    answered: list[int] = []
    broken: list[str] = []

    def knock(who: int) -> None:
        count = 0
        while not done.is_set() and not broken:
            count += 1
            body = {"message": BODY, "to": ANYBODY}
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
