"""One run: load over both intakes, faults from a seed, rest, judgement."""

import random
import shutil
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPException
from pathlib import Path

import redis

from tests.chaos.faults import FAULTS, PLANS, Stage
from tests.support.oracle import Judgement, judge, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 400  # segments per second: the same arithmetic as at 45, nine times as often
SETTINGS = """
    [redis]
    url = "{url}"
    lease = 2.0
    [rate]
    segments_per_second = {rate}
    [retry]
    initial_delay = 0.2
    max_delay = 1.0
"""


@dataclass
class Result:
    """What a run showed. `faults` of the judgement, and what was done to get them."""

    seed: int
    done: list[str]
    judgement: Judgement
    worst: int
    marks: int
    refused: Counter[str] = field(default_factory=Counter)
    log: Path | None = None

    @property
    def clean(self) -> bool:
        return self.judgement.clean and self.worst <= RATE and self.marks == 0


class Load:
    """Callers that send until told to stop, and remember what they were told."""

    def __init__(self, stage: Stage, texts: int) -> None:
        self._stage = stage
        self._left = texts
        self._chance = random.Random(stage.chance.random())
        self.accepted: list[str] = []
        self.refused: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        self._left = 0
        self._thread.join()

    def _run(self) -> None:
        while self._left > 0:
            numbers = [self._number() for _ in range(self._chance.choice((1, 1, 5, 40)))]
            text = "t" * self._chance.choice((20, 20, 20, 200, 400))
            self._left -= len(numbers)
            if self._chance.random() < 0.5:
                self._post(numbers, text)
            else:
                self._add(numbers, text)
            time.sleep(self._chance.uniform(0, 0.02))

    def _number(self) -> str:
        return f"+1202555{self._chance.randrange(10_000):04d}"

    def _post(self, numbers: list[str], text: str) -> None:
        fields = {"to": list(dict.fromkeys(numbers)), "message": text}
        if self._chance.random() < 0.2:
            fields["priority"] = "high"
        daemon = self._chance.choice(self._stage.daemons)
        try:
            status, answer = daemon.call("POST", "/send", fields, timeout=8)
        except (OSError, HTTPException) as error:
            self.refused[type(error).__name__] += 1
            return
        if status == 200:
            self.accepted += answer.get("ids") or [answer["id"]]
        else:
            self.refused[f"{status} {answer['error']['code']}"] += 1

    def _add(self, numbers: list[str], text: str) -> None:
        high = self._chance.random() < 0.2
        stream = "smsd:queue:high" if high else "smsd:queue"
        try:
            with self._stage.server.client() as client:
                for number in numbers:
                    entry = client.xadd(stream, {"to": number, "message": text}).decode()
                    self.accepted.append(f"h{entry}" if high else entry)
        except redis.RedisError as error:
            self.refused[f"XADD {type(error).__name__}"] += 1


def perform(seed: int, *, texts: int, seconds: float) -> Result:
    """Run once. The directory is kept when the run is not clean."""
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix="smsd-chaos-"))
    server = RedisServer(directory / "redis").start()
    recorder = Recorder(
        directory, plan=chance.choice(PLANS), latency=chance.choice((0.0, 0.05, 0.3)), seed=seed
    ).start()
    settings = SETTINGS.format(url=server.url, rate=RATE) + recorder.settings(timeout=1.0)
    daemons = [
        Daemon(directory / f"smsd-{n}", settings).start() for n in range(chance.choice((1, 2)))
    ]
    stage = Stage(chance, server, recorder, daemons)
    try:
        result = _judged(stage, seed, texts, seconds)
    finally:
        for daemon in daemons:
            daemon.kill()
        recorder.stop()
        server.kill()
    if result.clean:
        shutil.rmtree(directory)
    else:
        result.log = directory
    return result


def _judged(stage: Stage, seed: int, texts: int, seconds: float) -> Result:
    load = Load(stage, texts)
    done: list[str] = []
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            fault = stage.chance.choice(FAULTS)
            done.append(fault.__name__)
            fault(stage)
            stage.pause(1.0)
    finally:
        load.end()
    stage.recorder.stop()
    stage.recorder.start(plan={"ok": 1})
    with stage.server.client() as client:
        eventually(lambda: waiting(client) == 0, 90, f"seed {seed}: texts still wait")
        verdict = judge(load.accepted, stage.recorder.arrivals(), states(client))
        marks = int(client.hlen("smsd:inflight"))
    worst = worst_window(instants(stage.recorder.arrivals(), RATE))
    return Result(seed, done, verdict, worst, marks, load.refused)
