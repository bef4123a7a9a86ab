"""One run: load over both intakes, faults from a seed, rest, judgement."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from pathlib import Path
from typing import Any

import redis

from tests.chaos.faults import FAULTS, PLANS, Stage
from tests.chaos.wire import Wire
from tests.support.oracle import Asked, Judgement, judge, leftovers, letters, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 400  # segments per second: the same arithmetic as at 45, nine times as often
CALLERS = 3  # one may wait for a daemon that is cut off, while another goes on
REST = 120  # seconds until nothing waits; the provider is asked for half a minute
OPTED_OUT = "+12025559999"
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
    left: dict[str, int]  # of what must be gone
    fsck: str  # what it found
    asks: str  # how the provider is asked about texts in doubt; "" for not at all
    refused: Counter[str] = field(default_factory=Counter)
    log: Path | None = None

    @property
    def clean(self) -> bool:
        return self.judgement.clean and self.worst <= RATE and not (self.left or self.fsck)


class Caller:
    """Sends until told to stop, and remembers what was asked for and told."""

    def __init__(self, stage: Stage, texts: int) -> None:
        self._stage = stage
        self._left = texts
        self._chance = random.Random(stage.chance.random())
        self._name = f"{stage.chance.getrandbits(64):x}"
        self._calls = 0
        self.accepted: list[str] = []
        self.asked: dict[str, Asked] = {}  # by id
        self.wished: dict[tuple[str, str], Asked] = {}  # by ref and number: of all, before the call
        self.refused: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._left = 0

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while self._left > 0:
            numbers = [self._number() for _ in range(self._chance.choice((1, 1, 5, 40)))]
            fields = {"message": "t" * self._chance.choice((20, 20, 20, 200, 400))}
            if self._chance.random() < 0.05:
                fields["expires_at"] = _soon(self._chance.uniform(0.2, 3.0))
            fields["ref"] = self._wish(numbers, fields)
            self._left -= len(numbers)
            if self._chance.random() < 0.5:
                self._post(list(dict.fromkeys(numbers)), fields)
            else:
                self._add(numbers, fields)
            if self._chance.random() < 0.1 and self.accepted:
                self._cancel(self._chance.choice(self.accepted[-40:]))
            time.sleep(self._chance.uniform(0, 0.02 * CALLERS))

    def _number(self) -> str:
        if self._chance.random() < 0.02:
            return OPTED_OUT
        return f"+1202555{self._chance.randrange(9_999):04d}"

    def _post(self, numbers: list[str], fields: dict[str, str]) -> None:
        more = {"priority": "high"} if self._chance.random() < 0.2 else {}
        try:
            status, answer = self._call("POST", "/send", {**fields, **more, "to": numbers})
        except (OSError, HTTPException) as error:
            self.refused[type(error).__name__] += 1
            return
        if status == 200:
            ids = answer.get("ids") or [answer["id"]]
            for message_id, number in zip(ids, numbers, strict=True):
                self._note(message_id, number, fields["ref"])
        else:
            self.refused[f"{status} {answer['error']['code']}"] += 1

    def _add(self, numbers: list[str], fields: dict[str, str]) -> None:
        high = self._chance.random() < 0.2
        stream = "smsd:queue:high" if high else "smsd:queue"
        try:
            with self._stage.server.client() as client:
                for number in numbers:
                    entry = client.xadd(stream, {"to": number, **fields}).decode()
                    self._note(f"h{entry}" if high else entry, number, fields["ref"])
        except redis.RedisError as error:
            self.refused[f"XADD {type(error).__name__}"] += 1

    def _cancel(self, message_id: str) -> None:
        """Whatever is answered, it may be cancelled from now on; answered 200, it is."""
        asked = self.asked[message_id]
        asked = replace(asked, ends=asked.ends | {"cancelled"})
        self.asked[message_id] = asked
        try:
            status, _ = self._call("DELETE", f"/messages/{message_id}")
        except (OSError, HTTPException) as error:
            self.refused[f"DELETE {type(error).__name__}"] += 1
            return
        if status == 200:
            self.asked[message_id] = replace(asked, ends=frozenset({"cancelled"}), never=True)

    def _call(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        return self._chance.choice(self._stage.daemons).call(method, path, body, timeout=8)

    def _wish(self, numbers: list[str], fields: dict[str, str]) -> str:
        """The name of a call to be. Its answer may be lost, and what it asked for happen."""
        self._calls += 1
        ref = f"{self._name}-{self._calls}"
        for number in numbers:
            out = number == OPTED_OUT
            ends = {"suppressed"} if out else set()
            ends |= {"expired"} if "expires_at" in fields else set()
            wish = Asked(number, fields["message"], frozenset(ends), never=out)
            self.wished[ref, number] = wish
        return ref

    def _note(self, message_id: str, number: str, ref: str) -> None:
        self.accepted.append(message_id)
        self.asked[message_id] = self.wished[ref, number]


def _soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def perform(seed: int, *, texts: int, seconds: float) -> Result:
    """Run once. The directory is kept when the run is not clean."""
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix="smsd-chaos-"))
    server = RedisServer(directory / "redis").start()
    with server.client() as client:
        client.sadd("smsd:optouts", OPTED_OUT)
    recorder = Recorder(
        directory, plan=chance.choice(PLANS), latency=chance.choice((0.0, 0.05, 0.3)), seed=seed
    ).start()
    asks = chance.choice(("", "", "in_doubt", "unavailable"))
    wires = [Wire(server.socket).start() for _ in range(chance.choice((1, 2)))]
    daemons = [
        Daemon(directory / f"smsd-{n}", _settings(wire, recorder, asks)).start()
        for n, wire in enumerate(wires)
    ]
    stage = Stage(chance, server, recorder, daemons, wires)
    try:
        result = _judged(stage, seed, texts, seconds)
    finally:
        for daemon in daemons:
            daemon.kill()
        for wire in wires:
            wire.stop()
        recorder.stop()
        server.kill()
    result.asks = asks
    if result.clean:
        shutil.rmtree(directory)
    else:
        result.log = directory
    return result


def _settings(wire: Wire, recorder: Recorder, asks: str) -> str:
    settings = SETTINGS.format(url=wire.url, rate=RATE) + recorder.settings(timeout=1.0)
    if not asks:
        return settings
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={{id}}"
    return f'{settings}\nlook_up = {{url = "{url}", id = "json:id", not_found = "{asks}"}}\n'


def _judged(stage: Stage, seed: int, texts: int, seconds: float) -> Result:
    callers = [Caller(stage, texts // CALLERS) for _ in range(CALLERS)]
    done: list[str] = []
    until = time.monotonic() + seconds
    try:
        while time.monotonic() < until:
            fault = stage.chance.choice(FAULTS)
            done.append(fault.__name__)
            fault(stage)
            stage.pause(1.0)
    finally:
        for caller in callers:
            caller.stop()
        for caller in callers:
            caller.join()
    stage.recorder.stop()
    stage.recorder.start(plan={"ok": 1})
    with stage.server.client() as client:
        eventually(lambda: waiting(client) == 0, REST, f"seed {seed}: texts still wait")
        held, dead, left = states(client), letters(client), leftovers(client)
    arrivals = stage.recorder.arrivals()
    accepted = [message_id for caller in callers for message_id in caller.accepted]
    asked = _unanswered(callers, held)
    asked |= {message_id: wish for caller in callers for message_id, wish in caller.asked.items()}
    verdict = judge(accepted, arrivals, held, asked=asked, dead=dead)
    worst = worst_window(instants(arrivals, RATE))
    found = _fsck(stage.daemons[0])
    refused = sum((caller.refused for caller in callers), Counter())
    return Result(seed, done, verdict, worst, left, found, "", refused)


def _unanswered(callers: list[Caller], known: dict[str, dict[str, str]]) -> dict[str, Asked]:
    """What was asked for, of texts of which no caller was told the id too."""
    wished = {key: wish for caller in callers for key, wish in caller.wished.items()}
    keys = {message_id: (facts.get("ref"), facts.get("to")) for message_id, facts in known.items()}
    return {message_id: wished[key] for message_id, key in keys.items() if key in wished}


def _fsck(daemon: Daemon) -> str:
    """What `smsd fsck` finds; "" when it ends with 0."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SMSD_")}
    done = subprocess.run(
        [sys.executable, "-m", "smsd", "fsck", "--config", "config.toml"],
        cwd=daemon.directory,
        env=clean,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return "" if done.returncode == 0 else f"exit {done.returncode}: {done.stdout}{done.stderr}"
