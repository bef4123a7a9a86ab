"""The wire between one daemon and Redis: it goes dead or breaks for that daemon alone, and heals.

Rule: a dead wire tells nobody, and what it held back arrives late when it heals, as resent packets
do, unless the connections were given up. It knows nothing of commands. It runs in a thread.
"""

import asyncio
import threading
from asyncio import StreamReader, StreamWriter
from collections.abc import Coroutine
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

CHUNK = 65_536


class Wire:
    """Listens on a port of its own and connects to Redis's unix socket."""

    def __init__(self, server: Path) -> None:
        self._server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._listener: asyncio.Server | None = None
        self._connections: set[StreamWriter] = set()  # the daemon's ends
        self._tasks: set[asyncio.Task[None]] = set()
        self._broken = False
        self._requests = asyncio.Event()  # set: they pass
        self._replies = asyncio.Event()
        self._port = 0

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    def start(self) -> "Wire":
        self._thread.start()
        self._do(self._start())
        return self

    def stop(self) -> None:
        self._do(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def hold(self, *, replies_only: bool = False) -> None:
        """Go dead: nothing passes, and nobody is told. `replies_only`: Redis still hears."""
        self._do(self._hold(replies_only))

    def cut(self) -> None:
        """Break every connection, and every new one."""
        self._do(self._cut())

    def heal(self, *, forget: bool = False) -> None:
        """All is well again. `forget`: what was held back is lost, with its connections."""
        self._do(self._heal(forget))

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(10)

    async def _start(self) -> None:
        self._requests.set()
        self._replies.set()
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self._port = self._listener.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        assert self._listener is not None
        self._broken = True  # who is being accepted is turned away
        # Closed under one who is being accepted, it would leave that connection open.
        self._loop.remove_reader(self._listener.sockets[0].fileno())
        self._abort()
        while others := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.gather(*others, return_exceptions=True)
        self._listener.close()

    async def _hold(self, replies_only: bool) -> None:
        self._replies.clear()
        if not replies_only:
            self._requests.clear()

    async def _cut(self) -> None:
        self._broken = True
        self._abort()

    async def _heal(self, forget: bool) -> None:
        if forget:
            self._abort()
            await asyncio.sleep(0.01)  # they end before anything passes
        self._broken = False
        self._requests.set()
        self._replies.set()

    def _abort(self) -> None:
        for writer in self._connections:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        if self._broken:
            writer.transport.abort()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections.add(writer)
        try:
            with suppress(OSError, asyncio.CancelledError):
                await self._connect(reader, writer)
        finally:
            self._tasks.discard(task)
            self._connections.discard(writer)
            writer.close()

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        with closing(to_server):  # though it is cancelled while it waits for the pumps
            pumps = [
                asyncio.create_task(_pump(reader, to_server, self._requests)),
                asyncio.create_task(_pump(from_server, writer, self._replies)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)


async def _pump(source: StreamReader, sink: StreamWriter, passes: asyncio.Event) -> None:
    """Pass everything on, the end too, as long as it passes."""
    while chunk := await source.read(CHUNK):
        await passes.wait()
        sink.write(chunk)
        await sink.drain()
    await passes.wait()
