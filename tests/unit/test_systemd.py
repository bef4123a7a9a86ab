"""systemd. Rule: the protocols are spoken to real sockets, the units judged by systemd itself."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from smsd import systemd

UNITS = Path(__file__).parents[2] / "systemd"
WORST_EXPOSURE = 15  # tenths, of systemd-analyze's scale to 10
OURS = "ours"  # stands for this process in names of tests, which have to be the same in each
needs_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on PATH"
)


@pytest.fixture(autouse=True)
def _without_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@smsd-test-{os.getpid()}"
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(name.replace("@", "\0"))
        receiver.settimeout(5)
        yield receiver


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)


def test_a_state_arrives_as_one_datagram(manager: socket.socket) -> None:
    systemd.notify("READY=1\nSTATUS=45/s")

    assert manager.recv(100) == b"READY=1\nSTATUS=45/s"


def test_a_manager_that_does_not_read_holds_nothing_up(manager: socket.socket) -> None:
    for _ in range(5000):
        systemd.notify("WATCHDOG=1")

    assert manager.recv(100) == b"WATCHDOG=1"


@pytest.mark.parametrize(
    "name", [None, "", "relative", "/nowhere/notify", "@nobody", "/" + "x" * 200]
)
def test_without_a_manager_nothing_happens(
    monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    if name is not None:
        monkeypatch.setenv("NOTIFY_SOCKET", name)

    systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("microseconds", "pid", "seconds"),
    [
        ("30000000", None, 30.0),
        ("30000000", OURS, 30.0),
        ("30000000", "1", None),
        ("500000", None, 0.5),
        ("0", None, None),
        ("soon", None, None),
        (None, None, None),
    ],
)
def test_the_watchdogs_interval_is_told_in_seconds_to_whom_it_is_meant_for(
    monkeypatch: pytest.MonkeyPatch,
    microseconds: str | None,
    pid: str | None,
    seconds: float | None,
) -> None:
    for name, value in (("WATCHDOG_USEC", microseconds), ("WATCHDOG_PID", pid)):
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == OURS else value)

    assert systemd.watchdog_interval() == seconds


def test_handed_over_sockets_are_non_blocking_and_closed_to_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        copies = [os.dup(server.fileno()), os.dup(server.fileno())]
        fds = sorted(copies)
        if fds[1] != fds[0] + 1:
            pytest.skip("the two copies have no consecutive numbers")
        os.set_inheritable(fds[0], True)
        monkeypatch.setattr(systemd, "FIRST_FD", fds[0])
        monkeypatch.setenv("LISTEN_PID", str(os.getpid()))
        monkeypatch.setenv("LISTEN_FDS", "2")

        listeners = systemd.listen_fds()

        assert [listener.fileno() for listener in listeners] == fds
        for listener in listeners:
            assert listener.getsockname() == server.getsockname()
            assert listener.family is socket.AF_INET
            assert not listener.getblocking()
            assert not listener.get_inheritable()
            listener.close()


@pytest.mark.parametrize(("pid", "count"), [(None, "1"), ("1", "1"), (OURS, None)])
def test_sockets_meant_for_another_process_are_left_alone(
    monkeypatch: pytest.MonkeyPatch, pid: str | None, count: str | None
) -> None:
    for name, value in (("LISTEN_PID", pid), ("LISTEN_FDS", count)):
        if value is not None:
            monkeypatch.setenv(name, str(os.getpid()) if value == OURS else value)

    assert systemd.listen_fds() == []


@needs_analyze
def test_the_service_is_hardened_as_far_as_it_goes() -> None:
    result = analyze(
        "security", "--offline=yes", f"--threshold={WORST_EXPOSURE}", UNITS / "smsd.service"
    )

    assert result.returncode == 0, result.stdout[-200:] + result.stderr


def test_the_service_does_not_hide_what_names_this_boot() -> None:
    # /proc/sys/kernel/random/boot_id: without it a killed daemon's lease has to run out.
    assert "ProcSubset=pid" not in (UNITS / "smsd.service").read_text().splitlines()


@needs_analyze
def test_the_units_have_no_fault_that_systemd_finds(tmp_path: Path) -> None:
    service = (UNITS / "smsd.service").read_text()
    started = "/opt/smsd/.venv/bin/smsd"
    assert f"ExecStart={started} " in service
    (tmp_path / "smsd.service").write_text(service.replace(started, sys.executable))
    shutil.copy(UNITS / "smsd.socket", tmp_path)

    result = analyze("verify", tmp_path / "smsd.service", tmp_path / "smsd.socket")

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
