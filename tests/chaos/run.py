"""One run: load over both intakes, faults from a seed, rest, judgement."""

import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

import redis

from tests.chaos import campaigns, faults, foreign, gateway, people, restored
from tests.chaos.callers import CALLERS, OPTED_OUT, Caller, all_asked
from tests.chaos.stage import LEASE, Stage
from tests.chaos.wire import Wire
from tests.support.campaigns import Desk
from tests.support.oracle import Judgement, Terms, judge, leftovers, letters, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, instants, worst_window
from tests.support.redis_server import RedisServer

RATE = 400  # segments per second: the same arithmetic as at 45, nine times as often
# Seconds until nothing waits: where only messages with one attempt left wait in a hold, the first
# of them probes after five minutes without an outcome (`LONGEST_REST_S` of dispatch/probes.py).
REST = 420
MAX_ATTEMPTS = 6
TOKEN = "a-token-of-the-callers-own"
SETTINGS = """
    [http]
    tokens = [{tokens}]
    [redis]
    url = "{url}"
    lease = {lease}
    [rate]
    segments_per_second = {rate}
    [retry]
    max_attempts = {max_attempts}
    initial_delay = 0.2
    max_delay = 1.0
"""
Fault = Callable[[Stage], None]
FAULTS: list[Fault] = [
    faults.kill_daemon,
    faults.stop_daemon,
    faults.freeze_daemon,
    faults.kill_redis,
    faults.freeze_redis,
    faults.kill_both,
    faults.freeze_both,
    faults.fill_disk,
    faults.steal_lease,
    faults.forget_scripts,
    faults.cut_connections,
    faults.cut_off_daemon,
    gateway.lose_provider,
    gateway.take_and_deny,
    gateway.forward_and_fail,
    gateway.brown_out,
    gateway.close_idle,
    people.hold_and_release,
    people.post_lists,
    people.gzip_strangers,
    foreign.wrong_type,
    foreign.junk_value,
    restored.restore_older,
    restored.restore_older_to_newcomers,
]
DEALT = 4  # faults that a run begins with, at most
MEET_ALL = ceil(len(FAULTS) / DEALT)  # runs with seeds in a row


@dataclass
class Result:
    """What a run showed. `faults` of the judgement, and what was done to get them."""

    seed: int
    done: list[str]
    judgement: Judgement
    worst: int
    left: dict[str, int]  # of what must be gone
    fsck: str  # what it found
    asks: str  # how the provider is asked about messages in doubt; "" for not at all
    refused: Counter[str] = field(default_factory=Counter)
    campaigns: Counter[str] = field(default_factory=Counter)  # by their states in the end
    log: Path | None = None

    @property
    def clean(self) -> bool:
        return self.judgement.clean and self.worst <= RATE and not (self.left or self.fsck)


def dealt(seed: int) -> list[Fault]:
    """The faults that a run begins with: some of each kind."""
    return FAULTS[seed % MEET_ALL :: MEET_ALL]


def perform(seed: int, *, messages: int, seconds: float, only: Sequence[Fault] = ()) -> Result:
    """Run once; `only` these faults, if any. The directory is kept when the run is not clean."""
    chance = random.Random(seed)
    directory = Path(tempfile.mkdtemp(prefix="smsd-chaos-"))
    server = RedisServer(directory / "redis").start()
    with server.client() as client:
        client.sadd("smsd:optouts", OPTED_OUT)
    recorder = Recorder(
        directory,
        plan=chance.choice(gateway.PLANS),
        latency=chance.choice((0.0, 0.05, 0.3)),
        seed=seed,
    ).start()
    asks = chance.choice(("", "", "in_doubt", "unavailable"))
    token = chance.choice(("", TOKEN))
    wires = [Wire(server.socket).start() for _ in range(chance.choice((1, 2)))]
    daemons = [
        Daemon(directory / f"smsd-{n}", _settings(wire, recorder, asks, token)).start()
        for n, wire in enumerate(wires)
    ]
    stage = Stage(chance, server, recorder, daemons, wires, token)
    campaigner = campaigns.Campaigner(stage)
    try:
        campaigns.import_audience(stage)
        with running(campaigner):
            _hurt(stage, messages, seconds, [] if only else dealt(seed), only or FAULTS)
        result = _judged(stage, campaigner, seed, asks)
    except Exception as error:
        error.add_note(f"after {', '.join(stage.done)}; see {directory}")
        raise
    finally:
        for daemon in daemons:
            daemon.kill()
        for wire in wires:
            wire.stop()
        recorder.stop()
        server.kill()
    if result.clean:
        shutil.rmtree(directory)
    else:
        result.log = directory
    return result


def _settings(wire: Wire, recorder: Recorder, asks: str, token: str) -> str:
    settings = SETTINGS.format(
        url=wire.url,
        rate=RATE,
        lease=LEASE,
        max_attempts=MAX_ATTEMPTS,
        tokens=f'"{token}"' if token else "",
    )
    settings += recorder.settings(timeout=1.0)
    if not asks:
        return settings
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={{id}}"
    return f'{settings}\nlook_up = {{url = "{url}", id = "json:id", not_found = "{asks}"}}\n'


def _hurt(
    stage: Stage, messages: int, seconds: float, first: Sequence[Fault], then: Sequence[Fault]
) -> None:
    """Let callers send while faults happen."""
    stage.callers += [
        Caller(stage, 0),
        *(Caller(stage, messages // CALLERS) for _ in range(CALLERS)),
    ]
    for caller in stage.callers:
        caller.start()
    ahead = stage.chance.sample(first, len(first))
    until = time.monotonic() + seconds
    try:
        while ahead or time.monotonic() < until:
            fault = ahead.pop() if ahead else stage.chance.choice(then)
            stage.done.append(fault.__name__)
            fault(stage)
            stage.pause(1.0)
            if any(daemon.ended_itself for daemon in stage.daemons):
                raise AssertionError("a daemon ended by itself")
    finally:
        for caller in stage.callers:
            caller.stop()
        for caller in stage.callers:
            caller.join()


@contextmanager
def running(campaigner: campaigns.Campaigner) -> Iterator[None]:
    campaigner.start()
    try:
        yield
    finally:
        campaigner.stop()
        campaigner.join()


def _is_at_rest(stage: Stage, client: redis.Redis, desk: Desk) -> bool:
    """Whether nothing waits; an operator ends what hold there is.

    (A daemon may hold though nothing could be sent twice. That it does send nothing twice is
    looked at all the same: only what nobody can know any more is excused.)
    """
    if client.exists("smsd:held"):
        stage.release()
    return campaigns.are_at_rest(client, desk) and waiting(client) == 0


def _judged(stage: Stage, campaigner: campaigns.Campaigner, seed: int, asks: str) -> Result:
    """Wait for rest, and judge."""
    desk = Desk(stage.server.url)
    stage.recorder.stop()
    stage.recorder.start(plan={"ok": 1})
    with stage.server.client() as client:
        eventually(lambda: _is_at_rest(stage, client, desk), REST, "messages still wait")
        held, dead, left = states(client), letters(client), leftovers(client)
    looked = campaigns.look(desk, campaigner, stage.excuses)
    held |= looked.known
    left |= looked.faults
    arrivals = stage.recorder.arrivals()
    verdict = judge(
        [*(id_ for caller in stage.callers for id_ in caller.accepted), *looked.accepted],
        arrivals,
        held,
        asked=all_asked(stage.callers, held, stage.excuses) | looked.asked,
        dead=dead,
        held=stage.held,
        terms=Terms(absent_is_refused=asks == "unavailable", max_attempts=MAX_ATTEMPTS),
        excuses=stage.excuses,
    )
    if silent := restored.lost_in_silence(stage):
        left["messages lost in silence"] = silent
    worst = worst_window(instants(arrivals, RATE))
    code, found = stage.operate("fsck")
    refused = sum((caller.refused for caller in stage.callers), campaigner.refused)
    fsck = f"exit {code}: {found}" if code else ""
    ended = Counter(str(one.state) for one in desk.all())
    return Result(seed, stage.done, verdict, worst, left, fsck, asks, refused, ended)
