"""Everything of a run that can be hurt, and what the judge must know of how it was."""

import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tests.chaos.wire import Wire
from tests.support.excuses import Excuses
from tests.support.processes import Daemon, Recorder
from tests.support.redis_server import RedisServer

if TYPE_CHECKING:
    from tests.chaos.callers import Caller


LEASE = 2.0  # seconds


@dataclass
class Stage:
    """What the faults of a run work on."""

    chance: random.Random
    server: RedisServer
    recorder: Recorder
    daemons: list[Daemon]
    wires: list[Wire] = field(default_factory=list)  # of each daemon, to Redis
    token: str = ""  # that callers need; "": none
    callers: "list[Caller]" = field(default_factory=list)  # the first sends only what it is given
    excuses: Excuses = field(default_factory=Excuses)
    done: list[str] = field(
        default_factory=list
    )  # the faults by name, to what if that is one of many
    held: list[tuple[int, int]] = field(default_factory=list)  # nothing may arrive; Unix ns

    def note(self, what: str) -> None:
        """Say more of the fault that is being done."""
        self.done[-1] += f" ({what})"

    def pause(self, longest: float) -> None:
        time.sleep(self.chance.uniform(0.05, longest))

    def operate(self, *command: str) -> tuple[int, str]:
        """Run `smsd` as an operator does, beside a daemon: its exit code and what it said."""
        clean = {key: value for key, value in os.environ.items() if not key.startswith("SMSD_")}
        done = subprocess.run(
            [sys.executable, "-m", "smsd", *command, "--config", "config.toml"],
            cwd=self.daemons[0].directory,
            env=clean,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def release(self) -> None:
        """`smsd release`: a person says that dispatch may go on, whatever is known or not."""
        code, said = self.operate("release")
        if code:
            raise AssertionError(f"smsd release ended with {code}: {said}")
        self.excuses.released(time.time_ns())
