"""The body of a request, which waits for its slot. Rule: it is written once, or never.

aiohttp opens (or reuses) the connection, keeps the headers back and hands them to the transport
together with the first chunk of the body, in one synchronous write. So a body that waits for its
slot holds back the whole request, while everything before the write is done already.

aiohttp repeats a GET or PUT by itself when the connection ends before the answer, on a new
connection as well as on a kept one. The repetition uses the same body, which refuses to be written
again.
"""

import asyncio
from typing import cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from smsd.provider.base import Slot
from smsd.provider.wire.keep_alive import KeepAlive, Taken, has_ended

REFUSED_WITHIN_S = 1.0  # a new connection that ends within this time was refused by the gateway


class PacedBody(aiohttp.BytesPayload):
    """A body that is written in its slot; the answer's deadline counts from that instant."""

    def __init__(
        self,
        body: bytes,
        slot: Slot,
        deadline: asyncio.Timeout,
        timeout_s: float,
        keep_alive: KeepAlive,
    ) -> None:
        super().__init__(body)
        self._slot = slot
        self._deadline = deadline
        self._timeout_s = timeout_s
        self._keep_alive = keep_alive
        self._clock = asyncio.get_running_loop().time
        self._used = False
        self._finished = asyncio.Event()
        self._entered = False
        self._connection: Taken | None = None
        self._since = 0.0
        self.protocol: asyncio.BaseProtocol | None = None
        self.written = False  # bytes may have left
        self.slot_error: Exception | None = None  # what the slot raised in place of its instant

    @property
    def consumed(self) -> bool:
        """If true, aiohttp opens no second connection for a repetition."""
        return self._used

    @property
    def may_try_another_connection(self) -> bool:
        """Whether the connection ended, or grew too old, while the body waited for its slot.

        A gateway that closes a connection as soon as it is opened refuses it: that is final.
        """
        if self._connection is None or self._entered:
            return False
        return self._connection.reused or self._clock() - self._since >= REFUSED_WITHIN_S

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Wait for the slot and write."""
        await self.write_with_length(writer, None)

    async def write_with_length(
        self, writer: AbstractStreamWriter, content_length: int | None
    ) -> None:
        """Wait for the slot and write: what aiohttp calls for a body, in a task of its own."""
        if self._used:
            raise aiohttp.ClientConnectionError("one submission is one request")
        self._used = True
        stream = cast("StreamWriter", writer)
        try:
            await self._wait_and_write(stream, content_length)
        finally:
            self._finished.set()
        await _flush(stream)

    async def _wait_and_write(self, writer: StreamWriter, content_length: int | None) -> None:
        self._since = self._clock()
        self.protocol = writer.protocol
        self._connection = self._keep_alive.take(self.protocol, self._since)
        # What a kept connection has already received is no answer to this request. `HttpClient`
        # can see that only if it is read before the slot is entered.
        await asyncio.sleep(0)
        if self._connection.until <= self._clock() or has_ended(writer.transport):
            raise aiohttp.ClientConnectionError("kept for too long, or closed")
        async with asyncio.timeout_at(self._connection.until) as age:
            try:
                async with self._slot:
                    self._entered = True
                    age.reschedule(None)
                    await self._write(writer, content_length)
            except Exception as error:
                if not self._entered:
                    self.slot_error = error
                raise

    async def _write(self, writer: StreamWriter, content_length: int | None) -> None:
        if has_ended(writer.transport):
            raise aiohttp.ClientConnectionResetError("closed in its slot")
        self._deadline.reschedule(self._clock() + self._timeout_s)
        self.written = True
        try:
            # Not drained: no other message could leave until the provider has read this one.
            await writer.write(self._value[:content_length], drain=False)
        except aiohttp.ClientConnectionResetError:
            self.written = False  # raised for a closed transport, before anything is written to it
            raise

    async def finished(self) -> None:
        """Wait until the slot is no longer used."""
        if self._used:
            await self._finished.wait()


async def _flush(writer: StreamWriter) -> None:
    """Wait until the system has the whole request; if cancelled, drop what it does not have.

    So no connection is kept with the rest of a request on it, and none stays open for as long as a
    provider does not read.
    """
    transport = writer.transport
    if transport is None:
        return
    transport.set_write_buffer_limits(high=0)
    try:
        await writer.drain()
    except asyncio.CancelledError:
        transport.abort()
        raise
