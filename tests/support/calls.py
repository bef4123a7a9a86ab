"""Requests to a running daemon, and what is known of the messages that they queued.

Every message here holds the word Zebra and every number begins alike, so that at the end the logs
can be searched for what must never stand in them.
"""

import http.client
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.processes import Daemon, eventually

TEXT = "Zebra"
ANYBODY = "+12025560100"
JSON = {"Content-Type": "application/json"}
TOKEN = "token-0123456789-abc"
FAST = """
    [rate]
    segments_per_second = 1000
    [provider.sandbox]
    rate = 1000
    latency = 0.02
    [log]
    level = "debug"
"""
# Nothing is ever sent: the bucket starts full, and at this rate it stays so.
STRICT = f"""
    [http]
    tokens = ["another-token-0123456", "{TOKEN}"]
    body_timeout = 0.3
    [queue]
    max_length = 3
    [rate]
    segments_per_second = 0.001
    [campaign]
    default_audience = ""
    [log]
    level = "debug"
"""


def number(count: int) -> str:
    return f"+1202556{count:04}"


def in_seconds(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def content(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> Any:
        return self.content["error"]


def connect(daemon: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(daemon.url.removeprefix("http://"), timeout=20)


def call(
    daemon: Daemon,
    method: str,
    path: str,
    body: str | bytes | None = None,
    headers: Mapping[str, str] = JSON,
) -> Answer:
    connection = connect(daemon)
    try:
        raw = body.encode() if isinstance(body, str) else body
        connection.request(method, path, raw, dict(headers))
        return answer_on(connection)
    finally:
        connection.close()


def answer_on(connection: http.client.HTTPConnection) -> Answer:
    response = connection.getresponse()
    return Answer(response.status, dict(response.getheaders()), response.read())


def post(daemon: Daemon, headers: Mapping[str, str] | None = None, /, **fields: object) -> Answer:
    return call(daemon, "POST", "/send", json.dumps(fields), JSON | dict(headers or {}))


def look_up(daemon: Daemon, message_id: str) -> dict[str, Any]:
    answer = call(daemon, "GET", f"/messages/{message_id}")
    assert answer.status == 200, answer
    found = answer.content
    assert isinstance(found, dict)
    return found


def becomes(daemon: Daemon, message_id: str, state: str) -> dict[str, Any]:
    """Wait until a message is in this state; what a look-up shows then."""
    seen: dict[str, Any] = {}

    def reached() -> bool:
        seen.update(look_up(daemon, message_id))
        return bool(seen["state"] == state)

    eventually(reached, what=f"{message_id} {state}")
    return seen


def cancel(daemon: Daemon, message_id: str) -> None:
    """Take a message back, however often it is being sent just now."""
    path = f"/messages/{message_id}"
    eventually(lambda: call(daemon, "DELETE", path).status == 200, what=f"cancel {message_id}")


def assert_discreet(daemon: Daemon) -> None:
    """Neither a text nor a whole number stands in the log, even at level debug."""
    for line in daemon.log.splitlines():
        assert TEXT not in line, line
        assert not re.search(r"20255[56][0-9]{4}", line), line


def running(directory: Path, settings: str) -> Iterator[Daemon]:
    daemon = Daemon(directory, settings).start()
    try:
        yield daemon
        assert daemon.stop() == 0
        assert_discreet(daemon)
    finally:
        daemon.kill()


def bearer(headers: Mapping[str, str], token: str = TOKEN) -> dict[str, str]:
    return dict(headers) | {"Authorization": f"Bearer {token}"}
