"""Hostile callers. Rule: whatever they send, memory is bounded, the pace holds, nothing is told.

Every buffer between a caller and the provider has a limit, and a word for being full:

| buffer                           | limit                   | when it is full                  |
|----------------------------------|-------------------------|----------------------------------|
| knocks the kernel keeps          | listener.BACKLOG        | the kernel lets them knock again |
| connections                      | max_connections         | 503 too_many_connections         |
| file descriptors                 | RLIMIT_NOFILE           | knocks wait; a line in the log   |
| octets before a request is whole | LARGEST_HEADERS         | 431 headers_too_large            |
| time before a request is whole   | header_timeout          | closed                           |
| pipelined requests, and octets   | aiohttp's 32, READ      | nothing more is read             |
| requests that begin in one turn  | turns.AT_ONCE           | they take turns                  |
| octets of one body               | max_body                | 413 body_too_large               |
| time of one body                 | body_timeout            | 408 body_timeout                 |
| octets of all bodies             | room.BODIES x max_body  | 503 busy, to the slowest         |
| values and names in one body     | body.MOST_VALUES        | 400 invalid_json                 |
| recipients of one request        | max_recipients          | 400 invalid_field                |
| an answer nobody reads           | 64 KiB, body_timeout    | closed                           |
| appends that wait for Redis      | most_waiting, 4096      | 503 busy (connections are fewer) |
| begins, settlements that wait    | most_waiting, 100,000   | Full (max_in_flight is fewer)    |
| texts in Redis                   | max_length              | 429 queue_full                   |
| Redis's memory                   | its maxmemory           | 503 redis_full                   |
| an entry that is read            | LARGEST_ENTRY           | a dead letter                    |
| the look-ahead                   | Prefetch.room             | nothing more is claimed          |
| submissions                      | max_in_flight           | the next one waits               |
| a provider's answer              | transport.MOST_BYTES    | in doubt, or its status alone    |
| log lines                        | log.LONGEST_QUEUE       | dropped, and counted in the log  |
| events                           | max_events              | the oldest go                    |
"""

import base64
import html
import http.client
import json
import os
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_plus

import pytest
import redis

from smsd.web.body import MOST_VALUES, read_object
from smsd.web.edge.body_memory import BODIES
from smsd.web.edge.connection import LARGEST_HEADERS
from smsd.web.errors import ApiError
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


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("smsd"), IMPATIENT) as daemon:
        yield daemon


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

    def start(self, texts: int) -> None:
        self.daemon.start()
        numbers = [f"+1202556{n:04}" for n in range(texts)]
        status, answer = self.daemon.call("POST", "/send", {"to": numbers, "message": "x"}, BEARER)
        assert status == 200
        self.ids += answer["ids"]
        eventually(self.recorder.arrivals, what="the first departure")

    def finish(self) -> None:
        """Every text was sent, each once, and no second held more than 45."""
        eventually(lambda: len(self.recorder.arrivals()) >= len(self.ids), 40, "all departures")
        arrivals = self.recorder.arrivals()
        assert sorted(arrival["id"] for arrival in arrivals) == sorted(self.ids)
        assert worst_window([arrival["at"] for arrival in arrivals]) <= RATE

    def stop(self) -> None:
        self.daemon.kill()
        self.recorder.stop()


@pytest.fixture
def sending(tmp_path: Path) -> Iterator[Sending]:
    made = Sending(tmp_path)
    yield made
    made.stop()


def knock(daemon: Daemon, octets: bytes = b"", *, timeout: float = 20) -> socket.socket:
    host, port = daemon.url.removeprefix("http://").split(":")
    caller = socket.create_connection((host, int(port)), timeout=timeout)
    if octets:
        caller.sendall(octets)
    return caller


def hear(caller: socket.socket) -> bytes:
    """All that comes until the daemon closes."""
    heard = b""
    with suppress(ConnectionResetError):
        while octets := caller.recv(65_536):
            heard += octets
    return heard


def speak(daemon: Daemon, octets: bytes) -> bytes:
    """Say `octets` and hear all of the answer; the daemon has to close."""
    with closing(knock(daemon)) as caller:
        with suppress(ConnectionError):  # it may have heard enough before the end
            caller.sendall(octets)
        return hear(caller)


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


# -- connections --------------------------------------------------------------------------------


def test_one_connection_too_many_is_told_so_and_there_is_room_again_when_one_leaves(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "[http]\nmax_connections = 20\n") as daemon, ExitStack() as stack:
        inside = [stack.enter_context(closing(knock(daemon, HEALTHZ))) for _ in range(20)]
        for caller in inside:
            assert caller.recv(12) == b"HTTP/1.1 200"
        for _ in range(5):
            answer = speak(daemon, b"")
            assert error_in(answer) == (503, "too_many_connections")
            assert b"Retry-After: " in answer
        inside[7].close()
        eventually(lambda: is_well(daemon), what="room for one more")
    assert " warning " in daemon.log
    assert "too_many" in daemon.log


@pytest.mark.timeout(120)
def test_ten_thousand_idle_connections_cost_little_and_the_pace_holds(sending: Sending) -> None:
    many = _room_for_sockets(10_000)
    daemon = sending.daemon
    sending.start(300)
    before = memory(daemon.pid)
    with ExitStack() as stack:
        for _ in range(many):
            stack.enter_context(closing(knock(daemon)))
        eventually(lambda: "too_many" in daemon.log, what="a word in the log")
        assert files(daemon) < 1_400
        assert memory(daemon.pid) - before < 64 * MIB
    eventually(lambda: is_well(daemon), what="room again")
    eventually(lambda: files(daemon) < 200, what="all have left")
    sending.finish()
    assert len(daemon.log.splitlines()) < 400 + 50


def _room_for_sockets(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted + 500:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 500), hard))
    return min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 500)


def test_the_limit_of_open_files_is_raised_to_what_is_needed(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    daemon = Daemon(tmp_path, "")
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        daemon.start()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        limits = Path(f"/proc/{daemon.pid}/limits").read_text()
        found = re.search(r"Max open files +([0-9]+)", limits)
        assert found is not None
        assert int(found[1]) >= 1000 + 256
    finally:
        daemon.kill()


def test_where_it_cannot_be_raised_fewer_are_let_in_and_the_log_says_so() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (600, 600));"
        "from smsd.web.edge.listener import room_for; print(room_for(1000, 256), room_for(40, 256))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.split() == ["88", "40"]
    assert "too few open files are allowed" in done.stderr


def test_without_file_descriptors_callers_wait_and_are_served_when_there_are_some(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "", calm=False) as daemon:
        soft, hard = resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (files(daemon) + 10, hard))
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(knock(daemon, HEALTHZ))) for _ in range(200)]
            eventually(lambda: "no_room" in daemon.log, what="a word in the log")
            served = select.select(callers, [], [], 0)[0]
            assert len(served) < 20
            resource.prlimit(daemon.pid, resource.RLIMIT_NOFILE, (soft, hard))
            for caller in callers:
                assert caller.recv(12) == b"HTTP/1.1 200"
        assert len(daemon.log.splitlines()) < 30


@pytest.mark.parametrize(
    "octets",
    [b"", b"G", b"\r\n\r\n\r\n", HEADERS],
    ids=["nothing", "one octet", "blank lines", "headers"],
)
def test_headers_that_do_not_come_in_time_are_not_waited_for(smsd: Daemon, octets: bytes) -> None:
    started = time.monotonic()

    assert speak(smsd, octets) == b""
    assert time.monotonic() - started < 10


def test_the_headers_of_a_second_request_are_not_waited_for_either(smsd: Daemon) -> None:
    with closing(knock(smsd, HEALTHZ)) as caller:
        assert caller.recv(65_536).endswith(b"}\n")
        caller.sendall(HEALTHZ[:-2])
        assert hear(caller) == b""


def test_headers_that_drip_are_not_waited_for_either(smsd: Daemon) -> None:
    with closing(knock(smsd, HEADERS)) as caller:
        drops = 0
        with suppress(ConnectionError):
            while drops < 1_000 and not select.select([caller], [], [], 0.02)[0]:
                caller.sendall(b"X")
                drops += 1
        assert hear(caller) == b""
    assert drops < 500


def test_headers_in_pieces_are_read(smsd: Daemon) -> None:
    with closing(knock(smsd)) as caller:
        for place in range(len(HEALTHZ)):
            caller.sendall(HEALTHZ[place : place + 1])
        assert caller.recv(12) == b"HTTP/1.1 200"


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


@pytest.mark.parametrize("octets", LARGE.values(), ids=LARGE)
def test_headers_without_end_are_refused(smsd: Daemon, octets: bytes) -> None:
    answer = speak(smsd, octets)

    # Where more octets were under way, the answer may have been lost with the connection.
    if answer:
        assert error_in(answer)[0] in (400, 431)
        assert b"Zebra" not in answer
    assert is_well(smsd)


def test_headers_just_large_enough_are_read(smsd: Daemon) -> None:
    filler = b"".join(b"X%02d: " % n + b"x" * 7_000 + b"\r\n" for n in range(4))
    assert 28_000 < len(filler) < LARGEST_HEADERS
    with closing(knock(smsd, b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + filler + b"\r\n")) as caller:
        assert caller.recv(12) == b"HTTP/1.1 200"


def test_a_body_that_comes_at_once_is_not_taken_for_headers(smsd: Daemon) -> None:
    body = json.dumps({"message": "x", "to": "nobody", "ref": "x" * 900_000}).encode()
    head = AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body)
    with closing(knock(smsd)) as caller:
        for _ in range(3):
            caller.sendall(head + body)
            assert caller.recv(4_096).startswith(b"HTTP/1.1 400")
    # Nor is the rest of a body that nobody wants to read, after its refusal.
    head = HEADERS + b"Content-Length: %d\r\n\r\n" % len(body)
    assert error_in(speak(smsd, head + body)) == (401, "unauthorized")


def test_thousands_of_pipelined_requests_are_answered_one_by_one(smsd: Daemon) -> None:
    before = memory(smsd.pid)
    with closing(knock(smsd)) as caller:
        writer = threading.Thread(target=lambda: caller.sendall(HEALTHZ * 5_000))
        writer.start()
        heard = b""
        while heard.count(b"200 OK") < 5_000:
            heard += caller.recv(65_536)
        writer.join()
    assert memory(smsd.pid) - before < 32 * MIB


def test_a_caller_that_reads_no_answer_is_let_go(smsd: Daemon) -> None:
    before = memory(smsd.pid)
    callers = [knock(smsd, timeout=0.2) for _ in range(8)]
    for caller in callers:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with suppress(TimeoutError):
            for _ in range(2_000):  # 20 MB of answers, more than all buffers in between can hold
                caller.sendall(METRICS)
    assert memory(smsd.pid) - before < 32 * MIB
    assert is_well(smsd)
    for caller in callers:
        poll = select.poll()
        poll.register(caller, 0)
        assert poll.poll(20_000), "never closed"
        caller.close()


def test_a_caller_that_only_listens_any_more_gets_its_answer(smsd: Daemon) -> None:
    body = b'{"message": "x", "to": "+12025560100"}'
    whole = AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for pieces in ([whole], [whole[:-5], whole[-5:]], [HEALTHZ + whole]):
        with closing(knock(smsd)) as caller:
            for piece in pieces:
                caller.sendall(piece)
                time.sleep(0.01)
            caller.shutdown(socket.SHUT_WR)
            heard = hear(caller)
        assert heard.count(b"HTTP/1.1 200") == pieces[0].count(b" HTTP/1.1"), heard
        assert b'"status":"queued"' in heard


def test_a_caller_that_stops_in_the_middle_is_let_go(smsd: Daemon) -> None:
    for octets in (b"", HEADERS[:30], AUTHORIZED + b"Content-Length: 99\r\n\r\n{"):
        with closing(knock(smsd, octets)) as caller:
            caller.shutdown(socket.SHUT_WR)
            answer = hear(caller)  # which ends in time
        assert not answer or error_in(answer) == (400, "invalid_body")
    assert is_well(smsd)


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


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_let_go_in_time_and_leaves_no_trace_in_the_log(
    smsd: Daemon, octets: bytes
) -> None:
    offset = len(smsd.log)
    with ThreadPoolExecutor(20) as pool:
        for answer in pool.map(lambda _: speak(smsd, octets), range(40)):
            assert b"Zebra" not in answer
            assert not answer or answer.startswith((b"HTTP/1.0 4", b"HTTP/1.1 ")), answer
            assert b" 500 " not in answer
    assert is_well(smsd)
    log = smsd.log[offset:]
    assert not re.search("warning|error|Traceback|Zebra", log)
    assert len(log.splitlines()) < 20


def test_a_daemon_with_hostile_callers_stops_in_time(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path, IMPATIENT.replace("header_timeout = 1.0", "header_timeout = 60.0"))
    daemon.start()
    with ExitStack() as stack:
        for octets in (b"", HEADERS, HEALTHZ, AUTHORIZED + b"Content-Length: 9\r\n\r\n{", METRICS):
            for _ in range(5):
                stack.enter_context(closing(knock(daemon, octets)))
        deaf = stack.enter_context(closing(knock(daemon, timeout=0.2)))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with suppress(TimeoutError):
            deaf.sendall(METRICS * 5_000)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    assert " error " not in daemon.log


# -- bodies -------------------------------------------------------------------------------------


def filled(unit: str) -> bytes:
    """`unit` as often as a body may hold it."""
    return b'{"to":[' + b",".join([unit.encode()] * ((MIB - 10) // (len(unit) + 1))) + b"]}"


BODIES_OF_A_MEGABYTE = {
    "numbers": filled("1"),
    "numbers of 4,299 digits": filled("9" * 4_299),
    "a number of a million digits": b'{"to":' + b"9" * (MIB - 10) + b"}",
    "exponents": filled("1e999"),
    "empty strings": filled('""'),
    "good recipients": filled('"+12025560100"'),
    "bad recipients": filled('"nobody"'),
    "lists": filled("[]"),
    "objects": filled("{}"),
    "nested lists": b'{"to":' + b"[" * (MIB - 10),
    "nested objects": b'{"to":' * (MIB // 6),
    "keys": b"{" + b",".join(b'"%x":1' % n for n in range(100_000)) + b"}",
    "one key": b'{"' + b"Zebra" * 200_000 + b'":1}',
    "a key twice": b'{"' + b"Zebra" * 100_000 + b'":1,"' + b"Zebra" * 100_000 + b'":1}',
    "a text": b'{"to":"+12025560100","message":"' + b"Zebra" * 200_000 + b'"}',
    "a text of emoji": b'{"to":"+12025560100","message":"' + "😀".encode() * 250_000 + b'"}',
    "escapes": b'{"message":"' + b"\\u005a" * 170_000 + b'"}',
    "half a pair": b'{"message":"' + b"\\ud83d" * 170_000 + b'"}',
    "white space": b" " * MIB,
    "a colon": b":" * MIB,
    "no UTF-8": b'{"message":"' + b"\xff" * (MIB - 20) + b'"}',
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES_OF_A_MEGABYTE.values(), ids=BODIES_OF_A_MEGABYTE)
def test_a_megabyte_of_anything_is_refused_at_once(smsd: Daemon, body: bytes) -> None:
    assert len(body) <= MIB
    started = time.monotonic()
    for _ in range(5):
        status, answer = smsd.call("POST", "/send", body, BEARER)
        assert status == 400, answer
    assert time.monotonic() - started < 10


def test_megabytes_of_bad_bodies_leave_no_memory_behind(smsd: Daemon) -> None:
    bodies = list(BODIES_OF_A_MEGABYTE.values())
    for body in bodies * 2:
        smsd.call("POST", "/send", body, BEARER)
    before = memory(smsd.pid)
    with ThreadPoolExecutor(8) as pool:
        told = pool.map(lambda body: smsd.call("POST", "/send", body, BEARER)[0], bodies * 10)
        assert set(told) == {400}
    assert memory(smsd.pid) - before < 64 * MIB


def test_as_many_values_as_a_request_can_use_are_parsed_and_more_are_not() -> None:
    assert len(read_object(b'{"a":[' + b"1," * MOST_VALUES + b"1]}")) == 1
    with pytest.raises(ApiError, match="more than 500 values"):
        read_object(b'{"a":[' + b"1," * MOST_VALUES + b"1,1]}")


def colliding(rounds: int) -> list[str]:
    """Words of one hash under the classic 33-times function: a quadratic trap where it is used."""
    words = [""]
    for _ in range(rounds):
        words = [word + pair for word in words for pair in ("Ez", "FY")]
    return words


def test_words_made_to_collide_are_as_good_as_any_since_our_hash_has_a_seed() -> None:
    words = colliding(15)
    body = json.dumps(dict.fromkeys(words, 1)).encode()
    assert sys.flags.hash_randomization
    assert len({hash(word) for word in words}) > len(words) * 0.99
    started = time.process_time()
    assert len(read_object(body, most_values=2**16, most_names=2**16)) == 2**15
    assert time.process_time() - started < 2  # 2**30 comparisons would take minutes


@pytest.mark.timeout(120)
def test_bodies_under_way_share_a_bound_and_those_beyond_it_are_told(tmp_path: Path) -> None:
    settings = f'[http]\ntokens = ["{TOKEN}"]\nbody_timeout = 5.0\n'
    with running(tmp_path, settings) as daemon:
        before = memory(daemon.pid)
        piece = b"%x\r\n" % 900_000 + b" " * 900_000 + b"\r\n"
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(knock(daemon))) for _ in range(3 * BODIES)]
            for caller in callers:
                caller.sendall(AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n")
            for caller in callers:
                with suppress(ConnectionError):  # it was refused before it had said all
                    caller.sendall(piece)
            assert memory(daemon.pid) - before < 3 * BODIES * MIB
            answers = [hear(caller) for caller in callers]
        told = [error_in(answer) for answer in answers if answer]
        assert BODIES <= told.count((408, "body_timeout")) <= BODIES * MIB // 900_000
        assert set(told) == {(408, "body_timeout"), (503, "busy")}
        assert daemon.call("POST", "/send", {"message": "x"}, BEARER)[0] == 200
        assert memory(daemon.pid) - before < 3 * BODIES * MIB


def test_a_thousand_bodies_that_drip_cost_little(tmp_path: Path) -> None:
    settings = f'[http]\ntokens = ["{TOKEN}"]\nbody_timeout = 2.0\n'
    with running(tmp_path, settings) as daemon:
        before = memory(daemon.pid)
        head = AUTHORIZED + b"Content-Length: 60000\r\n\r\n{"
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(knock(daemon, head))) for _ in range(900)]
            for caller in callers:
                with suppress(ConnectionError):
                    caller.sendall(b" " * 1_000)
            assert memory(daemon.pid) - before < 64 * MIB
            assert is_well(daemon)
            for caller in callers:
                assert error_in(hear(caller)) == (408, "body_timeout")


# -- who may see what -----------------------------------------------------------------------------


def test_without_a_token_nothing_is_told_even_of_texts_there_are(smsd: Daemon) -> None:
    status, answer = smsd.call("POST", "/send", {"message": "x", "to": "+12025560100"}, BEARER)
    assert status == 200
    with embedded(smsd) as client:
        pid = int(client.info("server")["process_id"])
    os.kill(pid, signal.SIGSTOP)  # nothing can be looked up, so what is answered is not from there
    try:
        told = {
            json.dumps(smsd.call(method, f"/messages/{id_}", None, headers))
            for method in ("GET", "DELETE")
            for id_ in (answer["id"], "1-1", "<script>", "%00", "a/b")
            for headers in ({}, {"Authorization": "Bearer wrong-token-0123456789"})
        }
    finally:
        os.kill(pid, signal.SIGCONT)
    [alike] = told
    assert json.loads(alike)[0] == 401
    eventually(lambda: smsd.call("GET", f"/messages/{answer['id']}", None, BEARER)[0] == 200)


def test_who_guesses_has_to_connect_anew_for_each_guess(smsd: Daemon) -> None:
    guess = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer guess\r\n\r\n"
    assert speak(smsd, guess * 100).count(b"401 Unauthorized") == 1


@pytest.mark.parametrize("flood", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HEALTHZ, TLS_HELLO])
def test_a_flood_of_requests_leaves_the_texts_their_pace(sending: Sending, flood: bytes) -> None:
    sending.start(120)
    host, port = sending.daemon.url.removeprefix("http://").split(":")
    # A process of its own: it must not take this one's time, nor wait for it.
    code = f"""
import asyncio
async def one():
    while True:
        try:
            reader, writer = await asyncio.open_connection({host!r}, {port})
            while True:
                writer.write({flood!r})
                if not await reader.read(65536): break
            writer.close()
        except OSError: pass
async def all(): await asyncio.gather(*(one() for _ in range(200)))
asyncio.run(all())
"""
    flooding = subprocess.Popen([sys.executable, "-c", code])
    try:
        sending.finish()
    finally:
        flooding.kill()
        flooding.wait()


# -- streams ------------------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_huge_entries_are_buried_while_the_texts_keep_their_pace(sending: Sending) -> None:
    sending.start(300)
    daemon = sending.daemon
    fields = [word for n in range(100_000) for word in (b"%d" % n, b"")]
    good = {"to": "+12025560187", "message": "x"}
    with embedded(daemon) as client:
        before = memory(daemon.pid)
        peak = 0
        for n in range(6):
            stream = "smsd:queue:high" if n % 2 else "smsd:queue"
            client.xadd(stream, {"to": "+12025560187", "message": "x" * 10_000_000})
            client.execute_command("XADD", stream, "*", *fields)
            id_ = client.xadd(stream, good).decode()
            sending.ids.append(f"h{id_}" if n % 2 else id_)
            peak = max(peak, memory(daemon.pid))
        sending.finish()
        peak = max(peak, memory(daemon.pid))
        assert peak - before < 32 * MIB
        assert client.xlen("smsd:dead") == 12


# -- a stalled Redis ----------------------------------------------------------------------------


@pytest.mark.timeout(120)
def test_while_redis_stands_still_callers_are_told_in_time_and_then_all_goes_on(
    tmp_path: Path,
) -> None:
    with running(tmp_path, IMPATIENT, calm=False) as daemon:
        before = memory(daemon.pid)
        with embedded(daemon) as client:
            pid = int(client.info("server")["process_id"])
        body = {"message": "x", "to": "+12025560100"}
        took: list[float] = []

        def ask(n: int) -> tuple[int, str]:
            started = time.monotonic()
            if n % 3:
                status, answer = daemon.call("POST", "/send", body, BEARER, 60)
            else:
                status, answer = daemon.call("GET", f"/messages/{n}-0", None, BEARER, 60)
            took.append(time.monotonic() - started)
            return status, answer["error"]["code"]

        os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(300) as pool:
                told = list(pool.map(ask, range(900)))
            assert memory(daemon.pid) - before < 64 * MIB
        finally:
            os.kill(pid, signal.SIGCONT)
        assert set(told) <= {(503, "outcome_unknown"), (503, "redis_away"), (503, "busy")}
        assert max(took) < 15
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, 20, "Redis again")
        answer = daemon.call("POST", "/send", body, BEARER)[1]
        path = f"/messages/{answer['id']}"
        eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "sent")


# -- secrets ------------------------------------------------------------------------------------

BODY_MARK = "Zebra-in-the-text"
SECRET_MARK = "provider-secret-Quagga"
KEY_MARK = "idempotency-Okapi"


ENOUGH = 21  # submissions: each status three times


class Echo(threading.Thread):
    """A provider that answers every way there is to fail, and repeats all that it was told."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self.heard = 0

    def run(self) -> None:
        while True:
            try:
                caller, _ = self._door.accept()
            except OSError:
                return
            with caller, suppress(OSError):
                self._answer(caller)

    def _answer(self, caller: socket.socket) -> None:
        told = b""
        while b"\r\n\r\n" not in told or not told.endswith(b"}"):
            octets = caller.recv(65_536)
            if not octets:
                return
            told += octets
        statuses = (
            b"400 Bad",
            b"429 Slow",
            b"500 Oops",
            b"503 Down",
            b"200 OK",
            b"302 Go",
            b"999 \xff",
        )
        # (Held for the account, little more would come.)
        status = statuses[self.heard % 7] if self.heard < ENOUGH else b"401 No"
        self.heard += 1
        if self.heard % 10 == 9:
            return  # closed without an answer
        body = json.dumps({"error": told.decode("latin-1"), "code": told[-60:].decode()}).encode()
        caller.sendall(
            b"HTTP/1.1 "
            + status
            + b"\r\nX-Echo: "
            + BODY_MARK.encode()
            + b"\r\nContent-Length: %d\r\n\r\n" % len(body)
            + body
        )

    def close(self) -> None:
        with suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.join(10)


@pytest.fixture
def echo() -> Iterator[Echo]:
    echo = Echo()
    echo.start()
    yield echo
    echo.close()


def test_no_token_text_or_secret_is_told_to_anybody(tmp_path: Path, echo: Echo) -> None:
    settings = f"""
        [http]
        tokens = ["{TOKEN}"]
        header_timeout = 0.5
        body_timeout = 0.5
        [rate]
        segments_per_second = 200
        [provider]
        name = "http"
        timeout = 1.0
        [provider.http]
        url = "http://127.0.0.1:{echo.port}/send/${{token}}"
        body = "json"
        fields = {{to = "{{to}}", text = "{{text}}", id = "{{id}}"}}
        headers = {{Authorization = "Bearer ${{token}}"}}
        secrets = {{token = "{SECRET_MARK}"}}
        id = "json:id"
        reason = "json:error"
        [log]
        level = "debug"
    """
    with running(tmp_path / "smsd", settings, calm=False) as daemon:
        answers = [daemon.call("POST", "/send", body, headers) for body, headers in _faults()]
        for path in ("/readyz", "/readyz/dispatch"):
            answers += [daemon.call("GET", path), daemon.call("GET", path, None, BEARER)]
        connection = http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=20)
        with embedded(daemon) as client:
            for name in ("message", "to", "from", "priority", "ref", "id", "send_at"):
                fields = {"to": "+12025560187", "message": BODY_MARK} | {name: BODY_MARK + "\0\n"}
                client.xadd("smsd:queue", fields)
            client.xadd(
                "smsd:queue", {"to": "+12025560187", "message": b"\xff" + BODY_MARK.encode()}
            )
            eventually(lambda: echo.heard > ENOUGH, 30, "submissions")
            eventually(lambda: "dispatch held" in daemon.log, 30, "the last of them is believed")
        for octets in (*GARBAGE.values(), *LARGE.values()):
            speak(daemon, octets.replace(b"Zebra", BODY_MARK.encode()))
        connection.request("GET", "/metrics", headers=BEARER)
        metrics = connection.getresponse().read().decode()
        connection.close()
    for what, told in (("log", daemon.log), ("metrics", metrics), ("answers", json.dumps(answers))):
        for mark in (TOKEN, BODY_MARK, SECRET_MARK, KEY_MARK, "12025560187"):
            assert mark not in told, (what, mark, _around(told, mark))


ECHOES: tuple[Callable[[str], str], ...] = (
    str,
    unquote_plus,
    quote,
    lambda told: html.escape(unquote_plus(told)),
    lambda told: json.dumps(unquote_plus(told)),
    lambda told: unquote_plus(told).upper(),
    lambda told: unquote_plus(told)[-60:-5],
    lambda told: told[-60:-5].replace("%", "%25"),
)


class Repeater(BaseHTTPRequestHandler):
    """Refuses everything, and says what: credentials and form, each time in another form."""

    heard = 0

    def do_POST(self) -> None:
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        told = f"{self.path} {self.headers['Authorization']} {self.headers['X-Key']} {form}"
        repeated = ECHOES[Repeater.heard % len(ECHOES)](told)
        Repeater.heard += 1
        body = json.dumps({"error": f"refused: {repeated}"}).encode()
        self.send_response(401 if Repeater.heard > len(ECHOES) else 400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def test_a_gateway_that_repeats_a_request_it_refuses_is_not_quoted(tmp_path: Path) -> None:
    text = f"{BODY_MARK}: it's 50% & <more> é"
    number = "+12025560187"
    with HTTPServer(("127.0.0.1", 0), Repeater) as gateway:
        serving = threading.Thread(target=gateway.serve_forever, daemon=True)
        serving.start()
        settings = f"""
            [http]
            tokens = ["{TOKEN}"]
            [rate]
            segments_per_second = 200
            [provider]
            name = "http"
            [provider.http]
            url = "http://127.0.0.1:{gateway.server_port}/send/${{token}}"
            fields = {{to = "{{to}}", text = "{{text}}"}}
            headers = {{X-Key = "${{token}}"}}
            secrets = {{token = "{SECRET_MARK}+/"}}
            user = "smsd"
            password = "{KEY_MARK}"
            reason = "json:error"
            [log]
            level = "debug"
        """
        told: list[Any] = []
        with running(tmp_path, settings, calm=False) as daemon:
            told += [_refused(daemon, {"message": text, "to": number}) for _ in ECHOES]
            daemon.call("POST", "/send", {"message": text, "to": number}, BEARER)
            eventually(lambda: daemon.call("GET", "/readyz/dispatch")[0] == 503, what="a hold")
            told.append(daemon.call("GET", "/readyz/dispatch", None, BEARER)[1])
            letters = daemon.call("GET", "/dead-letters", None, BEARER)[1]["dead_letters"]
        gateway.shutdown()
        serving.join(10)
    assert len(letters) == len(ECHOES)
    told += [*letters, daemon.log]
    everything = json.dumps(told, ensure_ascii=False).lower()
    everything = everything.replace(f'"to": "{number}"', "")  # in its place, to its owner
    assert "refused: /send/…" in everything  # the rest of what was said is told
    basic = base64.b64encode(f"smsd:{KEY_MARK}".encode()).decode()
    for mark in (BODY_MARK, "in-the-text", "50%", "more", SECRET_MARK, KEY_MARK, basic, number[1:]):
        assert mark.lower() not in everything, (mark, _around(everything, mark.lower()))


def _refused(daemon: Daemon, body: object) -> object:
    """What is told of a text that is sent and dies."""
    path = f"/messages/{daemon.call('POST', '/send', body, BEARER)[1]['id']}"
    eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "dead")
    return daemon.call("GET", path, None, BEARER)[1]


def test_a_text_that_was_taken_for_the_name_of_a_field_is_not_logged(tmp_path: Path) -> None:
    with running(tmp_path, IMPATIENT) as daemon:
        with embedded(daemon) as client:
            id_ = client.xadd("smsd:queue", {"to": "+12025560187", BODY_MARK: "x"}).decode()
        path = f"/messages/{id_}"
        eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "dead")
    assert BODY_MARK not in daemon.log


def _around(told: str, mark: str) -> str:
    place = told.find(mark)
    return told[max(0, place - 300) : place + 100]


def _faults() -> Iterator[tuple[object, dict[str, str]]]:
    key = BEARER | {"Idempotency-Key": KEY_MARK}
    for n in range(30):
        yield {"message": BODY_MARK, "to": f"+12025550{100 + n}"}, BEARER
    yield {"message": BODY_MARK, "to": "+12025560187"}, key
    yield {"message": BODY_MARK + "!", "to": "+12025560187"}, key
    yield {"message": BODY_MARK, "to": "+12025560187"}, BEARER | {"Idempotency-Key": KEY_MARK + " "}
    yield {"message": BODY_MARK}, {"Authorization": f"Bearer {TOKEN}x"}
    yield (
        {"message": BODY_MARK},
        {"Authorization": f"Basic {base64.b64encode(TOKEN.encode()).decode()}"},
    )
    yield {"message": BODY_MARK * 1_000, "to": "+12025560187"}, BEARER
    yield {"message": BODY_MARK, "to": BODY_MARK}, BEARER
    yield {"message": BODY_MARK, "to": [BODY_MARK] * 50}, BEARER
    for name in ("from", "priority", "send_at", "expires_at"):
        yield {"message": "x", name: BODY_MARK}, BEARER
    yield {"message": BODY_MARK, "ref": BODY_MARK + "\n"}, BEARER
    yield f'{{"message": "{BODY_MARK}'.encode(), BEARER
    yield f'{{"message": "{BODY_MARK}\\x"}}'.encode(), BEARER
    yield f'["{BODY_MARK}"]'.encode(), BEARER
    yield BODY_MARK.encode(), BEARER
    yield BODY_MARK.encode(), BEARER | {"Content-Encoding": "gzip"}
    yield BODY_MARK.encode(), BEARER | {"Content-Type": "text/" + BODY_MARK}
