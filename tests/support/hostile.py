"""Hostile callers, as octets, and what is watched of a daemon under attack."""

import http.client
import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import redis

from tests.support.processes import Daemon, Recorder, eventually, worst_window

TOKEN = "token-0123456789-abc"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
RATE = 45
MIB = 1_048_576
IMPATIENT = f"""
    [http]
    tokens = ["{TOKEN}"]
    header_timeout = 1.0
    body_timeout = 2.0
    [rate]
    segments_per_second = 1000
    [provider.sandbox]
    rate = 1000
    latency = 0.02
    [log]
    level = "debug"
"""
HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HEADERS = b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
AUTHORIZED = HEADERS + f"Authorization: Bearer {TOKEN}\r\n".encode()
NOWHERE = AUTHORIZED.replace(b"/send", b"/nowhere")
METRICS = HEALTHZ.replace(b"healthz", b"metrics")[:-2] + AUTHORIZED[len(HEADERS) :] + b"\r\n"
TLS_HELLO = bytes.fromhex("16030100c4010000c00303") + bytes(range(185))


@contextmanager
def running(directory: Path, settings: str, *, calm: bool = True) -> Iterator[Daemon]:
    """A daemon that has to stop well, and, if `calm`, has nothing to complain of."""
    daemon = Daemon(directory, settings).start()
    try:
        yield daemon
        assert daemon.stop() == 0
        assert not calm or not re.search(" error |Traceback", daemon.log), daemon.log
    finally:
        daemon.kill()


class Sending:
    """A daemon at 45/s with a long queue and a provider that records; and what became of it."""

    def __init__(self, directory: Path, settings: str = "") -> None:
        self.recorder = Recorder(directory, latency=0.02).start()
        self.daemon = Daemon(
            directory / "smsd",
            f'[http]\ntokens = ["{TOKEN}"]\n{settings}\n{self.recorder.settings()}',
        )
        self.ids: list[str] = []

    def start(self, messages: int) -> None:
        self.daemon.start()
        numbers = [f"+1202556{n:04}" for n in range(messages)]
        status, answer = self.daemon.call("POST", "/send", {"to": numbers, "message": "x"}, BEARER)
        assert status == 200
        self.ids += answer["ids"]
        eventually(self.recorder.arrivals, what="the first departure")

    def finish(self) -> None:
        """Every message was sent, each once, and no second held more than 45."""
        eventually(lambda: len(self.recorder.arrivals()) >= len(self.ids), 40, "all departures")
        arrivals = self.recorder.arrivals()
        assert sorted(arrival["id"] for arrival in arrivals) == sorted(self.ids)
        assert worst_window([arrival["at"] for arrival in arrivals]) <= RATE

    def stop(self) -> None:
        self.daemon.kill()
        self.recorder.stop()


def connect(daemon: Daemon, octets: bytes = b"", *, timeout: float = 20) -> socket.socket:
    host, port = daemon.url.removeprefix("http://").split(":")
    caller = socket.create_connection((host, int(port)), timeout=timeout)
    if octets:
        caller.sendall(octets)
    return caller


def read_all(caller: socket.socket) -> bytes:
    """All that comes until the daemon closes."""
    received = b""
    with suppress(ConnectionResetError):
        while octets := caller.recv(65_536):
            received += octets
    return received


def exchange(daemon: Daemon, octets: bytes) -> bytes:
    """Send `octets` and read all of the answer; the daemon has to close."""
    with closing(connect(daemon)) as caller:
        with suppress(ConnectionError):  # it may have received enough before the end
            caller.sendall(octets)
        return read_all(caller)


def error_in(answer: bytes) -> tuple[int, str]:
    """Status and code of a refusal, which is JSON whatever it refuses."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower(), answer[:500]
    return int(head.split(b" ", 2)[1]), json.loads(body)["error"]["code"]


def memory(pid: int) -> int:
    """Octets that a process occupies."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def files(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def is_well(daemon: Daemon) -> bool:
    with suppress(OSError, http.client.HTTPException):
        return bool(daemon.call("GET", "/healthz")[0] == 200)
    return False


def embedded(daemon: Daemon) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(daemon.directory / "var" / "redis.sock"))


LARGE = {
    "one line": b"GET /" + b"Zebra" * 20_000 + b" HTTP/1.1\r\n\r\n",
    "one header": b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"Zebra" * 200_000,
    "one name": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"Zebra" * 200_000,
    "many headers": b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: Zebra\r\n" * 100_000,
    "many names": b"GET / HTTP/1.1\r\nHost: a\r\n"
    + b"".join(b"X%d: Zebra\r\n" % n for n in range(900)),
    "behind blank lines": b"\r\n" * 8_000 + b"GET / HTTP/1.1\r\n" + b"X: Zebra\r\n" * 100_000,
    "blank lines": b"\r\n" * 500_000,
    "wide characters": b"GET / HTTP/1.1\r\n" + b"X: \xf0\x9f\x98\x80\r\n" * 100_000,
}


GARBAGE = {
    "TLS": TLS_HELLO,
    "random octets": bytes((n * n * 31 + 7 * n) % 251 for n in range(5_000)),
    "zeros": b"\0" * 5_000,
    "newlines": b"\n" * 500,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0" * 50,
    "a redis command": b"*1\r\n$8\r\nFLUSHALL\r\n",
    "no host": b"GET /healthz HTTP/1.1\r\n\r\n",
    "two lengths": HEADERS + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n{}",
    "length and chunks": HEADERS + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}",
    "a negative length": HEADERS + b"Content-Length: -1\r\n\r\n",
    "a huge length": HEADERS + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n",
    "bad chunks": AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\nZebra\r\n",
    "bad chunks nobody reads": NOWHERE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}Zebra",
    "a bad header": b"GET / HTTP/1.1\r\nHost: a\r\nZebra\r\n\r\n",
    "a NUL": b"GET / HTTP/1.1\r\nHost: a\r\nX: Zebra\0\r\n\r\n",
    "a version": b"GET / HTTP/9.9\r\nHost: a\r\n\r\n",
    "a space": b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
    "CONNECT": b"CONNECT zebra:443 HTTP/1.1\r\nHost: a\r\n\r\nZebra",
    "an upgrade": (
        HEALTHZ[:-2] + b"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n" + b"Zebra" * 50_000
    ),
    "an expectation": HEADERS + b"Expect: Zebra\xff\r\nContent-Length: 5\r\n\r\nZebra",
}
