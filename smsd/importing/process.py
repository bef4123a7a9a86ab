"""The parser as a process. Rule: whoever is slow, neither side holds more than a pipe and a frame.

    async with parsing(options, octets) as parser:
        async for frame in parser.frames():
            …

`octets` is fed by a task of its own as fast as the parser reads, and no faster than its frames are
taken. However the block is left, the process is gone afterwards.
"""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import smsd
from smsd.core.contacts.events import Options
from smsd.core.contacts.reader import check
from smsd.importing.frames import (
    LONGEST_FRAME,
    Done,
    Frame,
    ParserFailedError,
    decode,
    encode_options,
)

PIECE = 65_536  # octets that are written before the pipe is waited for
ENVIRONMENT = {"PYTHONPATH": str(Path(smsd.__file__).parents[1]), "PYTHONUTF8": "1"}
COMMAND = (sys.executable, "-P", "-m", "smsd.importing.child")


class Parser:
    """A parser that runs."""

    def __init__(
        self, process: asyncio.subprocess.Process, options: Options, octets: AsyncIterable[bytes]
    ) -> None:
        self.fed = 0  # octets
        self._process = process
        self._feeding = asyncio.create_task(self._feed(options, octets))

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def frames(self) -> AsyncIterator[Frame]:
        """What it finds; the last is `Done`.

        Raises `ImportRefused`, `ParserFailedError`, and whatever the source of octets raises.
        """
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - as it was started
        while line := await pipe.readline():
            frame = decode(line[:-1])
            yield frame
            if isinstance(frame, Done):
                return
        if self._feeding.done():
            self._feeding.result()
        raise ParserFailedError(f"it ended with {await self._process.wait()}")

    async def stop(self) -> None:
        """End the process, if it has not ended by itself."""
        self._feeding.cancel()
        self._kill()
        # asyncio knows of its end only when its output is read to the end.
        await asyncio.gather(
            self._feeding, self._drop_output(), self._process.wait(), return_exceptions=True
        )

    async def _drop_output(self) -> None:
        pipe = self._process.stdout
        assert pipe is not None  # noqa: S101 - as it was started
        while await pipe.read(PIECE):
            pass

    async def _feed(self, options: Options, source: AsyncIterable[bytes]) -> None:
        pipe = self._process.stdin
        assert pipe is not None  # noqa: S101 - as it was started
        try:
            if not await _write(pipe, encode_options(options) + b"\n"):
                return
            async for octets in source:
                if not await _write(pipe, octets):
                    return
                self.fed += len(octets)
        except BaseException:
            self._kill()  # its output ends, and `frames` raises what was raised here
            raise
        pipe.close()

    def _kill(self) -> None:
        # Not `Process.kill`: that would itself fetch the status of one that has just ended, and
        # asyncio, which waits for it, would warn of a process unknown.
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, signal.SIGKILL)


async def _write(pipe: asyncio.StreamWriter, octets: bytes) -> bool:
    """Whether they were written. If not, the process has ended, and `frames` learns why."""
    try:
        for start in range(0, len(octets), PIECE):
            pipe.write(octets[start : start + PIECE])
            await pipe.drain()
    except ConnectionError:
        return False
    return True


@asynccontextmanager
async def parsing(options: Options, octets: AsyncIterable[bytes]) -> AsyncIterator[Parser]:
    """A parser for one file. Raises `ImportRefused` if an option cannot be followed."""
    check(options)
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=ENVIRONMENT,
        cwd="/",
        limit=LONGEST_FRAME,
        start_new_session=True,
    )
    parser = Parser(process, options, octets)
    try:
        yield parser
    finally:
        await parser.stop()
