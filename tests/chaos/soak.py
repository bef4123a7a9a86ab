"""`python -m tests.chaos.soak --minutes 30`: full rate, faults, memory and descriptors flat.

The daemon itself is never killed: what grows in it would show. Ends with the judge's verdict, on
the messages and on its own figures; exit 0 if both are well.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from tests.bench.stage import resident_mb
from tests.chaos.faults import cut_connections, forget_scripts, freeze_redis, kill_redis
from tests.chaos.gateway import lose_provider
from tests.chaos.stage import Stage
from tests.support.oracle import judge, leftovers, letters, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 45
FAULTS = [cut_connections, forget_scripts, freeze_redis, kill_redis, lose_provider]
PLAN = {"ok": 0.985, "429": 0.001, "503": 0.005, "500": 0.003, "drop": 0.003, "garbage": 0.003}


MOST_GROWTH = 1.03  # of memory, from the middle third of a soak to the last
MORE_FILES = 4  # descriptors: connections come and go with the load
LEAST_FIGURES = 15


class Figures(NamedTuple):
    """What the daemon holds at one moment."""

    memory: float  # MB
    files: float


def growth(figures: Sequence[Figures]) -> list[str]:
    """What is not flat: the last third against the middle one; the first is warming up."""
    if len(figures) < LEAST_FIGURES:
        return [f"{len(figures)} figures are too few to tell"]
    third = len(figures) // 3
    middle = _medians(figures[-2 * third : -third])
    last = _medians(figures[-third:])
    faults = []
    if last.memory > middle.memory * MOST_GROWTH:
        faults.append(f"memory grew from {middle.memory:.1f} to {last.memory:.1f} MB")
    if last.files > middle.files + MORE_FILES:
        faults.append(f"descriptors grew from {middle.files:.0f} to {last.files:.0f}")
    return faults


def _medians(figures: Sequence[Figures]) -> Figures:
    return Figures(*(median(column) for column in zip(*figures, strict=True)))


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="smsd-soak-") as place:
        directory = Path(place)
        server = RedisServer(directory / "redis").start()
        recorder = Recorder(directory, plan=PLAN, latency=0.2, seed=given.seed).start()
        settings = f'[redis]\nurl = "{server.url}"\n{recorder.settings(timeout=3.0)}'
        daemon = Daemon(directory / "smsd", settings).start()
        stage = Stage(random.Random(given.seed), server, recorder, [daemon])
        try:
            return soak(stage, given.minutes * 60)
        finally:
            daemon.kill()
            recorder.stop()
            server.kill()


def soak(stage: Stage, seconds: float) -> int:
    [daemon] = stage.daemons
    accepted: list[str] = []
    figures: list[Figures] = []
    began = time.monotonic()
    fault_at = 30.0
    reported_at = 0.0
    while (elapsed := time.monotonic() - began) < seconds:
        keep_waiting(stage, accepted, 600)
        if elapsed >= fault_at:
            stage.chance.choice(FAULTS)(stage)
            fault_at = elapsed + stage.chance.uniform(15, 45)
        figures.append(Figures(resident_mb(daemon.pid), descriptors(daemon.pid)))
        if elapsed >= reported_at:
            memory, files = figures[-1]
            print(f"{elapsed:6.0f} s  {memory:6.1f} MB  {files:3} descriptors", flush=True)
            reported_at += max(10.0, seconds / 30)
        time.sleep(1)
    stage.recorder.stop()
    stage.recorder.start(plan={"ok": 1})
    with stage.server.client() as client:
        eventually(lambda: waiting(client) == 0, 180, "messages still wait")
        held, dead, left = states(client), letters(client), leftovers(client)
    arrivals = stage.recorder.arrivals()
    verdict = judge(accepted, arrivals, held, dead=dead)
    worst = worst_window(instants(arrivals, RATE))
    segments = sum(int(arrival["segments"]) for arrival in arrivals)
    print(f"{segments} segments in {seconds:.0f} s, {dict(verdict.states)}, worst window {worst}")
    faults = [f"{name}: {found}" for name, found in (verdict.faults | left).items()]
    faults += growth(figures)
    if worst > RATE:
        faults.append(f"{worst} segments in a second")
    clean = verdict.clean and not faults
    print("clean and flat" if clean else f"NOT CLEAN: {'; '.join(faults) or 'nothing was sent'}")
    return 0 if clean else 1


def keep_waiting(stage: Stage, accepted: list[str], messages: int) -> None:
    """Keep so many messages in the queue, so that the rate is never short of work."""
    with stage.server.client() as client:
        short = messages - waiting(client)
    if short <= 0:
        return
    [daemon] = stage.daemons
    numbers = [f"+1202555{n:04d}" for n in range(max(short, 100))]
    text = "s" * stage.chance.choice((20, 20, 200))
    status, answer = daemon.call("POST", "/send", {"to": numbers[:1000], "message": text})
    if status == 200:
        accepted += answer["ids"]


if __name__ == "__main__":
    sys.exit(main())
