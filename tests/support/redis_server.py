"""A real Redis for tests: a directory of its own, an append-only file, fsync always.

`SMSD_TEST_SERVER` names the binary that all tests run, in place of the one that smsd finds.
"""

import asyncio
import os
import random
import signal
import socket
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import redis

from smsd.redis.aof import mend
from smsd.redis.binary import find_server

# Runs side by side (pytest-xdist) must not offer each other's ports between a look and a start.
_WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_PORTS = iter(random.sample(range(20_000 + _WORKER % 4, 32_000, 4), 3_000))


class RedisServer:
    """One server process. It can be killed, stopped and started again on the same files."""

    def __init__(
        self, directory: Path, *, port: int = 0, options: tuple[str, ...] = (), binary: str = ""
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.socket = directory / "s"
        self.port = port
        self._options = options
        self._binary = binary or find_server()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}" if self.port else f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def client(self) -> redis.Redis:
        return redis.Redis.from_url(self.url)

    def start(self) -> "RedisServer":
        self._mend()
        self._process = subprocess.Popen(
            [
                self._binary,
                *("--port", str(self.port), "--bind", "127.0.0.1"),
                *("--unixsocket", str(self.socket)),
                *("--appendonly", "yes", "--appendfsync", "always", "--save", ""),
                *("--logfile", "log"),
                *self._options,
            ],
            cwd=self.directory,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # SIGXFSZ stays ignored, as Python has it: past RLIMIT_FSIZE a write fails, and Redis
            # must deal with that; else the signal would kill it before it knows.
            restore_signals=False,
        )
        self.wait_until_it_answers()
        return self

    def _mend(self) -> None:
        """What its operator should do after a full disk. (A test may have a loop of its own.)"""
        with ThreadPoolExecutor(1) as pool:
            pool.submit(asyncio.run, mend(self._binary, self.directory)).result()

    def wait_until_it_answers(self, seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while True:
            try:
                with self.client() as client:
                    client.ping()
            except redis.RedisError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
            else:
                return

    @property
    def log(self) -> str:
        return (self.directory / "log").read_text()

    def ended_itself(self) -> int | None:
        """Its exit code, if it has ended without being told to."""
        assert self._process is not None
        return self._process.poll()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def send_signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(20)
            self._process = None


def free_port() -> int:
    """A port nobody listens on, never told twice, below those the kernel gives to others.

    (Asked for any port three times, the kernel gives one of them twice, once in some thousands.)
    """
    for port in _PORTS:
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no port is free")
