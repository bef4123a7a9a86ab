"""The listening sockets. Rule: a bounded number of connections is open, and few begin at once.

A connection over the limit gets its 503 without a `Connection` being made for it. asyncio's own
accept loop has no limit, makes a task of each connection, and answers a lack of file descriptors
with a log line for each place in the backlog.
"""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from smsd.web.edge.connection import Bounds, Connection, last_answer
from smsd.web.edge.turns import Turns
from smsd.web.errors import RETRY_AFTER_S

log = logging.getLogger("smsd.http")

BACKLOG = 1024  # connections that the kernel keeps waiting for us; it may have a lower limit
ACCEPTS_PER_TURN = 4  # of the event loop: the pace must not wait for a flood of connections
NO_FILES_PAUSE_S = 1.0  # after the process or the machine has run out of file descriptors
LOG_INTERVAL_S = 10.0  # between two log lines about connections
OWN_FILES = (
    256  # descriptors for all but callers and provider: Redis, log, listening sockets, spare
)

_FULL = last_answer(
    503, "too_many_connections", "no more connections are allowed", f"Retry-After: {RETRY_AFTER_S}"
)


class Listener:
    """Accepts connections for `server` and watches over them."""

    def __init__(
        self,
        server: web.Server,
        *,
        turns: Turns,
        max_connections: int,
        header_timeout_s: float,
        answer_timeout_s: float,
    ) -> None:
        """`answer_timeout_s`: how long a caller may leave an answer unread."""
        self._loop = asyncio.get_running_loop()
        self._server = server
        self._max_connections = max_connections
        self._bounds = Bounds(header_timeout_s, answer_timeout_s, self._loop.time, turns)
        self._every_s = min(1.0, header_timeout_s / 4, answer_timeout_s / 4)
        self._sockets: list[socket.socket] = []
        self._accepting: set[asyncio.Task[None]] = set()
        self._logged_at = self._loop.time() - LOG_INTERVAL_S
        self._watch = self._loop.call_later(self._every_s, self._look)

    async def listen(self, host: str, port: int) -> None:
        """Open sockets of our own at every address of `host`. Raises `OSError`."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, address) for family, *_, address in found):
            self.adopt(socket.create_server(address, family=family))

    def adopt(self, sock: socket.socket) -> None:
        """Accept at a socket that is bound already."""
        sock.settimeout(0)
        sock.listen(BACKLOG)
        self._sockets.append(sock)
        self._loop.add_reader(sock, self._accept, sock)

    @property
    def addresses(self) -> Sequence[object]:
        """The addresses that callers can connect to."""
        return [sock.getsockname() for sock in self._sockets]

    def close(self) -> None:
        """Accept no more connections; those that are open are still watched over."""
        for sock in self._sockets:
            self._loop.remove_reader(sock)
            sock.close()
        self._sockets.clear()

    def stop(self) -> None:
        """Stop watching: no connection is left."""
        self._watch.cancel()
        self._log_refused(last=True)

    # -- accepting ------------------------------------------------------------------------------

    def _accept(self, sock: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                caller, _ = sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(sock, error)
                return
            caller.settimeout(0)
            if self._full():
                self._refuse(caller)
            else:
                self._bounds.arriving += 1
                task = self._loop.create_task(self._open(caller))
                self._accepting.add(task)
                task.add_done_callback(self._accepting.discard)

    def _full(self) -> bool:
        # The server's own list also has those that are closed while their request is being handled.
        return len(self._server.connections) + self._bounds.arriving >= self._max_connections

    async def _open(self, caller: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._server, self._bounds, self._loop), caller
            )
        except OSError:  # the caller has closed it already
            self._bounds.arriving -= 1
            caller.close()

    def _refuse(self, caller: socket.socket) -> None:
        self._bounds.refused["too_many"] += 1
        with caller, suppress(OSError):
            caller.send(_FULL)

    def _pause(self, sock: socket.socket, error: OSError) -> None:
        """Accept nothing for a while; new connections stay in the backlog meanwhile."""
        self._bounds.refused[f"no_room ({os.strerror(error.errno or 0)})"] += 1
        self._loop.remove_reader(sock)
        self._loop.call_later(NO_FILES_PAUSE_S, self._resume, sock)

    def _resume(self, sock: socket.socket) -> None:
        if sock in self._sockets:
            self._loop.add_reader(sock, self._accept, sock)

    # -- watching -------------------------------------------------------------------------------

    def _look(self) -> None:
        self._watch = self._loop.call_later(self._every_s, self._look)
        now = self._loop.time()
        for connection in list(self._bounds.open):
            connection.look(now)
        self._log_refused()

    def _log_refused(self, *, last: bool = False) -> None:
        """Log in one line what was refused, at most every `LOG_INTERVAL_S`."""
        refused, now = self._bounds.refused, self._loop.time()
        if not refused or (now < self._logged_at + LOG_INTERVAL_S and not last):
            return
        self._logged_at = now
        ours = any(reason.startswith(("too_many", "no_room")) for reason in refused)
        log.log(
            logging.WARNING if ours else logging.DEBUG,
            "connections refused",
            extra={"refused": dict(refused), "max_connections": self._max_connections},
        )
        refused.clear()


def room_for(max_connections: int, others: int) -> int:
    """Raise the limit of open files so that all fit beside `others`; how many really do."""
    needed = max_connections + others + OWN_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return max_connections
    allowed = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
    with suppress(OSError, ValueError):  # a kernel limit below the hard one
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    fitting = max(1, min(max_connections, soft - others - OWN_FILES))
    if fitting < max_connections:
        log.warning(
            "too few open files are allowed",
            extra={"wanted": needed, "allowed": soft, "connections": fitting},
        )
    return fitting
