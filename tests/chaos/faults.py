"""What can go wrong while texts are on their way. Each fault ends what it began."""

import random
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import redis

from tests.support.processes import Daemon, Recorder
from tests.support.redis_server import RedisServer


@dataclass
class Stage:
    """Everything that can be hurt."""

    chance: random.Random
    server: RedisServer
    recorder: Recorder
    daemons: list[Daemon]

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.uniform(0.05, longest))


def kill_daemon(stage: Stage) -> None:
    daemon = stage.chance.choice(stage.daemons)
    daemon.kill()
    stage.pause(0.5)
    daemon.start()


def stop_daemon(stage: Stage) -> None:
    """SIGTERM, as a deployment does."""
    daemon = stage.chance.choice(stage.daemons)
    daemon.stop()
    daemon.start()


def freeze_daemon(stage: Stage) -> None:
    """Longer than the lease lives, now and then: it must wake up harmless."""
    daemon = stage.chance.choice(stage.daemons)
    daemon.signal(signal.SIGSTOP)
    stage.pause(3.5)
    daemon.signal(signal.SIGCONT)


def kill_redis(stage: Stage) -> None:
    stage.server.kill()
    stage.pause(0.7)
    stage.server.start()


def freeze_redis(stage: Stage) -> None:
    stage.server.send_signal(signal.SIGSTOP)
    stage.pause(2.0)
    stage.server.send_signal(signal.SIGCONT)


def kill_both(stage: Stage) -> None:
    daemon = stage.chance.choice(stage.daemons)
    daemon.kill()
    stage.server.kill()
    stage.pause(0.3)
    stage.server.start()
    daemon.start()


def fill_disk(stage: Stage) -> None:
    """The append-only file may not grow any more; with fsync always Redis ends itself."""
    files = list(stage.server.directory.rglob("*.incr.aof"))
    size = max((file.stat().st_size for file in files), default=0)
    resource.prlimit(stage.server.pid, resource.RLIMIT_FSIZE, (size + 512, size + 512))
    stage.pause(0.5)
    stage.server.kill()
    stage.server.start()


def forget_scripts(stage: Stage) -> None:
    with stage.server.client() as client:
        client.script_flush()


def cut_connections(stage: Stage) -> None:
    """The network to Redis breaks, and heals."""
    with stage.server.client() as client, suppress(redis.ConnectionError):
        for _ in range(stage.chance.randint(1, 4)):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            stage.pause(0.2)


def lose_provider(stage: Stage) -> None:
    stage.recorder.stop()
    stage.pause(1.0)
    stage.recorder.start()


FAULTS: list[Callable[[Stage], None]] = [
    kill_daemon,
    stop_daemon,
    freeze_daemon,
    kill_redis,
    freeze_redis,
    kill_both,
    fill_disk,
    forget_scripts,
    cut_connections,
    lose_provider,
]
PLANS: list[dict[str, float]] = [
    {"ok": 1},
    {"ok": 0.9, "429": 0.05, "503": 0.05},
    {"ok": 0.9, "500": 0.03, "garbage": 0.02, "half": 0.02, "reset": 0.02, "drop": 0.01},
    {"ok": 0.97, "hang": 0.01, "drop": 0.02},
    {"ok": 0.8, "503": 0.1, "drop": 0.05, "400": 0.05},
]
