"""Daemons that a test starts and stops. Rule: no log of theirs shows a body or a whole number."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.support.processes import Daemon, eventually

BODY = "Zebra"  # of every message; it must not stand in any log
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
    """Neither a body nor a whole number stands in it."""
    assert BODY not in log
    assert not re.search(r"20255[56][0-9]{4}", log)


def state(daemon: Daemon, message_id: str) -> str:
    status, found = daemon.call("GET", f"/messages/{message_id}")
    assert status == 200, found
    return str(found["state"])


def states(daemon: Daemon, ids: list[str]) -> list[str]:
    return [state(daemon, message_id) for message_id in ids]


def send_many(daemon: Daemon, count: int) -> list[str]:
    ids = daemon.send(message=BODY, to=[f"+1202556{one:04}" for one in range(count)])["ids"]
    assert isinstance(ids, list)
    return ids


def send_until_some_are_in_flight(daemon: Daemon, count: int) -> list[str]:
    """Send at the pace of SLOW; what left during the last second has no answer yet."""
    ids = send_many(daemon, count)
    eventually(lambda: " sent id=" in daemon.log, what="the first answer")
    return ids


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
