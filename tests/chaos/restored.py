"""Redis comes back with an append-only file of some seconds ago.

What it has forgotten then is read from the file itself: see `Restored`. A daemon that lives through
it remembers what was settled; where none does, dispatch is held until a person says `smsd release`.
"""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import redis

from tests.chaos.stage import LEASE, Stage
from tests.support.campaigns import Desk
from tests.support.excuses import Restored
from tests.support.oracle import states
from tests.support.redis_server import RedisServer

FILES = "appendonlydir"
HOLDS_WITHIN = 6.0  # seconds, a daemon that cannot know what was sent
SETTLES_WITHIN = 4.0  # seconds, a daemon that remembers
SETTLED = "redis lost its last writes: settlements"
REPORT = "redis lost its last writes: messages"


@dataclass(frozen=True)
class Copy:
    """What `FILES` held at one time."""

    directory: Path
    made_at: int  # Unix ns


def restore_older(stage: Stage) -> None:
    """Every daemon lives through it, and until it has settled again what it remembers."""
    copy = _copy(stage)
    stage.pause(2.5)
    logged = [len(daemon.log) for daemon in stage.daemons]
    _restore(stage, copy)
    until = time.monotonic() + SETTLES_WITHIN
    while not any(
        SETTLED in daemon.log[at:] for daemon, at in zip(stage.daemons, logged, strict=True)
    ):
        if time.monotonic() > until:  # perhaps nothing was lost
            return
        time.sleep(0.05)


def restore_older_to_newcomers(stage: Stage) -> None:
    """The daemons that sent meanwhile were killed, and started again before the older file came.

    (Killed together with Redis they would leave nobody who can see that the file is older.)
    """
    copy = _copy(stage)
    stage.pause(2.5)
    for daemon in stage.daemons:
        daemon.kill()
    died_at = time.time_ns()
    for daemon in stage.daemons:
        daemon.start()
    stage.pause(2.5)
    _restore(stage, copy, died_at=died_at)
    if _is_held(stage.server):
        stage.pause(1.0)
        stage.release()
        time.sleep(LEASE)  # until it is known: a copy from before would need another


def lost_in_silence(stage: Stage) -> int:
    """Messages that a copy forgot, of daemons that had answered 200 and reported no loss."""
    return sum(
        restored.forgot(message_id)
        for restored in stage.excuses.restored
        for daemon in stage.daemons
        if not restored.died_at and REPORT not in daemon.log
        for caller in stage.callers
        for message_id, name in caller.daemon_of.items()
        if name == daemon.directory.name
    )


def _copy(stage: Stage) -> Copy:
    """Copy the files while Redis writes them; `RedisServer.start` mends a torn end."""
    directory = stage.server.directory.parent / f"copy-{len(stage.excuses.restored)}"
    made_at = time.time_ns()
    shutil.copytree(stage.server.directory / FILES, directory / FILES)
    return Copy(directory, made_at)


def _restore(stage: Stage, copy: Copy, *, died_at: int = 0) -> None:
    server = stage.server
    last_ids, cancelled, campaigns = _known_by(copy)
    if stage.chance.random() < 0.5:
        server.stop()
    else:
        server.kill()
    ended_at = time.time_ns()
    shutil.rmtree(server.directory / FILES)
    shutil.move(copy.directory / FILES, server.directory / FILES)
    stage.excuses.restored.append(
        Restored(copy.made_at, ended_at, last_ids, cancelled, campaigns, died_at)
    )
    server.start()


def _known_by(copy: Copy) -> tuple[dict[str, str], frozenset[str], frozenset[str]]:
    """The last ids of both streams in a copy, what it calls cancelled, and its campaigns."""
    server = RedisServer(copy.directory).start()
    try:
        with server.client() as client:
            last_ids = {
                "n": _last_id(client, "smsd:queue"),
                "h": _last_id(client, "smsd:queue:high"),
            }
            known = states(client)
        desk = Desk(server.url)
        campaigns = desk.all()
        recipients = [one for campaign in campaigns for one in desk.recipients(campaign)]
    finally:
        server.stop()
    ended = {id_ for id_, facts in known.items() if facts.get("state") == "cancelled"}
    ended |= {one.id for one in campaigns if one.state == "cancelled"}
    ended |= {one.message_id for one in recipients if one.state == "cancelled"}
    return last_ids, frozenset(ended), frozenset(one.id for one in campaigns)


def _last_id(client: redis.Redis, stream: str) -> str:
    if not client.exists(stream):
        return "0-0"
    last: bytes = client.xinfo_stream(stream)["last-generated-id"]
    return last.decode()


def _is_held(server: RedisServer) -> bool:
    """Whether a hold that only a person can end comes about."""
    until = time.monotonic() + HOLDS_WITHIN
    with server.client() as client:
        while not client.exists("smsd:held"):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
    return True
