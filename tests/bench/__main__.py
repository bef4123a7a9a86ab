"""`make bench`: every measure, as one table. `--quick` shortens the runs, names choose some."""

import argparse
import os
import platform
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.bench import bench_audience, bench_campaign, bench_segment, bench_strangers, measures
from tests.bench.stage import Row


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("names", nargs="*")
    given = parser.parse_args()
    seconds = 10 if given.quick else 60
    turns = 3 if given.quick else 8
    runs: dict[str, Callable[[Path], list[Row]]] = {
        "segments": lambda _: bench_segment.run(),
        "pace": lambda where: measures.pace(where, seconds, None, "alone"),
        "pace-posts": lambda where: measures.pace(where, seconds, 1000, "1,000 POST/s"),
        "pace-flood": lambda where: measures.pace(where, seconds, 0, "POST flat out"),
        "pace-lists": lambda where: measures.pace(
            where, seconds, 0, "lists of 1,000 flat out", callers=16, numbers=1000
        ),
        "pace-400": lambda where: measures.pace(where, seconds, None, "400/s", rate=400),
        "pace-1000": lambda where: measures.pace(where, seconds, None, "1,000/s", rate=1000),
        "pace-slow": lambda where: measures.pace(
            where, seconds, None, "answers after 2 s", latency=2.0
        ),
        "strangers": lambda where: bench_strangers.run(where, 5 if given.quick else 15),
        "intake": lambda where: measures.intake(where, "everysec", turns),
        "intake-always": lambda where: measures.intake(where, "always", turns),
        "drain": measures.drain,
        "drain-http": measures.drain_over_http,
        "audience": lambda where: bench_audience.run(where, 200_000 if given.quick else 1_000_000),
        "campaign": lambda where: bench_campaign.run(
            where, 200_000 if given.quick else 1_000_000, 20_000 if given.quick else 200_000
        ),
        "footprint": measures.footprint,
        "finished": measures.finished,
        "takeover": measures.takeover,
    }
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.machine()}")
    for name, measure in runs.items():
        if given.names and name not in given.names:
            continue
        # A killed server may leave a child that still rewrites its append-only file.
        with tempfile.TemporaryDirectory(prefix="smsd-bench-", ignore_cleanup_errors=True) as where:
            for what, figure, how in measure(Path(where)):
                print(f"  {what:<44} {figure:>28}   {how}", flush=True)


if __name__ == "__main__":
    main()
