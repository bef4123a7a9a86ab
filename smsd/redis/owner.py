"""Names for daemons. Rule: a name tells where its process ran, so its death shows.

A daemon that was killed leaves its lease behind. Its successor on the same machine need not wait
for the lease to run out: if the name says "this boot, this process namespace, that pid, started
then" and there is no such process any more, its holder is dead. That /proc does not show it proves
nothing: it may hide what another user runs.

A machine that was cloned with its memory runs the same boot with the same processes: there this
proves nothing either, and whoever goes by it looks whether the holder goes on renewing its lease.
"""

import errno
import os
import re
import secrets
import socket
from pathlib import Path


def name() -> str:
    """A name for this process; no other process, past or present, has the same."""
    pid = os.getpid()
    parts = (_place(), str(pid), _started(pid) or "0", secrets.token_hex(4))
    # Whatever the host is called: in-flight records hold this name, and visible characters alone.
    host = re.sub(r"[^!-~]", "-", socket.gethostname())
    return f"{host}:{':'.join(parts)}"


def is_dead(owner: str) -> bool:
    """Whether the process called `owner` ran here and is gone. False when that cannot be known."""
    try:
        _host, place, digits, started, _chance = owner.rsplit(":", 4)
        pid = int(digits)
    except ValueError:
        return False  # no name that smsd gave
    if started == "0" or place != _place():
        return False
    there = _started(pid)
    return there != started and (there is not None or _is_free(pid))


def _place() -> str:
    """This boot and process namespace, or a word that equals no other."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:13]}.{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return secrets.token_hex(8)


def _started(pid: int) -> str | None:
    """Start time of a process in clock ticks since boot (proc(5), stat field 22).

    None where /proc shows none; "" for one that is dead, though nobody has waited for it yet.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] in "ZX" else fields[19]


def _is_free(pid: int) -> bool:
    """Whether no process, of whatever user, has this number."""
    try:
        os.kill(pid, 0)
    except OSError as error:
        return error.errno == errno.ESRCH
    except OverflowError:
        pass  # no number of a process
    return False
