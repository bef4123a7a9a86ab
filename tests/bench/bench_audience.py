"""A large audience: how long its import takes, what it costs, and what the pace is meanwhile."""

import http.client
import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from tests.bench.measures import RATE, fill_for, paced
from tests.bench.stage import Row, daemon, redis_server
from tests.support.processes import Daemon, Recorder
from tests.support.redis_server import RedisServer

NAMES = ("Anna", "Ben", "Chloe", "Dimitri", "Eve", "Francesco", "Grace", "Ho", "Ivan", "Jolanda")
LOOK_S = 0.5  # between looks at what processes hold


class Setting(NamedTuple):
    """What an import is measured on."""

    directory: Path
    smsd: Daemon
    server: RedisServer
    recorder: Recorder


def run(directory: Path, contacts: int) -> list[Row]:
    """Import so many contacts while messages are sent, and then as many into another audience."""
    recorder = Recorder(directory, latency=0.1).start()
    try:
        with redis_server(directory / "redis", "everysec") as server:
            settings = f'[redis]\nurl = "{server.url}"\n' + recorder.settings()
            with daemon(directory / "smsd", settings) as smsd:
                fill_for(smsd, RATE * 240)
                time.sleep(4)
                on = Setting(directory, smsd, server, recorder)
                return [*_imported(on, "first", contacts), *_imported(on, "second", contacts)]
    finally:
        recorder.stop()


def _imported(on: Setting, name: str, contacts: int) -> list[Row]:
    file = _written(on.directory / f"{name}.csv", contacts, seed=name)
    with on.server.client() as client:
        before, idle = client.info("memory")["used_memory"], _held_mb(on.smsd.pid)
        began = time.monotonic()
        with _watched(on.smsd.pid) as most:
            status, answer = _put(on.smsd, name, file)
        took = time.monotonic() - began
        assert status == 200, answer
        octets = (client.info("memory")["used_memory"] - before) / contacts
    what, size = f"audience, {name} {contacts:,}", file.stat().st_size / 1e6
    rows: list[Row] = [
        (f"{what}: import", f"{took:.1f} s", f"asked: 15 s for a million; CSV of {size:.0f} MB"),
        (f"{what}: memory", f"{max(most) - idle:.0f} MB", "above idle, daemon and parser, PSS"),
        (f"{what}: Redis", f"{octets:.0f} octets", "a contact: a number and a first name"),
    ]
    return rows + paced(on.recorder, round(took), f"during the {name} import", RATE)


def import_audience(directory: Path, smsd: Daemon, name: str, contacts: int) -> None:
    """An audience of so many, each with a first name."""
    status, answer = _put(smsd, name, _written(directory / f"{name}.csv", contacts, seed=name))
    assert status == 200, answer


def _written(path: Path, contacts: int, seed: str) -> Path:
    """A file of valid numbers, none of them twice, in no order."""
    chance = random.Random(seed)
    area_codes = (202, 212, 305, 312, 415, 503, 602, 617, 702, 713)
    with path.open("w") as file:
        file.write("phone,first_name\n")
        for n in chance.sample(range(len(area_codes) * 7_000_000), contacts):
            area, rest = area_codes[n % 10], 2_000_000 + n // 10
            file.write(f"+1{area}{rest:07d},{NAMES[rest % 10]}\n")
    return path


def _put(smsd: Daemon, name: str, file: Path) -> tuple[int, bytes]:
    where = urlsplit(smsd.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=300)
    with file.open("rb") as body:
        connection.request("PUT", f"/audiences/{name}", body, {"Content-Type": "text/csv"})
        answer = connection.getresponse()
        return answer.status, answer.read()


@contextmanager
def _watched(pid: int) -> Iterator[list[float]]:
    """What a process and those that it has started hold, MB, at each look."""
    found = [_held_mb(pid)]
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(LOOK_S):
            found.append(_held_mb(pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        ended.set()
        watcher.join()


def _held_mb(pid: int) -> float:
    """Proportional: pages that several processes share are counted once."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return sum(_proportional_kb(one) for one in (str(pid), *children)) / 1024


def _proportional_kb(pid: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # it has ended
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
