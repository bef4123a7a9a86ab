"""One caller's connection. Rule: it holds little, and a caller that keeps it waiting is closed.

aiohttp serves it. Added here are the limits that aiohttp leaves to a proxy in front of it: a time
for the headers and for reading an answer, a number of octets before a request is whole, a small
read at once. What aiohttp itself refuses is answered in JSON, and counted instead of logged: the
octets of a bad request may be anybody's text or token.

This is the only file that knows aiohttp from the inside. Its `web.Server` has no setting for the
class of its connections, so the listener makes them itself, of a subclass of
`web.RequestHandler` that extends asyncio's callbacks, `shutdown`, `handle_error` and
`log_exception`. One private attribute is used: `_messages`, the requests that aiohttp has parsed
and not begun, which would otherwise stay until the garbage collector finds them.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from smsd.web.edge.turns import Turns
from smsd.web.errors import drop_tracebacks, json_response

DROPPED = 1_048_576  # octets of a refused body that are read, so that the refusal arrives
READ = 16_384  # octets read at once, and about as many again before reading stops
# The same for callers that are not known: 16 KB can be 400 requests, or 2,700 pieces of one body,
# and these are parsed, and dropped, in one step of the event loop.
SMALL_READ = 2_048
LARGEST_HEADERS = 32_768  # octets of a request that has not begun: headers, and READ of its body
KEEP_ALIVE_S = 75.0  # idle between two requests; more than the 60 s of common load balancers

_CALLERS_FAULTS = (HttpProcessingError, web.RequestPayloadError)
# What aiohttp is to do. Its own limits are for one header; LARGEST_HEADERS is for all of them.
_SERVING: dict[str, Any] = {
    "keepalive_timeout": KEEP_ALIVE_S,
    "access_log": None,
    "max_headers": 100,
    "read_bufsize": READ // 2,  # it stops reading at twice this
    "lingering_time": 2.0,  # until an answer has arrived while the rest of a body still comes
    "auto_decompress": False,
}


@dataclass
class Bounds:
    """What every connection has in common."""

    header_timeout_s: float
    answer_timeout_s: float
    clock: Callable[[], float]
    turns: Turns
    # Nothing is awaited between a read and its use, so one buffer serves all connections.
    buffer: memoryview = field(default_factory=lambda: memoryview(bytearray(READ)))
    small_buffer: memoryview = field(init=False)
    arriving: int = 0  # accepted, and not open yet
    open: "set[Connection]" = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)  # by reason

    def __post_init__(self) -> None:
        self.small_buffer = self.buffer[:SMALL_READ]


def last_answer(status: int, code: str, message: str, *headers: str) -> bytes:
    """An answer without a request, after which the connection is closed."""
    body = f'{{"error":{{"code":"{code}","message":"{message}"}}}}\n'
    head = (
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        *headers,
        "Connection: close",
    )
    return "\r\n".join((*head, "", body)).encode()


_TOO_LARGE = last_answer(431, "headers_too_large", "the headers are too large to be read")


class Connection(web.RequestHandler, asyncio.BufferedProtocol):
    """aiohttp's connection, bounded. `asyncio.BufferedProtocol` makes each read a small one."""

    __slots__ = (
        "_at_end",
        "_bounds",
        "_closing_since",
        "_dropped",
        "_dropping",
        "_early",
        "_has_turn",
        "_is_unknown",
        "_owing_since",
        "_serving",
        "_unread_since",
        "_waiting",
        "_wire",
    )

    def __init__(self, server: web.Server, bounds: Bounds, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, **_SERVING)
        self._bounds = bounds
        self._wire: asyncio.Transport
        self._serving: web.BaseRequest | None = None
        self._early = 0  # octets since the last request
        self._waiting = b""  # octets that are taken in when it is our turn
        self._has_turn = False  # a request that begins now was paid for when its octets came
        self._dropping: web.BaseRequest | None = None  # the rest of its body is of no interest
        self._dropped = 0  # octets of that
        self._is_unknown = True  # none of its requests has been let in
        self._at_end = False  # the caller will send nothing more
        # Since when the connection waits for the caller, or None.
        self._owing_since: float | None = None  # for a whole request
        self._unread_since: float | None = None  # for taking in an answer
        self._closing_since: float | None = None  # for taking in the last one

    # -- called by asyncio ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self._wire = cast("asyncio.Transport", transport)
        self._owing_since = self._bounds.clock()
        self._bounds.arriving -= 1
        self._bounds.open.add(self)
        super().connection_made(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """It is closed."""
        self._bounds.open.discard(self)
        super().connection_lost(exc)
        if self._dropping is not None:
            self._dropping.content.feed_eof()  # aiohttp still waits for the rest
        # What points back to here would stay until the garbage collector looks at everything.
        self._serving = self._dropping = None
        # Not at once: aiohttp may be about to take one of these requests.
        asyncio.get_running_loop().call_soon(self._messages.clear)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next octets go."""
        return self._bounds.small_buffer if self._is_unknown else self._bounds.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Octets came in."""
        if self._dropping is not None:
            self._drop(nbytes)
        elif not self._waiting and self._bounds.turns.take():
            self._take_in(bytes(self._bounds.buffer[:nbytes]))
        else:
            self._wait_for_turn(bytes(self._bounds.buffer[:nbytes]))

    def _wait_for_turn(self, octets: bytes) -> None:
        if (
            self._waiting
        ):  # (a caller that waits for an answer sends nothing, and reading need not stop)
            self._wire.pause_reading()
        else:
            self._bounds.turns.later(self._go_on)
        self._waiting += octets

    def _go_on(self) -> None:
        octets, self._waiting = self._waiting, b""
        if not self._wire.is_closing():
            if not self._wire.is_reading():
                self._wire.resume_reading()
            if self._dropping is None:
                self._take_in(octets)
            if self._at_end and not self._ends_later():
                self._wire.close()

    def _drop(self, octets: int) -> None:
        self._dropped += octets
        if self._dropped > DROPPED:
            self._wire.pause_reading()

    def _take_in(self, octets: bytes) -> None:
        if self._serving is None:
            if self._owing_since is None:
                self._owing_since = self._bounds.clock()
            self._early += len(octets)
            if self._early > LARGEST_HEADERS:
                self._bounds.refused["headers_too_large"] += 1
                self._wire.write(_TOO_LARGE)
                self.force_close()
                return
        self._has_turn = True
        self.data_received(octets)

    def eof_received(self) -> bool | None:  # type: ignore[override] # aiohttp says None
        """The caller sends nothing more; it may still listen for an answer. True: stay open."""
        self._at_end = True
        return bool(self._waiting) or self._ends_later()

    def _ends_later(self) -> bool:
        """Have it closed once all that came has its answer. False: nothing is to be answered."""
        if self._messages:
            return True  # the last of them closes it
        if self._serving is not None:
            return self._answer_and_close(self._serving)
        return self._early > 0  # perhaps a whole request that is about to begin

    def pause_writing(self) -> None:
        """The caller does not read what is written."""
        self._unread_since = self._bounds.clock()
        super().pause_writing()

    def resume_writing(self) -> None:
        """The caller reads again."""
        self._unread_since = None
        super().resume_writing()

    # -- called by the guard --------------------------------------------------------------------

    def began(self, request: web.BaseRequest) -> bool:
        """A request is whole but for its body. False: the rest of that will not come."""
        if self in self._bounds.open:  # else the request would never be forgotten
            self._serving = request
        self._owing_since = None
        self._early = 0
        return not self._at_end or bool(self._waiting) or self._answer_and_close(request)

    def set_known(self) -> None:
        """Its caller is known: more is read at once from now on."""
        self._is_unknown = False

    def take_turn(self) -> bool:
        """Whether the turn of its octets is one for this request: of several that came at once,
        for the first.
        """
        had, self._has_turn = self._has_turn, False
        return had

    def ended(self, request: web.BaseRequest) -> None:
        """It has its answer; what is left of its body aiohttp reads and forgets."""
        if self._messages:
            self._early = max(self._early, 1)  # another one came with it, and is about to begin
        request.content.on_eof(self._rest)

    def drop_rest(self, request: web.BaseRequest) -> None:
        """Its answer closes the connection: what still comes of its body is not looked at."""
        is_open = self in self._bounds.open  # else the request would never be forgotten
        if is_open:
            self._dropping = request
        if self._at_end or not is_open:
            request.content.feed_eof()

    async def shutdown(self, timeout: float | None = 15.0) -> None:
        """Finish what was asked for and close."""
        # aiohttp has closed the idle connections before. One that has just been accepted was not
        # idle yet: it would go on waiting for its first request, and aiohttp for it.
        self.close()
        await super().shutdown(timeout)

    def _rest(self) -> None:
        self._serving = None

    def _answer_and_close(self, request: web.BaseRequest) -> bool:
        whole = request.content.is_eof()
        if whole and not self._messages:
            self.close()  # as soon as the answer is out
        return whole

    @property
    def address(self) -> str | None:
        """The address that was called; None: a unix socket."""
        found = self._wire.get_extra_info("sockname")  # known still when the connection is gone
        if isinstance(found, tuple):
            return str(found[0])
        return None if isinstance(found, str | bytes) else ""

    # -- limits ---------------------------------------------------------------------------------

    def look(self, now: float) -> None:
        """Close the connection of a caller that keeps it waiting for too long."""
        patience = now - self._bounds.answer_timeout_s
        if self._wire.is_closing():
            if self._closing_since is None:
                self._closing_since = now
            elif self._closing_since < patience:
                self._abort()
        elif self._unread_since is not None and self._unread_since < patience:
            self._abort()
        elif self._is_owed_since_before(now - self._bounds.header_timeout_s):
            self._bounds.refused["headers_timeout"] += 1
            self.force_close()

    def _is_owed_since_before(self, then: float) -> bool:
        return self._owing_since is not None and self._owing_since < then

    def _abort(self) -> None:
        self._bounds.refused["answer_not_read"] += 1
        self._wire.abort()

    # -- what is no request -----------------------------------------------------------------------

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer octets that are no HTTP, and repeat none of them."""
        if not isinstance(exc, _CALLERS_FAULTS):
            return super().handle_error(request, status, exc, message)  # a bug: logged as one
        self._bounds.refused["no_http"] += 1
        drop_tracebacks(exc)
        self._serving = request  # what follows it is of no interest
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        error = {"code": "bad_request", "message": "this is no HTTP request that can be read"}
        response = json_response({"error": error}, status=400)
        response.force_close()
        return response

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log a bug; count what is the caller's fault, like a body that is no gzip."""
        if isinstance(kw.get("exc_info"), _CALLERS_FAULTS):
            self._bounds.refused["no_http"] += 1
        else:
            super().log_exception(*args, **kw)
