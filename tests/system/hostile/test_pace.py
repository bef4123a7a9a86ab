"""The pace under attack. Rule: whatever callers, producers and Redis do, the pace holds."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.hostile import (
    BEARER,
    HEALTHZ,
    IMPATIENT,
    MIB,
    TLS_HELLO,
    Sending,
    embedded,
    memory,
    running,
)
from tests.support.processes import eventually


@pytest.mark.parametrize("flood", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", HEALTHZ, TLS_HELLO])
def test_a_flood_of_requests_leaves_messages_their_pace(sending: Sending, flood: bytes) -> None:
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


@pytest.mark.timeout(120)
def test_huge_entries_are_buried_while_messages_keep_their_pace(sending: Sending) -> None:
    sending.start(300)
    daemon = sending.daemon
    fields = [part for n in range(100_000) for part in (b"%d" % n, b"")]
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


@pytest.mark.timeout(120)
def test_while_redis_stands_still_callers_are_answered_in_time_and_then_all_goes_on(
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
                status, answer = daemon.call("POST", "/send", body, BEARER, 100)
            else:
                status, answer = daemon.call("GET", f"/messages/{n}-0", None, BEARER, 100)
            took.append(time.monotonic() - started)
            return status, answer["error"]["code"]

        os.kill(pid, signal.SIGSTOP)
        try:
            with ThreadPoolExecutor(300) as pool:
                refusals = list(pool.map(ask, range(900)))
            assert memory(daemon.pid) - before < 64 * MIB
        finally:
            os.kill(pid, signal.SIGCONT)
        assert set(refusals) <= {(503, "outcome_unknown"), (503, "redis_away"), (503, "busy")}
        assert max(took) < 60  # an answer is due after 8 s
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, 20, "Redis again")
        answer = daemon.call("POST", "/send", body, BEARER)[1]
        path = f"/messages/{answer['id']}"
        eventually(lambda: daemon.call("GET", path, None, BEARER)[1]["state"] == "sent")
