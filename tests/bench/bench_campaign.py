"""Campaigns: how soon one starts, what it costs in Redis, its pace, and how fast it can be sent."""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from tests.bench.bench_audience import import_audience
from tests.bench.measures import RATE, paced
from tests.bench.stage import Row, daemon, redis_server
from tests.support.processes import Daemon, Recorder
from tests.support.redis_server import RedisServer

PLAIN = "20% off until Sunday. Reply STOP to opt out."
PERSONAL = f'Hi {{{{ first_name | default: "there" }}}}, {PLAIN}'
STRICT = f"Hi {{{{ first_name }}}}, {PLAIN}"
PACED_S = 20
FAST = 5_000  # segments/s
NO_EVENTS = "[queue]\nmax_events = 1000\n"  # they cost more than what is measured
LOOK_S = 0.5


def run(directory: Path, recipients: int, quickly: int) -> list[Row]:
    """Start campaigns over so many recipients at 45/s, and send `quickly` as fast as it goes."""
    started, sent = directory / "started", directory / "sent"
    started.mkdir()
    sent.mkdir()
    return [*_started(started, recipients), *_sent(sent, quickly)]


def _started(directory: Path, recipients: int) -> list[Row]:
    recorder = Recorder(directory, latency=0.1).start()
    try:
        with redis_server(directory / "redis", "everysec") as server:
            settings = f'[redis]\nurl = "{server.url}"\n' + recorder.settings()
            with daemon(directory / "smsd", settings) as smsd:
                import_audience(directory, smsd, "spring", recipients)
                rows: list[Row] = []
                for name, body in (("plain", PLAIN), ("personal", PERSONAL), ("strict", STRICT)):
                    rows += _start(smsd, server, name, body, recipients)
                time.sleep(PACED_S + 4)
    finally:
        recorder.stop()
    return [*rows, *paced(recorder, PACED_S, "three campaigns", RATE)]


def _start(smsd: Daemon, server: RedisServer, name: str, body: str, recipients: int) -> list[Row]:
    before, began = _used(server), time.monotonic()
    _post(smsd, {"name": name, "audience": "spring", "message": body})
    took, what = time.monotonic() - began, f"campaign, {name}, {recipients:,}"
    octets = (_used(server) - before) / recipients
    return [
        (f"{what}: start", f"{took:.2f} s", "asked: 1 s for a million"),
        (f"{what}: Redis", f"{octets:.0f} octets", "a waiting recipient; asked: 64"),
    ]


def _sent(directory: Path, recipients: int) -> list[Row]:
    """Each exactly once, and counts that add up whenever they are looked at."""
    recorder = Recorder(directory, latency=0.01).start()
    try:
        with redis_server(directory / "redis", "everysec") as server:
            fast = f"[rate]\nsegments_per_second = {FAST}\n[provider]\nmax_in_flight = 1024\n"
            settings = f'[redis]\nurl = "{server.url}"\n{NO_EVENTS}{fast}'
            settings += recorder.settings().replace("[provider]", "", 1)
            with daemon(directory / "smsd", settings) as smsd:
                import_audience(directory, smsd, "spring", recipients)
                before, began = _used(server), time.monotonic()
                _post(smsd, {"name": "fast", "audience": "spring", "message": PERSONAL})
                while (shown := _get(smsd, "/campaigns/fast"))["state"] == "running":
                    assert sum(shown["counts"].values()) == 2 * recipients
                    time.sleep(LOOK_S)
                took = time.monotonic() - began
                octets = (_used(server) - before) / recipients
    finally:
        recorder.stop()
    times = Counter(Counter(one["to"] for one in recorder.arrivals()).values())
    assert times == {1: recipients}, times
    what = f"campaign, {recipients:,} at {FAST:,}/s"
    return [
        (f"{what}: sent", f"{recipients / took:,.0f}/s", "through HTTP, each exactly once"),
        (
            f"{what}: Redis",
            f"{octets:.0f} octets",
            "a finished recipient; asked: 40",
        ),
    ]


def _used(server: RedisServer) -> int:
    with server.client() as client:
        return int(client.info("memory")["used_memory"])


def _post(smsd: Daemon, body: dict[str, str]) -> None:
    headers = {"Content-Type": "application/json"}
    request = Request(f"{smsd.url}/campaigns", json.dumps(body).encode(), headers)
    with urlopen(request) as answer:
        answer.read()


def _get(smsd: Daemon, path: str) -> dict[str, Any]:
    with urlopen(f"{smsd.url}{path}") as answer:
        found: dict[str, Any] = json.load(answer)
    return found
