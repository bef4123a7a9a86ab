"""Callers: a load over both intakes, at random, and a memory of what was asked for and answered."""

import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from http.client import HTTPException
from typing import Any

import redis

from tests.chaos.stage import Stage
from tests.support.excuses import Excuses
from tests.support.oracle import Asked
from tests.support.processes import Daemon

CALLERS = 3  # one may wait for a daemon that is cut off, while another goes on
GAPS = (0.06, 0.3, 0.6)  # seconds, the longest between calls: too fast, just right, too slow
OPTED_OUT = "+12025559999"


@dataclass(frozen=True)
class Cancelled:
    """That a DELETE was answered with 200. Times are Unix ns."""

    message_id: str
    asked: Asked  # what held before
    began: int
    ended: int


class Caller:
    """Sends until it is to stop, and remembers what it asked for and was answered."""

    def __init__(self, stage: Stage, messages: int) -> None:
        """`messages`: how many it sends; with 0 it sends only what it is given."""
        self._stage = stage
        self._left = messages
        self._chance = random.Random(stage.chance.random())
        self._name = f"{stage.chance.getrandbits(64):x}"
        self._calls = 0
        self._gap = self._chance.choice(GAPS)
        self.accepted: list[str] = []
        self.asked: dict[str, Asked] = {}  # by id
        self.wished: dict[tuple[str, str], Asked] = {}  # by ref and number: of all, before the call
        self.cancelled: list[Cancelled] = []
        self.refused: Counter[str] = Counter()
        self.daemon_of: dict[str, str] = {}  # by id: who answered the POST
        self._thread = threading.Thread(target=self._run)

    def start(self) -> None:
        self._thread.start()

    def post_list(self, count: int) -> None:
        """One POST with so many numbers."""
        first = self._chance.randrange(9_999 - count)
        numbers = [f"+1202555{number:04d}" for number in range(first, first + count)]
        fields = {"message": "t" * 20}
        fields["ref"] = self._wish(numbers, fields)
        self._post(numbers, fields)

    def stop(self) -> None:
        self._left = 0

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        while self._left > 0:
            numbers = [self._number() for _ in range(self._chance.choice((1, 1, 5, 40)))]
            fields = {"message": "t" * self._chance.choice((20, 20, 20, 200, 400))}
            if self._chance.random() < 0.05:
                fields["expires_at"] = _soon(self._chance.uniform(0.2, 3.0))
            fields["ref"] = self._wish(numbers, fields)
            self._left -= len(numbers)
            if self._chance.random() < 0.5:
                self._post(list(dict.fromkeys(numbers)), fields)
            else:
                self._add(numbers, fields)
            if self._chance.random() < 0.1 and self.accepted:
                self._cancel(self._chance.choice(self.accepted[-40:]))
            time.sleep(self._chance.uniform(0, self._gap))

    def _number(self) -> str:
        if self._chance.random() < 0.02:
            return OPTED_OUT
        return f"+1202555{self._chance.randrange(9_999):04d}"

    def _post(self, numbers: list[str], fields: dict[str, str]) -> None:
        more = {"priority": "high"} if self._chance.random() < 0.2 else {}
        daemon = self._any_daemon()
        try:
            status, answer = self._call(daemon, "POST", "/send", {**fields, **more, "to": numbers})
        except (OSError, HTTPException) as error:
            self.refused[type(error).__name__] += 1
            return
        if status == 200:
            ids = answer.get("ids") or [answer["id"]]
            for message_id, number in zip(ids, numbers, strict=True):
                self._note(message_id, number, fields["ref"])
                self.daemon_of[message_id] = daemon.directory.name
        else:
            self.refused[f"{status} {answer['error']['code']}"] += 1

    def _add(self, numbers: list[str], fields: dict[str, str]) -> None:
        high = self._chance.random() < 0.2
        stream = "smsd:queue:high" if high else "smsd:queue"
        try:
            with self._stage.server.client() as client:
                for number in numbers:
                    entry = client.xadd(stream, {"to": number, **fields}).decode()
                    self._note(f"h{entry}" if high else entry, number, fields["ref"])
        except redis.RedisError as error:
            self.refused[f"XADD {type(error).__name__}"] += 1

    def _cancel(self, message_id: str) -> None:
        """Whatever is answered, it may be cancelled from now on; answered 200, it is."""
        asked = self.asked[message_id]
        asked = replace(asked, ends=asked.ends | {"cancelled"})
        self.asked[message_id] = asked
        began = time.time_ns()
        try:
            status, _ = self._call(self._any_daemon(), "DELETE", f"/messages/{message_id}")
        except (OSError, HTTPException) as error:
            self.refused[f"DELETE {type(error).__name__}"] += 1
            return
        if status == 200:
            self.asked[message_id] = replace(asked, ends=frozenset({"cancelled"}), never=True)
            self.cancelled.append(Cancelled(message_id, asked, began, time.time_ns()))

    def _any_daemon(self) -> Daemon:
        return self._chance.choice(self._stage.daemons)

    def _call(self, daemon: Daemon, method: str, path: str, body: object = None) -> tuple[int, Any]:
        token = self._stage.token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return daemon.call(method, path, body, headers, timeout=8)

    def _wish(self, numbers: list[str], fields: dict[str, str]) -> str:
        """The name of a call to be. Its answer may be lost, and what it asked for happen."""
        self._calls += 1
        ref = f"{self._name}-{self._calls}"
        for number in numbers:
            out = number == OPTED_OUT
            ends = {"suppressed"} if out else set()
            ends |= {"expired"} if "expires_at" in fields else set()
            wish = Asked(number, fields["message"], frozenset(ends), never=out)
            self.wished[ref, number] = wish
        return ref

    def _note(self, message_id: str, number: str, ref: str) -> None:
        self.accepted.append(message_id)
        self.asked[message_id] = self.wished[ref, number]


def _soon(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat(timespec="milliseconds")


def all_asked(
    callers: list[Caller], known: dict[str, dict[str, str]], excuses: Excuses
) -> dict[str, Asked]:
    """What was asked for, by id: also of messages of which no caller has the id."""
    wished = {key: wish for caller in callers for key, wish in caller.wished.items()}
    keys = {message_id: (facts.get("ref"), facts.get("to")) for message_id, facts in known.items()}
    asked = {message_id: wished[key] for message_id, key in keys.items() if key in wished}
    for caller in callers:
        asked |= caller.asked
        for each in caller.cancelled:
            if excuses.cancelling(each.message_id, each.began, each.ended):
                asked[each.message_id] = each.asked
    return asked
