"""SIGHUP. Rule: it reloads what can be reloaded, or stops where the terminal has closed."""

import os
import pty
import re
import signal
import socket
from pathlib import Path

import pytest

from tests.support.lives import (
    ANYBODY,
    BODY,
    send_many,
    state,
    states,
)
from tests.support.processes import Daemon, eventually


def target(daemon: Daemon) -> str:
    """What /metrics says of the rate."""
    with socket.create_connection(daemon.url.removeprefix("http://").split(":")) as client:  # type: ignore[arg-type]
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while chunk := client.recv(65_536):
            answer += chunk
    found = re.search(rb"smsd_pace_target_segments_per_second ([0-9.]+)", answer)
    return found[1].decode() if found else ""


def reconfigure(daemon: Daemon, settings: str, until: str) -> None:
    seen = daemon.log.count(until)
    (daemon.directory / "config.toml").write_text(settings)
    daemon.signal(signal.SIGHUP)
    eventually(lambda: daemon.log.count(until) > seen, what=until)


def test_a_hangup_changes_rate_and_log_level(tmp_path: Path, started: list[Daemon]) -> None:
    slow = "[rate]\nsegments_per_second = 0.5\n[message]\nmax_segments = 1\n"
    smsd = Daemon(tmp_path, slow)
    started.append(smsd)
    smsd.start()
    eventually(lambda: target(smsd) == "0.5")
    ids = send_many(smsd, 100)

    # At the old rate this would take 200 s.
    fast = "[rate]\nsegments_per_second = 40\n[message]\nmax_segments = 1\n"
    (smsd.directory / "config.toml").write_text(fast + '[log]\nlevel = "warning"\n')
    smsd.signal(signal.SIGHUP)
    eventually(lambda: target(smsd) == "40.0", what="the new rate")
    eventually(lambda: set(states(smsd, ids)) == {"sent"}, what="all are sent")
    assert " sent id=" not in smsd.log

    reconfigure(smsd, fast, "info reloaded rate=40.0 level=info")
    message_id = smsd.send(message=BODY, to=ANYBODY)["id"]
    eventually(lambda: f" sent id={message_id} " in smsd.log, what="a line of it")


def test_what_a_hangup_cannot_change_is_told(tmp_path: Path, started: list[Daemon]) -> None:
    smsd = Daemon(tmp_path, "[rate]\nsegments_per_second = 20\n")
    started.append(smsd)
    smsd.start()
    reconfigure(smsd, "[rate]\nsegments_per_second = 30\n", "info reloaded rate=30.0")
    assert "restart" not in smsd.log

    changed = '[rate]\nceiling = "message"\n[queue]\nmax_length = 7\n[log]\nlevel = "debug"\n'
    keys = "queue.max_length,rate.ceiling"
    reconfigure(smsd, changed, f'warning "a change needs a restart" keys={keys}')
    assert target(smsd) == "45.0"


def test_a_broken_configuration_is_told_at_a_hangup_and_ignored(smsd: Daemon) -> None:
    smsd.start()
    eventually(lambda: target(smsd) == "20.0")
    for broken in ("[rate\n", "[rate]\nsegments_per_second = 0\n", "[nonsense]\n"):
        reconfigure(smsd, broken, 'error "not reloaded" reason=')
    assert target(smsd) == "20.0"

    (smsd.directory / "config.toml").unlink()
    smsd.signal(signal.SIGHUP)
    eventually(lambda: smsd.log.count('error "not reloaded" reason=') == 4)
    assert state(smsd, smsd.send(message=BODY, to=ANYBODY)["id"]) in ("queued", "sending", "sent")
    assert smsd.stop() == 0


IN_TERMINAL = """
import os, signal, sys
os.setsid()
os.open(sys.argv[1], os.O_RDWR)  # the first one that a session opens is its own
signal.signal(signal.SIGHUP, signal.SIG_IGN if sys.argv[2] == "nohup" else signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, "-m", "smsd", "run"])
"""


@pytest.mark.parametrize("started_with", ["", "nohup"])
def test_a_closed_terminal_stops_what_was_started_in_it_but_not_with_nohup(
    smsd: Daemon, started_with: str
) -> None:
    terminal, inner = pty.openpty()
    smsd.start(program=["-c", IN_TERMINAL, os.ttyname(inner), started_with])
    os.close(inner)
    smsd.signal(signal.SIGHUP)
    eventually(lambda: smsd.log.count(" reloaded ") == 1, what="a reload, while it is open")
    os.close(terminal)
    if started_with == "nohup":
        eventually(lambda: smsd.log.count(" reloaded ") == 2, what="the second reload")
        assert smsd.stop() == 0
    else:
        assert smsd.wait(20) == 0
        assert smsd.log.count(" reloaded ") == 1
