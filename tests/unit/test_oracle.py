"""The judge on made-up records. Rule: each kind of fault is found, and a clean run is clean."""

from itertools import count
from typing import Any

import pytest

from tests.support.excuses import Excuses, Restored
from tests.support.oracle import Asked, Judgement, Terms, judge

INSTANTS = count(1)
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


def arrival(message_id: str, reply: str = "ok", to: str = ONE, **more: Any) -> dict[str, Any]:
    taken = reply in ("ok", "drop", "taken 503")
    told = {"id": message_id, "reply": reply, "to": to, "taken": taken, "at": next(INSTANTS)}
    return {**told, **more}


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


def test_a_text_of_unknown_outcome_to_its_caller_may_not_be_sent_twice_either(run: Records) -> None:
    run.arrivals += [arrival("u"), arrival("u")]
    run.known["u"] = {"state": "sent"}
    assert run.judge().faults == {"twice": ["u"]}


@pytest.mark.parametrize("reply", ["ok", "drop", "forwarded 503"])
def test_a_text_in_doubt_is_not_sent_again_though_nobody_takes_it(run: Records, reply: str) -> None:
    run.arrivals += [arrival("n", reply), arrival("n", "503")]
    run.known["n"] = {"state": "dead", "reason": "in_doubt"}
    run.dead.append(letter("n", "in_doubt"))
    assert run.judge().faults == {"resent": ["n"]}


@pytest.mark.parametrize("reply", ["429", "503", "unreached 503"])
def test_a_text_that_was_refused_is_sent_again(run: Records, reply: str) -> None:
    run.arrivals += [arrival("n", reply), arrival("n", reply), arrival("n")]
    run.known["n"] = {"state": "sent"}
    assert run.judge().clean


def test_order_is_that_of_time(run: Records) -> None:
    run.arrivals += [arrival("n"), arrival("n", "503", at=0)]
    run.known["n"] = {"state": "sent"}
    assert run.judge().clean


def test_a_text_that_is_looked_for_in_vain_may_be_sent_again(run: Records) -> None:
    run.arrivals += [arrival("n", "reset"), arrival("n")]
    run.known["n"] = {"state": "sent"}
    assert run.judge().faults == {"resent": ["n"]}
    assert run.judge(terms=Terms(absent_is_refused=True)).clean
    run.arrivals[-2]["taken"] = True
    assert run.judge(terms=Terms(absent_is_refused=True)).faults == {"twice": ["n"]}


@pytest.mark.parametrize(
    "known",
    [
        {"state": "sent"},
        {"state": "dead", "reason": "in_doubt"},
        {"state": "dead", "reason": "exhausted"},
    ],
)
def test_copies_are_forgiven_where_each_was_called_refused(
    run: Records, known: dict[str, str]
) -> None:
    run.arrivals += [arrival("n", "taken 503"), arrival("n", "taken 503"), arrival("n", "ok")]
    run.known["n"] = known
    run.arrivals.pop() if known["state"] == "dead" else None
    run.dead += [letter("n", known["reason"])] if known["state"] == "dead" else []
    assert run.judge().clean
    run.arrivals[-1]["reply"] = "drop"
    run.arrivals.append(arrival("n", "taken 503"))
    assert run.judge().faults["twice"] == ["n"]


def test_a_text_taken_and_called_refused_is_not_lost_all_the_same(run: Records) -> None:
    run.accepted.append("n")
    run.arrivals.append(arrival("n", "taken 503"))
    assert run.judge().faults == {"lost": ["n"]}


def test_no_text_is_written_more_often_than_may_be(run: Records) -> None:
    run.arrivals += [*(arrival("n", "503") for _ in range(3)), arrival("n", "429"), arrival("n")]
    run.known["n"] = {"state": "sent"}
    assert run.judge(terms=Terms(max_attempts=4)).clean
    assert run.judge(terms=Terms(max_attempts=3)).faults == {"too_often": ["n"]}


def test_nothing_arrives_while_dispatch_is_held(run: Records) -> None:
    at = run.arrivals[1]["at"]
    assert run.judge(held=[(at + 1, at + 1000), (0, at)]).faults == {
        "while_held": ["s", "d"],
    }
    assert run.judge(held=[(at - 1, at)]).faults == {"while_held": ["s"]}


def test_what_is_called_sent_was_taken(run: Records) -> None:
    run.arrivals[0]["taken"] = False
    assert run.judge().faults == {"unsent": ["s"]}


@pytest.mark.parametrize("message_id", ["r", "nobody's"])
def test_what_was_taken_is_sent_or_in_doubt(run: Records, message_id: str) -> None:
    run.arrivals.append(arrival(message_id))
    assert run.judge().faults["unreported"] == [message_id]


def test_no_id_is_answered_twice(run: Records) -> None:
    run.accepted.append("s")
    assert run.judge().faults == {"answered_twice": ["s"]}


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


def test_older_data_lacks_the_text_of_a_campaigns_message() -> None:
    dead = {"id": "c1_2", "to": ONE, "reason": "in_doubt"}
    known = {"c1_2": {"state": "dead", "reason": "in_doubt"}, "s": {"state": "sent"}}
    records = ["c1_2", "s"], [arrival("c1_2", "drop"), arrival("s")], known
    facts: dict[str, Any] = {"asked": {"c1_2": Asked(ONE, "Hi")}, "dead": [dead]}
    assert judge(*records, **facts).faults == {"misfiled": ["c1_2"]}
    older = Restored(0, 0, {"n": "9-9", "h": "9-9"}, campaigns={"c1"})
    facts["excuses"] = Excuses(restored=[older])
    assert "misfiled" not in judge(*records, **facts).faults
