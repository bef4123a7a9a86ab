"""Connections. Rule: each takes a bounded part of memory and time, and none is waited for long."""

import json
import re
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from smsd.web.edge.connection import LARGEST_HEADERS
from tests.support.hostile import (
    AUTHORIZED,
    GARBAGE,
    HEADERS,
    HEALTHZ,
    IMPATIENT,
    LARGE,
    METRICS,
    MIB,
    Sending,
    connect,
    error_in,
    exchange,
    files,
    is_well,
    memory,
    read_all,
    running,
)
from tests.support.processes import Daemon, eventually


def test_one_connection_too_many_is_refused_and_there_is_room_again_when_one_leaves(
    tmp_path: Path,
) -> None:
    with running(tmp_path, "[http]\nmax_connections = 20\n") as daemon, ExitStack() as stack:
        inside = [stack.enter_context(closing(connect(daemon, HEALTHZ))) for _ in range(20)]
        for caller in inside:
            assert caller.recv(12) == b"HTTP/1.1 200"
        for _ in range(5):
            answer = exchange(daemon, b"")
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
            stack.enter_context(closing(connect(daemon)))
        eventually(lambda: "too_many" in daemon.log, what="a line in the log")
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


def test_where_it_cannot_be_raised_fewer_are_let_in_and_it_is_logged() -> None:
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
            callers = [stack.enter_context(closing(connect(daemon, HEALTHZ))) for _ in range(200)]
            eventually(lambda: "no_room" in daemon.log, what="a line in the log")
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
    assert exchange(smsd, octets) == b""


def test_the_headers_of_a_second_request_are_not_waited_for_either(smsd: Daemon) -> None:
    with closing(connect(smsd, HEALTHZ)) as caller:
        assert caller.recv(65_536).endswith(b"}\n")
        caller.sendall(HEALTHZ[:-2])
        assert read_all(caller) == b""


def test_headers_that_drip_are_not_waited_for_either(smsd: Daemon) -> None:
    with closing(connect(smsd, HEADERS)) as caller:
        drops = 0
        with suppress(ConnectionError):
            while drops < 1_000 and not select.select([caller], [], [], 0.02)[0]:
                caller.sendall(b"X")
                drops += 1
        assert read_all(caller) == b""
    assert drops < 500


def test_headers_in_pieces_are_read(smsd: Daemon) -> None:
    with closing(connect(smsd)) as caller:
        for place in range(len(HEALTHZ)):
            caller.sendall(HEALTHZ[place : place + 1])
        assert caller.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("octets", LARGE.values(), ids=LARGE)
def test_headers_without_end_are_refused(smsd: Daemon, octets: bytes) -> None:
    answer = exchange(smsd, octets)

    # Where more octets were under way, the answer may have been lost with the connection.
    if answer:
        assert error_in(answer)[0] in (400, 431)
        assert b"Zebra" not in answer
    assert is_well(smsd)


def test_headers_just_large_enough_are_read(smsd: Daemon) -> None:
    filler = b"".join(b"X%02d: " % n + b"x" * 7_000 + b"\r\n" for n in range(4))
    assert 28_000 < len(filler) < LARGEST_HEADERS
    with closing(
        connect(smsd, b"GET /healthz HTTP/1.1\r\nHost: a\r\n" + filler + b"\r\n")
    ) as caller:
        assert caller.recv(12) == b"HTTP/1.1 200"


def test_a_body_that_comes_at_once_is_not_taken_for_headers(smsd: Daemon) -> None:
    body = json.dumps({"message": "x", "to": "nobody", "ref": "x" * 900_000}).encode()
    head = AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body)
    with closing(connect(smsd)) as caller:
        for _ in range(3):
            caller.sendall(head + body)
            assert caller.recv(4_096).startswith(b"HTTP/1.1 400")
    # Nor is the rest of a body that nobody wants to read, after its refusal.
    head = HEADERS + b"Content-Length: %d\r\n\r\n" % len(body)
    assert error_in(exchange(smsd, head + body)) == (401, "unauthorized")


def test_thousands_of_pipelined_requests_are_answered_one_by_one(smsd: Daemon) -> None:
    before = memory(smsd.pid)
    with closing(connect(smsd)) as caller:
        writer = threading.Thread(target=lambda: caller.sendall(HEALTHZ * 5_000))
        writer.start()
        received = b""
        while received.count(b"200 OK") < 5_000:
            received += caller.recv(65_536)
        writer.join()
    assert memory(smsd.pid) - before < 32 * MIB


def test_a_caller_that_reads_no_answer_is_let_go(smsd: Daemon) -> None:
    before = memory(smsd.pid)
    contract = METRICS.replace(b"/metrics", b"/openapi.json")  # a large answer that costs little

    def ask_and_never_listen(_: int) -> None:
        with closing(connect(smsd, timeout=60)) as caller, suppress(ConnectionError):
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            while True:
                caller.sendall(contract)  # until it is closed

    with ThreadPoolExecutor(8) as pool:
        asking = [pool.submit(ask_and_never_listen, n) for n in range(8)]
        while not all(one.done() for one in asking):
            assert memory(smsd.pid) - before < 32 * MIB
            time.sleep(0.05)
        for one in asking:
            one.result()
    assert is_well(smsd)


def test_a_caller_that_only_listens_any_more_gets_its_answer(smsd: Daemon) -> None:
    body = b'{"message": "x", "to": "+12025560100"}'
    whole = AUTHORIZED + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for pieces in ([whole], [whole[:-5], whole[-5:]], [HEALTHZ + whole]):
        with closing(connect(smsd)) as caller:
            for piece in pieces:
                caller.sendall(piece)
                time.sleep(0.01)
            caller.shutdown(socket.SHUT_WR)
            received = read_all(caller)
        assert received.count(b"HTTP/1.1 200") == pieces[0].count(b" HTTP/1.1"), received
        assert b'"status":"queued"' in received


def test_a_caller_that_stops_in_the_middle_is_let_go(smsd: Daemon) -> None:
    for octets in (b"", HEADERS[:30], AUTHORIZED + b"Content-Length: 99\r\n\r\n{"):
        with closing(connect(smsd, octets)) as caller:
            caller.shutdown(socket.SHUT_WR)
            answer = read_all(caller)  # which ends in time
        assert not answer or error_in(answer) == (400, "invalid_body")
    assert is_well(smsd)


@pytest.mark.parametrize("octets", GARBAGE.values(), ids=GARBAGE)
def test_garbage_is_let_go_in_time_and_leaves_no_trace_in_the_log(
    smsd: Daemon, octets: bytes
) -> None:
    offset = len(smsd.log)
    with ThreadPoolExecutor(20) as pool:
        for answer in pool.map(lambda _: exchange(smsd, octets), range(40)):
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
                stack.enter_context(closing(connect(daemon, octets)))
        deaf = stack.enter_context(closing(connect(daemon, timeout=0.2)))
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        with suppress(TimeoutError):
            deaf.sendall(METRICS * 5_000)
        daemon.signal(signal.SIGTERM)
        assert daemon.wait(30) == 0
    assert " error " not in daemon.log


def test_who_guesses_has_to_connect_anew_for_each_guess(smsd: Daemon) -> None:
    guess = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer guess\r\n\r\n"
    assert exchange(smsd, guess * 100).count(b"401 Unauthorized") == 1
