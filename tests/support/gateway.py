"""A gateway of bare sockets, which can do what no decent server does, and providers for it."""

import asyncio
import shutil
import socket
import ssl
import subprocess
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pytest

from smsd.core.message import Content, Message
from smsd.core.outcome import Outcome
from smsd.core.segment import Segments
from smsd.provider import load
from smsd.provider.base import Provider

Script = Callable[[Reader, Writer], Awaitable[None]]

TEXT = "Hi & bye = 50% + é\n"

GOOD = b'{"sid": "SM1", "num_segments": "2"}'
GZIP = ("Content-Encoding: gzip",)


def message(text: str = TEXT) -> Message:
    content = Content(text, Segments("ucs2", 19, 1), "", "normal", None, None, "", "")
    return Message("m1", "+12025550123", content)


class Slot:
    """A slot that opens on demand, and remembers what it was asked."""

    def __init__(self, *, closed: bool = False, refusal: Exception | None = None) -> None:
        self.door = asyncio.Event()
        if not closed:
            self.door.set()
        self.asked = asyncio.Event()
        self.refusal = refusal
        self.events: list[str] = []

    async def __aenter__(self) -> None:
        self.events.append("asked")
        self.asked.set()
        try:
            await self.door.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        if self.refusal is not None:
            raise self.refusal
        self.events.append("entered")

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.events.append("left")


class Gateway:
    """Reads whole requests and lets a script answer them."""

    def __init__(self, script: Script, greet: Script | None = None) -> None:
        self.script = script
        self.greet = greet
        self.connections = 0
        self.requests: list[bytes] = []
        self.writers: list[Writer] = []
        self.url = ""

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            if self.greet is not None:
                await self.greet(reader, writer)
            while True:
                self.requests.append(await read_request(reader))
                await self.script(reader, writer)
        writer.close()


async def read_request(reader: Reader) -> bytes:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + await reader.readexactly(length)


@asynccontextmanager
async def listening(gateway: Gateway, tls: ssl.SSLContext | None = None) -> AsyncIterator[Gateway]:
    server = await asyncio.start_server(gateway.serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    gateway.url = f"http{'s' if tls else ''}://127.0.0.1:{port}"
    try:
        yield gateway
    finally:
        server.close()
        for writer in gateway.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


def response(status: int, body: bytes = b"", *headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


def says(raw: bytes) -> Script:
    async def script(_: Reader, writer: Writer) -> None:
        writer.write(raw)
        await writer.drain()

    return script


def hangs_up(raw: bytes = b"", *, reset: bool = False) -> Script:
    async def script(_: Reader, writer: Writer) -> None:
        writer.write(raw)
        await writer.drain()
        if reset:
            linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        raise ConnectionError

    return script


async def is_silent(_: Reader, __: Writer) -> None:
    await asyncio.sleep(30)


async def drips(_: Reader, writer: Writer) -> None:
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.02)


class Maker(Protocol):
    def __call__(self, url: str, **common: Any) -> Provider: ...


def make(kind: str, settings: dict[str, Any], timeout_s: float, **reach: Any) -> Provider:
    provider = load(kind)
    return provider.build(
        provider.Settings.model_validate(settings), timeout_s=timeout_s, max_in_flight=64, **reach
    )


def _reach(more: dict[str, Any]) -> dict[str, Any]:
    """Those of a provider's options that all providers have, taken out of the others."""
    return {name: more.pop(name) for name in ("keep_alive_s", "proxy_for") if name in more}


def http(method: str, url: str, *, timeout_s: float = 5.0, **more: Any) -> Provider:
    reach = _reach(more)
    settings = {
        "base_url": url,
        "url": "/send",
        "method": method,
        "fields": {"to": "{to}", "text": "{text}"},
        "id": "json:sid",
        "segments": "json:num_segments",
        "rules": [{"json": "code", "in": [21610], "outcome": "rejected:recipient:opted_out"}],
    }
    return make("http", settings | more, timeout_s, **reach)


def post(url: str, **common: Any) -> Provider:
    return http("POST", url, **common)


def get(url: str, **common: Any) -> Provider:
    return http("GET", url, **common)


def put(url: str, **common: Any) -> Provider:
    return http("PUT", url, **common)


def twilio(url: str, *, timeout_s: float = 5.0, **more: Any) -> Provider:
    reach = _reach(more)
    settings = {
        "base_url": url,
        "account_sid": "AC" + "0" * 32,
        "auth_token": "s3cret",
        "from": "+12025550100",
    }
    return make("twilio", settings | more, timeout_s, **reach)


@asynccontextmanager
async def started(provider: Provider) -> AsyncIterator[Provider]:
    await provider.start()
    try:
        yield provider
    finally:
        await provider.close()


async def asked(maker: Maker, gateway: Gateway, **common: Any) -> Outcome:
    """What one submission to `gateway` comes to."""
    async with listening(gateway), started(maker(gateway.url, **common)) as provider:
        return await provider.submit(message(), Slot())


def certificate(directory: Path, names: str) -> Path:
    """A self-signed certificate and its key in one file."""
    if (openssl := shutil.which("openssl")) is None:
        pytest.skip("needs the openssl command")
    pem, key = directory / "cert.pem", directory / "key.pem"
    command = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=test", "-addext", f"subjectAltName={names}"]
    subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


def serving(pem: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context
