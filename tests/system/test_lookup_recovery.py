"""What a killed daemon was sending. Rule: what the provider has is sent, and sent once."""

from pathlib import Path

import pytest
import redis

from tests.support.oracle import judge, states, waiting
from tests.support.processes import Daemon, Recorder, eventually, killed_at

# smsd, but for the half minute in which an absence is not believed yet.
HASTY = [
    "-c",
    "from smsd.cli import main; from smsd.dispatch import in_doubt;"
    " in_doubt.PAUSES_S = (0.3, 0.3, 0.3); main()",
]


def write_to(daemon: Daemon, recorder: Recorder, not_found: str) -> None:
    """Configure the gateway that messages are written to, and that is asked about them."""
    url = f"http://127.0.0.1:{recorder.port}/lookup?id={{id}}"
    look_up = f'look_up = {{url = "{url}", id = "json:id", not_found = "{not_found}"}}'
    (daemon.directory / "config.toml").write_text(f"{recorder.settings()}\n{look_up}\n")


@pytest.mark.parametrize("not_found", ["in_doubt", "unavailable"])
def test_what_a_killed_daemon_was_sending_is_sent_once_as_far_as_the_provider_can_tell(
    daemon: Daemon, recorder: Recorder, not_found: str
) -> None:
    write_to(daemon, recorder, not_found)
    daemon.start(program=killed_at("during submit", 20))
    ids = daemon.send(to=[f"+1202555{n:04d}" for n in range(200, 260)], message="Hi")["ids"]
    daemon.wait()  # it kills itself
    daemon.start(program=HASTY)
    socket = daemon.directory / "var" / "redis.sock"
    with redis.Redis(unix_socket_path=str(socket)) as client:
        eventually(lambda: waiting(client) == 0, 30, "texts still wait")
        known = states(client)
        assert client.hlen("smsd:inflight") == 0
    verdict = judge(ids, recorder.arrivals(), known)

    assert verdict.clean, verdict
    taken = {arrival["id"]: arrival["own_id"] for arrival in recorder.arrivals()}
    assert {id_: facts["provider_id"] for id_, facts in known.items() if id_ in taken} == taken
    assert "found=taken" in daemon.log
    # Some were marked, and waited for their slot when the daemon died: whether a 404 is taken as
    # the proof of that decides what becomes of them.
    lost = [id_ for id_ in ids if id_ not in taken]
    assert {known[id_]["reason"] for id_ in lost} <= {"in_doubt"}
    if not_found == "unavailable":
        assert not lost


def test_what_was_written_to_another_gateway_is_not_believed_to_be_absent(
    daemon: Daemon, recorder: Recorder, tmp_path: Path
) -> None:
    write_to(daemon, recorder, "unavailable")
    daemon.start(program=killed_at("during submit", 20))
    ids = daemon.send(to=[f"+1202555{n:04d}" for n in range(200, 240)], message="Hi")["ids"]
    daemon.wait()  # it kills itself
    (tmp_path / "other").mkdir()
    other = Recorder(tmp_path / "other", latency=0.05).start()
    try:
        write_to(daemon, other, "unavailable")
        daemon.start(program=HASTY)
        with redis.Redis(unix_socket_path=str(daemon.directory / "var" / "redis.sock")) as client:
            eventually(lambda: waiting(client) == 0, 30, "messages still wait")
            known = states(client)
            assert client.hlen("smsd:inflight") == 0
    finally:
        other.stop()

    taken, taken_later = ({one["id"] for one in each.arrivals()} for each in (recorder, other))
    assert taken
    assert taken_later
    assert taken & taken_later == set()
    in_doubt = {id_ for id_ in ids if known[id_]["state"] == "dead"}
    assert {known[id_]["reason"] for id_ in in_doubt} == {"in_doubt"}
    assert in_doubt | taken | taken_later == set(ids)
