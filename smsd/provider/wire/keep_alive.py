"""How long a connection may be written on. Rule: none that its other end may be closing.

A gateway closes a connection that was idle for its own time. What is written meanwhile may have
been taken or not: nobody can tell. So we stop using it first: a margin before the time for which
the gateway says that it keeps it (`Keep-Alive: timeout=`), or else after `[provider] keep_alive`,
which is less than nearly every server grants. To connect anew is cheap.
"""

import asyncio
import re
import select
from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

MARGIN_S = 1.0  # for the ways there and back, and for what delays us
MOST_S = 20.0  # whatever a gateway says: something between us may forget the connection
NEW_S = 5.0  # a new connection may wait for its slot as long; servers wait for a first request too
RESERVE_S = 0.5  # what must be left of the time when a connection is taken: the slot comes later
_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_END = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Lease(NamedTuple):
    """What a connection is good for, once it is taken."""

    until: float  # by the loop's clock; nothing is written on it later
    reused: bool


class KeepAlive:
    """Which connections may be used again, and until when."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long where the gateway does not say."""
        self._seconds = seconds
        # By protocol: it outlives the transport of a connection that ended.
        self._until: WeakKeyDictionary[asyncio.BaseProtocol, float] = WeakKeyDictionary()

    def keep(self, protocol: asyncio.BaseProtocol, headers: Mapping[str, str], now: float) -> None:
        """An answer with these headers has come: what follows may use the connection."""
        self._until[protocol] = now + self._allowed(headers)

    def take(self, protocol: asyncio.BaseProtocol, now: float) -> Lease:
        """What the connection is good for; for no time at all if it was idle for too long."""
        until = self._until.pop(protocol, None)
        if until is None:
            return Lease(now + NEW_S, reused=False)
        left = until - now
        return Lease(until if left >= min(RESERVE_S, self._seconds / 2) else now, reused=True)

    def _allowed(self, headers: Mapping[str, str]) -> float:
        said = _TIMEOUT.search(headers.get("Keep-Alive", ""))
        return self._seconds if said is None else min(int(said[1]) - MARGIN_S, MOST_S)


def has_ended(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other end has closed it, even if the loop has not been told yet."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), _END)
    return bool(poll.poll(0))
