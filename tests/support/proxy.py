"""A wire between a client and Redis that breaks where it hurts: after the work, before the reply.

It understands commands, so "the reply to this script is lost" means just that; what comes back
is passed on as it is. It remembers every command as it was on the wire, to be sent again.
"""

import asyncio
from asyncio import StreamReader, StreamWriter
from collections import Counter
from contextlib import suppress
from pathlib import Path


class Proxy:
    """Listens on one unix socket and connects to another."""

    def __init__(self, server: Path, path: Path) -> None:
        self._server = server
        self._path = path
        self.commands: list[bytes] = []
        self.reply_takes_s = 0.0
        self.lost = 0  # replies and requests that did not arrive
        self._lose_reply: Counter[bytes] = Counter()
        self._lose_request: Counter[bytes] = Counter()
        self._hold_back: Counter[bytes] = Counter()
        self._held: list[bytes] = []
        self._listener: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"unix://{self._path}"

    async def start(self) -> "Proxy":
        self._listener = await asyncio.start_unix_server(self._accept, self._path)
        return self

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for connection in self._connections:
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def lose_reply(self, name: bytes, times: int = 1) -> None:
        """A command with `name` in it is done, and the connection breaks before the reply."""
        self._lose_reply[name] += times

    def lose_nothing(self) -> None:
        """Forget what was to be lost and has not come."""
        for plan in (self._lose_reply, self._lose_request, self._hold_back):
            plan.clear()

    def lose_request(self, name: bytes, times: int = 1) -> None:
        """The connection breaks before the server has heard anything."""
        self._lose_request[name] += times

    def hold_back(self, name: bytes, times: int = 1) -> None:
        """The connection breaks, and the server hears the command only at `let_go`."""
        self._hold_back[name] += times

    async def let_go(self) -> None:
        """What was held back arrives."""
        held, self._held = self._held, []
        for command in held:
            await self.repeat(command)

    async def repeat(self, command: bytes) -> bytes:
        """Send a command once more as it was on the wire; the first line of the reply."""
        reader, writer = await asyncio.open_unix_connection(self._server)
        writer.write(command)
        line = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return line

    async def _accept(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            with suppress(OSError, EOFError):
                await self._connect(reader, writer)
        except asyncio.CancelledError:
            pass  # the server's own task: nobody waits for it but `stop`
        finally:
            self._connections.discard(task)
            writer.close()

    async def _connect(self, reader: StreamReader, writer: StreamWriter) -> None:
        from_server, to_server = await asyncio.open_unix_connection(self._server)
        doomed = asyncio.Event()
        replies = asyncio.create_task(self._replies(from_server, writer, doomed))
        requests = asyncio.create_task(self._requests(reader, to_server, doomed))
        try:
            await asyncio.wait([replies, requests], return_when=asyncio.FIRST_COMPLETED)
        finally:
            to_server.close()
            for task in (replies, requests):
                task.cancel()
            await asyncio.gather(replies, requests, return_exceptions=True)

    async def _requests(
        self, reader: StreamReader, server: StreamWriter, doomed: asyncio.Event
    ) -> None:
        while True:
            command = await _command(reader)
            self.commands.append(command)
            if self._drawn(self._lose_request, command):
                return
            if self._drawn(self._hold_back, command):
                self._held.append(command)
                return
            if self._drawn(self._lose_reply, command):
                doomed.set()
            server.write(command)
            await server.drain()

    async def _replies(
        self, server: StreamReader, client: StreamWriter, doomed: asyncio.Event
    ) -> None:
        while chunk := await server.read(65_536):
            if doomed.is_set():
                return
            await asyncio.sleep(self.reply_takes_s)
            client.write(chunk)
            await client.drain()

    def _drawn(self, plans: Counter[bytes], command: bytes) -> bool:
        for name in plans:
            if plans[name] > 0 and name in command:
                plans[name] -= 1
                self.lost += 1
                return True
        return False


async def _command(reader: StreamReader) -> bytes:
    """One command: an array of bulk strings."""
    head = await reader.readline()
    if not head:
        raise EOFError
    whole = [head]
    for _ in range(int(head[1:])):
        size = await reader.readline()
        whole += (size, await reader.readexactly(int(size[1:]) + 2))
    return b"".join(whole)
