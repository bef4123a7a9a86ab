"""Dead letters over HTTP. Rule: what was chosen and nothing else is touched, and each only once."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.support.processes import Daemon, Recorder, eventually

TEXT = "Zebra"
ANYBODY = "+12025560100"
FAST = "[rate]\nsegments_per_second = 400\n"


@pytest.fixture
def recorder(tmp_path: Path) -> Iterator[Recorder]:
    recorder = Recorder(tmp_path)
    yield recorder
    recorder.stop()


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[Daemon]:
    """A daemon that sends nothing, for what dies without being sent."""
    daemon = Daemon(tmp_path / "smsd", FAST).start()
    yield daemon
    daemon.kill()
    assert TEXT not in daemon.log


@pytest.fixture
def sending(tmp_path: Path, recorder: Recorder) -> Iterator[Daemon]:
    """A daemon whose texts the recorder refuses at first."""
    recorder.start(plan={"400": 1})
    daemon = Daemon(tmp_path / "smsd", FAST + recorder.settings()).start()
    yield daemon
    daemon.kill()
    assert TEXT not in daemon.log


def embedded(daemon: Daemon) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(daemon.directory / "var" / "redis.sock"))


def dead(daemon: Daemon) -> int:
    with embedded(daemon) as client:
        return int(client.xlen("smsd:dead"))


def die_invalid(daemon: Daemon, count: int = 1, **fields: str) -> list[str]:
    """Texts to nobody; their ids, when they are dead."""
    before = dead(daemon)
    with embedded(daemon) as client:
        pipeline = client.pipeline(transaction=False)
        for _ in range(count):
            pipeline.xadd("smsd:queue", {"to": "nobody", "message": TEXT, **fields})
        ids = [one.decode() for one in pipeline.execute()]
    eventually(lambda: dead(daemon) == before + count, what="they do not die")
    return ids


def die(daemon: Daemon, recorder: Recorder, how: str, **fields: object) -> str:
    """Send a text that meets with `how`; its id, when it is dead."""
    recorder.stop()
    recorder.start(plan={how: 1})
    id_ = str(daemon.send(to=ANYBODY, message=TEXT, **fields)["id"])
    eventually(lambda: state(daemon, id_) == "dead", what=how)
    return id_


def state(daemon: Daemon, id_: str) -> str:
    return str(daemon.call("GET", f"/messages/{id_}")[1]["state"])


def listed(daemon: Daemon, query: str = "") -> list[dict[str, Any]]:
    status, answer = daemon.call("GET", f"/dead-letters{query}")
    assert status == 200, answer
    letters: list[dict[str, Any]] = answer["dead_letters"]
    return letters


def ids(daemon: Daemon, query: str = "") -> list[str]:
    return [letter["id"] for letter in listed(daemon, query)]


def replay(daemon: Daemon, **body: object) -> Any:
    status, answer = daemon.call("POST", "/dead-letters/replay", body)
    assert status == 200, answer
    return answer


def drop(daemon: Daemon, **body: object) -> Any:
    status, answer = daemon.call("DELETE", "/dead-letters", body)
    assert status == 200, answer
    return answer


# -- looking ------------------------------------------------------------------------------------


def test_a_letter_tells_why_it_died_and_not_what_it_says(
    sending: Daemon, recorder: Recorder
) -> None:
    id_ = die(sending, recorder, "400", campaign="spring", ref="r1")
    [letter] = listed(sending)
    assert letter == {
        "letter": letter["letter"],
        "id": id_,
        "to": ANYBODY,
        "reason": "rejected",
        "code": letter["code"],
        "detail": letter["detail"],
        "attempts": 1,
        "failed_at": letter["failed_at"],
        "campaign": "spring",
        "ref": "r1",
    }
    [letter] = listed(sending, "?message=true")
    assert letter["message"] == TEXT


def test_letters_are_listed_in_pages_in_the_order_they_died(daemon: Daemon) -> None:
    expected = die_invalid(daemon, 7)
    found: list[str] = []
    after = ""
    while True:
        query = f"?count=3&after={after}" if after else "?count=3"
        _, answer = daemon.call("GET", f"/dead-letters{query}")
        found += [letter["id"] for letter in answer["dead_letters"]]
        if not answer["more"]:
            break
        assert len(answer["dead_letters"]) == 3
        after = answer["after"]
    assert found == expected


def test_a_page_of_long_letters_is_bounded_by_octets_and_the_next_goes_on(
    daemon: Daemon,
) -> None:
    """1,000 letters of the longest kind would be an answer of 60 MB."""
    letter = {"to": ANYBODY, "message": "x" * 60_000, "reason": "exhausted"}
    with embedded(daemon) as client:
        pipeline = client.pipeline(transaction=False)
        for n in range(40):
            pipeline.xadd("smsd:dead", {**letter, "id": f"t{n}"})
        pipeline.execute()
    found: list[str] = []
    query = "/dead-letters?count=1000&message=true"
    _, answer = daemon.call("GET", query)
    while True:
        assert len(json.dumps(answer)) < 1_000_000
        found += [one["id"] for one in answer["dead_letters"]]
        if not answer["more"]:
            break
        _, answer = daemon.call("GET", f"{query}&after={answer['after']}")
    assert found == [f"t{n}" for n in range(40)]


def test_letters_are_found_by_each_selector_and_by_several(daemon: Daemon) -> None:
    [a] = die_invalid(daemon, campaign="a")
    [b] = die_invalid(daemon, campaign="b")
    assert ids(daemon, "?campaign=a") == [a]
    assert ids(daemon, f"?id={b}") == [b]
    assert ids(daemon, "?reason=invalid") == [a, b]
    assert ids(daemon, "?reason=rejected") == []
    assert ids(daemon, f"?id={b}&campaign=a") == []
    [letter] = listed(daemon, f"?id={a}")
    assert ids(daemon, f"?letter={letter['letter']}") == [a]
    assert ids(daemon, f"?letter={letter['letter']}&campaign=b") == []
    assert ids(daemon, "?letter=1-1") == []
    assert ids(daemon, f"?id={a}&after={letter['letter']}") == []


def test_a_letter_is_found_by_its_text_even_when_no_status_leads_to_it(daemon: Daemon) -> None:
    [first, second, third] = die_invalid(daemon, 3)
    others = listed(daemon, f"?id={first}")[0]["letter"]
    with embedded(daemon) as client:
        client.delete(f"smsd:message:{first}")
        client.hset(f"smsd:message:{second}", "letter", "1-1")
        client.hset(f"smsd:message:{third}", "letter", others)
    for id_ in (first, second, third):
        assert ids(daemon, f"?id={id_}") == [id_]


def test_a_fact_without_end_is_shown_in_part(daemon: Daemon) -> None:
    with embedded(daemon) as client:
        client.xadd("smsd:queue", {"to": "x" * 60_000, "message": TEXT})
    eventually(lambda: dead(daemon) == 1)
    [letter] = listed(daemon)
    assert letter["to"] == "x" * 256 + "…"


def test_an_entry_that_was_too_large_to_read_is_shown_by_what_is_short(daemon: Daemon) -> None:
    with embedded(daemon) as client:
        large = client.xadd("smsd:queue", {"to": ANYBODY, "message": TEXT * 100_000})
    eventually(lambda: dead(daemon) == 1)
    [letter] = listed(daemon, "?message=true")
    assert letter == {
        "letter": letter["letter"],
        "id": large.decode(),
        "to": ANYBODY,
        "reason": "invalid",
        "code": "entry",
        "detail": "of 500021 octets; at most 65536 are read",
        "attempts": 0,
        "failed_at": letter["failed_at"],
    }


def test_there_may_be_no_letters(daemon: Daemon) -> None:
    assert daemon.call("GET", "/dead-letters") == (200, {"dead_letters": [], "more": False})
    assert replay(daemon, all=True) == {
        "status": "replayed",
        "replayed": 0,
        "skipped": 0,
        "more": False,
    }
    assert drop(daemon, all=True) == {"status": "dropped", "dropped": 0, "more": False}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?count=0", "count"),
        ("?count=1001", "count"),
        ("?count=x", "count"),
        ("?after=x", "after"),
        ("?letter=99999999999999999999-1", "letter"),
        ("?id=a%20b", "id"),
        ("?reason=", "reason"),
        ("?reason=bogus", "reason"),
        ("?message=yes", "message"),
        ("?state=dead", "state"),
        ("?reason=a&reason=b", "reason"),
        ("?all=true", "all"),
    ],
)
def test_a_look_that_makes_no_sense_is_refused_with_the_parameter(
    shared: Daemon, query: str, field: str
) -> None:
    status, answer = shared.call("GET", f"/dead-letters{query}")
    assert (status, answer["error"]["field"]) == (400, field)


def test_what_is_not_known_is_told_in_a_whole_sentence(shared: Daemon) -> None:
    asked = shared.call("GET", "/dead-letters?state=dead")[1]["error"]["message"]
    ordered = shared.call("DELETE", "/dead-letters", {"reasons": "x"})[1]["error"]["message"]

    assert asked.startswith("state is no known parameter; known are ")
    assert ordered.startswith("reasons is no known field; known are ")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon with one dead letter, for requests that change nothing."""
    daemon = Daemon(tmp_path_factory.mktemp("shared"), FAST).start()
    die_invalid(daemon)
    yield daemon
    daemon.kill()


# -- choosing -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "all"),
        ({"all": False}, "all"),
        ({"after": "1-1"}, "all"),
        ({"all": "true"}, "all"),
        ({"all": 1}, "all"),
        ({"all": True, "reason": "invalid"}, "all"),
        ({"reason": ""}, "reason"),
        ({"reason": None}, "reason"),
        ({"reason": "bogus"}, "reason"),
        ({"campaign": ["a"]}, "campaign"),
        ({"id": "\ud800"}, "id"),
        ({"id": "*"}, "id"),
        ({"letter": "-"}, "letter"),
        ({"letter": "+"}, "letter"),
        ({"all": True, "until": "now"}, "until"),
        ({"all": True, "reasons": "invalid"}, "reasons"),
        ({"reason": "invalid", "count": 5}, "count"),
    ],
)
@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/dead-letters/replay"), ("DELETE", "/dead-letters")]
)
def test_an_order_that_names_nothing_clearly_is_refused_and_touches_nothing(
    shared: Daemon, method: str, path: str, body: Mapping[str, object], field: str
) -> None:
    status, answer = shared.call(method, path, body)
    assert (status, answer["error"]["field"]) == (400, field)
    assert dead(shared) == 1


@pytest.mark.parametrize(
    ("raw", "status"), [(b"", 400), (b"[]", 400), (b"{", 400), (b'{"all":true,"all":true}', 400)]
)
def test_a_body_that_is_no_object_is_refused(shared: Daemon, raw: bytes, status: int) -> None:
    assert shared.call("DELETE", "/dead-letters", raw)[0] == status
    assert dead(shared) == 1


def test_only_a_replay_may_be_told_that_it_may_send_twice(shared: Daemon) -> None:
    status, answer = shared.call("DELETE", "/dead-letters", {"all": True, "in_doubt": True})
    assert (status, answer["error"]["field"]) == (400, "in_doubt")
    status, answer = shared.call("POST", "/dead-letters/replay", {"all": True, "in_doubt": 1})
    assert (status, answer["error"]["field"]) == (400, "in_doubt")


# -- replaying ----------------------------------------------------------------------------------


def test_those_chosen_are_sent_again_and_no_others(sending: Daemon, recorder: Recorder) -> None:
    a, b, c = (die(sending, recorder, "400", campaign=name) for name in "abb")
    recorder.stop()
    recorder.start(plan={"ok": 1})
    assert replay(sending, campaign="a")["replayed"] == 1
    eventually(lambda: state(sending, a) == "sent")
    assert replay(sending, id=b)["replayed"] == 1
    eventually(lambda: state(sending, b) == "sent")
    assert ids(sending) == [c]
    [letter] = listed(sending)
    assert replay(sending, letter=letter["letter"], reason="rejected")["replayed"] == 1
    eventually(lambda: state(sending, c) == "sent")
    assert replay(sending, letter=letter["letter"])["replayed"] == 0
    assert replay(sending, id=b)["replayed"] == 0
    taken = [arrival["id"] for arrival in recorder.arrivals() if arrival["taken"]]
    assert taken == [a, b, c]


def test_one_that_may_have_been_sent_is_sent_again_only_on_a_plain_word(
    sending: Daemon, recorder: Recorder
) -> None:
    refused = die(sending, recorder, "400")
    doubtful = die(sending, recorder, "drop")
    recorder.stop()
    recorder.start(plan={"ok": 1})
    answer = replay(sending, all=True)
    assert (answer["replayed"], answer["skipped"], answer["more"]) == (1, 1, False)
    eventually(lambda: state(sending, refused) == "sent")
    for chosen in ({"id": doubtful}, {"reason": "in_doubt"}, {"all": True, "in_doubt": False}):
        assert replay(sending, **chosen)["skipped"] == 1
    assert state(sending, doubtful) == "dead"
    answer = replay(sending, id=doubtful, in_doubt=True)
    assert (answer["replayed"], answer["skipped"]) == (1, 0)
    eventually(lambda: state(sending, doubtful) == "sent")
    assert dead(sending) == 0


def test_a_sweep_is_bounded_and_goes_on_where_it_stopped_to_its_end(daemon: Daemon) -> None:
    die_invalid(daemon, 2300)  # each dies again at once, behind the last
    with embedded(daemon) as client:
        [(last, _)] = client.xrevrange("smsd:dead", count=1)
    replayed, going_on = [], {"all": True}
    while True:
        answer = replay(daemon, **going_on)
        replayed.append(answer["replayed"])
        if not answer["more"]:
            break
        assert answer["until"] == last.decode()
        going_on = {"all": True, "after": answer["after"], "until": answer["until"]}
    assert replayed == [1000, 1000, 300]
    eventually(lambda: dead(daemon) == 2300)
    assert "unaccounted" not in daemon.log


def test_letters_that_other_hands_have_left_are_not_destroyed_by_a_replay(daemon: Daemon) -> None:
    with embedded(daemon) as client:
        client.xadd("smsd:dead", {"to": ANYBODY, "message": TEXT})
    assert replay(daemon, all=True)["replayed"] == 0
    assert dead(daemon) == 1


def test_what_two_replay_at_once_is_in_the_queue_once(tmp_path: Path) -> None:
    still = Daemon(tmp_path / "smsd", "[rate]\nsegments_per_second = 0.001\n").start()
    with embedded(still) as client, ThreadPoolExecutor(2) as pool:
        letter = {"to": ANYBODY, "message": TEXT, "reason": "rejected", "lane": "n"}
        for n in range(200):
            client.xadd("smsd:dead", {**letter, "id": f"t{n}"})
        both = pool.map(lambda _: replay(still, all=True)["replayed"], range(2))
        assert sum(both) == 200
        queued = [fields[b"id"].decode() for _, fields in client.xrange("smsd:queue")]
        assert sorted(queued) == sorted(f"t{n}" for n in range(200))
    still.kill()


# -- dropping -----------------------------------------------------------------------------------


def test_those_chosen_are_dropped_and_no_others(daemon: Daemon) -> None:
    [a] = die_invalid(daemon, campaign="a")
    [b] = die_invalid(daemon, campaign="b")
    assert drop(daemon, campaign="a") == {"status": "dropped", "dropped": 1, "more": False}
    assert state(daemon, a) == "dropped"
    assert ids(daemon) == [b]
    assert drop(daemon, all=True)["dropped"] == 1
    assert dead(daemon) == 0


def test_one_that_may_have_been_sent_can_be_dropped_like_any(
    sending: Daemon, recorder: Recorder
) -> None:
    id_ = die(sending, recorder, "drop")
    assert drop(sending, reason="in_doubt")["dropped"] == 1
    assert state(sending, id_) == "dropped"
