"""Campaigns while Redis is away, full or spoiled. Rule: each call is answered; nothing is lost."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.calls import Answer, call, number
from tests.support.campaign_calls import becomes, good, put, refused, show, start, verb
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import RedisServer

SETTINGS = '[redis]\nurl = "{url}"\n[rate]\nsegments_per_second = 1\n'
CALLS = [
    ("GET", "/campaigns", None),
    ("GET", "/campaigns/kept", None),
    ("GET", "/campaigns/kept/recipients", None),
    ("GET", f"/campaigns/kept/recipients/{number(1)}", None),
    ("PATCH", "/campaigns/kept", {"weight": 2}),
    ("DELETE", "/campaigns/kept", None),
    ("POST", "/campaigns/kept/pause", {}),
    ("POST", "/campaigns/kept/resume", {}),
    ("POST", "/campaigns/kept/cancel", {}),
    ("POST", "/campaigns/kept/retry-failed", {}),
    ("POST", "/campaigns", {"audience": "people", "message": "Zebra"}),
    ("POST", "/campaigns?dry_run=1", {"audience": "people", "message": "Zebra"}),
]


@pytest.fixture
def smsd(tmp_path: Path, own_server: RedisServer) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path / "smsd", SETTINGS.format(url=own_server.url)).start()
    put(daemon, "people", "phone\n" + "".join(f"{number(n)}\n" for n in range(500)))
    good(start(daemon, name="kept", audience="people", message="Zebra"))
    yield daemon
    daemon.kill()


def asked(smsd: Daemon, method: str, path: str, body: dict[str, Any] | None) -> Answer:
    return call(smsd, method, path, None if body is None else json.dumps(body))


def test_while_redis_is_away_every_call_is_answered(smsd: Daemon, own_server: RedisServer) -> None:
    own_server.kill()
    for method, path, body in CALLS:
        answer = asked(smsd, method, path, body)
        assert answer.status == 503, (path, answer)
        assert answer.error["code"] in ("redis_away", "outcome_unknown"), (path, answer)
        assert answer.headers["Retry-After"]
    own_server.start()
    eventually(lambda: call(smsd, "GET", "/campaigns/kept").status == 200, what="it is back")
    assert show(smsd, "kept")["counts"]["recipients"] == 500


def test_while_redis_is_full_nothing_is_started(smsd: Daemon, own_server: RedisServer) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory", 1)
        refused(start(smsd, name="other", audience="people", message="Zebra"), 503, "redis_full")
        assert good(call(smsd, "GET", "/campaigns/kept"))["name"] == "kept"
        client.config_set("maxmemory", 0)
    refused(call(smsd, "GET", "/campaigns/other"), 404, "not_found")
    eventually(
        lambda: start(smsd, name="other", audience="people", message="Zebra").status == 200,
        what="there is room again",
    )


def test_a_spoiled_campaign_is_named_and_the_others_are_listed(
    smsd: Daemon, own_server: RedisServer
) -> None:
    spoiled = good(start(smsd, name="spoiled", audience="people", message="Zebra"))["id"]
    with own_server.client() as client:
        client.hset(f"smsd:campaign:{spoiled}", "request", "{")
        for method, path, body in CALLS:
            if "kept" in path:
                answer = asked(smsd, method, path.replace("kept", "spoiled"), body)
                refused(answer, 503, "redis_damaged")
        listed = good(call(smsd, "GET", "/campaigns"))["campaigns"]
        assert [one["name"] for one in listed] == ["kept"]
        client.delete(f"smsd:campaign:{spoiled}")
    refused(call(smsd, "GET", "/campaigns/spoiled"), 404, "not_found")


def test_callers_who_hang_up_leave_nothing_behind(smsd: Daemon) -> None:
    """In the midst of a body, and of a dry run, and before the answer to a start."""
    host, _, port = smsd.url.removeprefix("http://").partition(":")
    head = "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Length: {}\r\n"
    head += "Content-Type: application/json\r\n\r\n"
    body = json.dumps({"audience": "people", "message": "Zebra"})
    for path, sent in (
        ("/campaigns", body[:20]),
        *[("/campaigns?dry_run=1", body)] * 20,
        ("/campaigns/kept/pause", "{"),
    ):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            connection.sendall((head.format(path, host, len(body)) + sent).encode())
    assert good(start(smsd, "?dry_run=1", audience="people", message="Zebra"))["segments"] == 500
    assert [one["name"] for one in good(call(smsd, "GET", "/campaigns"))["campaigns"]] == ["kept"]
    assert show(smsd, "kept")["state"] == "running"


def test_a_campaign_goes_on_after_the_daemon_is_killed(smsd: Daemon) -> None:
    good(verb(smsd, "kept", "cancel"))
    good(start(smsd, name="small", to=[number(1), number(2), number(3)], message="Zebra"))
    smsd.kill()
    smsd.start()
    assert becomes(smsd, "small", "finished")["counts"]["sent"] == 3
    assert show(smsd, "kept")["state"] == "cancelled"
