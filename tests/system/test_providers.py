"""Providers on real sockets. Rule: what a submission says of itself is what was on the wire.

The same suite runs over every provider that speaks HTTP. The gateway below is bare sockets, so
that it can do what no decent server does.
"""

import asyncio
import gzip
import json
import shutil
import socket
import ssl
import subprocess
import time
import zlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager, suppress
from email.utils import formatdate
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from smsd.core.message import Content, Message
from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from smsd.core.pacer import Pacer
from smsd.core.segment import Segments
from smsd.dispatch.pace import Pace
from smsd.metrics import Metrics
from smsd.provider import load
from smsd.provider.base import Askable, NotNow, Provider

Script = Callable[[Reader, Writer], Awaitable[None]]

TEXT = "Hi & bye = 50% + é\n"
# For a GET these open a second connection, on which then nothing is said.
OLDER_AIOHTTP = aiohttp.__version__ < "3.14"

GOOD = b'{"sid": "SM1", "num_segments": "2"}'
GZIP = ("Content-Encoding: gzip",)


def message(text: str = TEXT) -> Message:
    content = Content(text, Segments("ucs2", 19, 1), "", None, None, None, "", "")
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


def make(kind: str, settings: dict[str, Any], timeout_s: float) -> Provider:
    provider = load(kind)
    return provider.build(
        provider.Settings.model_validate(settings), timeout_s=timeout_s, max_in_flight=64
    )


def http(method: str, url: str, *, timeout_s: float = 5.0, **more: Any) -> Provider:
    settings = {
        "base_url": url,
        "url": "/send",
        "method": method,
        "fields": {"to": "{to}", "text": "{text}"},
        "id": "json:sid",
        "segments": "json:num_segments",
        "rules": [{"json": "code", "in": [21610], "outcome": "rejected:recipient:opted_out"}],
    }
    return make("http", settings | more, timeout_s)


def post(url: str, **common: Any) -> Provider:
    return http("POST", url, **common)


def get(url: str, **common: Any) -> Provider:
    return http("GET", url, **common)


def put(url: str, **common: Any) -> Provider:
    return http("PUT", url, **common)


def twilio(url: str, *, timeout_s: float = 5.0, **more: Any) -> Provider:
    settings = {
        "base_url": url,
        "account_sid": "AC" + "0" * 32,
        "auth_token": "s3cret",
        "from": "+12025550100",
    }
    return make("twilio", settings | more, timeout_s)


every_provider = pytest.mark.parametrize("maker", [post, get, put, twilio])


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


# The slot


@every_provider
async def test_the_whole_request_is_handed_over_inside_the_slot_and_nothing_before(
    maker: Maker,
) -> None:
    listener = socket.create_server(("127.0.0.1", 0))
    seen: dict[str, bytes] = {}
    accepted: list[socket.socket] = []

    def received() -> bytes:
        time.sleep(0.02)  # blocks the loop: what is there now was written before
        with suppress(BlockingIOError):
            return accepted[0].recv(1 << 20, socket.MSG_DONTWAIT)
        return b""

    class Watching(Slot):
        async def __aenter__(self) -> None:
            listener.setblocking(False)
            accepted.append(listener.accept()[0])  # fails unless a connection is open by now
            await asyncio.sleep(0.05)
            seen["before"] = received()

        async def __aexit__(self, *_: object) -> None:
            seen["inside"] = received()

    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with listener:
        async with started(maker(url)) as provider:
            submission = asyncio.create_task(provider.submit(message(), Watching()))
            while "inside" not in seen:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)
            after = received()
            accepted[0].sendall(response(201, GOOD))
            assert await submission == Accepted("SM1", 2)
        accepted[0].close()
    assert seen["before"] == b""
    assert after == b""
    head, _, body = seen["inside"].partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Accept-Encoding: identity" in head
    assert b"50%25+%2B+%C3%A9%0A" in seen["inside"]
    assert (b"content-type: application/x-www-form-urlencoded" in head.lower()) == (maker != get)
    assert b"octet-stream" not in head


@every_provider
async def test_a_refused_slot_raises_not_now_and_nothing_is_on_the_wire(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        with pytest.raises(NotNow) as caught:
            await provider.submit(message(), Slot(refusal=NotNow()))
        assert caught.value.__cause__ is None
        await asyncio.sleep(0.05)
        assert gateway.requests == []
        assert await provider.submit(message(), Slot()) == Accepted("SM1", 2)
    assert len(gateway.requests) == 1


@every_provider
async def test_a_fault_of_the_slot_itself_is_raised_as_it_is(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        with pytest.raises(OSError, match="a bug"):
            await provider.submit(message(), Slot(refusal=OSError("a bug")))
    assert gateway.requests == []


@every_provider
async def test_waiting_for_the_slot_does_not_use_up_the_timeout(maker: Maker) -> None:
    async def answers_late(_: Reader, writer: Writer) -> None:
        await asyncio.sleep(0.2)
        writer.write(response(201, GOOD))

    gateway = Gateway(answers_late)
    async with listening(gateway), started(maker(gateway.url, timeout_s=0.4)) as provider:
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await asyncio.sleep(0.6)
        slot.door.set()
        assert await submission == Accepted("SM1", 2)
    assert slot.events == ["asked", "entered", "left"]


@every_provider
async def test_a_connection_that_the_server_closes_during_the_wait_is_unavailable(
    maker: Maker,
) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        await provider.submit(message(), Slot())
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        gateway.writers[0].close()
        assert isinstance(await submission, Unavailable)
        assert slot.events == ["asked", "cancelled"]  # by the time submit has ended
    assert len(gateway.requests) == 1


@every_provider
async def test_a_connection_found_closed_in_the_slot_is_unavailable(maker: Maker) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    class Closing(Slot):
        async def __aenter__(self) -> None:
            await super().__aenter__()
            listener.accept()[0].close()
            # One round for the transport to read the end and close itself; before the next,
            # in which aiohttp would hear of it, the slot opens.
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    slot = Closing()
    with listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with started(maker(url)) as provider:
            outcome = await provider.submit(message(), slot)
    assert isinstance(outcome, Unavailable)
    assert slot.events == ["asked", "entered", "left"]


@every_provider
async def test_an_answer_that_comes_before_the_request_is_unavailable(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)), greet=says(response(408)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        slot = Slot(closed=True)
        outcome = await provider.submit(message(), slot)
        assert outcome == Unavailable("the connection was answered before the request")
        assert slot.events == ["asked", "cancelled"]
    assert gateway.requests == []


@every_provider
async def test_what_a_kept_connection_says_unasked_is_no_answer_to_the_next_request(
    maker: Maker,
) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        await provider.submit(message(), Slot())
        gateway.writers[0].write(response(201, b'{"sid": "STALE"}'))
        await asyncio.sleep(0.05)
        outcome = await provider.submit(message(), Slot())
    assert outcome != Accepted("STALE")
    assert isinstance(outcome, Accepted | Unavailable)
    assert len(gateway.requests) == (1 if isinstance(outcome, Unavailable) else 2)


@every_provider
async def test_cancelling_during_the_wait_leaves_nothing_on_the_wire(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission
        assert slot.events == ["asked", "cancelled"]
        slot.door.set()
        await asyncio.sleep(0.05)
    assert gateway.requests == []


@every_provider
async def test_cancelling_during_the_answer_propagates(maker: Maker) -> None:
    gateway = Gateway(is_silent)
    async with listening(gateway), started(maker(gateway.url)) as provider:
        submission = asyncio.create_task(provider.submit(message(), Slot()))
        while not gateway.requests:
            await asyncio.sleep(0.01)
        submission.cancel()
        with pytest.raises(asyncio.CancelledError):
            await submission


@every_provider
async def test_connections_are_kept_alive_and_cookies_are_not(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD, "Set-Cookie: a=b")))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        for _ in range(5):
            assert await provider.submit(message(), Slot()) == Accepted("SM1", 2)
    assert gateway.connections == 1
    assert len(gateway.requests) == 5
    assert not any(b"cookie" in request.lower() for request in gateway.requests)


@every_provider
async def test_many_may_be_in_flight_at_once(maker: Maker) -> None:
    async def answers_late(_: Reader, writer: Writer) -> None:
        await asyncio.sleep(0.2)
        writer.write(response(201, GOOD))

    gateway = Gateway(answers_late)
    async with listening(gateway), started(maker(gateway.url)) as provider:
        began = time.monotonic()
        outcomes = await asyncio.gather(*(provider.submit(message(), Slot()) for _ in range(60)))
        assert time.monotonic() - began < 2
    assert outcomes == [Accepted("SM1", 2)] * 60


# A provider that does not read

LARGE = "x" * 1_000_000  # more than the two systems between us and a provider keep for it


@asynccontextmanager
async def unread() -> AsyncIterator[tuple[str, list[socket.socket]]]:
    """The address of a provider that accepts and reads nothing, and its connections."""
    connections: list[socket.socket] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1400)  # loopback's are large
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        listener.setblocking(False)

        async def accept() -> None:
            while True:
                connections.append((await asyncio.get_running_loop().sock_accept(listener))[0])

        accepting = asyncio.create_task(accept())
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", connections
        finally:
            accepting.cancel()
            for each in connections:
                each.close()


@every_provider
async def test_a_request_that_is_not_read_is_in_doubt_in_time_and_goes_no_more(
    maker: Maker,
) -> None:
    async with unread() as (url, connections), started(maker(url, timeout_s=0.5)) as provider:
        slot = Slot()
        began = time.monotonic()
        outcome = await provider.submit(message(LARGE), slot)
        assert outcome == InDoubt("no whole answer within 0.5 s")
        assert 0.45 < time.monotonic() - began < 2
        assert slot.events == ["asked", "entered", "left"]
        reader, writer = await asyncio.open_connection(sock=connections.pop())
        async with asyncio.timeout(2):  # to its end
            assert len(await reader.read()) < len(LARGE)
        writer.close()


@every_provider
async def test_a_request_that_is_not_read_holds_up_nobody(maker: Maker) -> None:
    pace = Pace(Pacer(45, ceiling="segment"), clock=time.monotonic_ns, metrics=Metrics())
    departures: list[float] = []

    class Paced(Slot):
        def __init__(self) -> None:
            super().__init__()
            self.paced = pace.slot(1, wanted=lambda: True)

        async def __aenter__(self) -> None:
            await self.paced.__aenter__()

        async def __aexit__(self, *_: Any) -> None:
            await self.paced.__aexit__(*_)
            departures.append(time.monotonic())

    async with unread() as (url, _), started(maker(url, timeout_s=2.0)) as provider:
        texts = [message(LARGE), *(message() for _ in range(10))]
        submissions = [asyncio.create_task(provider.submit(each, Paced())) for each in texts]
        while len(departures) < len(texts):
            await asyncio.sleep(0.01)
        assert not any(submission.done() for submission in submissions)
        outcomes = await asyncio.gather(*submissions)
    assert outcomes == [InDoubt("no whole answer within 2 s")] * len(texts)
    assert departures[-1] - departures[0] < 1


@every_provider
async def test_an_answer_to_a_request_that_is_not_read_ends_its_connection(maker: Maker) -> None:
    async with unread() as (url, connections), started(maker(url)) as provider:
        for n in range(2):
            submission = asyncio.create_task(provider.submit(message(LARGE), Slot()))
            while len(connections) <= n:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            connections[n].sendall(response(201, GOOD))
            assert await submission == Accepted("SM1", 2)


# Answers


@every_provider
@pytest.mark.parametrize(
    ("raw", "kind"),
    [
        (response(200, GOOD), Accepted),
        (response(201, GOOD), Accepted),
        (response(200, b"<html>no</html>"), InDoubt),
        (response(204), InDoubt),
        (response(429), Throttled),
        (response(429, b"", "Retry-After: 2"), Throttled),
        (response(503, b"", "Retry-After: 2"), Throttled),
        (response(503), Unavailable),
        (response(500), InDoubt),
        (response(502, b"<html>bad gateway</html>"), InDoubt),
        (response(400, b'{"code": 21610}'), Rejected),
        (response(400, b'{"code": 99999}'), Rejected),
        (response(400, b"\xff\x00"), Rejected),
        (response(401), Halted),
        (response(408), InDoubt),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + response(200, GOOD), Accepted),
    ],
)
async def test_an_answer_is_classified(maker: Maker, raw: bytes, kind: type) -> None:
    gateway = Gateway(says(raw))
    assert isinstance(await asked(maker, gateway), kind)
    assert len(gateway.requests) == 1


@every_provider
async def test_the_providers_own_time_and_code_come_through(maker: Maker) -> None:
    throttled = await asked(maker, Gateway(says(response(429, b"", "Retry-After: 2"))))
    assert throttled == Throttled(2.0, "HTTP 429")
    opted_out = await asked(maker, Gateway(says(response(400, b'{"code": 21610}'))))
    assert opted_out == Rejected("21610", "HTTP 400: 21610", "recipient", opted_out=True)
    unknown = await asked(maker, Gateway(says(response(404))))
    assert unknown == Rejected("404", "HTTP 404", known=False)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


@every_provider
@pytest.mark.parametrize(
    ("coding", "pack"),
    [
        ("gzip", gzip.compress),
        ("X-GZip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("gzip, gzip", lambda body: gzip.compress(gzip.compress(body))),
        ("gzip", lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:])),
        ("gzip", lambda body: gzip.compress(body) + b"\0" * 8),
    ],
)
async def test_a_compressed_answer_is_read(
    maker: Maker, coding: str, pack: Callable[[bytes], bytes]
) -> None:
    header = f"Content-Encoding: {coding}"
    taken = await asked(maker, Gateway(says(response(201, pack(GOOD), header))))
    assert taken == Accepted("SM1", 2)
    refused = response(400, pack(b'{"code": 21610}'), header)
    assert await asked(maker, Gateway(says(refused))) == Rejected(
        "21610", "HTTP 400: 21610", "recipient", opted_out=True
    )


@every_provider
async def test_what_cannot_be_decoded_is_named(maker: Maker) -> None:
    async def outcome(status: int, body: bytes, coding: str) -> Outcome:
        raw = response(status, body, f"Content-Encoding: {coding}")
        return await asked(maker, Gateway(says(raw)))

    unread = "the answer is coded as br, which is not read"
    assert await outcome(201, GOOD, "br") == InDoubt(f"HTTP 201, but {unread}")
    assert await outcome(400, b"?", "br") == Rejected("400", f"HTTP 400: {unread}", known=False)
    assert await outcome(201, GOOD, "gzip") == InDoubt(
        "HTTP 201, but the answer is no gzip, though it says so"
    )
    assert await outcome(201, gzip.compress(GOOD)[:-9], "gzip") == InDoubt(
        "HTTP 201, but the answer is cut short within its coding"
    )
    bomb = gzip.compress(b"0" * 10_000_000)
    assert await outcome(201, bomb, "gzip") == InDoubt("HTTP 201, but the answer is too large")
    assert await outcome(429, bomb, "gzip") == Throttled(None, "HTTP 429")


@every_provider
async def test_where_texts_are_to_go_elsewhere_nobody_follows_and_all_are_held(
    maker: Maker,
) -> None:
    for status in (301, 307, 308):
        gateway = Gateway(says(response(status, b"", "Location: /elsewhere")))
        outcome = await asked(maker, gateway)
        assert isinstance(outcome, Halted)
        assert outcome.scope == "account"
        assert outcome.reason.startswith(f"HTTP {status}: a redirect, and none is followed")
        assert len(gateway.requests) == 1


@every_provider
async def test_a_redirect_that_may_follow_upon_a_text_is_not_followed_and_in_doubt(
    maker: Maker,
) -> None:
    for status in (302, 303, 304):
        gateway = Gateway(says(response(status, b"", "Location: /elsewhere")))
        assert await asked(maker, gateway) == InDoubt(f"HTTP {status}")
        assert len(gateway.requests) == 1


# Faults before the request


@every_provider
async def test_a_refused_connection_is_unavailable(maker: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    slot = Slot()
    async with started(maker(f"http://127.0.0.1:{port}")) as provider:
        outcome = await provider.submit(message(), slot)
    assert isinstance(outcome, Unavailable)
    assert outcome.reason.startswith("ClientConnectorError: [Errno 111]")
    assert slot.events == []


@every_provider
async def test_a_name_that_is_not_found_is_unavailable(maker: Maker) -> None:
    slot = Slot()
    async with started(maker("http://name.invalid", timeout_s=2.0)) as provider:
        outcome = await provider.submit(message(), slot)
    assert isinstance(outcome, Unavailable)
    assert slot.events == []


@every_provider
async def test_a_connection_that_is_never_accepted_is_unavailable_in_time(maker: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        stuffing = [socket.socket() for _ in range(4)]
        for each in stuffing:
            each.setblocking(False)
            each.connect_ex(address)
        began = time.monotonic()
        async with started(maker(f"http://127.0.0.1:{address[1]}", timeout_s=0.3)) as provider:
            outcome = await provider.submit(message(), Slot())
        for each in stuffing:
            each.close()
    assert outcome == Unavailable("ConnectionTimeoutError")
    assert 0.25 < time.monotonic() - began < 1


@every_provider
async def test_a_reset_before_the_slot_is_unavailable(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)), greet=hangs_up(reset=True))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        assert isinstance(await provider.submit(message(), Slot(closed=True)), Unavailable)
    assert gateway.requests == []


# Faults after it: in doubt, and never a second request


@every_provider
@pytest.mark.parametrize(
    "script",
    [
        hangs_up(),
        hangs_up(reset=True),
        hangs_up(b"HTTP/1.1 20"),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Le"),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + GOOD),
        hangs_up(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n23\r\n" + GOOD),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n" + GOOD, reset=True),
        hangs_up(b"HTTP/1.1 100 Continue\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n" + GOOD),
        says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nabc"),
        says(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n\r\n"),
        says(response(200, gzip.compress(GOOD)[:-9], "Content-Encoding: gzip")),
        says(response(200, GOOD, "Content-Encoding: gzip")),
        says(response(200, gzip.compress(b"0" * 10_000_000), "Content-Encoding: gzip")),
        says(response(200, GOOD, "Content-Encoding: br")),
    ],
)
async def test_no_clear_answer_is_in_doubt_after_one_request(maker: Maker, script: Script) -> None:
    gateway = Gateway(script)
    outcome = await asked(maker, gateway)
    await asyncio.sleep(0.02)
    assert isinstance(outcome, InDoubt)
    assert "send" not in outcome.reason
    assert len(gateway.requests) == 1
    assert gateway.connections == 1 or OLDER_AIOHTTP


@every_provider
async def test_a_kept_connection_that_dies_on_the_next_request_is_in_doubt_after_one(
    maker: Maker,
) -> None:
    async def once(reader: Reader, writer: Writer) -> None:
        if len(gateway.requests) == 1:
            await says(response(201, GOOD))(reader, writer)
        else:
            raise ConnectionError

    gateway = Gateway(once)
    async with listening(gateway), started(maker(gateway.url)) as provider:
        assert await provider.submit(message(), Slot()) == Accepted("SM1", 2)
        slot = Slot()
        assert isinstance(await provider.submit(message(), slot), InDoubt)
        await asyncio.sleep(0.05)
    assert len(gateway.requests) == 2
    assert slot.events == ["asked", "entered", "left"]


@every_provider
async def test_silence_is_in_doubt_when_the_time_is_up(maker: Maker) -> None:
    began = time.monotonic()
    outcome = await asked(maker, Gateway(is_silent), timeout_s=0.3)
    assert outcome == InDoubt("no whole answer within 0.3 s")
    assert 0.25 < time.monotonic() - began < 1


@every_provider
async def test_a_slow_drip_of_an_answer_is_in_doubt_when_the_time_is_up(maker: Maker) -> None:
    async def head_then_drip(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        await drips(reader, writer)

    began = time.monotonic()
    outcome = await asked(maker, Gateway(head_then_drip), timeout_s=0.3)
    assert outcome == InDoubt("HTTP 200, but no whole answer within 0.3 s")
    assert isinstance(await asked(maker, Gateway(drips), timeout_s=0.3), InDoubt)
    assert time.monotonic() - began < 2


@every_provider
async def test_a_refusal_whose_body_never_ends_goes_by_its_status(maker: Maker) -> None:
    async def head_then_drip(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 4\r\nContent-Length: 9999\r\n\r\n")
        await drips(reader, writer)

    outcome = await asked(maker, Gateway(head_then_drip), timeout_s=0.3)
    assert outcome == Throttled(4.0, "HTTP 429")


@every_provider
@pytest.mark.parametrize("status", [200, 429])
async def test_a_huge_answer_is_cut_off(maker: Maker, status: int) -> None:
    written = 0

    async def floods(_: Reader, writer: Writer) -> None:
        nonlocal written
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 100000000\r\n\r\n".encode())
        for _n in range(100):
            writer.write(b"x" * 1_000_000)
            await writer.drain()
            written += 1

    outcome = await asked(maker, Gateway(floods))
    assert outcome == (
        InDoubt("HTTP 200, but the answer is too large")
        if status == 200
        else Throttled(None, "HTTP 429")
    )
    assert written < 50


# TLS, and what the environment must not change


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


@every_provider
async def test_tls_is_verified_against_the_authorities_given(maker: Maker, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "IP:127.0.0.1")
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway, serving(pem)):
        async with started(maker(gateway.url)) as provider:
            unknown = await provider.submit(message(), Slot())
        async with started(maker(gateway.url, ca_file=pem)) as provider:
            known = await provider.submit(message(), Slot())
    assert isinstance(unknown, Unavailable)
    assert "certificate verify failed" in unknown.reason
    assert known == Accepted("SM1", 2)
    assert len(gateway.requests) == 1


@every_provider
async def test_tls_is_verified_against_the_name(maker: Maker, tmp_path: Path) -> None:
    pem = certificate(tmp_path, "DNS:other.example")
    gateway = Gateway(says(response(201, GOOD)))
    async with (
        listening(gateway, serving(pem)),
        started(maker(gateway.url, ca_file=pem)) as provider,
    ):
        outcome = await provider.submit(message(), Slot())
    assert isinstance(outcome, Unavailable)
    assert "IP address mismatch" in outcome.reason
    assert gateway.requests == []


@every_provider
async def test_a_proxy_in_the_environment_is_not_used(
    maker: Maker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert await asked(maker, Gateway(says(response(201, GOOD)))) == Accepted("SM1", 2)


@every_provider
async def test_the_text_arrives_as_it_was_sent(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    await asked(maker, gateway)
    assert b"Hi+%26+bye+%3D+50%25+%2B+%C3%A9%0A" in gateway.requests[0]
    assert b"%2B12025550123" in gateway.requests[0]
    assert json.dumps(TEXT).encode() not in gateway.requests[0]


# Asking what became of a text


STARTED_S = 1_767_225_600  # 2026-01-01T00:00:00Z
SERVICE = "MG" + "1" * 32


def asking(method: str = "GET", **look_up: Any) -> Maker:
    """A gateway that is asked by our id."""
    asks = {"url": "/messages/{id}", "method": method, "id": "json:sid", **look_up}
    return lambda url, **common: post(url, look_up=asks, **common)


every_askable = pytest.mark.parametrize("maker", [asking(), asking("POST"), twilio])


def of_twilio(sid: str = "SM1", **changes: object) -> dict[str, object]:
    """A message as Twilio lists it."""
    return {
        "account_sid": "AC" + "0" * 32,
        "api_version": "2010-04-01",
        "body": TEXT,
        "date_created": formatdate(STARTED_S + 1),
        "date_sent": None,
        "date_updated": formatdate(STARTED_S + 1),
        "direction": "outbound-api",
        "error_code": None,
        "error_message": None,
        "from": "+12025550100",
        "messaging_service_sid": None,
        "num_media": "0",
        "num_segments": "2",
        "price": None,
        "price_unit": "USD",
        "sid": sid,
        "status": "queued",
        "subresource_uris": {"media": f"/2010-04-01/Accounts/AC0/Messages/{sid}/Media.json"},
        "to": "+12025550123",
        "uri": f"/2010-04-01/Accounts/AC0/Messages/{sid}.json",
        **changes,
    }


def list_of(*messages: dict[str, object]) -> bytes:
    """Twilio's list, as it stands on the wire."""
    uri = "/2010-04-01/Accounts/AC0/Messages.json?To=%2B12025550123&PageSize=20&Page=0"
    return json.dumps(
        {
            "end": len(messages),
            "first_page_uri": uri,
            "messages": messages,
            "next_page_uri": None,
            "page": 0,
            "page_size": 20,
            "previous_page_uri": None,
            "start": 0,
            "uri": uri,
        }
    ).encode()


FOUND = json.loads(list_of(of_twilio())) | {"sid": "SM1"}  # what both kinds of gateway understand


async def looked_up(
    provider: Provider, *, of: Message | None = None, settled: Mapping[str, str] | None = None
) -> Outcome | None:
    """`settled`: messages by sid, as Redis knows them."""

    async def settled_as(ids: Collection[str], since: int, until: int) -> Mapping[str, str]:
        assert since < STARTED_S * 1000 < until
        return {sid: id_ for sid, id_ in (settled or {}).items() if sid in ids}

    assert isinstance(provider, Askable)
    return await provider.look_up(of or message(), STARTED_S * 1000, settled_as)


@every_askable
@pytest.mark.parametrize(("headers", "pack"), [((), bytes), (GZIP, gzip.compress)])
async def test_a_text_that_was_taken_is_found_by_one_request_that_sends_nothing(
    maker: Maker, headers: tuple[str, ...], pack: Callable[[bytes], bytes]
) -> None:
    gateway = Gateway(says(response(200, pack(json.dumps(FOUND).encode()), *headers)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        found = await looked_up(provider)
    assert isinstance(found, Accepted)
    assert found.provider_id == "SM1"
    [request] = gateway.requests
    assert b"Hi" not in request
    assert request.endswith(b"\r\n\r\n")


@every_askable
@pytest.mark.parametrize(
    "script",
    [
        says(response(404)),
        says(response(401)),
        says(response(429, b"", "Retry-After: 2")),
        says(response(500, json.dumps(FOUND).encode())),
        says(response(301, b"", "Location: /elsewhere")),
        says(response(304)),
        says(response(200, b"<html>")),
        says(response(200, b"[]")),
        says(response(200, b"{}")),
        says(response(200, GOOD, "Content-Encoding: gzip")),
        says(response(200, json.dumps(FOUND).encode() + b" " * 100_000)),
        hangs_up(),
        hangs_up(reset=True),
        hangs_up(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"),
        is_silent,
        drips,
    ],
)
async def test_without_a_clear_word_the_text_stays_in_doubt_after_one_request(
    maker: Maker, script: Script
) -> None:
    gateway = Gateway(script)
    async with listening(gateway), started(maker(gateway.url, timeout_s=0.3)) as provider:
        assert isinstance(await looked_up(provider), InDoubt)
    assert len(gateway.requests) == 1


@every_askable
async def test_a_provider_that_is_away_leaves_the_text_in_doubt(maker: Maker) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    async with started(maker(f"http://127.0.0.1:{port}")) as provider:
        assert isinstance(await looked_up(provider), InDoubt)


async def test_a_gateway_that_says_not_found_is_believed_only_where_configuration_says_so() -> None:
    for not_found, kind in (("in_doubt", InDoubt), ("unavailable", Unavailable)):
        gateway = Gateway(says(response(404)))
        maker = asking(not_found=not_found)
        async with listening(gateway), started(maker(gateway.url)) as provider:
            assert isinstance(await looked_up(provider), kind)
        assert gateway.requests[0].startswith(b"GET /messages/m1 HTTP/1.1\r\n")


async def test_twilio_is_asked_for_the_messages_of_the_day_to_this_number() -> None:
    gateway = Gateway(says(response(200, list_of(of_twilio()))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == Accepted("SM1", 2)
    method, target, _ = gateway.requests[0].split(b"\r\n")[0].decode().split(" ")
    address = urlsplit(target)
    assert method == "GET"
    assert address.path == f"/2010-04-01/Accounts/AC{'0' * 32}/Messages.json"
    assert parse_qs(address.query, strict_parsing=True) == {
        "To": ["+12025550123"],
        "DateSent>": ["2025-12-31"],  # five seconds before midnight
        "PageSize": ["20"],
    }
    assert b"Authorization: Basic QUMw" in gateway.requests[0]


@pytest.mark.parametrize(
    ("messages", "expected"),
    [
        ([of_twilio(num_segments="0", status="accepted")], Accepted("SM1", None)),
        ([of_twilio(status="undelivered", error_code=30005)], Accepted("SM1", 2)),
        ([of_twilio("SM1"), of_twilio("SM2")], None),
        ([of_twilio("SM1"), of_twilio("SM2", body="another")], Accepted("SM1", 2)),
        ([of_twilio(date_created=formatdate(STARTED_S - 60))], InDoubt("not listed")),
        ([of_twilio(date_created=formatdate(STARTED_S + 600))], InDoubt("not listed")),
        ([], InDoubt("not listed")),
    ],
)
async def test_twilios_list_tells_only_of_the_one_message_that_fits(
    messages: list[dict[str, object]], expected: Outcome | None
) -> None:
    gateway = Gateway(says(response(200, list_of(*messages))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == expected


async def test_a_message_that_twilio_lists_as_refused_was_not_taken() -> None:
    refused = of_twilio(status="failed", error_code=21610)
    gateway = Gateway(says(response(200, list_of(refused))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) == Rejected(
            "21610", "listed as failed: 21610", "recipient", opted_out=True
        )


async def test_the_refusal_of_an_earlier_attempt_says_nothing_of_a_later_one() -> None:
    async def answers(reader: Reader, writer: Writer) -> None:
        sends = gateway.requests[-1].startswith(b"POST")
        full = response(429, b'{"code": 21611}')
        listing = response(200, list_of(of_twilio(status="failed", error_code=21211)))
        await says(full if sends else listing)(reader, writer)

    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert isinstance(await provider.submit(message(), Slot()), Throttled)
        assert await looked_up(provider) == InDoubt("not listed")
        second = message()._replace(attempts=1)
        assert await looked_up(provider, of=second) == InDoubt("not listed")
        other = message()._replace(id="m2")
        assert isinstance(await looked_up(provider, of=other), Rejected)


async def test_of_two_like_messages_the_one_that_was_settled_before_a_restart_is_set_aside() -> (
    None
):
    gateway = Gateway(says(response(200, list_of(of_twilio("SM1"), of_twilio("SM2")))))
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider) is None
        assert await looked_up(provider, settled={"SM1": "m1", "SM2": "m0"}) == Accepted("SM1", 2)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await looked_up(provider, settled={"SM1": "m0"}) == Accepted("SM2", 2)


async def test_a_message_of_a_twilio_service_is_known_by_its_service() -> None:
    mine = of_twilio("SM1", messaging_service_sid=SERVICE, **{"from": "+12025550177"})
    gateway = Gateway(says(response(200, list_of(mine, of_twilio("SM2")))))
    service: dict[str, Any] = {"from": "", "messaging_service_sid": SERVICE}
    async with listening(gateway), started(twilio(gateway.url, **service)) as provider:
        assert await looked_up(provider) == Accepted("SM1", 2)


async def test_one_sid_stands_for_one_text_however_alike_they_are() -> None:
    async def answers(reader: Reader, writer: Writer) -> None:
        sends = gateway.requests[-1].startswith(b"POST")
        listing = list_of(of_twilio("SM1"), of_twilio("SM2"))
        await says(response(201, GOOD) if sends else response(200, listing))(reader, writer)

    first, second, third = (Message(f"m{n}", "+12025550123", message().content) for n in range(3))
    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        assert await provider.submit(first, Slot()) == Accepted("SM1", 2)
        assert await looked_up(provider, of=second) == Accepted("SM2", 2)
        assert await looked_up(provider, of=second) == Accepted("SM2", 2)  # asked once more
        assert await looked_up(provider, of=third) == InDoubt("not listed")


async def test_while_the_like_of_it_is_under_way_the_list_does_not_tell() -> None:
    held = asyncio.Event()

    async def answers(reader: Reader, writer: Writer) -> None:
        if gateway.requests[-1].startswith(b"POST"):
            await held.wait()
            writer.write(response(201, GOOD))
        else:
            writer.write(response(200, list_of(of_twilio("SM1"))))

    alike = Message("m2", "+12025550123", message().content)
    gateway = Gateway(answers)
    async with listening(gateway), started(twilio(gateway.url)) as provider:
        submission = asyncio.create_task(provider.submit(alike, Slot()))
        while not gateway.requests:
            await asyncio.sleep(0.01)
        assert await looked_up(provider) == InDoubt("the like of it is under way")
        held.set()
        assert await submission == Accepted("SM1", 2)
        assert await looked_up(provider) == InDoubt("not listed")
        assert await looked_up(provider, of=alike) == Accepted("SM1", 2)
