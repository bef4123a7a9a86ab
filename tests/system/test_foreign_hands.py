"""Foreign hands in Redis, seen from outside. Rule: nothing ends, nothing is sent twice."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smsd.cli import main
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.redis_server import RedisServer

LAST_ID = "18446744073709551615-18446744073709551615"
ALICE = "+12025550101"


@pytest.fixture
def smsd(tmp_path: Path, own_server: RedisServer, recorder: Recorder) -> Iterator[Daemon]:
    """Not started."""
    settings = f'[redis]\nurl = "{own_server.url}"\n[rate]\nsegments_per_second = 200\n'
    daemon = Daemon(tmp_path / "smsd", settings + recorder.settings())
    yield daemon
    ended = daemon.ended_itself
    daemon.kill()
    assert not ended, daemon.log


def arrived(recorder: Recorder) -> list[str]:
    return sorted(one["id"] for one in recorder.arrivals())


def test_a_broken_statistic_refuses_nothing_and_is_named(
    smsd: Daemon, own_server: RedisServer, recorder: Recorder
) -> None:
    with own_server.client() as client:
        client.set("smsd:events", "x")
        client.hset("smsd:counters", mapping={"note": "x", "sent": "1.5"})
        client.hset("smsd:deferred:messages", "s1", "{")
        client.zadd("smsd:deferred", {"s1": "inf"})
    smsd.start()
    text, keyed = {"to": ALICE, "message": "Hi"}, {"Idempotency-Key": "k"}
    answers = [smsd.call("POST", "/send", text, keyed) for _ in range(3)]
    assert [status for status, _ in answers] == [200] * 3
    [id_] = {answer["id"] for _, answer in answers}
    for path in ("/readyz", "/readyz/dispatch"):
        eventually(lambda path=path: "smsd:counters" in smsd.call("GET", path)[1]["damage"])
        status, told = smsd.call("GET", path)
        assert (status, "smsd:events" in told["damage"]) == (200, True)
    eventually(lambda: smsd.call("GET", f"/messages/{id_}")[1]["state"] == "sent")
    assert arrived(recorder) == [id_]
    assert 'key=smsd:events reason="is a string, not a stream"' in smsd.log
    eventually(lambda: "deferred messages that nothing would send" in smsd.log)


def test_one_entry_with_the_last_id_stops_nothing(
    smsd: Daemon, own_server: RedisServer, recorder: Recorder
) -> None:
    taken: list[str] = []

    def send() -> bool:
        status, answer = smsd.call("POST", "/send", {"to": ALICE, "message": "Hi"})
        assert status in (200, 503), answer
        taken.extend([answer["id"]] if status == 200 else [])
        return status == 200

    smsd.start()
    with own_server.client() as client:
        client.xadd("smsd:queue", {"to": ALICE, "message": "Hi"}, id=LAST_ID)
        fields = f'["to","{ALICE}","message","Hi","id","s1"]'
        client.hset("smsd:deferred:messages", "s1", fields)
        client.zadd("smsd:deferred", {"s1": 1})
    eventually(send, what="messages are taken again")
    expected = sorted([LAST_ID, "s1", *taken])
    eventually(lambda: len(arrived(recorder)) >= len(expected), what="all of them")
    assert arrived(recorder) == expected
    assert smsd.call("GET", "/readyz")[0] == 200
    eventually(lambda: smsd.call("GET", f"/messages/{LAST_ID}")[1]["state"] == "sent")


def test_what_was_delivered_and_is_not_pending_is_sent_after_a_restart(
    smsd: Daemon, own_server: RedisServer, recorder: Recorder
) -> None:
    with own_server.client() as client:
        add = [client.xadd("smsd:queue", {"to": ALICE, "message": "Hi"}) for _ in range(60)]
        client.xgroup_create("smsd:queue", "smsd", "0")
        client.xreadgroup("smsd", "smsd", {"smsd:queue": ">"}, count=26)
        client.xgroup_delconsumer("smsd:queue", "smsd", "smsd")
        client.xgroup_setid("smsd:queue", "smsd", "$")
    smsd.start()
    eventually(lambda: len(arrived(recorder)) >= len(add), what="all of them")
    assert arrived(recorder) == sorted(id_.decode() for id_ in add)
    assert "delivered but not pending" in smsd.log


def test_what_is_wrong_is_shown_and_mended_by_the_commands(
    own_server: RedisServer, tmp_path: Path
) -> None:
    config = tmp_path / "config.toml"
    config.write_text(f'[redis]\nurl = "{own_server.url}"\n')
    with own_server.client() as client:
        client.set("smsd:dead", "x")
        client.set("smsd:message:1-1", "x")
        client.set("smsd:idempotency:x", "x")
        client.set("smsd:optouts", "x")
        client.xadd("smsd:queue", {"to": ALICE, "message": "Hi"}, id=LAST_ID)

        def run(*words: str) -> Result:
            return CliRunner().invoke(main, [*words, "--config", str(config)])

        status = run("status")
        assert status.exit_code == 0, status.output
        assert "smsd:dead is a string, not a stream" in status.output
        found = run("fsck")
        assert (found.exit_code, found.output.count("\n")) == (1, 6), found.output
        mended = run("fsck", "--repair")
        assert "5 found, 4 mended" in mended.output, mended.output
        client.delete("smsd:optouts")  # which a person has to decide
        assert run("fsck").output.startswith("fine")
        assert client.keys("smsd:dead:foreign:*")
        assert client.xinfo_stream("smsd:queue")["last-generated-id"] != LAST_ID.encode()
