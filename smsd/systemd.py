"""systemd's protocols. Rule: without systemd nothing happens, and no failure stops the daemon.

They are sd_notify(3), sd_watchdog_enabled(3) and sd_listen_fds(3): a datagram and four variables.
"""

import os
import socket
from contextlib import suppress

FIRST_FD = 3  # SD_LISTEN_FDS_START


def notify(state: str) -> None:
    """Send `READY=1` or another state, or several as lines. Never raises, never blocks."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return
    if address.startswith("@"):  # the abstract namespace
        address = "\0" + address[1:]
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.settimeout(0)
        sender.sendto(state.encode(), address)


def watchdog_interval() -> float | None:
    """Seconds within which systemd expects a `WATCHDOG=1`; None if it expects none."""
    if not _is_for_us("WATCHDOG_PID", absent=True):
        return None
    microseconds = _number("WATCHDOG_USEC")
    return microseconds / 1_000_000 if microseconds else None


def listen_fds() -> list[socket.socket]:
    """The sockets of socket activation, non-blocking, and not inherited by child processes."""
    if not _is_for_us("LISTEN_PID", absent=False):
        return []
    sockets = [socket.socket(fileno=fd) for fd in range(FIRST_FD, FIRST_FD + _number("LISTEN_FDS"))]
    for listener in sockets:
        listener.settimeout(0)
        listener.set_inheritable(False)
    return sockets


def _is_for_us(variable: str, *, absent: bool) -> bool:
    """Whether the variables are meant for this process; a child inherits them, too."""
    value = os.environ.get(variable)
    return absent if value is None else value == str(os.getpid())


def _number(variable: str) -> int:
    value = os.environ.get(variable, "")
    return int(value) if value.isascii() and value.isdigit() else 0
