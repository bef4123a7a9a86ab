"""Providers on real sockets. Rule: what a submission says of itself is what was on the wire.

The same suite runs over every provider that speaks HTTP.
"""

import asyncio
import gzip
import json
import socket
import time
import zlib
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

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
from smsd.dispatch.pace import Pace
from smsd.metrics import Metrics
from smsd.provider.base import SlotWithdrawn
from tests.support.gateway import (
    GOOD,
    TEXT,
    Gateway,
    Maker,
    Script,
    Slot,
    asked,
    certificate,
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
    serving,
    started,
    twilio,
)

# For a GET these open a second connection, on which then nothing is said.
OLDER_AIOHTTP = aiohttp.__version__ < "3.14"

every_provider = pytest.mark.parametrize("maker", [post, get, put, twilio])


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
        with pytest.raises(SlotWithdrawn) as caught:
            await provider.submit(message(), Slot(refusal=SlotWithdrawn()))
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
async def test_a_kept_connection_that_ends_during_the_wait_is_given_up_for_another(
    maker: Maker,
) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        await provider.submit(message(), Slot())
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        gateway.writers[0].close()
        while gateway.connections < 2:
            await asyncio.sleep(0.01)
        slot.door.set()
        assert await submission == Accepted("SM1", 2)
        assert slot.events == ["asked", "cancelled", "asked", "entered", "left"]
    assert len(gateway.requests) == 2


@every_provider
async def test_a_new_connection_that_ends_during_the_wait_is_unavailable(maker: Maker) -> None:
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url)) as provider:
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        while not gateway.writers:
            await asyncio.sleep(0.01)
        gateway.writers[0].close()
        assert isinstance(await submission, Unavailable)
        assert slot.events == ["asked", "cancelled"]  # by the time submit has ended
    assert gateway.requests == []
    assert gateway.connections == 1


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
        assert outcome == Unavailable(
            "the connection was answered before the request", written=False
        )
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
    assert outcome == Unavailable("ConnectionTimeoutError", written=False)
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
