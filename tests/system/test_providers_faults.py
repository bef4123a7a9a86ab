"""Providers on real sockets: faults. Rule: only what surely never left may be sent again.

The same tests run over every provider that speaks HTTP.
"""

import asyncio
import gzip
import socket
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer

import aiohttp
import pytest

from smsd.core.outcome import (
    Accepted,
    InDoubt,
    Throttled,
    Unavailable,
)
from tests.support.gateway import (
    GOOD,
    Gateway,
    Maker,
    Script,
    Slot,
    asked,
    drips,
    get,
    hangs_up,
    is_silent,
    listening,
    message,
    post,
    put,
    response,
    says,
    started,
    twilio,
)

# For a GET these open a second connection, on which then nothing is said.
OLDER_AIOHTTP = aiohttp.__version__ < "3.14"

every_provider = pytest.mark.parametrize("maker", [post, get, put, twilio])


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
    assert outcome == Unavailable("ConnectionTimeoutError", written=False)
    assert 0.25 < time.monotonic() - began < 20  # the system itself would try for two minutes


@every_provider
async def test_a_reset_before_the_slot_is_unavailable(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)), greet=hangs_up(reset=True))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        assert isinstance(await provider.submit(message(), Slot(closed=True)), Unavailable)
    assert gateway.requests == []


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
    assert 0.25 < time.monotonic() - began < 20


@every_provider
async def test_a_slow_drip_of_an_answer_is_in_doubt_when_the_time_is_up(maker: Maker) -> None:
    async def head_then_drip(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
        await drips(reader, writer)

    async with asyncio.timeout(20):
        outcome = await asked(maker, Gateway(head_then_drip), timeout_s=1.0)
        assert outcome == InDoubt("HTTP 200, but no whole answer within 1 s")
        assert isinstance(await asked(maker, Gateway(drips), timeout_s=0.3), InDoubt)


@every_provider
async def test_a_refusal_whose_body_never_ends_goes_by_its_status(maker: Maker) -> None:
    async def head_then_drip(reader: Reader, writer: Writer) -> None:
        writer.write(b"HTTP/1.1 429 Slow\r\nRetry-After: 4\r\nContent-Length: 9999\r\n\r\n")
        await drips(reader, writer)

    outcome = await asked(maker, Gateway(head_then_drip), timeout_s=1.0)
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
