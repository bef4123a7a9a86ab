"""Commands. Rule: each speaks to the real store, and what goes wrong is one line and a code."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner, Result

from smsd.cli import main
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.redis_server import RedisServer, free_port

TEXT = "Zebra"
ANYBODY = "+12025560100"
REFUSED = "+12025550190"  # for which the sandbox plays a number that is none
NO_FUNDS = "+12025550195"  # for which the sandbox plays an account that is used up
FAST = "[rate]\nsegments_per_second = 400\n"
STILL = "[rate]\nsegments_per_second = 0.001\n"  # nothing is ever sent
COMMANDS = [
    ["status"],
    ["send", "--to", ANYBODY, "--message", TEXT],
    ["dead-letters", "list"],
    ["dead-letters", "replay", "--all"],
    ["dead-letters", "drop", "--all"],
    ["hold", "--reason", "lunch"],
    ["release"],
    ["watch"],
    ["fsck"],
    ["fsck", "--repair"],
]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: config.toml and data_dir are found from there."""
    for name in [name for name in os.environ if name.startswith("SMSD_")]:
        monkeypatch.delenv(name)
    directory = tmp_path / "smsd"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon for all commands that are refused; it has a dead letter."""
    daemon = Daemon(tmp_path_factory.mktemp("shared") / "smsd", FAST).start()
    die_invalid(daemon, 1)
    yield daemon
    daemon.kill()
    assert TEXT not in daemon.log


@pytest.fixture
def unchanged(here: Path, shared: Daemon, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What the test does from the daemon's directory queues nothing, and nothing moves."""
    monkeypatch.chdir(shared.directory)
    before = status()
    assert before["texts"]["dead"] == 1
    yield
    after = status()
    assert (after["accepted"], after["texts"]) == (before["accepted"], before["texts"])


@pytest.fixture
def still(here: Path) -> Iterator[Daemon]:
    """A daemon that keeps what it is given."""
    daemon = Daemon(here, STILL).start()
    yield daemon
    daemon.kill()


@pytest.fixture
def daemon(here: Path) -> Iterator[Daemon]:
    daemon = Daemon(here, FAST).start()
    yield daemon
    daemon.kill()
    assert TEXT not in daemon.log


def run(*words: str, stdin: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, words, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def good(*words: str, stdin: bytes | None = None) -> str:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def embedded(daemon: Daemon) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(daemon.directory / "var" / "redis.sock"))


def state(daemon: Daemon, id_: str) -> str:
    return str(daemon.call("GET", f"/messages/{id_}")[1]["state"])


def status() -> Any:
    return json.loads(good("status", "--json"))


# -- no store -----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_where_no_daemon_runs_a_command_says_so(here: Path, words: list[str]) -> None:
    (here / "config.toml").write_text("")
    result = run(*words)
    assert (result.exit_code, result.stdout) == (1, "")
    said = f"{here}/var ([redis] data_dir in {here}/config.toml)"
    assert result.stderr == f"smsd is not running on {said}\n"
    assert not (here / "var").exists()


def test_where_no_daemon_runs_it_is_told_who_named_the_place(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "other.toml").write_text('[redis]\ndata_dir = "data"\n')
    (here / "sub").mkdir()
    monkeypatch.chdir(here / "sub")
    config = ("--config", str(Path("..", "other.toml")))
    named = f"{here}/sub/../data ([redis] data_dir in {here}/sub/../other.toml)"
    assert run("status", *config).stderr == f"smsd is not running on {named}\n"
    monkeypatch.setenv("SMSD_REDIS__DATA_DIR", "/nowhere")
    named = "/nowhere ([redis] data_dir in SMSD_REDIS__DATA_DIR)"
    assert run("status", *config).stderr == f"smsd is not running on {named}\n"


def test_a_data_directory_lies_beside_the_file_that_names_it(
    still: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    config = still.directory / "config.toml"
    assert "accepted" in good("status", "--config", str(config))
    assert not Path("/var/redis.sock").exists()


def test_a_socket_that_a_killed_daemon_left_is_no_daemon(here: Path) -> None:
    daemon = Daemon(here, STILL).start()
    daemon.kill()
    eventually(lambda: run("status").exit_code == 1, what="the server outlives its daemon")
    assert run("status").stderr.startswith(f"smsd is not running on {here}/var (")


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_redis_that_does_not_answer_is_named_without_its_password(
    here: Path, words: list[str]
) -> None:
    url = f"redis://:Tr0ub4dor@127.0.0.1:{free_port()}"
    (here / "config.toml").write_text(f'[redis]\nurl = "{url}"\n')
    result = run(*words)
    assert result.exit_code == 1
    assert result.stderr.startswith("Redis does not answer: ")
    assert "Tr0ub4dor" not in result.output


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_settings_that_are_wrong_are_told_as_by_run(here: Path, words: list[str]) -> None:
    (here / "config.toml").write_text("[rate]\nsegments = 1\n")
    result = run(*words)
    assert result.exit_code == 78
    assert "config.toml" in result.stderr
    assert run(*words, "--config", "nowhere.toml").exit_code == 78


def test_a_data_directory_with_a_long_path_is_reached_too(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = here / ("d" * 60) / ("e" * 60)
    daemon = Daemon(deep, STILL).start()
    monkeypatch.chdir(deep)
    assert status()["accepted"] == 0
    assert daemon.stop() == 0


# -- status -------------------------------------------------------------------------------------


def test_status_tells_who_dispatches_and_where_every_text_is(still: Daemon) -> None:
    for _ in range(3):
        still.send(to=ANYBODY, message=TEXT)
    still.send(to=ANYBODY, message=TEXT, send_at=_in_an_hour())
    cancelled = still.send(to=ANYBODY, message=TEXT)["id"]
    assert still.call("DELETE", f"/messages/{cancelled}")[0] == 200
    told = status()
    holder = told["lease"]
    assert (holder["process"], holder["this_host"], holder["died"]) == (str(still.pid), True, False)
    assert told["accepted"] == 5
    texts = {place: count for place, count in told["texts"].items() if count}
    assert texts.pop("queued") + texts.pop("in_flight", 0) == 3  # one may wait for its slot
    assert texts == {"deferred": 1, "cancelled": 1}
    assert told["difference"] == 0
    assert told["drains_in_at_least_seconds"] == 3000.0
    lines = dict(line.split("  ", 1) for line in good("status").splitlines())
    assert lines["dispatch"].strip().startswith(f"by process {still.pid} on this host")
    assert lines["intake"].strip() == lines["sending"].strip() == "ready"
    assert told["intake"] == told["dispatch"] == {"ready": True, "reason": ""}
    assert lines["accepted"].strip() == "5"
    assert lines["drains in"].strip() == "at least 0:50:00 at 0.001 segments/s"


def _in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def test_readiness_and_status_name_the_same_holder(still: Daemon) -> None:
    eventually(lambda: still.call("GET", "/readyz/dispatch")[1]["role"] == "active")
    dispatch = still.call("GET", "/readyz/dispatch")[1]
    assert dispatch["lease_holder"] == dispatch["this_daemon"] == status()["lease"]["holder"]


def test_status_tells_of_a_dead_holder_and_of_none(here: Path, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    daemon = Daemon(here, f'{STILL}[redis]\nurl = "{server.url}"\n').start()
    eventually(lambda: daemon.call("GET", "/readyz/dispatch")[1]["role"] == "active")
    daemon.kill()
    assert status()["lease"]["died"]
    assert "has died" in good("status")
    with server.client() as client:
        client.set("smsd:lease", "elsewhere:boot.1:77:5:abcd")
        assert "by process 77 on host elsewhere" in good("status")
        client.set("smsd:lease", "nonsense")
        assert "on host nonsense" in good("status")
        client.delete("smsd:lease")
    told = status()
    assert told["lease"] is None
    assert told["dispatch"] == {"ready": False, "reason": "nobody holds the lease"}
    assert "by nobody" in good("status")
    with server.client() as client:
        client.config_set("maxmemory", 1)
    assert status()["intake"] == {"ready": False, "reason": "Redis is out of memory"}
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        client.config_set("maxmemory", 0)
    assert "ou can't write against a read only replica" in status()["intake"]["reason"]
    server.stop()


def test_status_tells_why_dispatch_is_held_for_as_long_as_it_is(here: Path, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    daemon = Daemon(here, f'{FAST}[redis]\nurl = "{server.url}"\n').start()
    assert status()["held"] is None
    [id_] = good("send", "--to", NO_FUNDS, "--message", TEXT).split()
    reason = "halted: no_funds the balance is used up"
    eventually(lambda: (status()["held"] or {}).get("reason") == reason)
    assert daemon.call("GET", "/readyz/dispatch")[1]["held"] == reason
    told = status()
    assert told["dispatch"] == {"ready": False, "reason": reason}
    assert told["intake"]["ready"]
    assert 0 <= told["held"]["seconds"] < 60
    assert told["texts"]["deferred"] == 1  # it makes room for other probes
    assert told["drains_in_at_least_seconds"] is None
    lines = dict(line.split("  ", 1) for line in good("status").splitlines())
    assert re.fullmatch(rf" +for 0:00:\d\d: {reason}", lines["held"])
    assert "drains in" not in lines
    daemon.kill()
    assert status()["lease"]["died"]
    assert status()["held"] is None  # its lease has not run out, but it holds nothing any more
    assert status()["texts"]["deferred"] == 1
    daemon.start()
    good("send", "--to", NO_FUNDS, "--message", TEXT)
    eventually(lambda: (status()["held"] or {}).get("reason") == reason)
    assert good("fsck") == "fine: every accepted message is where it should be\n"
    assert daemon.call("DELETE", f"/messages/{id_}")[0] == 200
    assert daemon.stop() == 0
    assert (status()["lease"], status()["held"]) == (None, None)
    server.stop()


def test_status_tells_what_redis_may_lose(here: Path, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", options=("--appendonly", "no")).start()
    (here / "config.toml").write_text(f'[redis]\nurl = "{server.url}"\n')
    assert "warning     appendonly is no" in good("status")
    [warning] = status()["redis"]["warnings"]
    assert warning.startswith("appendonly is no")
    server.stop()


# -- send ---------------------------------------------------------------------------------------


def test_a_text_is_sent_to_each_once_and_its_id_is_printed(daemon: Daemon) -> None:
    numbers = [f"+1202556{n:04}" for n in range(3)]
    to = [word for number in (*numbers, numbers[0]) for word in ("--to", number)]
    ids = good("send", *to, "--message", TEXT, "--ref", "r", "--campaign", "c").split()
    assert len(ids) == 3
    for id_, number in zip(ids, numbers, strict=True):
        eventually(lambda id_=id_: state(daemon, id_) == "sent")
        told = daemon.call("GET", f"/messages/{id_}")[1]
        assert (told["to"], told["ref"], told["campaign"]) == (number, "r", "c")


def test_a_text_may_come_by_standard_input(still: Daemon) -> None:
    good("send", "--to", ANYBODY, "--message", "-", stdin="Zebra é\n\n".encode())
    with embedded(still) as client:
        [(_, fields)] = client.xrange("smsd:queue")
    assert fields[b"message"].decode() == "Zebra é\n"  # the newline that ends a file is none of it


def test_what_is_sent_has_the_same_fields_as_over_http(still: Daemon) -> None:
    options = {"from": "Zoo", "priority": "high", "campaign": "c", "ref": "r"}
    over_http = still.send(to=ANYBODY, message=TEXT, expires_at=_in_an_hour(), **options)["id"]
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    send = ("send", "--to", ANYBODY, "--message", TEXT, *words)
    [by_command] = good(*send, "--expires-at", _in_an_hour()).split()
    with embedded(still) as client:
        first, second = client.xrange("smsd:queue:high")
    assert [f"h{first[0].decode()}", f"h{second[0].decode()}"] == [over_http, by_command]
    del first[1][b"expires_at"], second[1][b"expires_at"]
    assert first[1] == second[1]


def test_a_text_for_later_is_deferred(still: Daemon) -> None:
    [id_] = good("send", "--to", ANYBODY, "--message", TEXT, "--send-at", _in_an_hour()).split()
    assert state(still, id_) == "deferred"


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["--to", "5", "--message", TEXT], "to"),
        (["--to", ANYBODY, "--message", ""], "message"),
        (["--to", ANYBODY, "--message", "x" * 2000], "message"),
        (["--to", ANYBODY, "--message", TEXT, "--from", "?"], "from"),
        (["--to", ANYBODY, "--message", TEXT, "--priority", "urgent"], "priority"),
        (["--to", ANYBODY, "--message", TEXT, "--send-at", "soon"], "send_at"),
        (["--to", ANYBODY, "--message", TEXT, "--expires-at", "2020-01-01T00:00:00Z"],
         "expires_at"),
        (["--to", ANYBODY, "--message", TEXT, "--ref", ""], "ref"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_is_refused_with_the_field(words: list[str], field: str) -> None:
    result = run("send", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{field} ")
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(("word", "stdin"), [("-", b"\xff"), ("Zebra\udcff", None)])
def test_what_is_no_text_is_refused_in_the_same_words(word: str, stdin: bytes | None) -> None:
    result = run("send", "--to", ANYBODY, "--message", word, stdin=stdin)
    assert (result.exit_code, result.stderr) == (2, "message is not valid UTF-8\n")


@pytest.mark.usefixtures("unchanged")
def test_a_text_without_a_recipient_is_not_sent_to_an_audience() -> None:
    assert run("send", "--message", TEXT).exit_code == 2


def test_a_full_queue_is_told(here: Path) -> None:
    daemon = Daemon(here, f"{STILL}[queue]\nmax_length = 1\n").start()
    result = run("send", "--to", ANYBODY, "--to", "+12025560101", "--message", TEXT)
    assert (result.exit_code, result.stderr) == (1, "the queue is full; nothing was queued\n")
    daemon.kill()


# -- dead letters -------------------------------------------------------------------------------


def die_invalid(daemon: Daemon, count: int, **fields: str) -> None:
    with embedded(daemon) as client:
        before = client.xlen("smsd:dead")
        pipeline = client.pipeline(transaction=False)
        for _ in range(count):
            pipeline.xadd("smsd:queue", {"to": "nobody", "message": TEXT, **fields})
        pipeline.execute()
        eventually(lambda: client.xlen("smsd:dead") == before + count)


def test_letters_are_listed_one_a_line_without_their_texts(daemon: Daemon) -> None:
    die_invalid(daemon, 150, campaign="a")
    die_invalid(daemon, 1, campaign="b")
    lines = good("dead-letters", "list").splitlines()
    assert len(lines) == 151
    when = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"
    shape = rf"\d+-\d+ +\d+-\d+ +nobody +invalid    {when}  tried 0   to  .+"
    assert all(re.fullmatch(shape, line) for line in lines), lines[0]
    assert TEXT not in "".join(lines)
    assert len(good("dead-letters", "list", "--campaign", "b").splitlines()) == 1
    [line] = good("dead-letters", "list", "--campaign", "b", "--message", "--json").splitlines()
    assert json.loads(line)["message"] == TEXT


def test_a_letter_in_a_list_tells_when_it_died_and_how_often_it_was_tried(daemon: Daemon) -> None:
    asked_at = datetime.now(UTC).replace(microsecond=0)
    [id_] = good("send", "--to", REFUSED, "--message", TEXT).split()
    eventually(lambda: state(daemon, id_) == "dead")
    with embedded(daemon) as client:
        client.xadd("smsd:dead", {"to": ANYBODY}, id="99999999999999-1")  # by other hands
        client.xadd(
            "smsd:dead", {"id": "x", "reason": "exhausted", "attempts": 6, "failed_at": 10**18}
        )
    ours, bare, strange = good("dead-letters", "list").splitlines()
    _, id_shown, to, reason, died, tried, times, code, *_ = ours.split()
    assert (id_shown, to, reason, code) == (id_, REFUSED, "rejected", "invalid")
    assert (tried, times) == ("tried", "1")
    assert asked_at <= datetime.fromisoformat(died) <= datetime.now(UTC)
    assert bare.split()[1:] == ["-", ANYBODY, "-", "-", "tried", "-"]
    assert strange.split()[1:] == ["x", "-", "exhausted", "-", "tried", "6"]
    assert len({line.index("tried") for line in (ours, bare, strange)}) == 1
    first = json.loads(good("dead-letters", "list", "--json").splitlines()[0])
    assert first["attempts"] == 1
    assert datetime.fromtimestamp(first["failed_at"] // 1000, UTC) == datetime.fromisoformat(died)


def test_what_a_letter_holds_cannot_command_the_terminal(daemon: Daemon) -> None:
    die_invalid(daemon, 1, campaign="\x1b[2J\u202e\nx")
    assert "\x1b" not in good("dead-letters", "list", "--json")
    with embedded(daemon) as client:
        client.xadd("smsd:dead", {"id": "x", "to": "\x1b]0;\x07\r\n", "reason": "r"})
    last = good("dead-letters", "list").split("\n")[-2]
    assert "\x1b" not in last
    assert "\ufffd]0;" in last


def test_a_sweep_by_command_goes_to_its_end(daemon: Daemon) -> None:
    die_invalid(daemon, 1100)
    assert good("dead-letters", "replay", "--reason", "invalid") == "1100 replayed\n"
    with embedded(daemon) as client:
        eventually(lambda: client.xlen("smsd:dead") == 1100)  # they died again
        assert good("dead-letters", "drop", "--all") == "1100 dropped\n"
        assert client.xlen("smsd:dead") == 0


def test_a_command_replays_what_may_have_been_sent_only_on_a_plain_word(
    here: Path, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path).start(plan={"drop": 1})
    daemon = Daemon(here, FAST + recorder.settings()).start()
    [id_] = good("send", "--to", ANYBODY, "--message", TEXT).split()
    eventually(lambda: state(daemon, id_) == "dead")
    recorder.stop()
    recorder.start(plan={"ok": 1})
    said = good("dead-letters", "replay", "--id", id_)
    assert said.startswith("0 replayed\n1 skipped: ")
    assert good("dead-letters", "replay", "--id", id_, "--in-doubt") == "1 replayed\n"
    eventually(lambda: state(daemon, id_) == "sent")
    again = run("dead-letters", "replay", "--id", id_)
    assert (again.exit_code, again.stderr) == (1, "no dead letter has this id\n")
    daemon.kill()
    recorder.stop()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["replay"], "all"),
        (["drop"], "all"),
        (["drop", "--all", "--reason", "invalid"], "all"),
        (["replay", "--reason", ""], "reason"),
        (["drop", "--letter", "-"], "letter"),
        (["list", "--id", "a b"], "id"),
        (["list", "--reason", "bogus"], "reason"),
        (["replay", "--reason", "bogus"], "reason"),
        (["drop", "--reason", "Invalid"], "reason"),
    ],
)
def test_an_order_that_names_nothing_clearly_is_refused(words: list[str], field: str) -> None:
    result = run("dead-letters", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"{field} ")


# -- watch --------------------------------------------------------------------------------------


# Whoever started the tests in the background may have SIGINT ignored, in all his children.
INTERRUPTIBLE = (
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
    "from smsd.cli import main; main()"
)


def test_watch_tells_every_change_until_it_is_interrupted_also_after_a_restart(
    daemon: Daemon,
) -> None:
    earlier = daemon.send(to=ANYBODY, message=TEXT)["id"]
    eventually(lambda: state(daemon, earlier) == "sent")
    watching = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, "watch"],
        cwd=daemon.directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert watching.stdout is not None
    assert watching.stderr is not None
    assert watching.stderr.readline() == "watching; Ctrl-C ends it\n"
    id_ = daemon.send(to=ANYBODY, message=TEXT)["id"]
    lines = [watching.stdout.readline() for _ in range(2)]
    assert [line.split()[1:] for line in lines] == [[id_, "queued"], [id_, "sent"]]
    assert datetime.fromisoformat(lines[0].split()[0]).timestamp() <= time.time()
    daemon.stop()
    assert watching.stderr.readline().startswith("waiting for Redis: ")
    daemon.start()
    id_ = daemon.send(to=ANYBODY, message=TEXT)["id"]
    lines = [watching.stdout.readline() for _ in range(2)]
    assert [line.split()[1:] for line in lines] == [[id_, "queued"], [id_, "sent"]]
    watching.send_signal(signal.SIGINT)
    rest, errors = watching.communicate(timeout=20)
    assert (watching.returncode, rest) == (0, "")
    assert all(line.startswith("waiting for Redis: ") for line in errors.splitlines())


# -- fsck ---------------------------------------------------------------------------------------


def test_a_sound_store_is_found_sound(daemon: Daemon) -> None:
    daemon.send(to=[f"+1202556{n:04}" for n in range(100)], message=TEXT)
    assert good("fsck") == "fine: every accepted message is where it should be\n"
    assert good("fsck", "--repair") == "fine: every accepted message is where it should be\n"


def test_faults_are_told_and_mended_beside_a_running_daemon(daemon: Daemon) -> None:
    daemon.send(to=ANYBODY, message=TEXT, send_at=_in_an_hour())
    with embedded(daemon) as client:
        client.delete("smsd:deferred", "smsd:deferred:messages")
    eventually(lambda: "messages unaccounted for" in daemon.log)
    assert 'look="smsd fsck"' in daemon.log
    assert "smsd fsck looks for them" in good("status")
    result = run("fsck")
    assert result.exit_code == 1
    nowhere, missing, count, advice = result.stdout.splitlines()
    assert nowhere.endswith("is nowhere, though its status says deferred (--repair: marked lost)")
    assert missing.startswith("1 accepted messages are in no place: ")
    assert (count, advice) == ("2 found, 0 mended", "smsd fsck --repair mends them")
    mended = good("fsck", "--repair").splitlines()
    assert [line.partition(" -> ")[2] for line in mended[:2]] == [
        "marked lost",
        "booked as adjusted: +1",
    ]
    assert mended[2:] == ["2 found, 2 mended"]
    assert good("fsck", "--repair").startswith("fine")
    told = status()
    assert (told["texts"]["adjusted"], told["difference"]) == (1, 0)
    assert "adjusted    1" in good("status")


def test_an_entry_that_nobody_would_send_is_sent_after_a_repair(here: Path, tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis").start()
    daemon = Daemon(here, f'{FAST}[redis]\nurl = "{server.url}"\n').start()
    assert daemon.stop() == 0
    [id_] = good("send", "--to", ANYBODY, "--message", TEXT).split()
    with server.client() as client:
        client.xgroup_setid("smsd:queue", "smsd", id_)
    assert run("fsck").exit_code == 1
    assert "delivered again" in good("fsck", "--repair")
    daemon.start()
    eventually(lambda: state(daemon, id_) == "sent")
    daemon.kill()
    server.stop()


def test_a_hold_stops_what_is_sent_through_a_restart_until_it_is_released(here: Path) -> None:
    gateway = Recorder(here).start()
    # A hold acts at the next renewal of the lease, though a third of its life is far away.
    daemon = Daemon(here, f"[redis]\nlease = 600.0\n{gateway.settings()}").start()
    try:
        daemon.send(to=ANYBODY, message=TEXT)
        eventually(lambda: len(gateway.arrivals()) == 1, 30)
        good("hold", "--reason", "wrong numbers")
        eventually(lambda: daemon.call("GET", "/readyz/dispatch")[0] == 503, what="it acts")
        daemon.send(to=ANYBODY, message=TEXT)
        assert daemon.stop() == 0

        daemon.start()
        told = json.loads(good("status", "--json"))
        assert (told["held_by"]["reason"], told["held"]) == ("wrong numbers", None)
        assert re.search(r"held +by \S+ since \S+: wrong numbers", good("status"))
        assert told["drains_in_at_least_seconds"] is None
        status, answer = daemon.call("POST", "/hold", {"reason": "lunch", "until": "noon"})
        assert (status, answer["error"]["field"]) == (400, "until")
        assert daemon.call("POST", "/hold", {"reason": "lunch"}) == (200, {"status": "held"})
        time.sleep(2.5)  # in which it would have been sent
        assert len(gateway.arrivals()) == 1
        assert daemon.call("POST", "/release", {}) == (200, {"status": "released"})
        eventually(lambda: len(gateway.arrivals()) == 2, what="it goes on")
        assert daemon.call("GET", "/readyz/dispatch")[0] == 200
        assert json.loads(good("status", "--json"))["held_by"] is None
        assert 'dispatch held by an operator" reason="wrong numbers; lunch" by=' in daemon.log
        assert daemon.log.count("dispatch released by an operator") == 1
    finally:
        daemon.kill()
        gateway.stop()
