"""One HTTP request. Rule: if it surely never left, `Unavailable`; if it may have, `InDoubt`.

A connection that ends before anything was written on it, or that has been idle for too long, is
replaced by another: that is no second request. A request is written once (`paced_body.py`).
"""

import asyncio
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
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.keep_alive import MOST_S, KeepAlive
from smsd.provider.wire.paced_body import PacedBody

MOST_BYTES = 65_536  # of an answer; a provider's is a few hundred
LOOK_UPS = 8  # connections for look-ups, beside those for submissions
DNS_S = 30  # for which an address is cached
_PROXY_LOGIN = 407
_TOO_LARGE = "the answer is too large"

# Some gateways compress all the same: `coding.py` decodes that within a bound.
_HEADERS = {"User-Agent": "smsd", "Accept-Encoding": "identity"}


@dataclass(frozen=True, slots=True)
class Request:
    """What to write. Its parts hold the message and secrets, so the repr shows none."""

    method: str
    url: URL = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(default=b"", repr=False)


class HttpClient:
    """Connections to one provider, and the exchange of one request for one answer."""

    def __init__(
        self,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
        ca_file: Path | None = None,
    ) -> None:
        """`keep_alive_s`: how long an idle connection is used again; 0: never."""
        self._timeout_s = timeout_s
        self._keep_alive_s = keep_alive_s
        self._proxy_for = proxy_for
        self._keep_alive = KeepAlive(keep_alive_s)
        self._max_in_flight = max_in_flight
        # True: verified, by the authorities of the system.
        self._tls = True if ca_file is None else ssl.create_default_context(cafile=ca_file)
        self._session: aiohttp.ClientSession

    async def open(self) -> None:
        """Make ready. No connection is opened before the first request."""
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
            # Only for connecting, name lookup included: the wait for the slot may be long, and
            # the answer has the deadline that the body sets.
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
            body = PacedBody(request.body, slot, deadline, self._timeout_s, self._keep_alive)
            outcome = await self._attempt(request, body, deadline)
            if not body.may_try_another_connection:
                return outcome

    async def _attempt(
        self, request: Request, body: PacedBody, deadline: asyncio.Timeout
    ) -> Answer | Unavailable | InDoubt | Halted:
        received = bytearray()
        url = request.url
        proxy = self._proxy_for(url.scheme, f"{url.host}:{url.port}")
        response: aiohttp.ClientResponse | None = None
        fault = ""
        try:
            async with deadline:
                response = await self._request(request, body, proxy)
                if not body.written:  # such as the 408 that some servers send before they close
                    return Unavailable(
                        "the connection was answered before the request", written=False
                    )
                self._keep(body, response)
                fault = await _read(response, received)
        except aiohttp.ClientHttpProxyError as error:  # of CONNECT: nothing was written
            return _refused_by_proxy(error.status)
        except (aiohttp.ClientError, OSError) as error:
            if body.slot_error is not None:
                raise body.slot_error from None
            fault = self._fault(error, deadline)
            if response is None:
                return InDoubt(fault) if body.written else Unavailable(fault, written=False)
        finally:
            if response is not None:
                response.close()  # a connection whose answer was read to its end is kept
            await body.finished()
        if proxy is not None and response.status == _PROXY_LOGIN:
            return _refused_by_proxy(response.status)
        return _answered(response, bytes(received), fault)

    async def _request(
        self, request: Request, body: PacedBody, proxy: Proxy | None
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
            data=body,
            allow_redirects=False,
            proxy=None if proxy is None else proxy.url,
            proxy_headers=to_proxy,
        )

    def _keep(self, body: PacedBody, response: aiohttp.ClientResponse) -> None:
        # Before the answer is read to its end, when another request may take the connection.
        if body.protocol is not None:
            now = asyncio.get_running_loop().time()
            self._keep_alive.keep(body.protocol, response.headers, now)

    def _fault(self, error: Exception, deadline: asyncio.Timeout) -> str:
        """What went wrong, without the URL, whose query may hold the text or a secret."""
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
        return Halted(str(status), "the proxy asks for a login; correct [provider] proxy")
    return Unavailable(f"the proxy refused the connection: HTTP {status}", written=False)


def basic(user: str, password: str) -> str:
    """An `Authorization` header (RFC 7617). No way of aiohttp's is in all the versions we take."""
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


def _answered(response: aiohttp.ClientResponse, received: bytes, fault: str) -> Answer | InDoubt:
    """The decoded answer; `InDoubt` for a success that is not there as a whole."""
    codings = ",".join(response.headers.getall("Content-Encoding", ()))
    body, whole, unread = received, True, ""
    try:
        body, whole = coding.decode(received, codings, MOST_BYTES + 1)
    except coding.Undecodable as error:
        body, unread = b"", str(error)
    if len(body) > MOST_BYTES:
        body, fault = body[:MOST_BYTES], fault or _TOO_LARGE
    elif not whole:
        fault = fault or "the answer is cut short within its coding"
    answer = Answer(response.status, response.headers, body, unread)
    if answer.good and (fault := fault or unread):
        return InDoubt(f"HTTP {answer.status}, but {fault}")
    return answer


async def _read(response: aiohttp.ClientResponse, received: bytearray) -> str:
    """Read the body into `received`. Returns what is wrong with it, or ""."""
    async for chunk in response.content.iter_any():
        received += chunk
        if len(received) > MOST_BYTES:
            del received[MOST_BYTES:]
            return _TOO_LARGE
    return ""
