"""Processes to measure, and how they are read; each is ended by whoever starts it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from tests.support.processes import Daemon
from tests.support.redis_server import RedisServer, free_port

HERE = Path(__file__).parent
TEXT = "Hello, this is a test message."
QUIET = '[log]\nlevel = "warning"\n'
Row = tuple[str, str, str]  # what, figure, how it was measured


@contextmanager
def redis_server(directory: Path, fsync: str) -> Iterator[RedisServer]:
    server = RedisServer(directory, options=("--appendfsync", fsync)).start()
    try:
        yield server
    finally:
        server.kill()


@contextmanager
def daemon(directory: Path, settings: str, *, null: bool = False) -> Iterator[Daemon]:
    """smsd; `null`: with a provider inside the process that accepts everything at once."""
    smsd = Daemon(directory, settings)
    prints_where = QUIET not in settings  # where it does not, nobody calls it
    smsd.start(program=[str(HERE / "null_daemon.py")] if null else None, wait=prints_where)
    try:
        yield smsd
    finally:
        smsd.kill()


@contextmanager
def echo_server() -> Iterator[tuple[int, int]]:
    """The reference for intake, a bare aiohttp JSON echo: its pid and port."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(HERE / "echo.py"), str(port)])
    time.sleep(1.5)
    try:
        yield process.pid, port
    finally:
        process.kill()
        process.wait()


def fill(server: RedisServer, messages: int) -> None:
    """Put messages into the queue as `redis-cli XADD` would."""
    with server.client() as client:
        for _ in range(messages // 1000):
            pipeline = client.pipeline(transaction=False)
            for _ in range(1000):
                pipeline.xadd("smsd:queue", {"to": "+12025550123", "message": TEXT})
            pipeline.execute()


def fill_in_turn(server: RedisServer, messages: int, per_second: int) -> None:
    """The same, with the ids of messages that had come at this rate until now."""
    began = time.time_ns() // 1_000_000 - 1000 * messages // per_second
    with server.client() as client:
        for number in range(messages):
            id_ = f"{began + 1000 * number // per_second}-0"
            client.xadd("smsd:queue", {"to": f"+1202555{number % 10_000:04}", "message": TEXT}, id_)


def length(client: redis.Redis) -> int:
    return int(client.xlen("smsd:queue"))


def cpu_s(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


@contextmanager
def posting(
    port: int, seconds: int, per_second: int = 0, *, callers: int = 32, numbers: int = 1
) -> Iterator["subprocess.Popen[str]"]:
    """Callers that post at a steady rate; 0: without pause, by wrk where there is one.

    `numbers`: in a request; above 1 it is a list.
    """
    wrk = shutil.which("wrk")
    url = f"http://127.0.0.1:{port}/send"
    if wrk is None or per_second or numbers > 1:
        how = map(str, (url, seconds, per_second, callers, numbers))
        command = [sys.executable, str(HERE / "load.py"), *how]
    else:
        script = str(HERE / "post.lua")
        command = [wrk, "-t1", f"-c{callers}", f"-d{seconds}s", "--latency", "-s", script, url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def posted(process: "subprocess.Popen[str]") -> tuple[float, str]:
    """Requests per second and p99, when it has ended. Raises if one was answered otherwise."""
    printed, _ = process.communicate()
    if process.returncode or "Non-2xx" in printed:
        raise RuntimeError(printed)
    rate, p99 = re.search(r"Requests/sec:\s+([\d.]+)", printed), re.search(r" 99%\s+(\S+)", printed)
    assert rate is not None
    assert p99 is not None
    return float(rate[1]), p99[1]


def post_at_full_speed(port: int, seconds: int) -> tuple[float, str]:
    """Requests per second and p99 of 32 connections that post without pause."""
    with posting(port, seconds) as process:
        return posted(process)
