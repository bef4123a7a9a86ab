"""The way out through a proxy, on real sockets. Rule: what it refuses was never written."""

import asyncio
import logging
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from smsd.core.outcome import Accepted, Halted, Unavailable
from smsd.daemon.proxies import proxy_for
from tests.support.gateway import (
    GOOD,
    Gateway,
    Maker,
    Slot,
    certificate,
    get,
    is_silent,
    listening,
    message,
    post,
    response,
    says,
    serving,
    started,
    twilio,
)

LOGIN = b"Proxy-Authorization: Basic " + b64encode(b"me:s3cr t")
TAKEN = Accepted("SM1", 2)
every_maker = pytest.mark.parametrize("maker", [post, get, twilio])


class Proxy:
    """Takes CONNECT, or a whole URL, and passes everything on; or answers with a status."""

    def __init__(self, status: int = 200, *, login: bool = False) -> None:
        self._status = status
        self._login = login
        self.heads: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.writers: list[Writer] = []
        self.address = ""

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.heads.append(head)
            status = 407 if self._login and LOGIN not in head else self._status
            connects = head.startswith(b"CONNECT ")
            if status != 200:
                writer.write(response(status, b"", "Connection: close"))
                writer.close()
                return
            target = head.split(b" ")[1].decode().removeprefix("http://").split("/")[0]
            host, port = target.rsplit(":", 1)
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            self.writers.append(far_writer)
            (writer if connects else far_writer).write(
                b"HTTP/1.1 200 Connected\r\n\r\n" if connects else head
            )
            for ends in ((reader, far_writer), (far_reader, writer)):
                self.tasks.add(asyncio.create_task(carry(*ends)))


async def carry(reader: Reader, writer: Writer) -> None:
    while chunk := await reader.read(65_536):
        writer.write(chunk)
    writer.close()


@asynccontextmanager
async def proxying(proxy: Proxy) -> AsyncIterator[Proxy]:
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks, return_exceptions=True)
        for writer in proxy.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


@every_maker
async def test_tls_goes_through_a_tunnel_and_the_gateway_sees_no_login(
    maker: Maker, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    pem = certificate(tmp_path, "IP:127.0.0.1")
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway, serving(pem)), proxying(Proxy(login=True)) as proxy:
        through = proxy_for(f"http://me:s3cr%20t@{proxy.address}")
        async with started(maker(gateway.url, ca_file=pem, proxy_for=through)) as provider:
            assert await provider.submit(message(), Slot()) == TAKEN
            assert await provider.submit(message(), Slot()) == TAKEN
    [head] = proxy.heads  # the tunnel is kept
    assert head.startswith(b"CONNECT 127.0.0.1:")
    assert b"Hi" not in head
    assert len(gateway.requests) == 2
    assert not any(b"Proxy-Authorization" in request for request in gateway.requests)
    assert "s3cr" not in caplog.text


@every_maker
async def test_without_tls_the_proxy_is_asked_for_the_whole_address(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), proxying(Proxy(login=True)) as proxy:
        through = proxy_for(f"http://me:s3cr%20t@{proxy.address}")
        async with started(maker(gateway.url, proxy_for=through)) as provider:
            assert await provider.submit(message(), Slot()) == TAKEN
    [head] = proxy.heads
    assert head.split(b" ")[1].startswith(gateway.url.encode() + b"/")


@every_maker
@pytest.mark.parametrize("status", [403, 502, 503, 504])
async def test_a_tunnel_that_the_proxy_refuses_leaves_nothing_written(
    maker: Maker, status: int
) -> None:
    slot = Slot()
    async with proxying(Proxy(status)) as proxy:
        through = proxy_for(f"http://{proxy.address}")
        async with started(maker("https://127.0.0.1:1", proxy_for=through)) as provider:
            outcome = await provider.submit(message(), slot)
    reason = f"the proxy refused the connection: HTTP {status}"
    assert outcome == Unavailable(reason, written=False)
    assert slot.events == []
    assert len(proxy.heads) == 1


@every_maker
@pytest.mark.parametrize("url", ["https://127.0.0.1:1", "http://127.0.0.1:1"])
async def test_a_proxy_that_asks_who_we_are_holds_all(maker: Maker, url: str) -> None:
    async with proxying(Proxy(login=True)) as proxy:
        through = proxy_for(f"http://me:wrong@{proxy.address}")
        async with started(maker(url, proxy_for=through)) as provider:
            outcome = await provider.submit(message(), Slot())
    assert outcome == Halted("407", "the proxy asks for a login; correct [provider] proxy")


@every_maker
async def test_a_proxy_that_is_away_or_says_nothing_is_unavailable_in_time(maker: Maker) -> None:
    gateway = Gateway(is_silent, greet=is_silent)
    async with listening(gateway):
        for address in ("127.0.0.1:1", gateway.url.removeprefix("http://")):
            through = proxy_for(f"http://me:s3cret@{address}")
            provider = maker("https://127.0.0.1:1", proxy_for=through, timeout_s=0.3)
            async with started(provider), asyncio.timeout(20):
                outcome = await provider.submit(message(), Slot())
            assert isinstance(outcome, Unavailable)
            assert "s3cret" not in outcome.reason


async def test_the_environments_proxy_is_used_when_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("http_proxy", "https_proxy", "no_proxy", "NO_PROXY", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), proxying(Proxy()) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.address)
        monkeypatch.setenv("NO_PROXY", "localhost,.internal")
        async with started(post(gateway.url, proxy_for=proxy_for("environment"))) as provider:
            assert await provider.submit(message(), Slot()) == TAKEN
        assert len(proxy.heads) == 1
        monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
        async with started(post(gateway.url, proxy_for=proxy_for("environment"))) as provider:
            assert await provider.submit(message(), Slot()) == TAKEN
        async with started(post(gateway.url, proxy_for=proxy_for(""))) as provider:
            assert await provider.submit(message(), Slot()) == TAKEN
        assert len(proxy.heads) == 1
    assert len(gateway.requests) == 3
