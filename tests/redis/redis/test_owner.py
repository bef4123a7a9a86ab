"""Names of daemons. Rule: a process is dead only where this machine surely shows that it is."""

import errno
import os
import socket
import subprocess
import sys

import pytest

from smsd.redis import owner
from smsd.store.entry import Attempt
from tests.support.processes import eventually


def test_a_process_has_a_new_name_each_time_it_asks() -> None:
    assert owner.name() != owner.name()


@pytest.mark.parametrize("host", ["münchen", "two words", "a\tb", "x\udcff", "", "a gateway=00"])
def test_an_in_flight_record_can_hold_the_name_whatever_the_host_is_called(
    monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: host)
    attempt = Attempt(1, 1, owner.name(), "00")
    assert Attempt.read(attempt.mark.encode()) == attempt
    assert not owner.is_dead(attempt.owner)


def test_a_living_process_is_not_dead() -> None:
    assert not owner.is_dead(owner.name())


def test_a_living_process_that_proc_hides_is_not_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    name = owner.name()
    monkeypatch.setattr(owner, "_started", lambda _: None)  # hidepid=invisible, another's process
    assert not owner.is_dead(name)
    monkeypatch.setattr(os, "kill", _forbidden)
    assert not owner.is_dead(name)


def _forbidden(*_: int) -> None:
    raise PermissionError(errno.EPERM, "Operation not permitted")


def test_a_process_that_nobody_has_waited_for_yet_is_dead() -> None:
    says_its_name = "from smsd.redis import owner; print(owner.name(), flush=True); input()"
    process = subprocess.Popen(
        [sys.executable, "-c", says_its_name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        assert not owner.is_dead(name)
        process.kill()
        eventually(lambda: owner.is_dead(name), what="it is dead, though a zombie")


def test_a_process_that_has_another_ones_number_is_dead() -> None:
    host, place, pid, started, chance = owner.name().rsplit(":", 4)
    assert owner.is_dead(f"{host}:{place}:{pid}:{int(started) - 1}:{chance}")
    assert not owner.is_dead(f"{host}:other:{pid}:{int(started) - 1}:{chance}")
    assert not owner.is_dead(f"{host}:{place}:{pid}:0:{chance}")


@pytest.mark.parametrize("name", ["", "a", "a:b:c:d:e", "::::", ":" * 9])
def test_a_name_that_is_none_is_not_known_to_be_dead(name: str) -> None:
    assert not owner.is_dead(name)


@pytest.mark.parametrize("pid", ["x", "", "99999999999999999999"])
def test_a_name_with_a_pid_that_is_none_is_of_nobody_known(pid: str) -> None:
    host, place, _, started, chance = owner.name().rsplit(":", 4)
    assert not owner.is_dead(":".join((host, place, pid, started, chance)))
