"""Bodies that are streamed. Rule: each is bounded in size and patience, and few are read at once.

Nothing of such a body is kept here: a handler that does not take the next piece lets the caller
wait. A caller that is slow may be so for as long as nobody else needs its place.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from aiohttp import StreamReader, web

from smsd.web.body import CLOSE, check_encoding, too_large
from smsd.web.edge.body_memory import busy
from smsd.web.errors import ApiError
from smsd.web.route import Streamed

SLOW = 10_000  # octets a second; while nobody else waits, any caller may be slower
STOPPING = "smsd is stopping"
PATIENCE_S = 10.0  # of waiting for a slow caller before its place may go to another


class UploadLimits(NamedTuple):
    """What bodies of this kind may take."""

    max_octets: int  # of one body
    timeout_s: float  # without an octet
    max_at_once: int


class Upload:
    """One body on its way."""

    def __init__(
        self,
        request: web.BaseRequest,
        limits: UploadLimits,
        *,
        media_type: str,
        clock: Callable[[], float],
    ) -> None:
        self.media_type = media_type
        self.charset = request.charset or ""  # what its Content-Type names
        self.octets = 0
        self._body: StreamReader = request.content
        self._limits = limits
        self._clock = clock
        self._patience_s = PATIENCE_S
        self._waiting_since: float | None = None
        self._limit: asyncio.Timeout | None = None
        self._given_up = ""  # why

    async def pieces(self) -> AsyncIterator[bytes]:
        """The octets as they come. Raises `ApiError` 400, 408, 413 or 503."""
        try:
            while piece := await self._next():
                self.octets += len(piece)
                if self.octets > self._limits.max_octets:
                    raise too_large(self._limits.max_octets)
                yield piece
        except TimeoutError:
            raise self._timed_out() from None
        except (web.RequestPayloadError, ConnectionError):  # of the second nobody reads the answer
            message = "the body ends early, or is not encoded as Transfer-Encoding says"
            raise ApiError(400, "invalid_body", message, headers=CLOSE) from None

    async def _next(self) -> bytes:
        if self._given_up:
            raise TimeoutError
        self._waiting_since = began = self._clock()
        try:
            async with asyncio.timeout(self._limits.timeout_s) as self._limit:
                piece = await self._body.readany()
        finally:
            self._limit = self._waiting_since = None
        earned = len(piece) / SLOW - (self._clock() - began)
        self._patience_s = min(PATIENCE_S, self._patience_s + earned)
        return piece

    def is_slow(self) -> bool:
        """Whether its caller has kept us waiting for so long that another may take its place."""
        since = self._waiting_since
        waited_s = 0.0 if since is None else self._clock() - since
        return waited_s > self._patience_s

    def give_up(self, reason: str) -> None:
        """Read no more of it."""
        self._given_up = reason
        if self._limit is not None:
            self._limit.reschedule(asyncio.get_running_loop().time())

    def _timed_out(self) -> ApiError:
        if self._given_up:
            return busy(self._given_up)
        message = f"nothing of the body came for {self._limits.timeout_s:g} s"
        return ApiError(408, "body_timeout", message, headers=CLOSE)


UPLOAD = web.RequestKey("upload", Upload)


class Uploads:
    """All such bodies."""

    def __init__(self, limits: UploadLimits, clock: Callable[[], float]) -> None:
        """`clock`: seconds, monotonic."""
        self._limits = limits
        self._clock = clock
        self._active: set[Upload] = set()
        self._stopping = False

    def stop(self) -> None:
        """Give up what is still on its way: it may take long. What has come whole goes on."""
        self._stopping = True
        for upload in self._active:
            upload.give_up(STOPPING)

    @contextmanager
    def begin(self, request: web.BaseRequest, body: Streamed) -> Iterator[Upload]:
        """Give a body its place until the handler has answered.

        Nothing of it has been read by then. Raises `ApiError` 413, 415 or 503.
        """
        media_type = _media_type(request, body)
        check_encoding(request)
        if (request.content_length or 0) > self._limits.max_octets:
            raise too_large(self._limits.max_octets)
        self._make_room()
        upload = Upload(request, self._limits, media_type=media_type, clock=self._clock)
        self._active.add(upload)
        try:
            yield upload
        finally:
            self._active.discard(upload)

    def _make_room(self) -> None:
        if self._stopping:
            raise busy(STOPPING)
        if len(self._active) < self._limits.max_at_once:
            return
        slow = next((upload for upload in self._active if upload.is_slow()), None)
        if slow is None:
            raise busy("as many uploads as may be at once are under way")
        self._active.discard(slow)
        slow.give_up("the body came too slowly, and others wait to send theirs")


def _media_type(request: web.BaseRequest, body: Streamed) -> str:
    if "Content-Type" not in request.headers:
        return body.media_types[0]
    if request.content_type not in body.media_types:
        known = ", ".join(body.media_types)
        message = f"send one of these as Content-Type: {known}"
        raise ApiError(415, "unsupported_media_type", message)
    return request.content_type
