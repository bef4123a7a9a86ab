"""The body of a request, which waits for its slot. Rule: it leaves once, or nothing leaves.

aiohttp opens (or reuses) the connection, keeps the headers back and hands them to the transport
together with the first chunk of the body, in one synchronous write. So a body that waits for
its slot holds back the whole request, while everything before it is done already.

aiohttp repeats a GET or PUT by itself when the connection dies before the answer, on a fresh
connection as well as on a kept one. The repetition comes to the same gate and finds it shut.
"""

import asyncio
from typing import cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from smsd.provider.base import Slot
from smsd.provider.wire.keep_alive import KeepAlive, Lease, has_ended

LONG_S = 1.0  # a new connection that ended after as long was not turned away


class Gate(aiohttp.BytesPayload):
    """A body that leaves in its slot; the answer's deadline counts from the slot's opening."""

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
        self._settled = asyncio.Event()
        self._entered = False
        self._lease: Lease | None = None
        self._since = 0.0
        self.protocol: asyncio.BaseProtocol | None = None
        self.sent = False  # bytes may have left
        self.refusal: Exception | None = None  # what the slot raised instead of opening

    @property
    def consumed(self) -> bool:
        """True tells aiohttp not to open a second connection for the repetition."""
        return self._used

    @property
    def may_try_another(self) -> bool:
        """Whether the connection ended, or grew too old, before the slot had opened.

        One that is closed as soon as it is opened is the gateway's answer, and no accident.
        """
        if self._lease is None or self._entered:
            return False
        return self._lease.reused or self._clock() - self._since >= LONG_S

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
            self._settled.set()
        await _let_go(stream)

    async def _wait_and_write(self, writer: StreamWriter, content_length: int | None) -> None:
        self._since = self._clock()
        self.protocol = writer.protocol
        self._lease = self._keep_alive.take(self.protocol, self._since)
        # What a kept connection has already received is no answer to this request, and is
        # seen as such (see `Link`) only if it is read before the slot can open.
        await asyncio.sleep(0)
        if self._lease.until <= self._clock() or has_ended(writer.transport):
            raise aiohttp.ClientConnectionError("kept for too long, or closed")
        async with asyncio.timeout_at(self._lease.until) as age:
            try:
                async with self._slot:
                    self._entered = True
                    age.reschedule(None)
                    await self._write(writer, content_length)
            except Exception as error:
                if not self._entered:
                    self.refusal = error
                raise

    async def _write(self, writer: StreamWriter, content_length: int | None) -> None:
        if has_ended(writer.transport):
            raise aiohttp.ClientConnectionResetError("closed in its slot")
        self._deadline.reschedule(self._clock() + self._timeout_s)
        self.sent = True
        try:
            # Not drained: no other message could leave until the provider has read this one.
            await writer.write(self._value[:content_length], drain=False)
        except aiohttp.ClientConnectionResetError:
            self.sent = False  # raised for a closed transport, before anything is written to it
            raise

    async def settled(self) -> None:
        """Wait until the slot is done with."""
        if self._used:
            await self._settled.wait()


async def _let_go(writer: StreamWriter) -> None:
    """Wait until the system has the whole request; what it has not by the end goes no more.

    The connection is neither kept with a rest before the next request, nor closed at the leisure
    of a provider that does not read.
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
