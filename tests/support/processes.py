"""The daemon and the recording gateway as processes, and what their records say."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECOND = 1_000_000_000
HERE = Path(__file__).parent


class Recorder:
    """The recording gateway."""

    def __init__(
        self,
        directory: Path,
        *,
        plan: Mapping[str, float] | None = None,
        replies: Mapping[str, str] | None = None,
        latency: float = 0.02,
        seed: int = 0,
    ) -> None:
        """`replies`: of single recipients, whatever the plan says."""
        self.record = directory / "arrivals.jsonl"
        self._command = [
            sys.executable,
            str(HERE / "recorder.py"),
            *("--record", str(self.record)),
            *("--seed", str(seed)),
            *("--latency", str(latency)),
            *("--replies", json.dumps(replies or {})),
        ]
        self.plan = plan or {"ok": 1}
        self._process: subprocess.Popen[str] | None = None
        self.port = 0

    def start(self, *, plan: Mapping[str, float] | None = None) -> "Recorder":
        """Start, or start again on the same port and record; `plan` replaces the first one."""
        self.plan = plan or self.plan
        command = [
            *self._command,
            *("--port", str(self.port)),
            *("--plan", json.dumps(self.plan)),
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        return self

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(10)
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def behave(self, **how: object) -> None:
        """Change it while it runs, until it is started again: see `PUT /behaviour` there."""
        url = f"http://127.0.0.1:{self.port}/behaviour"
        request = urllib.request.Request(url, json.dumps(how).encode(), method="PUT")
        until = time.monotonic() + 10
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10):
                    return
            except OSError:  # a plan may refuse connections, whoever makes them
                if time.monotonic() > until:
                    raise

    def arrivals(self) -> list[dict[str, Any]]:
        if not self.record.exists():
            return []
        lines = self.record.read_text().splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda arrival: arrival["at"])

    def settings(self, *, timeout: float = 10.0, with_texts: bool = False) -> str:
        """A config.toml that points the daemon here.

        `with_texts`: the record has the texts, too, as `said`.
        """
        said = ', said = "{text}"' if with_texts else ""
        fields = 'to = "{to}", text = "{text}", id = "{id}", segments = "{segments}"'
        return f"""
            [provider]
            name = "http"
            timeout = {timeout}
            [provider.http]
            url = "http://127.0.0.1:{self.port}/send"
            body = "json"
            fields = {{{fields}{said}}}
            id = "json:id"
        """


class Daemon:
    """smsd itself, on any free port: a config.toml, and settings by environment beside it."""

    def __init__(
        self, directory: Path, settings: str = "", environment: Mapping[str, str] | None = None
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.log_path = directory / "smsd.log"
        (directory / "config.toml").write_text(settings)
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SMSD_")}
        self._environment = clean | {"SMSD_HTTP__PORT": "0"} | dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def ended_itself(self) -> bool:
        """Whether it has ended without being told to."""
        return self._process is not None and self._process.poll() is not None

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def start(self, *, wait: bool = True, program: Sequence[str] | None = None) -> "Daemon":
        """`program`: another way to run the same code, see `killed_at`."""
        offset = self.log_path.stat().st_size if self.log_path.exists() else 0
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *(program or ("-m", "smsd")), "run"],
                cwd=self.directory,
                env=self._environment,
                stdout=log,
                stderr=log,
            )
        if wait:
            self._wait_until_it_listens(offset)
        return self

    def _wait_until_it_listens(self, offset: int) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for line in self.log[offset:].splitlines():
                if " listening address=" in line:
                    self.url = line.rpartition("address=")[2]
                    return
            assert self._process is not None
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"smsd did not start:\n{self.log[offset:]}")

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, seconds: float = 40) -> int:
        assert self._process is not None
        code = self._process.wait(seconds)
        self._process = None
        return code

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        if self._process is None:
            return 0
        self.signal(signal.SIGTERM)
        return self.wait()

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 20,
    ) -> tuple[int, Any]:
        """One HTTP call: status and the JSON of the answer."""
        raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.url + path,
            data=raw,
            method=method,
            headers={"Content-Type": "application/json", **(headers or {})},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())

    def send(self, **fields: object) -> dict[str, Any]:
        """`POST /send` that must succeed."""
        status, answer = self.call("POST", "/send", fields)
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer


def killed_at(step: str, count: int) -> list[str]:
    """A program for `Daemon.start` that ends at a step of tests/support/killed_daemon.py."""
    return [str(HERE / "killed_daemon.py"), step, str(count)]


def impatient(dispatch: str) -> list[str]:
    """A program for `Daemon.start` that soon loses patience: tests/support/impatient_daemon.py."""
    return [str(HERE / "impatient_daemon.py"), dispatch]


def eventually(condition: Any, seconds: float = 30, what: object = "") -> None:
    """Wait for a condition; fails with `what` when it does not come true."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or condition}"
        time.sleep(0.02)


def instants(arrivals: Sequence[Mapping[str, Any]], rate: float) -> list[int]:
    """Every segment instant: a message of n that starts at t occupies t, t + 1/rate, …"""
    return sorted(
        arrival["at"] + k * SECOND // round(rate)
        for arrival in arrivals
        for k in range(int(arrival["segments"]))
    )


def worst_window(moments: Sequence[int], width: int = SECOND) -> int:
    """The most instants that any half-open window of `width` ns holds."""
    worst = first = 0
    for last, moment in enumerate(moments):
        while moment - moments[first] >= width:
            first += 1
        worst = max(worst, last - first + 1)
    return worst
