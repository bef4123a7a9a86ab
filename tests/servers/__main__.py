"""`python -m tests.servers`: install what servers there are and run tests/redis against each.

What cannot be had is printed as skipped. One that is too old for smsd has to be refused.
`--quick`: only what differs between servers, and not again the one that `make test` has run.
"""

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field

from smsd.redis.binary import find_server
from smsd.redis.version import Version
from tests.servers.install import Server, installed, server_at

WHOLE = ("tests/redis",)
TRANSITIONS = (
    "append", "claim", "begin", "settle", "promote", "reclaim", "cancel", "replay", "unsettled",
    "lookup", "dead_letters", "census", "fsck", "lease", "audiences", "audiences_crash",
)  # fmt: skip
QUICK = (
    *(f"tests/redis/store/test_{name}.py" for name in TRANSITIONS),
    *(f"tests/redis/redis/test_{name}.py" for name in ("embedded", "binary", "version")),
    # Sentinels read an access list of their own, in the words of their version.
    "tests/redis/redis/test_sentinel.py::test_a_text_lives_its_life_over_sentinels_that_want_a_login",
)
OLD = ("tests/redis/redis/test_version.py",)
LONGEST_S = 900.0
TWO_AT_ONCE = ("-n", "2", "--dist", "loadfile")  # as `make test` does


@dataclass
class Result:
    """How one server did."""

    server: str
    outcome: str
    seconds: float = 0.0
    failed: bool = field(default=False)

    def __str__(self) -> str:
        return f"{self.outcome:<8}{self.seconds:>5.0f} s  {self.server}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.servers", description=__doc__)
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    tested = server_at("make test", find_server()).version if quick else None
    results = [_run(server, tested=tested, quick=quick) for server in installed()]
    print("\n" + "\n".join(map(str, results)))
    sys.exit(any(result.failed for result in results))


def _run(server: Server, *, tested: Version | None, quick: bool) -> Result:
    if server.missing:
        return Result(f"{server.name}: {server.missing}", "skipped")
    if server.version == tested:
        return Result(f"{server}: make test has run everything with this version", "skipped")
    print(f"\n== {server}", flush=True)
    chosen = "SMSD_TEST_OLD_SERVER" if server.is_too_old else "SMSD_TEST_SERVER"
    tests = OLD if server.is_too_old else QUICK if quick else WHOLE
    began = time.monotonic()
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *TWO_AT_ONCE, *tests],
        env=os.environ | server.environment | {chosen: server.path},
        timeout=LONGEST_S,
        check=False,
    ).returncode
    outcome = "FAILED" if code else "refused" if server.is_too_old else "passed"
    return Result(str(server), outcome, time.monotonic() - began, failed=code != 0)


if __name__ == "__main__":
    main()
