"""What a fault explains. Rule: just that, and nothing beside it."""

from typing import Any

import pytest

from tests.support.excuses import Excuses, Restored
from tests.support.oracle import Asked, Terms, judge

SECOND = 1_000_000_000
COPIED, ENDED, RELEASED = 1000 * SECOND, 1005 * SECOND, 1010 * SECOND


def restored(**changes: Any) -> Restored:
    """A copy made at 1,000 s that knows entries up to 999,900 ms (normal) and 999,500 ms (high)."""
    last_ids = {"n": "999900-3", "h": "999500-0"}
    return Restored(COPIED, ENDED, last_ids, frozenset({"c"}), **changes)


def arrival(at: int, reply: str = "ok") -> dict[str, Any]:
    return {"id": "1-1", "reply": reply, "to": "", "taken": reply == "ok", "at": at}


@pytest.mark.parametrize(
    ("message_id", "forgotten"),
    [
        ("999900-3", False),
        ("999900-4", True),
        ("1001000-0", True),
        ("1005000-0", True),
        ("1005001-0", False),  # by the server that was given the copy
        ("h999500-0", False),
        ("h999500-1", True),
        ("h999900-0", True),
    ],
)
def test_a_copy_forgets_what_came_after_it(message_id: str, forgotten: bool) -> None:
    excuses = Excuses(restored=[restored()])
    verdict = judge([message_id], [], {}, excuses=excuses)
    assert verdict.faults == ({} if forgotten else {"lost": [message_id]})


@pytest.mark.parametrize(
    ("message_id", "began", "ended", "forgotten"),
    [
        ("x", COPIED - 2, COPIED - 1, False),
        ("x", COPIED - 1, COPIED, True),
        ("x", COPIED + 1, COPIED + 2, True),
        ("x", ENDED, ENDED + 1, True),
        ("x", ENDED + 1, ENDED + 2, False),
        ("c", COPIED, ENDED, False),
    ],
)
def test_a_copy_forgets_that_a_text_was_cancelled(
    message_id: str, began: int, ended: int, forgotten: bool
) -> None:
    excuses = Excuses(restored=[restored()])
    assert excuses.cancelling(message_id, began, ended) == forgotten


def test_the_first_release_counts() -> None:
    excuses = Excuses(restored=[restored()])
    excuses.released(RELEASED)
    excuses.released(RELEASED + 1)
    assert excuses.restored[0].released_at == RELEASED


def test_what_a_copy_forgets_may_have_been_taken() -> None:
    taken = {**arrival(COPIED + 1), "id": "1001000-0"}
    assert judge([], [taken], {}).faults == {"unreported": ["1001000-0"]}
    assert judge([], [taken], {}, excuses=Excuses(restored=[restored()])).faults == {}


@pytest.mark.parametrize(
    ("change", "excused"),
    [
        ({}, True),
        ({"died_at": 0}, False),
        ({"died_at": COPIED}, False),
        ({"copied_at": COPIED + 2}, False),
        ({"released_at": RELEASED + 2}, False),
    ],
)
def test_a_person_may_have_released_what_nobody_knew_to_be_sent(
    change: dict[str, Any], excused: bool
) -> None:
    made: dict[str, Any] = {
        "copied_at": COPIED,
        "ended_at": ENDED,
        "last_ids": {"n": "999900-3", "h": "0-0"},
        "died_at": COPIED + 1,
        "released_at": RELEASED,
    }
    excuses = Excuses(restored=[Restored(**made | change)])
    arrivals = [arrival(COPIED + 1), arrival(RELEASED + 1)]
    verdict = judge(["1-1"], arrivals, {"1-1": {"state": "sent"}}, excuses=excuses)
    assert verdict.faults == ({} if excused else {"twice": ["1-1"]})


def test_what_nobody_knows_of_counts_for_no_attempt() -> None:
    arrivals = [arrival(COPIED + 1, "503"), arrival(RELEASED + 1, "503"), arrival(RELEASED + 2)]
    died = restored(died_at=COPIED + 1)
    for restored_, faults in ((died, {}), (restored(), {"too_often": ["1-1"]})):
        excuses = Excuses(restored=[restored_])
        terms = Terms(max_attempts=2)
        verdict = judge(["1-1"], arrivals, {"1-1": {"state": "sent"}}, excuses=excuses, terms=terms)
        assert verdict.faults == faults


def test_what_other_hands_deleted_is_lost_by_them() -> None:
    assert judge(["1-1", "x"], [], {}, excuses=Excuses(lost={"1-1"})).faults == {"lost": ["x"]}


def test_letters_that_other_hands_deleted_are_missing_by_them() -> None:
    known = {name: {"state": "dead", "reason": "exhausted"} for name in ("1-1", "x")}
    verdict = judge(["1-1", "x"], [], known, dead=[], excuses=Excuses(unfiled={"1-1"}))
    assert verdict.faults == {"misfiled": ["x"]}


def test_what_is_lost_is_not_taken_against_an_order() -> None:
    asked = {"1-1": Asked("", "", frozenset({"suppressed"}), never=True)}
    excuses = Excuses(lost={"1-1"})
    assert judge(["1-1"], [], {}, asked=asked, excuses=excuses).faults == {}
    assert judge(["1-1"], [arrival(1)], {}, asked=asked, excuses=excuses).faults == {
        "defied": ["1-1"]
    }


def test_what_nobody_knows_to_be_sent_may_end_unsent() -> None:
    asked = {"1-1": Asked("", "", frozenset({"expired"}))}
    known = {"1-1": {"state": "expired"}}
    for died_at, faults in ((COPIED + 1, {}), (COPIED, {"unreported": ["1-1"]})):
        excuses = Excuses(restored=[restored(died_at=died_at)])
        verdict = judge(["1-1"], [arrival(COPIED + 1)], known, asked=asked, excuses=excuses)
        assert verdict.faults == faults


def test_without_marks_all_may_be_in_doubt_and_is_not_sent() -> None:
    asked = {"1-1": Asked("", "", frozenset({"suppressed"}), never=True)}
    known = {"1-1": {"state": "dead", "reason": "in_doubt"}}
    assert judge([], [], known, asked=asked).faults == {"defied": ["1-1"]}
    excuses = Excuses(unmarked=True)
    assert judge([], [], known, asked=asked, excuses=excuses).faults == {}
    assert judge([], [arrival(1)], known, asked=asked, excuses=excuses).faults == {
        "defied": ["1-1"]
    }


def test_a_campaign_that_older_data_cannot_know_is_no_loss() -> None:
    """Its id tells when it was started."""
    started = int("mwz1ye4i", 36)

    def forgot(campaign: str, ended_at: int) -> bool:
        known = {"cmwz1ye4jabcde"}
        return Restored(0, ended_at * 1_000_000, {}, campaigns=known).forgot(f"{campaign}_1")

    assert forgot("cmwz1ye4iabcde", started)
    assert not forgot("cmwz1ye4iabcde", started - 1), "it was started in the older data"
    assert not forgot("cmwz1ye4jabcde", started + 1), "the copy knows it"


@pytest.mark.parametrize(
    ("reply", "retried", "excused"),
    [("400", {"c1"}, True), ("400", {"c2"}, False), ("drop", {"c1"}, False)],
)
def test_what_was_rejected_may_be_sent_again_once_it_is_replayed(
    reply: str, retried: set[str], *, excused: bool
) -> None:
    arrivals = [arrival(1, reply) | {"id": "c1_2"}, arrival(2) | {"id": "c1_2"}]
    known = {"c1_2": {"state": "sent"}}
    verdict = judge(["c1_2"], arrivals, known, excuses=Excuses(retried=retried))
    assert verdict.clean == excused


def test_attempts_begin_anew_with_a_replay() -> None:
    arrivals = [arrival(at, "503") | {"id": "c1_2"} for at in range(8)]
    arrivals.append(arrival(9) | {"id": "c1_2"})
    known = {"c1_2": {"state": "sent"}}
    terms = Terms(max_attempts=6)
    assert not judge(["c1_2"], arrivals, known, terms=terms).clean
    assert judge(["c1_2"], arrivals, known, terms=terms, excuses=Excuses(retried={"c1"})).clean
