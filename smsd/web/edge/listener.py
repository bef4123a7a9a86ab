"""The doors. Rule: however many knock, as many as there is room for come in, a few at a time.

One over the limit gets its 503 without a connection being made of it. asyncio's own accept loop
has no limit, makes a task of each, and answers a lack of file descriptors with a log line for
each place in the backlog.
"""

import asyncio
import logging
import os
import resource
import socket
from collections.abc import Sequence
from contextlib import suppress

from aiohttp import web

from smsd.web.edge.connection import Bounds, Connection, farewell
from smsd.web.edge.turns import Turns
from smsd.web.errors import RETRY_AFTER_S

log = logging.getLogger("smsd.http")

BACKLOG = 1024  # connections that the kernel keeps waiting for us; it may have a lower limit
AT_ONCE = 4  # connections accepted in one turn of the loop: the pace must not wait for a flood
NO_FILES_PAUSE_S = 1.0  # after the process or the machine has run out of file descriptors
SAY_S = 10.0  # between two log lines about connections
OWN_FILES = 256  # descriptors for all but callers and provider: Redis, log, doors, and spare

_FULL = farewell(
    503, "too_many_connections", "as many are connected as may be", f"Retry-After: {RETRY_AFTER_S}"
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
        self._doors: list[socket.socket] = []
        self._welcoming: set[asyncio.Task[None]] = set()
        self._said_at = self._loop.time() - SAY_S
        self._watch = self._loop.call_later(self._every_s, self._look)

    async def listen(self, host: str, port: int) -> None:
        """Open our own doors at every address of `host`. Raises `OSError`."""
        found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        for family, address in dict.fromkeys((family, address) for family, *_, address in found):
            self.adopt(socket.create_server(address, family=family))

    def adopt(self, door: socket.socket) -> None:
        """Accept at a socket that is bound already."""
        door.settimeout(0)
        door.listen(BACKLOG)
        self._doors.append(door)
        self._loop.add_reader(door, self._accept, door)

    @property
    def addresses(self) -> Sequence[object]:
        """Where callers find us."""
        return [door.getsockname() for door in self._doors]

    def close(self) -> None:
        """Let nobody in any more; those who are in are still watched over."""
        for door in self._doors:
            self._loop.remove_reader(door)
            door.close()
        self._doors.clear()

    def stop(self) -> None:
        """Everybody has left."""
        self._watch.cancel()
        self._say(last=True)

    # -- accepting ------------------------------------------------------------------------------

    def _accept(self, door: socket.socket) -> None:
        for _ in range(AT_ONCE):
            try:
                caller, _ = door.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                self._pause(door, error)
                return
            caller.settimeout(0)
            if self._full():
                self._turn_away(caller)
            else:
                self._bounds.arriving += 1
                task = self._loop.create_task(self._welcome(caller))
                self._welcoming.add(task)
                task.add_done_callback(self._welcoming.discard)

    def _full(self) -> bool:
        # The server's own list has those too that have left while their request is being worked on.
        return len(self._server.connections) + self._bounds.arriving >= self._max_connections

    async def _welcome(self, caller: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._server, self._bounds, self._loop), caller
            )
        except OSError:  # it has gone already
            self._bounds.arriving -= 1
            caller.close()

    def _turn_away(self, caller: socket.socket) -> None:
        self._bounds.refused["too_many"] += 1
        with caller, suppress(OSError):
            caller.send(_FULL)

    def _pause(self, door: socket.socket, error: OSError) -> None:
        """Those who knock stay in the backlog meanwhile."""
        self._bounds.refused[f"no_room ({os.strerror(error.errno or 0)})"] += 1
        self._loop.remove_reader(door)
        self._loop.call_later(NO_FILES_PAUSE_S, self._resume, door)

    def _resume(self, door: socket.socket) -> None:
        if door in self._doors:
            self._loop.add_reader(door, self._accept, door)

    # -- watching -------------------------------------------------------------------------------

    def _look(self) -> None:
        self._watch = self._loop.call_later(self._every_s, self._look)
        now = self._loop.time()
        for connection in list(self._bounds.open):
            connection.look(now)
        self._say()

    def _say(self, *, last: bool = False) -> None:
        """Tell in one line what was refused, now and then."""
        refused, now = self._bounds.refused, self._loop.time()
        if not refused or (now < self._said_at + SAY_S and not last):
            return
        self._said_at = now
        ours = any(word.startswith(("too_many", "no_room")) for word in refused)
        log.log(
            logging.WARNING if ours else logging.DEBUG,
            "connections refused",
            extra={"refused": dict(refused), "most": self._max_connections},
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
