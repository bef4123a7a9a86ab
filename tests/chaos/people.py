"""What people do meanwhile: operators, strangers, and callers with long lists."""

import gzip
import threading
import time
from collections import Counter
from functools import cache
from http.client import HTTPException

from tests.chaos.stage import LEASE, Stage
from tests.support.processes import Daemon

STRANGERS = 3
BOMB_MB = 50  # of JSON, in 50 kB
TURNED_AWAY = {401, 415}  # no token; no such coding where none is needed
LIST = 1000  # numbers of one request, the most that may be
TAKES_EFFECT = LEASE + 0.5  # seconds until no daemon can have missed a hold
SECOND = 1_000_000_000


def hold_and_release(stage: Stage) -> None:
    """Nothing arrives from when every daemon must know until the release."""
    code, said = stage.operate("hold", "--reason", "chaos")
    if code:
        raise AssertionError(f"smsd hold ended with {code}: {said}")
    known = time.time_ns() + round(TAKES_EFFECT * SECOND)
    stage.pause(2 * TAKES_EFFECT)
    stage.held.append((known, time.time_ns()))
    stage.release()


def post_lists(stage: Stage) -> None:
    for _ in range(stage.chance.randint(1, 2)):
        stage.callers[0].post_list(LIST)


def gzip_strangers(stage: Stage) -> None:
    """Whoever has no token, or packs what may not be packed, is turned away."""
    until = time.monotonic() + stage.chance.uniform(0.5, 2.0)
    answers: Counter[str] = Counter()
    daemon = stage.chance.choice(stage.daemons)
    strangers = [
        threading.Thread(target=_throw_bombs, args=(daemon, until, answers))
        for _ in range(STRANGERS)
    ]
    for stranger in strangers:
        stranger.start()
    for stranger in strangers:
        stranger.join(30)
    wrong = {answer: times for answer, times in answers.items() if answer not in _polite()}
    if wrong:
        raise AssertionError(f"strangers were answered {wrong}")


def _throw_bombs(daemon: Daemon, until: float, answers: Counter[str]) -> None:
    headers = {"Content-Encoding": "gzip"}
    while time.monotonic() < until:
        try:
            status, _ = daemon.call("POST", "/send", _bomb(), headers, timeout=10)
        except (OSError, HTTPException):
            answers["closed"] += 1  # before the end of the body
        else:
            answers[str(status)] += 1


def _polite() -> set[str]:
    return {"closed", *map(str, TURNED_AWAY)}


@cache
def _bomb() -> bytes:
    blanks = b" " * (BOMB_MB * 1_000_000)
    return gzip.compress(b'{"to": "+12025550100", "message": "bomb"' + blanks + b"}", 6)
