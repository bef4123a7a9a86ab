"""Health, readiness and metrics. Rule: strangers learn only whether the daemon is well."""

import re
from pathlib import Path

import pytest

from tests.support.calls import ANYBODY, FAST, TEXT, bearer, becomes, call, post, running
from tests.support.processes import Daemon, eventually


def test_a_process_that_serves_is_healthy(smsd: Daemon) -> None:
    assert call(smsd, "GET", "/healthz").content == {"status": "ok"}
    assert call(smsd, "HEAD", "/healthz").status == 200


def test_readiness_shows_what_it_rests_on(smsd: Daemon) -> None:
    answer = call(smsd, "GET", "/readyz")

    assert answer.status == 200
    assert answer.content == {
        "ready": True,
        "reason": "",
        "redis": {"up": True, "reason": ""},
        "damage": {},
        "stopping": False,
    }
    eventually(lambda: call(smsd, "GET", "/readyz/dispatch").status == 200, what="ready")
    dispatch = call(smsd, "GET", "/readyz/dispatch")
    holder = dispatch.content["this_daemon"]
    assert dispatch.status == 200
    assert dispatch.content == {
        "ready": True,
        "reason": "",
        "role": "active",
        "lease_holder": holder,
        "this_daemon": holder,
        "damage": {},
        "held": "",
        "stopping": False,
    }


@pytest.mark.parametrize("path", ["/readyz", "/readyz/dispatch"])
def test_readiness_is_one_word_to_strangers(strict: Daemon, path: str) -> None:
    eventually(lambda: call(strict, "GET", path).status == 200, what="ready")
    for headers in ({}, bearer({}, "wrong-token-01234567")):
        assert call(strict, "GET", path, headers=headers).content == {"ready": True}
    assert "reason" in call(strict, "GET", path, headers=bearer({})).content


def test_metrics_are_what_prometheus_reads(smsd: Daemon) -> None:
    becomes(smsd, post(smsd, message=TEXT, to=ANYBODY).content["id"], "sent")
    answer = call(smsd, "GET", "/metrics")

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = dict(
        line.rsplit(" ", 1)
        for line in answer.body.decode().splitlines()
        if not line.startswith("#")
    )
    assert lines["smsd_pace_target_segments_per_second"] == "1000.0"
    assert lines["smsd_redis_up"] == lines["smsd_lease_held"] == "1.0"
    assert float(lines["smsd_segments_started_total"]) > 0
    assert float(lines["smsd_messages_difference"]) == 0


def test_submissions_under_way_are_counted_until_they_are_over(tmp_path: Path) -> None:
    def under_way(daemon: Daemon) -> int:
        body = call(daemon, "GET", "/metrics").body.decode()
        [count] = re.findall(r"^smsd_in_flight ([0-9.]+)$", body, re.MULTILINE)
        return int(float(count))

    for daemon in running(tmp_path, FAST):
        assert under_way(daemon) == 0
        ids = [post(daemon, message=TEXT, to="+12025550196").content["id"] for _ in range(3)]
        eventually(lambda daemon=daemon: under_way(daemon) == 3, what="three are under way")
        for id_ in ids:
            becomes(daemon, id_, "sent")
        assert under_way(daemon) == 0


def test_in_the_end_every_message_is_accounted_for(smsd: Daemon) -> None:
    def settled() -> bool:
        body = call(smsd, "GET", "/metrics").body.decode()
        places = dict(re.findall(r'smsd_messages\{place="(\w+)"\} ([0-9.]+)', body))
        return places.get("queued") == places.get("in_flight") == places.get("deferred") == "0.0"

    eventually(settled, what="an empty queue")
    assert "messages unaccounted for" not in smsd.log
