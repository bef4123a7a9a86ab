"""Messages after they are queued. Rule: a look-up shows where each is, and why."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.calls import (
    ANYBODY,
    FAST,
    TEXT,
    becomes,
    call,
    cancel,
    in_seconds,
    look_up,
    post,
    running,
)
from tests.support.processes import Daemon, eventually


def test_a_message_for_later_waits_and_can_be_taken_back(smsd: Daemon) -> None:
    later = in_seconds(86_400)
    message_id = post(smsd, message=TEXT, to=ANYBODY, send_at=later, ref="r1").content["id"]

    message = look_up(smsd, message_id)
    assert (message["state"], message["to"]) == ("deferred", ANYBODY)
    assert message["due"] == round(datetime.fromisoformat(later).timestamp() * 1_000 - 0.5)

    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.content) == (200, {"status": "cancelled", "id": message_id})
    assert look_up(smsd, message_id)["state"] == "cancelled"


def test_a_message_for_soon_is_sent_then_and_not_before(smsd: Daemon) -> None:
    due = datetime.now(UTC) + timedelta(seconds=3)
    message_id = post(
        smsd, message=TEXT, to=ANYBODY, send_at=due.isoformat(), priority="high"
    ).content["id"]

    message = becomes(smsd, message_id, "sent")
    sending = next(change for change in message["history"] if change["state"] == "sending")
    assert sending["at"] >= int(due.timestamp() * 1_000)
    states = [change["state"] for change in message["history"]]
    assert states == ["deferred", "queued", "sending", "sent"]


def test_a_message_for_more_than_a_year_ahead_is_refused(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY, send_at=in_seconds(367 * 86_400))

    assert (answer.status, answer.error["field"]) == (400, "send_at")


def test_a_message_that_has_expired_already_is_refused(smsd: Daemon) -> None:
    answer = post(smsd, message=TEXT, to=ANYBODY, expires_at=in_seconds(-1))

    assert (answer.status, answer.error["field"]) == (400, "expires_at")


def test_a_message_that_expires_before_it_is_due_is_refused(smsd: Daemon) -> None:
    times = {"send_at": in_seconds(60), "expires_at": in_seconds(59)}
    answer = post(smsd, message=TEXT, to=ANYBODY, **times)

    assert (answer.status, answer.error["field"]) == (400, "expires_at")


def test_a_message_that_expires_while_it_waits_is_not_sent(tmp_path: Path) -> None:
    # Started full, at this rate the bucket opens after 6 s.
    slow = "[rate]\nsegments_per_second = 0.2\n[message]\nmax_segments = 1\n"
    for daemon in running(tmp_path, slow):
        expiring = post(daemon, message=TEXT, to=ANYBODY, expires_at=in_seconds(4)).content["id"]
        lasting = post(daemon, message=TEXT, to=ANYBODY, expires_at=in_seconds(60)).content["id"]
        assert look_up(daemon, expiring)["state"] == "queued"

        becomes(daemon, lasting, "sent")
        message = look_up(daemon, expiring)
        assert message["state"] == "expired"
        assert "provider_id" not in message
        assert call(daemon, "DELETE", f"/messages/{expiring}").status == 409


@pytest.mark.parametrize(
    "message_id",
    ["1-0", "h1-0", "s0123", "nonsense", "%00", "%ff", "%ED%A0%80", "a%2Fb", "x" * 4_000, "-", "*"],
)
def test_an_unknown_message_is_not_found(smsd: Daemon, message_id: str) -> None:
    for method in ("GET", "DELETE"):
        answer = call(smsd, method, f"/messages/{message_id}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize("message_id", ["99999999999999999999999-1", "18446744073709551616-0"])
def test_an_id_beyond_what_redis_counts_is_not_found(smsd: Daemon, message_id: str) -> None:
    for method in ("GET", "DELETE"):
        assert call(smsd, method, f"/messages/{message_id}").status == 404


def test_a_sent_message_cannot_be_taken_back(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to=ANYBODY).content["id"]
    becomes(smsd, message_id, "sent")

    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.error["code"]) == (409, "not_cancellable")
    assert answer.error["message"] == "the message is sent already"


def test_a_message_that_is_being_sent_cannot_be_taken_back(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550196").content["id"]  # answered after 5 s
    message = becomes(smsd, message_id, "sending")

    assert message["attempts"] == 1
    answer = call(smsd, "DELETE", f"/messages/{message_id}")
    assert (answer.status, answer.error["message"]) == (409, "the message is being sent")
    assert becomes(smsd, message_id, "sent")["provider_id"]


def test_taking_a_message_back_twice_is_taking_it_back_once(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to=ANYBODY, send_at=in_seconds(60)).content["id"]
    first, again = (call(smsd, "DELETE", f"/messages/{message_id}") for _ in range(2))

    assert (first.status, first.body) == (again.status, again.body)
    assert first.status == 200
    states = [change["state"] for change in look_up(smsd, message_id)["history"]]
    assert states == ["deferred", "cancelled"]


def test_a_rejected_message_is_dead(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550190").content["id"]
    message = becomes(smsd, message_id, "dead")

    assert (message["reason"], message["code"]) == ("rejected", "invalid")
    assert message["detail"] == "not a valid number"
    assert call(smsd, "DELETE", f"/messages/{message_id}").status == 409


def test_whoever_opted_out_is_not_texted_again(smsd: Daemon) -> None:
    first = becomes(smsd, post(smsd, message=TEXT, to="+12025550191").content["id"], "dead")
    assert (first["reason"], first["code"]) == ("rejected", "opted_out")

    fields = {"message": TEXT, "to": "+12025550191", "from": "Acme"}
    message_id = post(smsd, **fields).content["id"]
    message = becomes(smsd, message_id, "suppressed")
    assert [change["state"] for change in message["history"]] == ["queued", "suppressed"]
    assert (message["reason"], message["from"]) == ("opted_out", "Acme")
    assert message["detail"] == "the recipient has opted out"
    assert abs(message["history"][1]["at"] / 1000 - time.time()) < 60
    assert call(smsd, "DELETE", f"/messages/{message_id}").status == 409


def test_a_throttled_message_is_deferred_and_its_attempt_is_free(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550192").content["id"]
    message = becomes(smsd, message_id, "deferred")

    change = next(change for change in message["history"] if change["state"] == "deferred")
    assert change["detail"] == "too many requests"
    cancel(smsd, message_id)


def test_a_message_that_cannot_be_handed_over_is_deferred(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550193").content["id"]
    message = becomes(smsd, message_id, "deferred")

    change = next(change for change in message["history"] if change["state"] == "deferred")
    assert change["detail"] == "down for maintenance"
    cancel(smsd, message_id)


def test_a_message_in_doubt_is_dead_and_shows_it(smsd: Daemon) -> None:
    message_id = post(smsd, message=TEXT, to="+12025550194").content["id"]
    message = becomes(smsd, message_id, "dead")

    assert (message["reason"], message["detail"]) == ("in_doubt", "the answer was lost")


def test_without_funds_everything_waits_and_readiness_to_send_says_why(tmp_path: Path) -> None:
    def ready(daemon: Daemon) -> bool:
        return call(daemon, "GET", "/readyz/dispatch").status == 200

    for daemon in running(tmp_path, FAST):
        eventually(lambda daemon=daemon: ready(daemon), what="it has the lease")
        halted = post(daemon, message=TEXT, to="+12025550195").content["id"]
        eventually(lambda daemon=daemon: not ready(daemon), what="not ready")

        readiness = call(daemon, "GET", "/readyz/dispatch").content
        assert readiness["ready"] is False
        assert readiness["held"] == readiness["reason"] == "halted: no_funds the balance is used up"
        assert call(daemon, "GET", "/readyz").status == 200  # it takes all in meanwhile
        assert call(daemon, "GET", "/healthz").status == 200

        waiting = post(daemon, message=TEXT, to="+12025550195").content["id"]
        becomes(daemon, halted, "deferred")  # it makes room for other probes
        becomes(daemon, waiting, "deferred")  # it was one
        assert b"smsd_dispatch_held 1.0" in call(daemon, "GET", "/metrics").body
        cancel(daemon, waiting)
        assert look_up(daemon, waiting)["state"] == "cancelled"
        assert look_up(daemon, halted)["state"] == "deferred"
