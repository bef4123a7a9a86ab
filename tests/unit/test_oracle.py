"""The judge on made-up records. Rule: each kind of fault is found, and a clean run is clean."""

from typing import Any

import pytest

from tests.support.oracle import Asked, Judgement, judge

ONE, OTHER = "+12025550101", "+12025550102"


class Records:
    """A run of five texts, each ended in its own way, that no judge can find fault with."""

    def __init__(self) -> None:
        self.accepted = ["s", "r", "d", "c", "x"]
        self.arrivals = [arrival("s"), arrival("r", "400"), arrival("d", "drop")]
        self.known = {
            "s": {"state": "sent"},
            "r": {"state": "dead", "reason": "rejected"},
            "d": {"state": "dead", "reason": "in_doubt"},
            "c": {"state": "cancelled"},
            "x": {"state": "expired"},
        }
        self.dead = [letter("r", "rejected"), letter("d", "in_doubt")]
        self.asked = {each: Asked(ONE, "Hi") for each in "srd"} | {
            "c": Asked(ONE, "Hi", frozenset({"cancelled"}), never=True),
            "x": Asked(ONE, "Hi", frozenset({"cancelled", "expired"})),
        }

    def judge(self, **more: Any) -> Judgement:
        return judge(
            self.accepted, self.arrivals, self.known, asked=self.asked, dead=self.dead, **more
        )


def arrival(message_id: str, reply: str = "ok", to: str = ONE) -> dict[str, Any]:
    return {"id": message_id, "reply": reply, "to": to, "taken": reply in ("ok", "drop")}


def letter(message_id: str, reason: str, to: str = ONE, text: str = "Hi") -> dict[str, str]:
    return {"id": message_id, "reason": reason, "to": to, "message": text}


@pytest.fixture
def run() -> Records:
    return Records()


def test_a_run_without_fault_is_clean(run: Records) -> None:
    verdict = run.judge()
    assert verdict.clean, verdict
    assert verdict.states == {"sent": 1, "dead": 2, "cancelled": 1, "expired": 1}


@pytest.mark.parametrize("state", ["queued", "deferred", "sending", "lost", ""])
def test_a_text_in_no_place_where_it_may_rest_is_lost(run: Records, state: str) -> None:
    run.accepted.append("n")
    if state:
        run.known["n"] = {"state": state}
    assert run.judge().faults == {"lost": ["n"]}


def test_a_text_taken_again_was_sent_twice(run: Records) -> None:
    run.arrivals.append(arrival("s"))
    assert run.judge().faults == {"twice": ["s"]}
    assert run.judge(may_repeat=True).clean


def test_a_text_of_unknown_outcome_to_its_caller_may_not_be_sent_twice_either(run: Records) -> None:
    run.arrivals += [arrival("u"), arrival("u")]
    run.known["u"] = {"state": "sent"}
    assert run.judge().faults == {"twice": ["u"]}


def test_a_text_that_arrived_again_without_being_taken_was_sent_once(run: Records) -> None:
    run.arrivals.append(arrival("s", "503"))
    assert run.judge().clean


def test_what_is_called_sent_was_taken(run: Records) -> None:
    run.arrivals[0]["taken"] = False
    assert run.judge().faults == {"unsent": ["s"]}


@pytest.mark.parametrize("message_id", ["r", "nobody's"])
def test_what_was_taken_is_sent_or_in_doubt(run: Records, message_id: str) -> None:
    run.arrivals.append(arrival(message_id))
    assert run.judge().faults == {"unreported": [message_id]}


def test_no_id_is_told_twice(run: Records) -> None:
    run.accepted.append("s")
    assert run.judge().faults == {"told_twice": ["s"]}


def test_a_text_arrives_at_the_number_that_was_asked_for(run: Records) -> None:
    run.arrivals[0] = arrival("s", "ok", OTHER)
    assert run.judge().faults == {"misdirected": ["s"]}


def test_a_dead_text_has_a_letter(run: Records) -> None:
    del run.dead[0]
    assert run.judge().faults == {"misfiled": ["r"]}


@pytest.mark.parametrize("message_id", ["r", "s", "nobody's"])
def test_a_letter_stands_for_one_dead_text(run: Records, message_id: str) -> None:
    run.dead.append(letter(message_id, "rejected"))
    assert run.judge().faults == {"misfiled": [message_id]}


@pytest.mark.parametrize(
    "wrong",
    [
        letter("r", "rejected", to=OTHER),
        letter("r", "rejected", text="Ho"),
        letter("r", "in_doubt"),
        {"id": "r", "reason": "rejected"},
    ],
)
def test_a_letter_holds_what_was_asked_and_why(run: Records, wrong: dict[str, str]) -> None:
    run.dead[0] = wrong
    assert run.judge().faults == {"misfiled": ["r"]}


def test_only_what_the_provider_rejected_is_called_so(run: Records) -> None:
    run.arrivals[1] = arrival("r", "503")
    assert run.judge().faults == {"unrefused": ["r"]}


@pytest.mark.parametrize("state", ["cancelled", "expired", "suppressed"])
def test_a_text_ends_unsent_only_as_somebody_asked(run: Records, state: str) -> None:
    run.accepted.append("n")
    run.known["n"] = {"state": state}
    assert run.judge().faults == {"unasked": ["n"]}
    run.asked["n"] = Asked(ONE, "Hi", frozenset({state}))
    assert run.judge().clean


def test_without_wishes_nobody_asked(run: Records) -> None:
    verdict = judge(run.accepted, run.arrivals, run.known)
    assert {name: sorted(found) for name, found in verdict.faults.items()} == {
        "unasked": ["c", "x"]
    }


def test_a_cancellation_that_was_confirmed_holds(run: Records) -> None:
    run.known["c"] = {"state": "sent"}
    run.arrivals.append(arrival("c"))
    assert run.judge().faults == {"defied": ["c"]}


def test_an_opted_out_number_is_never_texted(run: Records) -> None:
    run.accepted.append("o")
    run.asked["o"] = Asked(ONE, "Hi", frozenset({"suppressed"}), never=True)
    run.known["o"] = {"state": "suppressed"}
    assert run.judge().clean
    run.arrivals.append(arrival("o"))
    assert run.judge().faults == {"unreported": ["o"], "defied": ["o"]}


def test_a_run_that_sent_nothing_proves_nothing(run: Records) -> None:
    assert not judge([], [], {}).clean
    run.accepted.remove("s")
    assert not run.judge().clean
