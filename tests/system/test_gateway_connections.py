"""Connections to gateways, kept and new. Rule: none is written on that the gateway is closing."""

import asyncio
import socket
import time
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import TracebackType

import pytest

from smsd.core.outcome import Accepted, Outcome, Unavailable
from smsd.core.pacer import Pacer
from smsd.dispatch.pace import Pace
from smsd.metrics import Metrics
from smsd.provider.wire.keep_alive import KeepAlive
from tests.support.gateway import (
    GOOD,
    Gateway,
    Script,
    Slot,
    certificate,
    listening,
    message,
    post,
    read_request,
    response,
    says,
    serving,
    started,
    twilio,
)

WAY_S = 0.04  # to the gateway, each way
TAKEN = Accepted("SM1", 2)


class Closing(Gateway):
    """A gateway that closes a connection which has been idle for its keep-alive."""

    def __init__(self, script: Script, keep_alive_s: float) -> None:
        super().__init__(script)
        self._keep_alive_s = keep_alive_s

    async def serve(self, reader: Reader, writer: Writer) -> None:
        self.connections += 1
        self.writers.append(writer)
        with suppress(ConnectionError, asyncio.IncompleteReadError, TimeoutError):
            while True:
                async with asyncio.timeout(self._keep_alive_s):
                    request = await read_request(reader)
                self.requests.append(request)
                await self.script(reader, writer)
        writer.close()


@asynccontextmanager
async def far_from(url: str) -> AsyncIterator[str]:
    """The address of a wire to `url` on which everything takes its time, ends as well."""
    host, port = url.removeprefix("https://").removeprefix("http://").split(":")
    tasks: set[asyncio.Task[None]] = set()
    writers: list[Writer] = []

    async def carry(reader: Reader, writer: Writer) -> None:
        loop = asyncio.get_running_loop()
        chunk = b"-"
        while chunk:
            with suppress(ConnectionError):
                chunk = await reader.read(65_536)
            loop.call_later(WAY_S, writer.write, chunk) if chunk else None
        loop.call_later(WAY_S, writer.close)

    async def connect(reader: Reader, writer: Writer) -> None:
        far_reader, far_writer = await asyncio.open_connection(host, int(port))
        writers.extend((writer, far_writer))
        for ends in ((reader, far_writer), (far_reader, writer)):
            tasks.add(asyncio.create_task(carry(*ends)))

    server = await asyncio.start_server(connect, "127.0.0.1", 0)
    scheme = url.partition(":")[0]
    try:
        yield f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in writers:
            each.transport.abort()
        await asyncio.sleep(0.01)


async def test_no_message_is_in_doubt_for_a_connection_that_the_gateway_closes_while_idle() -> None:
    """Gaps of about 5 s, a keep-alive of 5 s, 40 ms away: 9 of 24 were in doubt."""

    async def outcomes(*headers: str) -> list[Outcome]:
        gateway = Closing(says(response(201, GOOD, *headers)), 5.0)
        async with listening(gateway), far_from(gateway.url) as far:

            async def after(gap_s: float) -> Outcome:
                async with started(post(far)) as provider:
                    assert await provider.submit(message(), Slot()) == TAKEN
                    await asyncio.sleep(gap_s)
                    return await provider.submit(message(), Slot())

            return await asyncio.gather(*(after(4.92 + n * 0.01) for n in range(24)))

    silent, explicit = await asyncio.gather(outcomes(), outcomes("Keep-Alive: timeout=5"))
    assert silent == [TAKEN] * 24
    assert explicit == [TAKEN] * 24


@pytest.mark.parametrize(
    ("header", "keep_alive", "gap_s", "connections"),
    [
        ("X: y", 20.0, 0.1, 1),
        ("X: y", 0.4, 0.3, 2),
        ("X: y", 0.0, 0.0, 2),
        ("Keep-Alive: timeout=30, max=100", 0.2, 0.3, 1),
        ("Keep-Alive: timeout=30", 0.0, 0.0, 2),
        ("keep-alive: max=5, timeout=1", 0.4, 0.0, 2),
        ("Keep-Alive: yes", 20.0, 0.1, 1),
        ("Connection: close", 0.4, 0.0, 2),
    ],
)
async def test_a_connection_is_used_again_for_as_long_as_the_gateway_says_or_for_a_little(
    header: str, keep_alive: float, gap_s: float, connections: int
) -> None:
    gateway = Gateway(says(response(201, GOOD, header)))
    async with listening(gateway), started(post(gateway.url, keep_alive_s=keep_alive)) as provider:
        assert await provider.submit(message(), Slot()) == TAKEN
        await asyncio.sleep(gap_s)
        assert await provider.submit(message(), Slot()) == TAKEN
    assert gateway.connections == connections
    assert len(gateway.requests) == 2


async def test_a_connection_that_grows_too_old_while_it_waits_is_given_up_for_another() -> None:
    """A pause that the provider asked for may be long."""
    gateway = Gateway(says(response(201, GOOD)))  # which closes none by itself
    async with listening(gateway), started(post(gateway.url, keep_alive_s=2.0)) as provider:
        assert await provider.submit(message(), Slot()) == TAKEN
        slot = Slot(closed=True)
        submission = asyncio.create_task(provider.submit(message(), slot))
        await slot.asked.wait()
        while gateway.connections < 2:
            await asyncio.sleep(0.01)
        slot.door.set()
        assert await submission == TAKEN
        assert slot.events == ["asked", "cancelled", "asked", "entered", "left"]
    assert len(gateway.requests) == 2


async def test_a_gateway_that_closes_whatever_is_opened_is_asked_once() -> None:
    """One connection after the other would be a flood."""
    for delay_s in (0.0, 0.01):

        async def closes(_: Reader, writer: Writer, delay_s: float = delay_s) -> None:
            await asyncio.sleep(delay_s)
            writer.close()

        gateway = Gateway(says(response(201, GOOD)), greet=closes)
        slot = Slot(closed=True)
        async with listening(gateway), started(post(gateway.url)) as provider:
            outcome = await provider.submit(message(), slot)
        assert isinstance(outcome, Unavailable)
        assert not outcome.written
        assert gateway.connections == 1


async def test_many_old_connections_are_passed_over_quickly() -> None:
    all_are_there = asyncio.Event()

    async def late(_: Reader, writer: Writer) -> None:
        if len(gateway.requests) == 60:
            all_are_there.set()
        await all_are_there.wait()
        writer.write(response(201, GOOD))

    gateway = Gateway(late)
    async with (
        listening(gateway),
        started(post(gateway.url, keep_alive_s=0.2, timeout_s=20.0)) as provider,
    ):
        await asyncio.gather(*(provider.submit(message(), Slot()) for _ in range(60)))
        await asyncio.sleep(0.3)
        began = time.monotonic()
        assert await provider.submit(message(), Slot()) == TAKEN
        assert time.monotonic() - began < 5  # not a tenth of a second each
    assert gateway.connections == 61


async def test_an_end_that_came_in_the_very_turn_of_the_slot_is_seen() -> None:
    """The loop has not been told of it yet; the system knows."""
    gateway = Gateway(says(response(201, GOOD)))
    listener = socket.create_server(("127.0.0.1", 0))

    class Ending(Slot):
        async def __aenter__(self) -> None:
            await super().__aenter__()
            listener.accept()[0].close()
            time.sleep(0.02)  # the loop sees nothing of what arrives now

    slot = Ending()
    with listener:
        gateway.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with started(post(gateway.url)) as provider:
            outcome = await provider.submit(message(), slot)
    assert isinstance(outcome, Unavailable)


async def test_with_a_new_connection_for_each_message_all_are_at_their_slots_in_time(
    tmp_path: Path,
) -> None:
    """TLS to a gateway far away: the way to the slot takes longer than the usual lead."""
    pem = certificate(tmp_path, "IP:127.0.0.1")
    pace = Pace(Pacer(3.0, ceiling="segment"), clock=time.monotonic_ns, metrics=Metrics())
    in_time: list[bool] = []
    gateway = Gateway(says(response(201, GOOD)))

    class Paced(Slot):
        def __init__(self) -> None:
            super().__init__()
            self.paced = pace.slot(1, wanted=lambda: True)

        async def __aenter__(self) -> None:
            in_time.append(pace.forbids(time.monotonic_ns()))
            await self.paced.__aenter__()

        async def __aexit__(
            self,
            kind: type[BaseException] | None,
            error: BaseException | None,
            trace: TracebackType | None,
        ) -> None:
            await self.paced.__aexit__(kind, error, trace)

    async with (
        listening(gateway, serving(pem)),
        far_from(gateway.url) as far,
        started(twilio(far, ca_file=pem, keep_alive_s=0.05)) as provider,
    ):
        under_way = []
        for _ in range(12):
            while await pace.near() < 1:
                await asyncio.sleep(0.01)
            under_way.append(asyncio.create_task(provider.submit(message(), Paced())))
        assert await asyncio.gather(*under_way) == [TAKEN] * 12
    assert gateway.connections == 12
    # The first shows how long the way takes, and a busy machine makes it longer again and again;
    # where nothing is learned of it, none comes in time.
    assert any(in_time), in_time


@pytest.mark.parametrize(
    ("header", "allowed"),
    [
        ("timeout=5", 4.0),
        ("timeout=5, max=100", 4.0),
        ("max=100, timeout=15", 14.0),
        ('timeout="5"', 4.0),
        ("Timeout = 5", 4.0),
        ("timeout=1", 0.0),
        ("timeout=0", -1.0),
        ("timeout=75", 20.0),
        ("timeout=99999999999999999999", 20.0),
        ("timeout=", 1.5),
        ("timeout=-5", 1.5),
        ("notimeout=5", 1.5),
        ("", 1.5),
    ],
)
def test_what_a_gateway_says_of_its_keep_alive_is_obeyed(header: str, allowed: float) -> None:
    class Protocol(asyncio.Protocol):
        """One that can be referred to weakly, as aiohttp's."""

    kept, protocol = KeepAlive(1.5), Protocol()
    kept.keep(protocol, {"Keep-Alive": header}, 100.0)
    usable = allowed >= 0.5
    assert kept.take(protocol, 100.0) == (100.0 + allowed if usable else 100.0, True)
    assert kept.take(protocol, 100.0) == (105.0, False)  # as another connection would be
