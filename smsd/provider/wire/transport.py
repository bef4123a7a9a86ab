"""One HTTP request. Rule: if it surely never left, `Unavailable`; if it may have, `InDoubt`.

A connection that ends before anything was written on it, or has been kept for as long as it may be,
is given up for another: that is no second request. What is written is written once (`gate.py`).
"""

import asyncio
import json
import os
import ssl
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
from yarl import URL

from smsd.core.outcome import Halted, InDoubt, Unavailable
from smsd.core.proxy import Proxy
from smsd.provider.base import KEEP_ALIVE_S, ProxyFor, Slot, direct
from smsd.provider.wire import coding
from smsd.provider.wire.gate import Gate
from smsd.provider.wire.keep_alive import MOST_S, KeepAlive

MOST_BYTES = 65_536  # of an answer; a provider's is a few hundred
LOOK_UPS = (
    8  # connections beside those for messages to be sent: a look-up takes none of their places
)
_PROXY_LOGIN = 407
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


class Link:
    """Kept-alive connections to one provider."""

    def __init__(
        self,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
        ca_file: Path | None = None,
    ) -> None:
        """`keep_alive_s`: how long a connection is kept idle; 0: none is used again."""
        self._timeout_s = timeout_s
        self._keep_alive_s = keep_alive_s
        self._proxy_for = proxy_for
        self._keep_alive = KeepAlive(keep_alive_s)
        self._max_in_flight = max_in_flight
        # True: verified, by the authorities of the system.
        self._tls = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        """Make ready. No connection is opened before there is something to say on it."""
        limit = self._max_in_flight + LOOK_UPS
        if self._keep_alive_s:
            connector = aiohttp.TCPConnector(
                limit=limit, ttl_dns_cache=DNS_S, ssl=self._tls, keepalive_timeout=MOST_S
            )
        else:
            connector = aiohttp.TCPConnector(
                limit=limit, ttl_dns_cache=DNS_S, ssl=self._tls, force_close=True
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

    async def exchange(
        self, request: Request, slot: Slot
    ) -> Answer | Unavailable | InDoubt | Halted:
        """Write `request` in `slot` and read the answer. Raises what the slot raises."""
        while True:
            deadline = asyncio.timeout(None)
            gate = Gate(request.body, slot, deadline, self._timeout_s, self._keep_alive)
            outcome = await self._attempt(request, gate, deadline)
            if not gate.may_try_another:
                return outcome

    async def _attempt(
        self, request: Request, gate: Gate, deadline: asyncio.Timeout
    ) -> Answer | Unavailable | InDoubt | Halted:
        heard = bytearray()
        url = request.url
        proxy = self._proxy_for(url.scheme, f"{url.host}:{url.port}")
        response: aiohttp.ClientResponse | None = None
        trouble = ""
        try:
            async with deadline:
                response = await self._request(request, gate, proxy)
                if not gate.sent:  # a farewell, like the 408 some servers send before closing
                    return Unavailable(
                        "the connection was answered before the request", written=False
                    )
                self._keep(gate, response)
                trouble = await _read(response, heard)
        except aiohttp.ClientHttpProxyError as error:  # of CONNECT: nothing was written
            return _refused_by_proxy(error.status)
        except (aiohttp.ClientError, OSError) as error:
            if gate.refusal is not None:
                raise gate.refusal from None
            trouble = self._why(error, deadline)
            if response is None:
                return InDoubt(trouble) if gate.sent else Unavailable(trouble, written=False)
        finally:
            if response is not None:
                response.close()  # a connection whose answer was read to its end is kept
            await gate.settled()
        if proxy is not None and response.status == _PROXY_LOGIN:
            return _refused_by_proxy(response.status)
        return _answered(response, bytes(heard), trouble)

    async def _request(
        self, request: Request, gate: Gate, proxy: Proxy | None
    ) -> aiohttp.ClientResponse:
        headers, to_proxy = dict(request.headers), {}
        if proxy is not None and proxy.user:
            login = {"Proxy-Authorization": basic(proxy.user, proxy.password)}
            if request.url.scheme == "https":
                to_proxy = login  # with CONNECT; the gateway never sees it
            else:
                headers |= login
        return await self._session.request(
            request.method,
            request.url,
            headers=headers,
            data=gate,
            allow_redirects=False,
            proxy=None if proxy is None else proxy.url,
            proxy_headers=to_proxy,
        )

    def _keep(self, gate: Gate, response: aiohttp.ClientResponse) -> None:
        # Before the answer has been read to its end: then another may take the connection at once.
        if gate.protocol is not None:
            now = asyncio.get_running_loop().time()
            self._keep_alive.keep(gate.protocol, response.headers, now)

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


def _refused_by_proxy(status: int) -> Unavailable | Halted:
    if status == _PROXY_LOGIN:
        return Halted(str(status), "the proxy asks who we are; mend [provider] proxy")
    return Unavailable(f"the proxy refused the connection: HTTP {status}", written=False)


def basic(user: str, password: str) -> str:
    """An `Authorization` header (RFC 7617; aiohttp's own two ways are old or new, not both)."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


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
