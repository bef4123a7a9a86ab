"""`python -m tests.chaos --runs 20 --seed 1 [--jobs 2]`: exit 0 if every run was clean.

What a run does depends on its seed alone. Runs whose seeds follow each other begin with faults that
do so too: as many as there are without `--runs` meet every kind of fault.
"""

import argparse
import random
import sys
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed

from tests.chaos.run import FAULTS, MEET_ALL, RATE, Result, perform


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=MEET_ALL)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--fault", action="append", default=[], help="this alone; repeatable")
    given = parser.parse_args()
    only = [fault for fault in FAULTS if fault.__name__ in given.fault]
    print(f"seeds {given.seed} to {given.seed + given.runs - 1}", flush=True)

    faults: Counter[str] = Counter()
    passed = failed = messages = 0
    with ProcessPoolExecutor(given.jobs) as pool:
        runs = {
            pool.submit(
                perform, seed, messages=given.messages, seconds=given.seconds, only=only
            ): seed
            for seed in range(given.seed, given.seed + given.runs)
        }
        for run in as_completed(runs):
            try:
                result = run.result()
            except Exception as error:  # noqa: BLE001 - a run that broke is a failed run
                failed += 1
                print(f"seed {runs[run]}: BROKE\n{error.__cause__ or error}", flush=True)
                continue
            faults.update(done.partition(" ")[0] for done in result.done)
            messages += sum(result.judgement.states.values())
            passed, failed = passed + result.clean, failed + (not result.clean)
            print(_line(result), flush=True)
    print(f"{messages} messages, faults: {dict(faults)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def _line(result: Result) -> str:
    states = ", ".join(f"{count} {state}" for state, count in result.judgement.states.items())
    asks = f"; asked, not found is {result.asks}" if result.asks else ""
    faults = ", ".join(result.done)
    campaigns = ", ".join(f"{many} {state}" for state, many in result.campaigns.items())
    states += f"; campaigns: {campaigns or 'none'}"
    line = f"seed {result.seed}: {states}; worst window {result.worst} of {RATE}{asks}; {faults}"
    if result.clean:
        return f"{line}; clean"
    return f"{line}; NOT CLEAN: {_faults(result)}; {result.log}"


def _faults(result: Result) -> str:
    found: dict[str, object] = {**result.judgement.faults, **result.left}
    if result.fsck:
        found["fsck"] = result.fsck
    return str(found)


if __name__ == "__main__":
    sys.exit(main())
