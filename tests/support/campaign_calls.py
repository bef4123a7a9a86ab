"""Requests about campaigns, to a running daemon."""

import json
from datetime import datetime
from typing import Any

from tests.support.calls import JSON, Answer, call, number
from tests.support.processes import Daemon, eventually

CSV = {"Content-Type": "text/csv"}
NAMES = ("Anna", "Ben", "", "Zoë", "Ştefan")
PEOPLE = [(number(3000 + n), name) for n, name in enumerate(NAMES)]
GREETING = 'Hi {{ first_name | default: "there" }}, Zebra'
# Some 50 segments are sent in a test: what is asked of a campaign finds it in the midst of it.
SETTINGS = """
    [rate]
    segments_per_second = 20
    [message]
    max_segments = 3
    [campaign]
    price_per_segment = 0.0079
    currency = "USD"
    [audiences]
    demo = ["+12025560101", "+12025560102"]
    [provider.sandbox]
    rate = 1000
    latency = 0.02
"""


def put(smsd: Daemon, name: str, body: str) -> None:
    answer = call(smsd, "PUT", f"/audiences/{name}", body, CSV)
    assert answer.status == 200, answer


def start(smsd: Daemon, query: str = "", /, *, key: object = "", **fields: object) -> Answer:
    headers = JSON | ({"Idempotency-Key": str(key)} if key else {})
    return call(smsd, "POST", f"/campaigns{query}", json.dumps(fields), headers)


def plan(smsd: Daemon, **fields: object) -> Any:
    return good(start(smsd, "?dry_run=1", **fields))


def verb(smsd: Daemon, name: str, which: str, **fields: object) -> Answer:
    return call(smsd, "POST", f"/campaigns/{name}/{which}", json.dumps(fields))


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.content


def moment(written: str) -> datetime:
    return datetime.fromisoformat(written)


def show(smsd: Daemon, name: str) -> Any:
    shown = good(call(smsd, "GET", f"/campaigns/{name}"))
    counts = dict(shown["counts"])
    assert counts.pop("recipients") == sum(counts.values())
    return shown


def becomes(smsd: Daemon, name: str, state: str) -> Any:
    eventually(lambda: show(smsd, name)["state"] == state, what=f"{name} {state}")
    return show(smsd, name)


def refused(answer: Answer, status: int, code: str, field: str | None = None) -> str:
    assert (answer.status, answer.error["code"]) == (status, code), answer
    assert answer.error.get("field") == field, answer
    return str(answer.error["message"])
