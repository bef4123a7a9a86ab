"""A caller's connection. Rule: what it held is gone with it, whatever the caller did."""

import asyncio
import gc
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from typing import Any, cast

import pytest
from aiohttp import web
from pydantic import BaseModel

from smsd.web.auth import Callers
from smsd.web.edge.body_memory import BodyMemory
from smsd.web.edge.connection import READ, SMALL_READ, Bounds, Connection
from smsd.web.edge.guard import Guard
from smsd.web.edge.listener import Listener
from smsd.web.edge.turns import Turns
from smsd.web.route import Answer, Route
from smsd.web.router import Router

HEAD = b"POST /send HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n"
AUTHORIZED = HEAD + b"Authorization: Bearer 0123456789abcdef\r\n\r\n"
ENDS = {
    "a refused one": HEAD + b"\r\n{}",
    "a refused one that goes on": HEAD.replace(b": 2", b": 9999") + b"\r\n{}",
    "a refused one before others": (HEAD + b"\r\n{}") * 30,
    "an answered one": AUTHORIZED + b"{}",
    "an answered one before others": (AUTHORIZED + b"{}") * 30,
    "half a one": AUTHORIZED + b"{",
    "a head": HEAD,
    "no HTTP": b"\x16\x03\x01\x00 no HTTP at all\r\n\r\n",
}


@pytest.fixture(autouse=True)
def no_garbage_of_others() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def address(octets: bytes) -> AsyncIterator[tuple[str, int]]:
    """Where a listener is; it waits briefly for headers where the rest of them never comes."""

    async def handle(_: web.BaseRequest) -> web.Response:
        return web.Response()

    row = Route("POST", "/send", handle, "For tests.", {200: Answer("It is done.")}, body=BaseModel)
    turns = Turns(asyncio.get_running_loop().time)
    server = web.Server(
        Guard(
            Router([row], max_body=1_000_000, body_timeout_s=5.0),
            callers=Callers(["0123456789abcdef"]),
            memory=BodyMemory(1_000_000),
            turns=turns,
        )
    )
    runner = web.ServerRunner(server)
    await runner.setup()
    listener = Listener(
        server,
        turns=turns,
        max_connections=9,
        header_timeout_s=0.05 if octets == HEAD else 60.0,
        answer_timeout_s=9.0,
    )
    await listener.listen("127.0.0.1", 0)
    [found] = listener.addresses
    yield cast("tuple[str, int]", found)
    listener.close()
    await runner.cleanup()
    listener.stop()


@pytest.mark.parametrize("octets", ENDS.values(), ids=ENDS)
async def test_a_closed_connection_leaves_nothing_to_the_collector(
    address: tuple[str, int], octets: bytes
) -> None:
    def call() -> None:
        with socket.create_connection(address, timeout=20) as caller, suppress(ConnectionError):
            caller.sendall(octets)
            caller.shutdown(socket.SHUT_WR)
            caller.recv(1)

    def left() -> list[object]:
        kinds = (web.BaseRequest, web.RequestHandler, asyncio.Task)
        return [one for one in gc.get_objects() if isinstance(one, kinds) and id(one) not in others]

    others: set[int] = set()  # what this and other tests hold
    held = left()
    others.update(map(id, held))
    gc.disable()  # it would hide what is left to it
    try:
        for _ in range(10):
            await asyncio.to_thread(call)
        for _ in range(400):
            if not left():
                return
            await asyncio.sleep(0.05)
        raise AssertionError(left())
    finally:
        gc.enable()


class Wire(asyncio.Transport):
    """A transport to which nothing happens."""

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return True

    def write(self, data: object) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return None


async def test_of_a_stranger_little_is_read_at_once_and_one_request_has_its_turn() -> None:
    async def handle(_: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    loop = asyncio.get_running_loop()
    bounds = Bounds(9.0, 9.0, loop.time, Turns(loop.time))
    connection = Connection(web.Server(handle), bounds, loop)
    connection.connection_made(Wire())

    assert len(connection.get_buffer(-1)) == SMALL_READ
    octets = (HEAD + b"\r\n{}") * 2
    connection.get_buffer(-1)[: len(octets)] = octets
    connection.buffer_updated(len(octets))
    assert [connection.take_turn() for _ in range(2)] == [True, False]

    connection.set_known()
    assert len(connection.get_buffer(-1)) == READ
    connection.connection_lost(None)
    await asyncio.sleep(0)


@pytest.mark.parametrize("pieces", [[AUTHORIZED + b"{}"] * 3, [(AUTHORIZED + b"{}") * 3]])
async def test_all_that_came_before_a_caller_stops_sending_is_answered(
    pieces: list[bytes],
) -> None:
    """Though it stops while the first is being answered, and the others have not begun."""
    has_stopped, served = asyncio.Event(), 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal served
        connection = cast("Connection", request.protocol)
        whole = connection.began(request)
        await has_stopped.wait()
        assert whole
        served += 1
        connection.ended(request)
        return web.Response()

    loop = asyncio.get_running_loop()
    bounds = Bounds(60.0, 60.0, loop.time, Turns(loop.time))
    server = web.Server(handle)
    listener = await loop.create_server(lambda: Connection(server, bounds, loop), "127.0.0.1", 0)
    host, port = listener.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(host, port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    writer.write_eof()
    async with asyncio.timeout(20):
        while not any(one._at_end for one in bounds.open):
            await asyncio.sleep(0.01)
        has_stopped.set()
        assert (await reader.read()).count(b"HTTP/1.1 200") == 3
    assert served == 3
    writer.close()
    listener.close()


async def test_a_body_whose_rest_has_no_turn_yet_when_the_caller_stops_sending_is_whole() -> None:
    bodies: list[bytes] = []
    has_begun = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        connection = cast("Connection", request.protocol)
        assert connection.began(request)
        has_begun.set()
        bodies.append(await request.read())
        connection.ended(request)
        return web.Response()

    loop = asyncio.get_running_loop()
    bounds = Bounds(60.0, 60.0, loop.time, Turns(loop.time))
    connection = Connection(web.Server(handle), bounds, loop)
    connection.connection_made(Wire())

    def comes(octets: bytes) -> None:
        connection.get_buffer(-1)[: len(octets)] = octets
        connection.buffer_updated(len(octets))

    comes(AUTHORIZED + b"{")
    await has_begun.wait()
    while bounds.turns.take():
        pass  # others have this turn of the loop
    comes(b"}")
    assert connection.eof_received()
    while not bodies:
        await asyncio.sleep(0)
    assert bodies == [b"{}"]
    connection.connection_lost(None)
    await asyncio.sleep(0)
