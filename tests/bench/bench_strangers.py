"""The pace while callers without a token do their worst, shape after shape."""

import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.stage import HERE, TEXT, Row, cpu_s, daemon
from tests.support.processes import SECOND, Daemon, Recorder, instants, worst_window

RATE = 45
TOKEN = "a-token-that-no-stranger-knows"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
# Each shape with as many connections as hurt most, or as the machine allows.
SHAPES = {
    "nobody": 0,
    "post": 1000,
    "bomb": 4,
    "large": 50,
    "chunks": 50,
    "pipelined": 200,
    "open": 1000,
    "health": 1000,
    "unread": 1000,
    "half-closed": 1000,
    "expect": 1000,
    "upgrade": 500,
    "garbage": 500,
    "tls": 1000,
    "reset": 1000,
    "headers": 1000,
    "trickled-head": 1000,
    "trickled-body": 1000,
    "trickled-chunks": 1000,
    "idle": 10_000,
}


def run(directory: Path, seconds: int, only: Sequence[str] = ()) -> list[Row]:
    """Saturated at 45/s against a recording gateway, with strangers of each shape in turn."""
    recorder = Recorder(directory, latency=0.1).start()
    shapes = {shape: SHAPES[shape] for shape in only or SHAPES}
    settings = f'{recorder.settings()}[http]\ntokens = ["{TOKEN}"]\n'
    rows: list[Row] = []
    try:
        with daemon(directory / "smsd", settings) as smsd:
            for _ in range(1 + (seconds + 3) * len(shapes) // 20):
                asked = {"to": [f"+1202555{n:04d}" for n in range(1000)], "message": TEXT}
                assert smsd.call("POST", "/send", asked, BEARER)[0] == 200
            time.sleep(3)
            for shape, connections in shapes.items():
                began, ended, how = _endured(smsd, shape, connections, seconds)
                mean = f"{_pace(recorder.arrivals(), began, ended):.2f}/s"
                rows.append((f"pace, strangers: {shape}", mean, how))
    finally:
        recorder.stop()
    worst = worst_window(instants(recorder.arrivals(), RATE))
    return [*rows, ("pace, strangers: worst window", f"{worst}", "segments in any second")]


def _endured(smsd: Daemon, shape: str, connections: int, seconds: int) -> tuple[int, int, str]:
    """From when to when (ns) the strangers were there, and what it cost."""
    port = int(smsd.url.rpartition(":")[2])
    with strangers(port, shape, connections) as crowd:
        time.sleep(1)
        spent, began = cpu_s(smsd.pid), time.time_ns()
        time.sleep(seconds)
        ended, share = time.time_ns(), (cpu_s(smsd.pid) - spent) / seconds
        crowd.terminate()
        answers = crowd.communicate()[0].strip()
    time.sleep(0.2)  # what was on its way is recorded
    return began, ended, f"{connections} connections, {share:.0%} of one core, {answers}"


def _pace(arrivals: Sequence[dict[str, Any]], began: int, ended: int) -> float:
    """Segments a second between two instants."""
    steady = [one for one in arrivals if began <= one["at"] < ended]
    counted = sum(int(one["segments"]) for one in steady[:-1])
    return counted * SECOND / (steady[-1]["at"] - steady[0]["at"]) if counted else 0.0


@contextmanager
def strangers(port: int, shape: str, connections: int) -> Iterator["subprocess.Popen[str]"]:
    command = [sys.executable, str(HERE / "strangers.py"), str(port), shape, str(connections)]
    crowd = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert crowd.stdout is not None
    crowd.stdout.readline()  # it has what it is going to send
    try:
        yield crowd
    finally:
        crowd.kill()
        crowd.wait()
