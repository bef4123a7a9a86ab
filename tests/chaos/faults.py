"""What processes, disk and network do to messages on their way. Each fault ends what it began."""

import resource
import signal
import time
from contextlib import suppress

import redis

from tests.chaos.stage import Stage
from tests.support.redis_server import RedisServer

LOG_ROOM = 8192  # octets


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


def freeze_both(stage: Stage) -> None:
    """Either may be the first to wake, and finds the other asleep or long awake."""
    frozen = [stage.server.send_signal, stage.chance.choice(stage.daemons).signal]
    for signal_ in frozen:
        signal_(signal.SIGSTOP)
    stage.pause(3.5)
    stage.chance.shuffle(frozen)
    for signal_ in frozen:
        signal_(signal.SIGCONT)
        stage.pause(1.0)


def fill_disk(stage: Stage) -> None:
    """The append-only file may not grow any more; with fsync always Redis ends itself.

    The log has the same limit, and must still be able to say so.
    """
    server = stage.server
    logged_before = len(server.log)
    sizes = [file.stat().st_size for file in server.directory.rglob("*.incr.aof")]
    limit = max(*sizes, 0, (server.directory / "log").stat().st_size + LOG_ROOM) + 512
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, limit))
    stage.pause(0.5)
    code = _write_until_it_ends(server)
    logged = server.log[logged_before:]
    server.kill()
    if code != 1 or "AOF write error" not in logged:
        raise AssertionError(f"the disk did not fill up: exit {code}\n{logged}")
    server.start()


def _write_until_it_ends(server: RedisServer, seconds: float = 20) -> int | None:
    """The load does it, or we: its exit code."""
    until = time.monotonic() + seconds
    with server.client() as client, suppress(redis.RedisError):
        while server.ended_itself() is None and time.monotonic() < until:
            client.set("chaos:ballast", "x" * 100)
            time.sleep(0.005)
    while server.ended_itself() is None and time.monotonic() < until:
        time.sleep(0.01)
    return server.ended_itself()


def steal_lease(stage: Stage) -> None:
    """Nobody holds it any more, though one thinks so: the other may take it meanwhile."""
    with stage.server.client() as client:
        for _ in range(stage.chance.randint(1, 3)):
            client.delete("smsd:lease")
            stage.pause(1.0)


def forget_scripts(stage: Stage) -> None:
    with stage.server.client() as client:
        client.script_flush()


def cut_connections(stage: Stage) -> None:
    """The network to Redis breaks, and heals."""
    with stage.server.client() as client, suppress(redis.ConnectionError):
        for _ in range(stage.chance.randint(1, 4)):
            client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
            stage.pause(0.2)


def cut_off_daemon(stage: Stage) -> None:
    """One daemon alone loses Redis, longer than the lease lives now and then."""
    wire = stage.chance.choice(stage.wires)
    if stage.chance.random() < 0.3:
        wire.cut()
    else:
        wire.hold(replies_only=stage.chance.random() < 0.3)
    stage.pause(4.0)
    wire.heal(forget=stage.chance.random() < 0.5)
