"""The measures, each a few lines that read top to bottom; `rows` of what was found."""

import asyncio
import signal
import time
from pathlib import Path
from typing import cast
from urllib.request import urlopen

from redis.asyncio import Redis

from tests.bench.stage import (
    QUIET,
    TEXT,
    Row,
    cpu_s,
    daemon,
    echo_server,
    fill,
    fill_in_turn,
    length,
    post_at_full_speed,
    posted,
    posting,
    redis_server,
    resident_mb,
)
from tests.support.processes import SECOND, Daemon, Recorder, eventually, instants, worst_window

RATE = 45
UNLIMITED = "[rate]\nsegments_per_second = 100000\n[provider]\nmax_in_flight = 1024\n"


def pace(
    directory: Path,
    seconds: int,
    posts: int | None,
    name: str,
    *,
    rate: int = RATE,
    latency: float = 0.1,
    callers: int = 32,
    numbers: int = 1,
) -> list[Row]:
    """Saturated against a recording gateway; `posts` a second meanwhile, 0 for flat out.

    `numbers` are in each of them.
    """
    recorder = Recorder(directory, latency=latency).start()
    settings = (
        f"[rate]\nsegments_per_second = {rate}\n[queue]\nmax_length = 100000000\n"
        + f"[http]\nmax_recipients = {max(numbers, 1000)}\n"
        + recorder.settings()
    )
    try:
        with daemon(directory / "smsd", settings) as smsd:
            fill_for(smsd, rate * (seconds + 6))
            time.sleep(3 + latency)
            spent, began = cpu_s(smsd.pid), time.monotonic()
            meanwhile: list[Row] = []
            if posts is None:
                time.sleep(seconds)
            else:
                port = int(smsd.url.rpartition(":")[2])
                with posting(port, seconds, posts, callers=callers, numbers=numbers) as load:
                    posted_rate, p99 = posted(load)
                meanwhile = [(f"pace, {name}: POSTs", f"{posted_rate:,.0f}/s", f"taken; p99 {p99}")]
            share = (cpu_s(smsd.pid) - spent) / (time.monotonic() - began)
            late = lateness(smsd)
    finally:
        recorder.stop()
    return [
        *paced(recorder, seconds, name, rate),
        *meanwhile,
        (f"pace, {name}: CPU", f"{share:.1%}", "of one core"),
        (f"pace, {name}: start lateness", late, "p50, p99, max; upper bounds"),
    ]


def fill_for(smsd: Daemon, segments: int) -> None:
    """Queue so many segments, of messages of one to three."""
    numbers = [f"+1202555{n:04d}" for n in range(200)]
    while segments > 0:
        for message in (TEXT, TEXT, "t" * 200, TEXT, "t" * 400):
            segments -= int(smsd.send(to=numbers, message=message)["segments"])


def paced(recorder: Recorder, seconds: int, name: str, rate: int) -> list[Row]:
    arrivals = recorder.arrivals()
    last = arrivals[-1]["at"]
    steady = [one for one in arrivals if one["at"] >= last - seconds * SECOND]
    counted = sum(int(one["segments"]) for one in steady[:-1])
    mean = counted * SECOND / (steady[-1]["at"] - steady[0]["at"])
    worst = worst_window(instants(arrivals, rate))
    share = f"{mean / rate:.2%} of the rate; {seconds} s, arrivals at the gateway"
    return [
        (f"pace, {name}: mean", f"{mean:.2f}/s", share),
        (f"pace, {name}: worst window", f"{worst}", "segments in any second, by kernel time"),
    ]


def lateness(smsd: Daemon) -> str:
    with urlopen(f"{smsd.url}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    found = [line for line in lines if line.startswith("smsd_start_late_seconds_bucket")]
    buckets = [(line.split('"')[1], float(line.split()[-1])) for line in found]
    whole = buckets[-1][1]

    def below(share: float) -> str:
        bound = next(bound for bound, count in buckets if count >= share * whole)
        return "over 100 ms" if bound == "+Inf" else f"{float(bound) * 1000:g} ms"

    return f"{below(0.5)}, {below(0.99)}, {below(1.0)}"


def intake(directory: Path, fsync: str, seconds: int) -> list[Row]:
    """`POST /send` against a bare aiohttp JSON echo, in turns, the best of three each."""
    with redis_server(directory / "redis", fsync) as server, echo_server() as (_, echo_port):
        settings = f'[redis]\nurl = "{server.url}"\n[queue]\nmax_length = 100000000\n'
        with daemon(directory / "smsd", settings) as smsd:
            port = int(smsd.url.rpartition(":")[2])
            post_at_full_speed(port, 2)
            turns = [
                (post_at_full_speed(echo_port, seconds), post_at_full_speed(port, seconds))
                for _ in range(3)
            ]
    echo, ours = max(turn[0] for turn in turns), max(turn[1] for turn in turns)
    how = f"32 connections, appendfsync {fsync}"
    return [
        (f"intake, {fsync}", f"{ours[0]:,.0f}/s", f"p99 {ours[1]}; {how}"),
        (f"intake, {fsync}: reference", f"{echo[0]:,.0f}/s", f"p99 {echo[1]}; aiohttp JSON echo"),
        (f"intake, {fsync}: ratio", f"{ours[0] / echo[0]:.2f}", "at least 0.6 with everysec"),
    ]


def drain(directory: Path, messages: int = 120_000) -> list[Row]:
    """The limits lifted, a provider that costs nothing, against a bare claim-and-delete loop.

    In turns, the best of five each: another guest of the machine slows them down, never up.
    """
    turns = [_drain_once(directory / str(turn), messages) for turn in range(5)]
    bare, ours = max(turn[0] for turn in turns), max(turn[1] for turn in turns)
    return [
        ("drain, null provider", f"{ours:,.0f}/s", "limits lifted, appendfsync everysec"),
        ("drain: reference", f"{bare:,.0f}/s", "XREADGROUP 100, XACK + XDEL"),
        ("drain: ratio", f"{ours / bare:.2f}", "at least 0.2"),
    ]


def _drain_once(directory: Path, messages: int) -> tuple[float, float]:
    with redis_server(directory / "redis", "everysec") as server:
        fill(server, messages)
        bare = asyncio.run(_bare_loop(server.url, messages))
        fill(server, messages)
        settings = f'{QUIET}{UNLIMITED}[redis]\nurl = "{server.url}"\n'
        with daemon(directory / "smsd", settings, null=True), server.client() as client:
            return bare, _drained(lambda: length(client), messages)


def drain_over_http(directory: Path, messages: int = 20_000) -> list[Row]:
    recorder = Recorder(directory, latency=0.0).start()
    try:
        with redis_server(directory / "redis", "everysec") as server:
            fill(server, messages)
            settings = (
                f'{QUIET}[redis]\nurl = "{server.url}"\n[rate]\nsegments_per_second = 100000\n'
                + recorder.settings()
            )
            with daemon(directory / "smsd", settings), server.client() as client:
                ours = _drained(lambda: length(client), messages)
    finally:
        recorder.stop()
    return [("drain, over HTTP", f"{ours:,.0f}/s", "to a recording gateway on the same machine")]


def _drained(left: object, messages: int) -> float:
    assert callable(left)
    eventually(lambda: left() < 0.9 * messages, 60)
    began, at = time.monotonic(), left()
    eventually(lambda: left() < 0.2 * messages, 120)
    return float((at - left()) / (time.monotonic() - began))


async def _bare_loop(url: str, messages: int) -> float:
    client = Redis.from_url(url)
    await client.xgroup_create("smsd:queue", "bare", id="0", mkstream=True)
    began = time.perf_counter()
    while found := await client.xreadgroup("bare", "bare", {"smsd:queue": ">"}, count=100):
        [(_, entries)] = cast("list[tuple[bytes, list[tuple[bytes, object]]]]", found)
        ids = [entry for entry, _ in entries]
        pipeline = client.pipeline(transaction=False)
        pipeline.xack("smsd:queue", "bare", *ids)
        pipeline.xdel("smsd:queue", *ids)
        await pipeline.execute()
    took = time.perf_counter() - began
    await client.delete("smsd:queue")
    await client.aclose()
    return messages / took


def footprint(directory: Path, messages: int = 1_000_000) -> list[Row]:
    """Memory, and the time to the first submission, with nothing and with a million waiting."""
    rows: list[Row] = []
    with redis_server(directory / "redis", "everysec") as server, server.client() as client:
        settings = f'[redis]\nurl = "{server.url}"\n'
        rows += _start(directory / "empty", settings, "1 waiting", server)
        client.flushall()
        before = client.info("memory")["used_memory"]
        fill(server, messages)
        octets = (client.info("memory")["used_memory"] - before) / messages
        payload = len(TEXT) + len("+12025550123")
        rows.append(("Redis memory a queued text", f"{octets:.0f} octets", f"{payload} of payload"))
        rows += _start(directory / "full", settings, f"{messages:,} waiting", server)
    return rows


def finished(directory: Path, messages: int = 20_000) -> list[Row]:
    """What Redis keeps of messages that are finished, for look-ups; they had come at the rate."""
    with redis_server(directory / "redis", "everysec") as server, server.client() as client:
        settings = f'{QUIET}{UNLIMITED}[redis]\nurl = "{server.url}"\n'
        with daemon(directory / "smsd", settings, null=True):
            fill_in_turn(server, messages, RATE)
            eventually(lambda: client.hget("smsd:counters", "sent") == b"%d" % messages, 120)
        kept = [*client.scan_iter("smsd:finished:*"), *client.scan_iter("smsd:message:*")]
        full = client.info("memory")["used_memory"]
        client.delete(*kept)
        octets = (full - client.info("memory")["used_memory"]) / messages
    return [("Redis memory a finished message", f"{octets:.0f} octets", "at most 120")]


def _start(directory: Path, settings: str, name: str, server: object) -> list[Row]:
    smsd = Daemon(directory, settings)
    began = time.monotonic()
    smsd.start()
    try:
        if name == "1 waiting":
            smsd.send(to="+12025550123", message=TEXT)
        eventually(lambda: " sent id=" in smsd.log, 60)
        took = time.monotonic() - began
        time.sleep(3)
        resident = resident_mb(smsd.pid)
    finally:
        smsd.kill()
    return [
        (f"start to first submission, {name}", f"{took:.2f} s", "1.2 s of it silence: full bucket"),
        (f"resident memory, {name}", f"{resident:.0f} MB", "the daemon alone"),
    ]


def takeover(directory: Path) -> list[Row]:
    """From the end of the daemon that dispatches until its standby does, with messages waiting."""
    rows: list[Row] = []
    with redis_server(directory / "redis", "everysec") as server:
        fill(server, 10_000)
        for name, number, how in (
            ("SIGTERM", signal.SIGTERM, "it hands over; asked: under 1 s"),
            ("SIGKILL", signal.SIGKILL, "seen to be dead; asked: the lease's life and 1 s"),
            ("a silence", signal.SIGSTOP, "as of another machine: the lease of 10 s runs out"),
        ):
            lease, first = _taken_over(directory / name, server.url, number)
            rows.append((f"takeover after {name}: lease", f"{lease:.2f} s", how))
            rows.append(
                (f"takeover after {name}: first text", f"{first:.2f} s", "1.2 s of silence")
            )
    return rows


def _taken_over(directory: Path, url: str, number: signal.Signals) -> tuple[float, float]:
    settings = f'[redis]\nurl = "{url}"\n'
    active, standby = Daemon(directory / "a", settings), Daemon(directory / "b", settings)
    try:
        active.start()
        eventually(lambda: " sent id=" in active.log, 30)
        standby.start()
        time.sleep(2)
        assert "ours=true" not in standby.log
        active.signal(number)
        began = time.monotonic()
        eventually(lambda: "ours=true" in standby.log, 30)
        lease = time.monotonic() - began
        eventually(lambda: " sent id=" in standby.log, 30)
        return lease, time.monotonic() - began
    finally:
        active.kill()
        standby.kill()
