"""One HTTP request. Rule: if it surely never left, `Unavailable`; if it may have, `InDoubt`.

aiohttp opens (or reuses) the connection, keeps the headers back and hands them to the transport
together with the first chunk of the body, in one synchronous write. So a body that waits for
its slot holds back the whole request, while everything before it is done already: see `_Gate`.
"""

import asyncio
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter
from yarl import URL

from smsd.core.outcome import InDoubt, Unavailable
from smsd.provider import coding
from smsd.provider.base import Slot

MOST_BYTES = 65_536  # of an answer; a provider's is a few hundred
KEEP_ALIVE_S = 20.0  # below what gateways and load balancers allow an idle connection
_TOO_LARGE = "the answer is too large"
DNS_S = 30  # how long an address is believed

# Some gateways compress all the same: see `coding.py`, which bounds what that unfolds to.
_HEADERS = {"User-Agent": "smsd", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Request:
    """What to write. Its parts hold texts and secrets, so none is shown."""

    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the whole of it, except that an error's body may be cut short."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes
    unread: str = ""  # why an error's body is missing

    @property
    def good(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 §15

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body as JSON; None when it is none. Integers stay exact, whatever their size."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


class _Gate(aiohttp.BytesPayload):
    """A body that leaves in its slot, once; the answer's deadline counts from the slot's opening.

    aiohttp repeats a GET or PUT by itself when the connection dies before the answer, on a fresh
    connection as well as on a kept one. The repetition comes to the same gate and finds it shut.
    """

    def __init__(
        self, body: bytes, slot: Slot, deadline: asyncio.Timeout, timeout_s: float
    ) -> None:
        super().__init__(body)
        self._slot = slot
        self._deadline = deadline
        self._timeout_s = timeout_s
        self._used = False
        self._settled = asyncio.Event()
        self.sent = False  # bytes may have left
        self.refusal: Exception | None = None  # what the slot raised instead of opening

    @property
    def consumed(self) -> bool:
        """True tells aiohttp not to open a second connection for the repetition."""
        return self._used

    async def write(self, writer: AbstractStreamWriter) -> None:
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        if self._used:
            raise aiohttp.ClientConnectionError("one submission is one request")
        self._used = True
        stream = cast("StreamWriter", writer)
        entered = False
        try:
            # What a kept connection has already received is no answer to this request, and is
            # seen as such (see `exchange`) only if it is read before the slot can open.
            await asyncio.sleep(0)
            async with self._slot:
                entered = True
                await self._write(stream, content_length)
        except Exception as error:
            if not entered:
                self.refusal = error
            raise
        finally:
            self._settled.set()
        await _let_go(stream)

    async def _write(self, writer: StreamWriter, content_length: int | None) -> None:
        self._deadline.reschedule(asyncio.get_running_loop().time() + self._timeout_s)
        self.sent = True
        try:
            # Not drained: no other message could leave until the provider has read this one.
            await writer.write(self._value[:content_length], drain=False)
        except aiohttp.ClientConnectionResetError:
            self.sent = False  # raised for a closed transport, before anything is written to it
            raise

    async def settled(self) -> None:
        """Wait until the slot is done with."""
        if self._used:
            await self._settled.wait()


async def _let_go(writer: StreamWriter) -> None:
    """Wait until the system has the whole request; what it has not by the end goes no more.

    The connection is neither kept with a rest before the next request, nor closed at the leisure
    of a provider that does not read.
    """
    transport = writer.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=0)
    try:
        await writer.drain()
    except asyncio.CancelledError:
        transport.abort()
        raise


class Link:
    """Kept-alive connections to one provider."""

    def __init__(
        self, *, timeout_s: float, max_in_flight: int, ca_file: Path | None = None
    ) -> None:
        self._timeout_s = timeout_s
        self._max_in_flight = max_in_flight
        # True: verified, by the authorities of the system.
        self._tls = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        """Make ready. No connection is opened before there is something to say on it."""
        connector = aiohttp.TCPConnector(
            limit=self._max_in_flight,
            keepalive_timeout=KEEP_ALIVE_S,
            ttl_dns_cache=DNS_S,
            ssl=self._tls,
        )
        self._session = aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=_HEADERS,
            skip_auto_headers=["Content-Type"],  # the payload's own; a GET has none
            auto_decompress=False,
            trust_env=False,
            # Only the connect phase, name lookup included: the slot may be a long way off, and
            # the answer has the deadline that the gate sets.
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeout_s),
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    async def exchange(self, request: Request, slot: Slot) -> Answer | Unavailable | InDoubt:
        """Write `request` in `slot` and read the answer. Raises what the slot raises."""
        deadline = asyncio.timeout(None)
        gate = _Gate(request.body, slot, deadline, self._timeout_s)
        heard = bytearray()
        response: aiohttp.ClientResponse | None = None
        trouble = ""
        try:
            async with deadline:
                response = await self._session.request(
                    request.method,
                    request.url,
                    headers=request.headers,
                    data=gate,
                    allow_redirects=False,
                )
                if not gate.sent:  # a farewell, like the 408 some servers send before closing
                    return Unavailable("the connection was answered before the request")
                trouble = await _read(response, heard)
        except (aiohttp.ClientError, OSError) as error:
            if gate.refusal is not None:
                raise gate.refusal from None
            trouble = self._why(error, deadline)
            if response is None:
                return InDoubt(trouble) if gate.sent else Unavailable(trouble)
        finally:
            if response is not None:
                response.close()  # a connection whose answer was read to its end is kept
            await gate.settled()
        return _answered(response, bytes(heard), trouble)

    def _why(self, error: Exception, deadline: asyncio.Timeout) -> str:
        """What went wrong, without the address: its query may hold the text, or a secret."""
        if deadline.expired():
            return f"no whole answer within {self._timeout_s:g} s"
        cause: object = getattr(error, "os_error", None) or getattr(
            error, "certificate_error", None
        )
        if cause is None and isinstance(error, OSError) and error.errno:
            cause = os.strerror(error.errno)
        return f"{type(error).__name__}: {cause}" if cause else type(error).__name__


def _answered(response: aiohttp.ClientResponse, heard: bytes, trouble: str) -> Answer | InDoubt:
    """The answer, decoded; a success has to be there as a whole."""
    codings = ",".join(response.headers.getall("Content-Encoding", ()))
    body, whole, unread = heard, True, ""
    try:
        body, whole = coding.decode(heard, codings, MOST_BYTES + 1)
    except coding.Undecodable as error:
        body, unread = b"", str(error)
    if len(body) > MOST_BYTES:
        body, trouble = body[:MOST_BYTES], trouble or _TOO_LARGE
    elif not whole:
        trouble = trouble or "the answer is cut short within its coding"
    answer = Answer(response.status, response.headers, body, unread)
    if answer.good and (trouble := trouble or unread):
        return InDoubt(f"HTTP {answer.status}, but {trouble}")
    return answer


async def _read(response: aiohttp.ClientResponse, heard: bytearray) -> str:
    """Read the body into `heard`; what is wrong with it, or nothing."""
    async for chunk in response.content.iter_any():
        heard += chunk
        if len(heard) > MOST_BYTES:
            del heard[MOST_BYTES:]
            return _TOO_LARGE
    return ""
