"""Campaigns through the whole daemon. Rule: each recipient is sent their own message, once."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from smsd.core.campaign import Counts
from tests.support.campaigns import Desk
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.redis_server import RedisServer

BODY = "Hi {{ name }}"
SETTINGS = '[redis]\nurl = "{url}"\nlease = 2.0\n[rate]\nsegments_per_second = {rate}\n'
ONE = "+12025559999"


class Stage:
    """Redis, a gateway, and daemons that are told how fast to be."""

    def __init__(self, directory: Path, server: RedisServer, recorder: Recorder) -> None:
        self._directory = directory
        self.server = server
        self.recorder = recorder
        self.desk = Desk(server.url)
        self.daemons: list[Daemon] = []

    def daemon(self, rate: float, more: str = "") -> Daemon:
        """One more daemon: the first dispatches."""
        settings = more + SETTINGS.format(url=self.server.url, rate=rate)
        settings += self.recorder.settings(with_texts=True)
        self.daemons.append(Daemon(self._directory / f"smsd-{len(self.daemons)}", settings).start())
        eventually(lambda: "ours=true" in self.daemons[0].log, what="the lease")
        return self.daemons[-1]

    def audience(self, name: str, numbers: Sequence[str]) -> None:
        rows = [f"{number},{name} {place}" for place, number in enumerate(numbers)]
        body = "\n".join(["phone,name", *rows]).encode()
        headers = {"Content-Type": "text/csv"}
        status, answer = self.daemons[-1].call("PUT", f"/audiences/{name}", body, headers)
        assert status == 200, answer

    def arrivals(self, id_: str = "") -> list[dict[str, Any]]:
        """What arrived at the gateway, in order: all, or that of one campaign."""
        return [one for one in self.recorder.arrivals() if one["id"].startswith(id_)]

    def in_flight(self) -> int:
        with self.server.client() as client:
            return int(client.hlen("smsd:inflight"))

    def eventually_arrived(self, id_: str, many: int) -> None:
        eventually(lambda: len(self.arrivals(id_)) >= many, 60, f"{many} messages of {id_}")


@pytest.fixture
def stage(tmp_path: Path, own_server: RedisServer, recorder: Recorder) -> Iterator[Stage]:
    stage = Stage(tmp_path, own_server, recorder)
    yield stage
    for daemon in stage.daemons:
        daemon.kill()


def numbers(many: int, area: int = 202) -> list[str]:
    return [f"+1{area}555{place:04d}" for place in range(many)]


def assert_each_once(arrivals: Sequence[dict[str, Any]], name: str, to: Sequence[str]) -> None:
    said = {number: f"Hi {name} {place}" for place, number in enumerate(to)}
    assert Counter(one["to"] for one in arrivals) == dict.fromkeys(to, 1)
    assert {one["to"]: one["said"] for one in arrivals} == said


def test_each_recipient_is_sent_their_own_message_once(stage: Stage) -> None:
    stage.daemon(2000)
    to = numbers(2000)
    stage.audience("spring", to)
    id_ = stage.desk.start("sale", BODY, audience="spring")
    campaign = stage.desk.until(id_, "finished")
    assert_each_once(stage.arrivals(id_), "spring", to)
    assert campaign.counts == Counts(recipients=2000, sent=2000)
    with stage.server.client() as client:
        assert list(client.scan_iter("smsd:message:*")) == []


def test_one_that_ended_longer_ago_than_it_is_kept_is_removed(stage: Stage) -> None:
    first = stage.daemon(2000)
    to = numbers(20)
    stage.audience("spring", to)
    id_ = stage.desk.start("sale", BODY, audience="spring")
    stage.desk.until(id_, "finished")
    first.stop()
    daemon = stage.daemon(2000, "[campaign]\nkeep_days = 0.0000001\n")
    eventually(lambda: daemon.call("GET", f"/campaigns/{id_}")[0] == 404, what="removal")


def test_nothing_starts_while_it_is_paused_and_all_of_it_afterwards(stage: Stage) -> None:
    daemon = stage.daemon(400)
    to = numbers(1500)
    stage.audience("spring", to)
    id_ = stage.desk.start("sale", BODY, audience="spring")
    stage.eventually_arrived(id_, 50)
    campaign = stage.desk.turn("pause", id_, "wrong link")
    assert (campaign.state, campaign.reason) == ("paused", "wrong link")
    under_way = stage.in_flight() + len(stage.arrivals(id_))
    eventually(lambda: stage.desk.counts(id_).held > 0, what="what was in line is held")
    eventually(lambda: stage.in_flight() == 0, what="what was under way is settled")
    started = len(stage.arrivals(id_))
    assert started <= under_way
    daemon.send(to=ONE, message="others go on")
    eventually(lambda: stage.arrivals()[-1]["to"] == ONE, what="it arrives")
    counts = stage.desk.counts(id_)
    assert (counts.sent, counts.waiting + counts.held) == (started, 1500 - started)
    assert len(stage.arrivals(id_)) == started
    stage.desk.turn("resume", id_)
    stage.desk.until(id_, "finished")
    assert_each_once(stage.arrivals(id_), "spring", to)
    assert stage.desk.counts(id_).sent == 1500


def test_nothing_starts_once_it_is_cancelled(stage: Stage) -> None:
    daemon = stage.daemon(400)
    stage.audience("spring", numbers(1500))
    id_ = stage.desk.start("sale", BODY, audience="spring")
    stage.eventually_arrived(id_, 50)
    stage.desk.turn("cancel", id_)
    under_way = stage.in_flight() + len(stage.arrivals(id_))
    eventually(lambda: stage.desk.counts(id_).waiting == 0, what="nothing of it waits")
    eventually(lambda: stage.in_flight() == 0, what="what was under way is settled")
    daemon.send(to=ONE, message="others go on")
    eventually(lambda: stage.arrivals()[-1]["to"] == ONE, what="it arrives")
    started = len(stage.arrivals(id_))
    assert started <= under_way
    counts = stage.desk.counts(id_)
    assert (counts.sent, counts.cancelled, counts.held) == (started, 1500 - started, 0)
    assert stage.desk.state(id_) == "cancelled"


def test_campaigns_share_by_weight_and_high_priority_waits_for_neither(stage: Stage) -> None:
    rate = 400
    daemon = stage.daemon(rate)
    stage.audience("a", numbers(2400))
    stage.audience("b", numbers(2400, 203))
    weights = {}
    for name, weight in (("a", 3), ("b", 1)):
        weights[stage.desk.start(name, BODY, audience=name, weight=weight)] = weight
    first, second = weights
    stage.eventually_arrived(second, 20)
    between = []
    for place in range(8):
        before = len(stage.arrivals(first)) + len(stage.arrivals(second))
        answer = daemon.send(to=f"+120255599{place:02d}", message="code", priority="high")
        stage.eventually_arrived(answer["id"], 1)
        order = [one["id"] for one in stage.arrivals()]
        between.append(order.index(answer["id"]) - before)
    assert max(between) <= rate, "high priority waits for a second of the others at most"
    stage.desk.until(first, "finished")
    order = [one["id"] for one in stage.arrivals() if one["id"].startswith((first, second))]
    at = next(place for place, id_ in enumerate(order) if id_.startswith(second))
    end = max(place for place, id_ in enumerate(order) if id_.startswith(first))
    both = order[at:end]
    share = sum(id_.startswith(first) for id_ in both) / len(both)
    assert share == pytest.approx(0.75, rel=0.05)
    stage.desk.until(second, "finished")
    assert_each_once(stage.arrivals(first), "a", numbers(2400))
    assert_each_once(stage.arrivals(second), "b", numbers(2400, 203))


@pytest.mark.parametrize("standby", [False, True], ids=["started again", "a standby takes over"])
def test_a_daemon_that_is_killed_sends_nobody_a_second_message(
    stage: Stage, *, standby: bool
) -> None:
    daemon = stage.daemon(400)
    to = numbers(1500)
    stage.audience("spring", to)
    id_ = stage.desk.start("sale", BODY, audience="spring")
    if standby:
        stage.daemon(400)
    stage.eventually_arrived(id_, 100)
    daemon.kill()
    doubtful = stage.in_flight()
    if not standby:
        daemon.start()
    campaign = stage.desk.until(id_, "finished", "needs_attention")
    arrived = Counter(one["to"] for one in stage.arrivals(id_))
    assert max(arrived.values()) == 1
    counts = campaign.counts
    assert (counts.sent + counts.dead, counts.recipients) == (1500, 1500)
    assert counts.dead <= doubtful
    assert set(campaign.dead) <= {"in_doubt"}
    assert len(arrived) >= counts.sent


def test_one_that_fails_by_itself_pauses_and_spends_nothing(stage: Stage) -> None:
    stage.recorder.stop()
    stage.recorder.start(plan={"400": 1})
    stage.daemon(100)
    to = numbers(300)
    stage.audience("spring", to)
    id_ = stage.desk.start("sale", BODY, audience="spring")
    campaign = stage.desk.until(id_, "paused")
    assert campaign.by == "smsd"
    assert "were rejected" in campaign.reason
    eventually(lambda: stage.desk.counts(id_).dead == 0, what="all that were rejected wait")
    assert stage.desk.counts(id_).recipients == 300
    stage.recorder.behave(plan={"ok": 1})
    stage.desk.turn("resume", id_)
    assert stage.desk.until(id_, "finished").counts.sent == 300
    assert Counter(one["to"] for one in stage.arrivals(id_) if one["taken"]) == dict.fromkeys(to, 1)
