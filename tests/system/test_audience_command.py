"""`smsd audience`. Rule: what was not taken is said, written down, and in the exit code."""

import csv
import json
import os
import pty
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from smsd.cli import main
from tests.support.processes import Daemon
from tests.support.redis_server import free_port

ANNA, BEN = "+12025560101", "+12025560102"
FILE = f"Phone,Name\n{ANNA},Anna\nn/a,Carl\n{BEN},Ben\n{ANNA},Anne\n"
TOKEN = "a-long-enough-token-of-some-kind"


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    directory = tmp_path_factory.mktemp("smsd")
    daemon = Daemon(directory, f'[http]\ntokens = ["{TOKEN}"]\n').start()
    yield daemon
    daemon.kill()


@pytest.fixture
def here(tmp_path: Path, daemon: Daemon, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, where the daemon is known by variables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SMSD_URL", daemon.url)
    monkeypatch.setenv("SMSD_TOKEN", TOKEN)
    (tmp_path / "spring.csv").write_text(FILE)
    return tmp_path


def run(*words: str, stdin: str | bytes | None = None) -> Result:
    result = CliRunner().invoke(main, ["audience", *words], input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def good(*words: str, stdin: str | bytes | None = None) -> str:
    result = run(*words, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_rejected_rows_are_counted_written_down_and_in_the_exit_code(here: Path) -> None:
    result = run("import", "spring.csv", "--name", "one")
    assert result.exit_code == 3
    assert result.stdout.splitlines() == [
        "one: 2 contacts (added 2, updated 0, duplicates 1); fields: name",
        "1 row rejected, also in rejects.csv:",
        "          1  not_a_number",
        "  line 3, column Phone: is not a phone number: n/a",
    ]
    with (here / "rejects.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [
            ["line", "column", "reason", "Phone", "Name"],
            ["3", "Phone", "is not a phone number", "n/a", "Carl"],
        ]


def test_a_list_of_rejected_rows_that_was_mended_can_be_added(here: Path) -> None:
    assert run("import", "spring.csv", "--name", "mended").exit_code == 3
    mended = here / "mended.csv"
    mended.write_text((here / "rejects.csv").read_text().replace("n/a", "+12025560103"))
    assert "added 1, updated 0" in good("import", "mended.csv", "--name", "mended", "--add")
    assert good("show", "mended", "--number", "+12025560103").splitlines()[1:] == ["name: Carl"]


def test_a_file_that_is_good_leaves_no_list_of_rejected_rows(here: Path) -> None:
    (here / "good.csv").write_text(f"phone\n{ANNA}\n")
    good("import", "good.csv", "--name", "two", "--rejects", "bad.csv")
    assert not (here / "bad.csv").exists()
    assert "unchanged" in good("import", "good.csv", "--name", "two")


def test_a_list_of_rejected_rows_is_not_written_over_what_is_read(here: Path) -> None:
    (here / "rejects.csv").write_text(FILE)
    result = run("import", "rejects.csv", "--name", "three")
    assert result.exit_code == 2
    assert "--rejects must name another file" in result.stderr
    assert (here / "rejects.csv").read_text() == FILE


def test_an_import_is_reported_even_if_its_rejected_rows_cannot_be_saved(here: Path) -> None:
    result = run("import", "spring.csv", "--name", "six", "--rejects", "no/where.csv")
    assert result.exit_code == 3
    assert "six: 2 contacts" in result.stdout
    assert "1 row rejected:" in result.stdout
    fault = "the rejected rows could not be saved: no/where.csv: No such file or directory"
    assert result.stderr.splitlines()[-1] == fault
    result = run("export", "six", "--output", "no/where.csv")
    assert (result.exit_code, result.stderr) == (1, "no/where.csv: No such file or directory\n")


def test_nothing_is_left_of_an_export_that_breaks_off(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def cut_off() -> None:
            with server.accept()[0] as caller:
                caller.recv(65_536)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nnumber\r\n")

        thread = threading.Thread(target=cut_off)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        result = run("export", "seven", "--url", url, "--output", "seven.csv")
        thread.join()
    assert result.exit_code == 1
    assert f"{url}/ does not answer" in result.stderr
    assert [path.name for path in here.iterdir()] == ["spring.csv"]


def test_it_adds_from_standard_input_and_exports_what_there_is(here: Path) -> None:
    lines = json.dumps({"number": BEN, "plan": "gold"}) + "\n"
    good("import", "-", "--name", "four", stdin=f"phone;plan\n{ANNA};tin\n")
    out = good("import", "-", "--name", "four", "--add", "--format", "ndjson", stdin=lines)
    assert out == "four: 2 contacts (added 1, updated 0, duplicates 0); fields: plan\n"
    rows = {f"{ANNA},tin", f"{BEN},gold"}
    header, *exported = good("export", "four").splitlines()
    assert (header, set(exported)) == ("number,plan", rows)
    good("export", "four", "--excel", "--output", "out.csv")
    assert f'"=""{BEN}""",gold' in (here / "out.csv").read_text()
    assert not list(here.glob(".*part"))


def test_audiences_are_listed_shown_and_removed(here: Path) -> None:
    good("import", "-", "--name", "five", stdin=f"phone,plan\n{ANNA},tin\n{BEN},gold\n")
    listed = good("list").splitlines()
    assert f"{'five':<24}  {2:>12}  plan" in listed
    assert f"{'demo':<24}  {2:>12}" in listed
    assert json.loads(good("list", "--json").splitlines()[0])["name"] == "demo"
    first, second, third = good("show", "five").splitlines()
    assert first == "five: 2 contacts; fields: plan"
    assert second.startswith("created 20")
    assert "2 added, 0 rejected, SHA-256 " in third
    assert good("show", "five", "--number", ANNA) == f"{ANNA}\nplan: tin\n"
    assert good("remove", "five", "--number", ANNA) == f"{ANNA} removed\n"
    assert json.loads(good("show", "five", "--json"))["contacts"] == 1
    assert good("remove", "five") == "five removed\n"
    assert run("show", "five").stderr == "there is no audience five\n"
    assert good("show", "demo").splitlines()[1] == "it stands in [audiences] of the settings"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("import", "nowhere.csv", "--name", "x"), 1, "nowhere.csv: No such file or directory"),
        (("import", "spring.csv", "--name", "X"), 2, "name must be 1 to 64 small"),
        (("import", "spring.csv", "--name", "x", "--region", "ZZ"), 2, "region must be a country"),
        (("import", "spring.csv", "--name", "demo"), 1, "demo stands in [audiences]"),
        (("export", "nowhere"), 1, "there is no audience nowhere"),
        (("show", "demo", "--number", "x"), 2, "number must start with +"),
    ],
)
def test_what_is_refused_is_one_line(
    here: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    result = run(*words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(message)
    assert result.stderr.count("\n") == 1


def test_a_daemon_that_is_not_there_or_wants_a_token_is_one_line(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SMSD_TOKEN")
    result = run("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "this needs a header Authorization" in result.stderr
    large = here / "large.csv"
    large.write_text("phone\n" + f"{ANNA}\n" * 500_000)
    assert "this needs a header" in run("import", "large.csv", "--name", "x").stderr
    port = free_port()
    result = run("list", "--url", f"http://127.0.0.1:{port}")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"http://127.0.0.1:{port}/ does not answer: ")
    assert run("list", "--url", "nonsense").exit_code == 2


def test_the_settings_say_where_it_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SMSD_URL", "SMSD_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    port = free_port()
    settings = f'[http]\nhost = "0.0.0.0"\nport = {port}\ntokens = ["{TOKEN}"]\n'
    daemon = Daemon(tmp_path, settings, {"SMSD_HTTP__PORT": str(port)}).start()
    try:
        assert "demo" in good("list")
    finally:
        daemon.kill()
    (tmp_path / "config.toml").write_text("[http]\nport = 0\n")
    assert run("list").stderr == "[http] port is 0: name the daemon's URL with --url\n"


def test_progress_is_shown_on_a_terminal_only(here: Path) -> None:
    words = [sys.executable, "-m", "smsd", "audience", "import", "spring.csv", "--name", "bar"]
    terminal, other_end = pty.openpty()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=other_end, check=False)
    os.close(other_end)
    assert done.returncode == 3
    shown = os.read(terminal, 65_536).decode()
    os.close(terminal)
    assert "100%" in shown
    assert b"bar: 2 contacts" in done.stdout
    assert run("import", "spring.csv", "--name", "bar").stderr == ""
