"""Callers without a token at full speed: `strangers.py PORT SHAPE CONNECTIONS`, until it is ended.

Each shape is one way to cost a server more than it costs the caller. A connection that is closed
is opened again at once. It prints how many answers of each status came, once it gets SIGTERM.
"""

import asyncio
import gzip
import os
import resource
import signal
import socket
import struct
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

AT_ONCE = 64  # connections that are being opened
PAUSE_S = 0.05  # before another try where nobody answers, so that the tries cost little
RESET = struct.pack("ii", 1, 0)


def head(*headers: str, path: str = "/send", method: str = "POST") -> bytes:
    lines = (f"{method} {path} HTTP/1.1", "Host: localhost", *headers)
    return "\r\n".join((*lines, "", "")).encode()


JSON = "Content-Type: application/json"
BOMB = gzip.compress(b"\0" * 900_000_000, 9) if "bomb" in sys.argv[2:3] else b""
TEXT = b'{"to":"+12025550123","message":"Hi"}'
POST = head(JSON, f"Content-Length: {len(TEXT)}") + TEXT
CHUNKED = "Transfer-Encoding: chunked"
HELLO = bytes.fromhex("16030100c8010000c40303") + os.urandom(189)  # of TLS
# What is sent as soon as a connection is open.
ONCE: dict[str, bytes] = {
    "nobody": b"",
    "idle": b"",
    "post": POST,
    "bomb": head(JSON, "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}") + BOMB,
    "large": head(JSON, "Content-Length: 100000000") + b"x" * 5_000_000,
    "chunks": head(JSON, CHUNKED) + b"1\r\nx\r\n" * 100_000,
    "pipelined": POST * 400,
    "open": head(path="/openapi.json", method="GET") * 400,
    "health": head(path="/healthz", method="GET") * 2000,
    "unread": head(path="/openapi.json", method="GET") * 400,
    "half-closed": POST,
    "expect": head(JSON, "Expect: 100-continue", "Content-Length: 1000000"),
    "upgrade": head("Connection: Upgrade", "Upgrade: websocket", method="GET") + b"x" * 60_000,
    "garbage": os.urandom(60_000),
    "tls": HELLO,
    "reset": POST[:-1],
    "headers": head(*[f"X-{n}: {'x' * 300}" for n in range(90)])[:-2],
    "trickled-head": head(JSON)[:-4] + b"\r\nX: ",
    "trickled-body": head(JSON, "Content-Length: 1000000"),
    "trickled-chunks": head(JSON, CHUNKED),
}
AGAIN = {"trickled-head": b"x", "trickled-body": b"x", "trickled-chunks": b"1\r\nx\r\n"}


class Stranger(asyncio.Protocol):
    """One connection of a shape."""

    def __init__(self, shape: str, answers: Counter[str], ended: Callable[[], None]) -> None:
        self._shape = shape
        self._answers = answers
        self._ended = ended

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.write(ONCE[self._shape])
        if self._shape == "half-closed":
            transport.write_eof()
        if self._shape == "unread":
            transport.pause_reading()
        if self._shape == "reset":
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            transport.abort()

    def data_received(self, data: bytes) -> None:
        if data.startswith(b"HTTP/1.1 "):
            self._answers[data[9:12].decode()] += 1
            if self._shape in ("health", "open"):
                self.transport.write(ONCE[self._shape][: len(data) // 100])

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended()


class Crowd:
    """As many connections of a shape as asked for."""

    def __init__(self, port: int, shape: str, connections: int) -> None:
        self._port = port
        self._shape = shape
        self._connections = connections
        self.answers: Counter[str] = Counter()
        self._open: set[Stranger] = set()

    async def come(self) -> None:
        """Open them, and again those that are closed; ends only when cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(min(AT_ONCE, self._connections)):
                group.create_task(self._keep_opening())
            if self._shape in AGAIN:
                group.create_task(self._trickle())

    async def _keep_opening(self) -> None:
        while True:
            if len(self._open) < self._connections:
                await self._connect()
            await asyncio.sleep(0 if len(self._open) < self._connections else PAUSE_S)

    async def _connect(self) -> None:
        stranger = Stranger(self._shape, self.answers, lambda: self._open.discard(stranger))
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(2):
                await loop.create_connection(lambda: stranger, "127.0.0.1", self._port)
        except (OSError, TimeoutError):
            self.answers["refused"] += 1
            await asyncio.sleep(PAUSE_S)
            return
        if not stranger.transport.is_closing():
            self._open.add(stranger)

    async def _trickle(self) -> None:
        """All at the same time, again and again: the worst for a server that reads them all."""
        while True:
            for stranger in list(self._open):
                stranger.transport.write(AGAIN[self._shape])
            await asyncio.sleep(0.001)


async def main(port: int, shape: str, connections: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    crowd = Crowd(port, shape, min(connections, hard - 100))
    coming = asyncio.create_task(crowd.come())
    print("here", flush=True)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, coming.cancel)
    with suppress(asyncio.CancelledError):
        await coming
    print(dict(crowd.answers), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
