"""`python -m tests.chaos.soak --minutes 30`: full rate, faults, memory and descriptors flat.

The daemon itself is never killed: what grows in it would show. Ends with the judge's verdict.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from tests.bench.stage import resident_mb
from tests.chaos.faults import (
    Stage,
    cut_connections,
    forget_scripts,
    freeze_redis,
    kill_redis,
    lose_provider,
)
from tests.support.oracle import judge, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 45
FAULTS = [cut_connections, forget_scripts, freeze_redis, kill_redis, lose_provider]
PLAN = {"ok": 0.985, "429": 0.001, "503": 0.005, "500": 0.003, "drop": 0.003, "garbage": 0.003}


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
    began = time.monotonic()
    fault_at = 30.0
    told_at = 0.0
    while (elapsed := time.monotonic() - began) < seconds:
        keep_waiting(stage, accepted, 600)
        if elapsed >= fault_at:
            stage.chance.choice(FAULTS)(stage)
            fault_at = elapsed + stage.chance.uniform(15, 45)
        if elapsed >= told_at:
            memory, files = resident_mb(daemon.pid), descriptors(daemon.pid)
            print(f"{elapsed:6.0f} s  {memory:6.1f} MB  {files:3} descriptors", flush=True)
            told_at += max(10.0, seconds / 30)
        time.sleep(1)
    stage.recorder.stop()
    stage.recorder.start(plan={"ok": 1})
    with stage.server.client() as client:
        eventually(lambda: waiting(client) == 0, 180, "texts still wait")
        verdict = judge(accepted, stage.recorder.arrivals(), states(client))
    arrivals = stage.recorder.arrivals()
    worst = worst_window(instants(arrivals, RATE))
    segments = sum(int(arrival["segments"]) for arrival in arrivals)
    print(f"{segments} segments in {seconds:.0f} s, {dict(verdict.states)}, worst window {worst}")
    print("clean" if verdict.clean and worst <= RATE else f"NOT CLEAN: {verdict}")
    return 0 if verdict.clean and worst <= RATE else 1


def keep_waiting(stage: Stage, accepted: list[str], texts: int) -> None:
    """Keep so many texts in the queue, so that the rate is never short of work."""
    with stage.server.client() as client:
        short = texts - waiting(client)
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
