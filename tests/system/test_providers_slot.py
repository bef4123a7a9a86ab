"""Providers on real sockets: the slot. Rule: the whole request leaves in it, and nothing before.

The same tests run over every provider that speaks HTTP.
"""

import asyncio
import select
import socket
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest

from smsd.core.outcome import (
    Accepted,
    InDoubt,
    Unavailable,
)
from smsd.core.pacer import Pacer
from smsd.dispatch.pace import Pace
from smsd.metrics import Metrics
from smsd.provider.base import SlotWithdrawn
from tests.support.gateway import (
    GOOD,
    Gateway,
    Maker,
    Slot,
    get,
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

every_provider = pytest.mark.parametrize("maker", [post, get, put, twilio])


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
    gateway = Gateway(says(response(201, GOOD)))
    async with listening(gateway), started(maker(gateway.url, timeout_s=1.5)) as provider:
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        await asyncio.sleep(1.6)
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
async def test_what_a_kept_connection_has_received_is_no_answer_to_the_next_request(
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
    all_are_there = asyncio.Event()

    async def answers_all(_: Reader, writer: Writer) -> None:
        if len(gateway.requests) == 60:
            all_are_there.set()
        await all_are_there.wait()
        writer.write(response(201, GOOD))

    gateway = Gateway(answers_all)
    async with listening(gateway), started(maker(gateway.url, timeout_s=20.0)) as provider:
        outcomes = await asyncio.gather(*(provider.submit(message(), Slot()) for _ in range(60)))
    assert outcomes == [Accepted("SM1", 2)] * 60


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


def has_received(sock: socket.socket) -> bool:
    """Whether anything is there to be read."""
    return bool(select.select([sock], [], [], 0)[0])


@every_provider
async def test_a_request_that_is_not_read_is_in_doubt_in_time_and_goes_no_more(
    maker: Maker,
) -> None:
    async with unread() as (url, connections), started(maker(url, timeout_s=0.5)) as provider:
        slot = Slot()
        began = time.monotonic()
        outcome = await provider.submit(message(LARGE), slot)
        assert outcome == InDoubt("no whole answer within 0.5 s")
        assert 0.45 < time.monotonic() - began < 20
        assert slot.events == ["asked", "entered", "left"]
        reader, writer = await asyncio.open_connection(sock=connections.pop())
        async with asyncio.timeout(20):  # to its end
            assert len(await reader.read()) < len(LARGE)
        writer.close()


@every_provider
async def test_a_request_that_is_not_read_holds_up_nobody(maker: Maker) -> None:
    pace = Pace(Pacer(45, ceiling="segment"), clock=time.monotonic_ns, metrics=Metrics())
    departures = 0

    class Paced(Slot):
        def __init__(self) -> None:
            super().__init__()
            self.paced = pace.slot(1, wanted=lambda: True)

        async def __aenter__(self) -> None:
            await self.paced.__aenter__()

        async def __aexit__(self, *_: Any) -> None:
            nonlocal departures
            await self.paced.__aexit__(*_)
            departures += 1

    async with unread() as (url, _), started(maker(url, timeout_s=30.0)) as provider:
        texts = [message(LARGE), *(message() for _ in range(10))]
        submissions = [asyncio.create_task(provider.submit(each, Paced())) for each in texts]
        while departures < len(texts):
            await asyncio.sleep(0.01)
            assert not any(submission.done() for submission in submissions)
        for submission in submissions:
            submission.cancel()
        await asyncio.wait(submissions)


@every_provider
async def test_an_answer_to_a_request_that_is_not_read_ends_its_connection(maker: Maker) -> None:
    async with unread() as (url, connections), started(maker(url)) as provider:
        for n in range(2):
            submission = asyncio.create_task(provider.submit(message(LARGE), Slot()))
            while len(connections) <= n or not has_received(connections[n]):
                await asyncio.sleep(0.01)
            connections[n].sendall(response(201, GOOD))
            assert await submission == Accepted("SM1", 2)
