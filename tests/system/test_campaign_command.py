"""`smsd campaign`. Rule: what HTTP does is done by it, and the exit code says what became of it."""

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smsd.cli import main
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import free_port

TOKEN = "a-long-enough-token-of-some-kind"
SETTINGS = f"""
    [http]
    tokens = ["{TOKEN}"]
    [message]
    max_segments = 2
    [rate]
    segments_per_second = 20
    [campaign]
    price_per_segment = 0.01
    currency = "EUR"
    [provider.sandbox]
    rate = 1000
    latency = 0.02
"""
FILE = """phone,first_name
+12025560101,Anna
+12025560102,Zoë
+12025560103,
"""
BODY = 'Hi {{ first_name | default: "you" }}'


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path_factory.mktemp("smsd"), SETTINGS).start()
    yield daemon
    daemon.kill()


@pytest.fixture
def here(tmp_path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where the daemon is known by variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSD_URL", daemon.url)
    monkeypatch.setenv("SMSD_TOKEN", TOKEN)
    (tmp_path / "people.csv").write_text(FILE)
    (tmp_path / "crowd.csv").write_text(
        "phone\n" + "".join(f"+1202556{n:04}\n" for n in range(2000, 3000))
    )
    (tmp_path / "long.csv").write_text(
        f"phone,note\n+12025560101,{'x' * 200}\n+12025560102,{'x' * 200}\n"
    )
    for name in ("people", "crowd", "long"):
        imported = invoke("audience", "import", f"{name}.csv", "--name", name)
        assert imported.exit_code == 0, imported.output
    return tmp_path


def invoke(*words: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, list(words), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def run(*words: str, stdin: str | bytes | None = None) -> Result:
    return invoke("campaign", *words, stdin=stdin)


def good(*words: str, stdin: str | bytes | None = None) -> list[str]:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(code: int, *words: str, stdin: str | bytes | None = None) -> str:
    result = run(*words, stdin=stdin)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    [line] = result.stderr.splitlines()
    return line


def becomes(name: str, state: str) -> list[str]:
    eventually(lambda: state in good("show", name)[0], what=f"{name} {state}")
    return good("show", name)


@pytest.mark.usefixtures("here")
def test_a_campaign_is_planned_started_and_shown() -> None:
    asked = ("--audience", "people", "--message", f"{BODY}, {'x' * 80}")
    plan = good("plan", *asked)
    assert plan[:5] == [
        "3 recipients",
        "3 messages, 4 segments: 2 of 1 segment, 1 of 2 segments",
        "1 message in UCS-2, which takes 1 segment more:",
        "  ë (LATIN SMALL LETTER E WITH DIAERESIS) in column first_name: 1 message, 1 segment more",
        "cost 0.04 EUR",
    ]
    assert plan[5].startswith("finished about 20")

    [started] = good("start", *asked, "--name", "one", "--kind", "service", "--ref", "r-1")
    assert started.split("  ")[0] == "one"
    assert "3 recipients  4 segments  finished about 20" in started
    shown = becomes("one", "finished")
    assert "  sent                3" in shown
    assert "segments    4 of 4 sent" in shown[6]
    assert "cost        0.04 of 0.04 EUR" in shown
    assert {"kind        service", "ref         r-1"} <= set(shown)
    listed = good("list")
    assert listed[0].startswith("one ")
    assert "3 of         3 sent" in listed[0]


@pytest.mark.usefixtures("here")
def test_answers_may_be_printed_as_they_are() -> None:
    plan = json.loads(good("plan", "--to", "+12025560101", "--message", "Hi", "--json")[0])
    assert plan["dry_run"] is True
    asked = ("--to", "+12025560101", "--message", "Hi", "--name", "as-json", "--json")
    started = json.loads(good("start", *asked)[0])
    assert started["name"] == "as-json"
    assert json.loads(good("show", "as-json", "--json")[0])["id"] == started["id"]
    assert started["id"] in {json.loads(line)["id"] for line in good("list", "--json")}


@pytest.mark.usefixtures("here")
def test_the_text_may_come_from_standard_input() -> None:
    [started] = good("start", "--to", "+12025560101", "--message", "-", stdin="Hallo Zoë\n")
    name = started.split()[0]
    assert "message     Hallo Zoë" in good("show", name)
    assert refused(2, "start", "--to", "+12025560101", "--message", "-", stdin=b"\xff") == (
        "message is not valid UTF-8"
    )


@pytest.mark.usefixtures("here")
def test_recipients_at_fault_are_in_the_exit_code_of_a_plan() -> None:
    faulty = run("plan", "--audience", "people", "--message", "Hi {{ first_name }}")
    assert faulty.exit_code == 3
    assert faulty.stdout.splitlines()[4:7] == [
        "1 recipient without a value; the campaign would be refused:",
        "  column first_name: 1",
        "  for example +12025560103",
    ]
    long = run("plan", "--audience", "long", "--message", "{{ note }} and {{ note }}")
    assert long.exit_code == 3
    assert "2 recipients with too long a message; they would get none:" in long.stdout
    message = refused(2, "start", "--audience", "people", "--message", "Hi {{ first_name }}")
    assert message.startswith("message needs first_name, which +12025560103 has not")


@pytest.mark.usefixtures("here")
def test_a_wrong_word_ends_with_2_and_a_refusal_with_1() -> None:
    message = refused(2, "start", "--audience", "nobody", "--message", "Hi")
    assert message == "audience names none that there is: nobody"
    assert "{{ name }}" in refused(2, "start", "--to", "+12025560101", "--message", "Hi {name}")
    assert run("start", "--audience", "people").exit_code == 2
    assert refused(1, "show", "nobody") == "there is no campaign nobody"
    assert refused(1, "pause", "../nobody") == "there is no campaign ../nobody"
    assert refused(2, "edit", "whatever").startswith("weight or expires_at must be given")


@pytest.mark.usefixtures("here")
def test_a_repetition_with_the_same_key_starts_it_once() -> None:
    asked = ("start", "--to", "+12025560101", "--message", "Hi", "--key", "k-1", "--json")
    assert json.loads(good(*asked)[0])["id"] == json.loads(good(*asked)[0])["id"]


@pytest.mark.usefixtures("here")
def test_a_campaign_is_paused_resumed_edited_cancelled_and_removed() -> None:
    good("start", "--name", "two", "--audience", "crowd", "--message", "Hi")
    message = refused(1, "pause", "two", "--expect", "5")
    assert message.startswith("it concerns ")
    paused = good("pause", "two", "--reason", "wrong link")
    assert paused[0].endswith(": paused")
    assert paused[1].endswith("by HTTP from 127.0.0.1: wrong link")
    assert good("resume", "two")[0].endswith(": running")
    edited = good("edit", "two", "--weight", "7", "--expires-at", "2027-05-01T00:00:00Z")
    assert "weight      7" in edited
    assert refused(1, "remove", "two").startswith("the campaign is running")
    assert good("cancel", "two", "--reason", "enough", "--json")
    eventually(lambda: run("remove", "two").exit_code == 0, what="it is removed")
    assert refused(1, "show", "two") == "there is no campaign two"


@pytest.mark.usefixtures("here")
def test_what_is_dead_is_shown_with_its_reasons_and_tried_again() -> None:
    body = "{{ note }} and once more {{ note }}"
    good("start", "--name", "three", "--audience", "long", "--message", body)
    shown = becomes("three", "needs attention (2 dead)")
    assert "  dead                2  (invalid 2)" in shown
    assert refused(1, "retry-failed", "three", "--expect", "3").startswith("it concerns 2 messages")
    assert good("retry-failed", "three", "--expect", "2") == ["2 replayed"]
    becomes("three", "needs attention (2 dead)")
    again = json.loads(good("retry-failed", "three", "--in-doubt", "--json")[0])
    assert again == {"replayed": 2, "skipped": 0}


def test_recipients_are_written_to_a_file(here: Path) -> None:
    good("start", "--name", "four", "--audience", "people", "--message", BODY)
    becomes("four", "finished")
    assert good("recipients", "four", "--state", "sent", "--output", "sent.csv") == []
    with (here / "sent.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header[:2] == ["number", "state"]
    assert len(rows) == 3
    assert good("recipients", "four", "--state", "dead") == [",".join(header)]
    assert refused(2, "recipients", "four", "--state", "nowhere").startswith("state must be one of")
    unwritable = str(here / "no" / "such" / "sent.csv")
    assert unwritable in refused(1, "recipients", "four", "--output", unwritable)


def test_a_daemon_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    for words in (("list",), ("show", "a"), ("plan", "--to", "+12025560101", "--message", "Hi")):
        assert refused(1, *words, "--url", url).startswith(f"{url}")
