"""How long a connection may be used. Rule: nothing is written on one that may be closing.

A gateway closes a connection that was idle for too long. What is written at that moment may have
been taken or not: the message is in doubt. So we stop using the connection first: a margin before
the time that the gateway announces (`Keep-Alive: timeout=`), or else after `[provider]
keep_alive`, which is less than nearly every server allows. A new connection is cheap.
"""

import asyncio
import re
import select
from collections.abc import Mapping
from typing import NamedTuple
from weakref import WeakKeyDictionary

MARGIN_S = 1.0  # for the network and for our own delays
MOST_S = 20.0  # whatever a gateway announces: a NAT or firewall may drop the connection
NEW_S = 5.0  # for which a new connection may wait for its slot: servers limit that wait too
RESERVE_S = 0.5  # that must be left when a connection is taken, since the slot comes later
_TIMEOUT = re.compile(r"(?:^|[,;\s])timeout\s*=\s*\"?([0-9]{1,9})", re.IGNORECASE)
_END = getattr(select, "POLLRDHUP", 0) | select.POLLHUP | select.POLLERR


class Taken(NamedTuple):
    """A connection that is taken for a request."""

    until: float  # by the loop's clock; nothing is written on it later
    reused: bool


class KeepAlive:
    """Which connections may be used again, and until when."""

    def __init__(self, seconds: float) -> None:
        """`seconds`: how long where the gateway does not announce it."""
        self._seconds = seconds
        # By protocol, which outlives the transport of a connection that ended.
        self._until: WeakKeyDictionary[asyncio.BaseProtocol, float] = WeakKeyDictionary()

    def keep(self, protocol: asyncio.BaseProtocol, headers: Mapping[str, str], now: float) -> None:
        """Allow the connection to be used again, after an answer with these headers."""
        self._until[protocol] = now + self._allowed(headers)

    def take(self, protocol: asyncio.BaseProtocol, now: float) -> Taken:
        """Take the connection; `until` is `now` if it was idle for too long."""
        until = self._until.pop(protocol, None)
        if until is None:
            return Taken(now + NEW_S, reused=False)
        left = until - now
        return Taken(until if left >= min(RESERVE_S, self._seconds / 2) else now, reused=True)

    def _allowed(self, headers: Mapping[str, str]) -> float:
        announced = _TIMEOUT.search(headers.get("Keep-Alive", ""))
        return self._seconds if announced is None else min(int(announced[1]) - MARGIN_S, MOST_S)


def has_ended(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other end has closed it, even if the event loop has not noticed yet."""
    sock = None if transport is None else transport.get_extra_info("socket")
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), _END)
    return bool(poll.poll(0))
