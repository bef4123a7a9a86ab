"""Verbs. Rule: each does what it says once, or names why not."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.calls import call, in_seconds, number
from tests.support.campaign_calls import (
    becomes,
    good,
    moment,
    refused,
    show,
    start,
    verb,
)
from tests.support.processes import Daemon, eventually


def test_a_verb_is_kept_with_its_reason_and_may_be_repeated(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, audience="crowd", message="Zebra"))
    paused = good(verb(smsd, name, "pause", reason="wrong link"))
    assert (paused["state"], paused["reason"]) == ("paused", "wrong link")
    assert paused["by"] == "HTTP from 127.0.0.1"
    assert "drains_at" not in paused
    assert good(verb(smsd, name, "pause", reason="again"))["state"] == "paused"
    assert good(verb(smsd, name, "resume"))["state"] == "running"
    assert good(verb(smsd, name, "resume"))["state"] == "running"
    assert good(verb(smsd, name, "cancel", reason="enough"))["state"] == "cancelled"
    assert good(verb(smsd, name, "cancel"))["state"] == "cancelled"
    refused(verb(smsd, name, "resume"), 409, "wrong_state")
    shown = show(smsd, name)
    eventually(lambda: show(smsd, name)["counts"]["waiting"] == 0, what="all are cancelled")
    assert shown["counts"]["sent"] < 1000


def test_a_verb_that_expects_another_number_does_nothing(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, audience="crowd", message="Zebra"))
    answer = verb(smsd, name, "pause", expect=5)
    refused(answer, 409, "count_changed", "expect")
    assert answer.error["found"] > 5
    assert show(smsd, name)["state"] == "running"
    good(verb(smsd, name, "pause"))
    eventually(lambda: show(smsd, name)["counts"]["in_flight"] == 0, what="it stands still")
    found = verb(smsd, name, "cancel", expect=1_000_000).error["found"]
    assert good(verb(smsd, name, "cancel", expect=found))["state"] == "cancelled"


def test_two_verbs_at_once_leave_one_of_their_states(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, audience="crowd", message="Zebra"))
    with ThreadPoolExecutor(8) as pool:
        which = ["pause", "resume"] * 8 + ["cancel"]
        answers = list(pool.map(lambda one: verb(smsd, name, one), which))
    assert {answer.status for answer in answers} <= {200, 409}
    assert show(smsd, name)["state"] == "cancelled"


def test_weight_and_expiry_are_changed_while_it_runs(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, audience="crowd", message="Zebra"))
    later = in_seconds(3600)
    body = json.dumps({"weight": 7, "expires_at": later})
    edited = good(call(smsd, "PATCH", f"/campaigns/{name}", body))
    assert edited["weight"] == 7
    kept = moment(edited["expires_at"]) - moment(later)
    assert abs(kept.total_seconds()) < 0.002
    good(verb(smsd, name, "cancel"))
    refused(call(smsd, "PATCH", f"/campaigns/{name}", body), 409, "wrong_state")


def test_only_what_has_ended_is_removed(smsd: Daemon, name: str) -> None:
    begun = good(start(smsd, name=name, audience="crowd", message="Zebra"))
    refused(call(smsd, "DELETE", f"/campaigns/{name}"), 409, "wrong_state")
    good(verb(smsd, name, "cancel"))
    gone = {"status": "removed", "id": begun["id"], "name": name}
    eventually(
        lambda: call(smsd, "DELETE", f"/campaigns/{name}").content == gone, what="it is removed"
    )
    refused(call(smsd, "GET", f"/campaigns/{name}"), 404, "not_found")
    refused(call(smsd, "DELETE", f"/campaigns/{begun['id']}"), 404, "not_found")
    good(start(smsd, name=name, to=number(8), message="Zebra"))  # the name is free again


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("PATCH", ""),
        ("DELETE", ""),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/cancel"),
        ("POST", "/retry-failed"),
        ("GET", "/recipients"),
        ("GET", "/recipients/+12025560100"),
    ],
)
@pytest.mark.parametrize(
    "hostile", ["nobody", "cnobody", "..", "%00", "a%2Fb", "%F0%9F%98%80" * 90]
)
def test_of_one_that_is_not_there_nothing_is_known(
    smsd: Daemon, method: str, path: str, hostile: str
) -> None:
    body = '{"weight": 2}' if method == "PATCH" else "{}"
    answer = call(smsd, method, f"/campaigns/{hostile}{path}", body)
    assert (answer.status, answer.error["code"]) == (404, "not_found"), answer
    assert len(answer.body) < 500


def test_what_is_dead_needs_attention_and_is_tried_again(smsd: Daemon, name: str) -> None:
    body = "Zebra {{ note }} and once more {{ note }}"
    good(start(smsd, name=name, audience="long", message=body))
    shown = becomes(smsd, name, "needs_attention")
    assert (shown["counts"]["sent"], shown["counts"]["dead"]) == (1, 1)
    assert shown["dead"] == {"invalid": 1}
    answer = verb(smsd, name, "retry-failed", expect=2)
    refused(answer, 409, "count_changed", "expect")
    assert answer.error["found"] == 1
    swept = {"status": "replayed", "replayed": 1, "skipped": 0, "more": False}
    assert good(verb(smsd, name, "retry-failed", expect=1)) == swept
    eventually(lambda: show(smsd, name)["counts"]["dead"] == 1, what="it died again")
    [recipient] = good(call(smsd, "GET", f"/campaigns/{name}/recipients?state=dead"))["recipients"]
    assert (recipient["number"], recipient["reason"]) == (number(3700), "invalid")
    assert recipient["code"] == "message"
    page = good(call(smsd, "GET", f"/dead-letters?id={recipient['message_id']}"))
    [dead_letter] = page["dead_letters"]
    assert "segments long" in dead_letter["detail"]


def test_what_is_dead_of_others_is_left_alone(smsd: Daemon, name: str) -> None:
    """A message with the campaign's name as its label is none of it."""
    good(start(smsd, name=name, audience="long", message="Zebra {{ note }} {{ note }} {{ note }}"))
    becomes(smsd, name, "needs_attention")
    other = f"{name}b"
    good(start(smsd, name=other, to=number(20), message="Zebra"))
    becomes(smsd, other, "finished")
    assert good(verb(smsd, other, "retry-failed"))["replayed"] == 0
    assert show(smsd, name)["counts"]["dead"] == 1


def test_of_a_cancelled_campaign_nothing_is_tried_again(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, audience="crowd", message="Zebra"))
    good(verb(smsd, name, "cancel"))
    refused(verb(smsd, name, "retry-failed"), 409, "wrong_state")
