"""Readiness. Rule: what only keeps messages from being sent keeps nobody from handing them in."""

import asyncio
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest

from smsd.daemon.readiness import FULL, Readiness
from smsd.redis.damage import COMMANDS
from smsd.store.keys import Keys

UP = {"up": True, "reason": "", "full": False}
AWAY = {"up": False, "reason": "ConnectionError: refused", "full": False}
ACTIVE = {"held": True, "has_holder": True, "holder": "me"}
STANDBY = {"held": False, "has_holder": True, "holder": "other"}
ALONE = {"held": False, "has_holder": False, "holder": "other"}


def readiness(
    redis: dict[str, object],
    lease: dict[str, object],
    *,
    held: str = "",
    operator: str = "",
    unproven: bool = False,
    trusted: bool = True,
    stopping: bool = False,
    damage: Mapping[str, str] = {},
) -> tuple[dict[str, object], dict[str, object]]:
    stop = asyncio.Event()
    if stopping:
        stop.set()
    storage = SimpleNamespace(
        availability=SimpleNamespace(**redis),
        store=SimpleNamespace(lease=SimpleNamespace(**lease), client=SimpleNamespace(keys=Keys())),
        damage=SimpleNamespace(found=damage),
        identity=SimpleNamespace(trusted=trusted),
    )
    hold = SimpleNamespace(reason=operator or held, operator_reason=operator, unproven=unproven)
    both = Readiness(cast("Any", storage), cast("Any", hold), stop, "me")
    return both.intake(), both.dispatch()


@pytest.mark.parametrize(
    ("redis", "lease", "held", "intake", "dispatch"),
    [
        (UP, ACTIVE, "", "", ""),
        (UP, ACTIVE, "provider down", "", "provider down"),
        (UP, STANDBY, "", "", ""),
        (UP, STANDBY, "provider down", "", ""),  # of a term that is over
        (UP, ALONE, "", "", "nobody holds the lease"),
        (UP | {"full": True}, ACTIVE, "", f"redis: {FULL}", ""),
        (AWAY, ACTIVE, "", *["redis: ConnectionError: refused"] * 2),
        (AWAY, STANDBY, "", *["redis: ConnectionError: refused"] * 2),
    ],
)
def test_each_is_ready_or_says_why_not(
    redis: dict[str, object], lease: dict[str, object], held: str, intake: str, dispatch: str
) -> None:
    for answer, reason in zip(readiness(redis, lease, held=held), (intake, dispatch), strict=True):
        assert (answer["ready"], answer["reason"]) == (not reason, reason)


@pytest.mark.parametrize(
    ("key", "intake", "dispatch"),
    [
        ("smsd:events", True, True),  # a statistic: it is named, and all goes on
        ("smsd:dead", True, False),
        ("smsd:queue:high", False, False),
        (COMMANDS, True, False),
    ],
)
def test_what_is_wrong_in_redis_is_named_and_red_where_something_cannot_go_on(
    key: str, *, intake: bool, dispatch: bool
) -> None:
    answers = readiness(UP, ACTIVE, damage={key: "is a string"})
    assert [answer["ready"] for answer in answers] == [intake, dispatch]
    for answer in answers:
        assert answer["damage"] == {key: "is a string"}
        assert answer["reason"] == ("" if answer["ready"] else f"redis: {key} is a string")


@pytest.mark.parametrize("lease", [ACTIVE, STANDBY])
def test_older_data_is_not_dispatched_from_and_takes_messages_in(lease: dict[str, object]) -> None:
    intake, dispatch = readiness(UP, lease, trusted=False)

    assert intake["ready"]
    assert not dispatch["ready"]
    assert "older or other data" in str(dispatch["reason"])


def test_a_daemon_that_stops_is_ready_for_nothing() -> None:
    for answer in readiness(UP, ACTIVE, stopping=True):
        assert (answer["ready"], answer["reason"]) == (False, "stopping")


def test_a_standby_is_no_holder_and_not_held() -> None:
    _, dispatch = readiness(UP, STANDBY, held="provider down")

    assert dispatch["role"] == "standby"
    assert dispatch["lease_holder"] == "other"
    assert dispatch["this_daemon"] == "me"
    assert dispatch["held"] == ""


def test_what_an_operator_holds_is_held_whoever_holds_the_lease() -> None:
    for lease in (ACTIVE, STANDBY):
        _, dispatch = readiness(UP, lease, held="provider down", operator="held by ann: lunch")
        assert dispatch["ready"] is False
        assert dispatch["reason"] == dispatch["held"] == "held by ann: lunch"


def test_a_hold_that_nothing_can_prove_is_shown_and_is_no_alarm() -> None:
    _, dispatch = readiness(UP, ACTIVE, held="halted (unproven)", unproven=True)

    assert dispatch["ready"] is True
    assert dispatch["held"] == "halted (unproven)"
