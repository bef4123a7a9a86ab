"""Starts. Rule: a start that cannot be says why in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.lives import SLOW, failed_start
from tests.support.processes import Daemon


def test_where_stderr_is_closed_a_fault_is_printed_on_stdout(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("[nonsense]\n")
    command = ["/bin/sh", "-c", 'exec "$0" -m smsd run 2>&-', sys.executable]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, timeout=40, check=False)
    assert done.returncode == 78
    assert b"nonsense" in done.stdout


def test_without_a_configuration_it_names_the_file(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "smsd", "run", "--config", "nowhere.toml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=40,
        check=False,
    )

    assert (done.returncode, done.stdout) == (78, "")
    assert done.stderr == "nowhere.toml: cannot be read: No such file or directory\n"


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        (
            "[rate]\nsegments_per_secnd = 45",
            "config.toml: [rate] segments_per_secnd: unknown key;"
            " did you mean segments_per_second?",
        ),
        ("[rat]\nsegments_per_second = 45", "config.toml: [rat]: unknown key; did you mean rate?"),
        (
            '[rate]\nsegments_per_second = "45"',
            'config.toml: [rate] segments_per_second: expected a number, got "45"',
        ),
        ("[rate", "config.toml: expected TOML: "),
        ('[provider]\nname = "nobody"', "config.toml: [provider] name: "),
        (
            "[provider.sandbox]\nlatncy = 1.0",
            "config.toml: [provider.sandbox] latncy: unknown key; did you mean latency?",
        ),
        (
            "[provider.sandbox]\nlatency = -1.0",
            "config.toml: [provider.sandbox] latency: expected greater than or equal to 0",
        ),
        (
            '[provider]\nname = "twilio"\n[provider.twilio]\nauth_token = "hunter2"',
            "config.toml: [provider.twilio] account_sid: is required, and not set",
        ),
        (
            '[http]\nhost = "0.0.0.0"',
            "config.toml: [http] tokens: expected at least one token,"
            " since host 0.0.0.0 is not loopback",
        ),
    ],
)
def test_a_wrong_setting_is_named_and_has_an_exit_code_of_its_own(
    tmp_path: Path, settings: str, fault: str
) -> None:
    code, lines = failed_start(tmp_path, settings)

    assert code == 78
    assert lines[0].startswith(fault)
    assert "hunter2" not in "".join(lines)


def test_all_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    settings = "[http]\nport = 99999\n[rate]\nsegments_per_second = 0\n[nonsense]\n"
    code, lines = failed_start(tmp_path, settings, {"SMSD_HTTP__PORT": "99999"})

    assert (code, len(lines)) == (78, 3)


def test_a_wrong_variable_is_named(tmp_path: Path) -> None:
    code, lines = failed_start(tmp_path, "", {"SMSD_RATE__SEGMENTS_PER_SECOND": "fast"})

    assert code == 78
    assert lines == [
        'SMSD_RATE__SEGMENTS_PER_SECOND: [rate] segments_per_second: expected a number, got "fast"'
    ]


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, lines = failed_start(tmp_path, "", {"SMSD_HTTP__PORT": str(port)})

    assert code == 1
    [line] = lines
    said = f"cannot listen on 127.0.0.1 port {port}: Address already in use ([http] host, port)"
    assert line == said


def test_a_host_that_is_not_ours_is_named(tmp_path: Path) -> None:
    tokens = '["token-0123456789-abc"]'
    code, lines = failed_start(tmp_path, f'[http]\nhost = "192.0.2.1"\ntokens = {tokens}')

    assert code == 1
    [line] = lines
    assert line.startswith("cannot listen on 192.0.2.1 port 0: ")


def test_a_directory_in_use_is_named_with_who_uses_it(smsd: Daemon) -> None:
    smsd.start()
    code, lines = failed_start(smsd.directory, SLOW)

    assert code == 1
    assert lines == [
        f"data directory {smsd.directory}/var is in use by another smsd (process {smsd.pid})"
    ]
    assert smsd.call("GET", "/readyz")[0] == 200


@pytest.mark.parametrize("data_dir", ["config.toml", "config.toml/var", "/proc/smsd"])
def test_a_directory_that_cannot_be_written_is_named(tmp_path: Path, data_dir: str) -> None:
    code, lines = failed_start(tmp_path, f'[redis]\ndata_dir = "{data_dir}"')

    assert code == 1
    [line] = lines
    assert line.startswith(f"data directory {tmp_path / data_dir} cannot be written: ")
    assert line.endswith("([redis] data_dir)")


def test_a_start_that_failed_leaves_nothing_behind(tmp_path: Path, started: list[Daemon]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        failed_start(tmp_path, "", {"SMSD_HTTP__PORT": str(taken.getsockname()[1])})

    started.append(Daemon(tmp_path))
    assert started[0].start().call("GET", "/healthz")[0] == 200
