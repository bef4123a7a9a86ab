"""The parser as a process: back-pressure, its end in every way, and what it never sees."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from smsd.core.contacts.events import ImportRefused, Options
from smsd.importing.frames import Contacts, Done, Frame, ParserFailedError, decode
from smsd.importing.process import COMMAND, ENVIRONMENT, Parser, parsing

ROWS = b"phone,name\n" + b"+12025550123,Anna\n" * 1000


async def source(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def endless(start: bytes, piece: bytes) -> AsyncIterator[bytes]:
    yield start
    while True:
        yield piece


async def all_frames(parser: Parser) -> list[Frame]:
    return [frame async for frame in parser.frames()]


def status(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return line.split(":", 1)[1].strip()
    raise LookupError(name)


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(30):
        while Path(f"/proc/{pid}").exists() and status(pid, "State")[0] != "Z":
            await asyncio.sleep(0.01)


async def test_a_file_goes_in_and_its_contacts_come_out() -> None:
    async with parsing(
        Options(), source(*(ROWS[i : i + 1000] for i in range(0, len(ROWS), 1000)))
    ) as parser:
        frames = await all_frames(parser)
    contacts = [frame for frame in frames if isinstance(frame, Contacts)]
    assert [len(frame.rows) for frame in contacts] == [500, 500]
    assert isinstance(frames[-1], Done)
    assert (frames[-1].contacts, frames[-1].octets, parser.fed) == (1000, len(ROWS), len(ROWS))
    await until_gone(parser.pid)


async def test_a_refusal_ends_it_though_more_octets_come() -> None:
    with pytest.raises(ImportRefused, match="workbook"):
        async with parsing(Options(), endless(b"PK\x03\x04", bytes(65_536))) as parser:
            await all_frames(parser)
    await until_gone(parser.pid)


async def test_an_option_at_fault_is_refused_before_there_is_a_process() -> None:
    with pytest.raises(ImportRefused) as refused:
        async with parsing(Options(region="XX"), source()):
            pytest.fail("it was started")
    assert refused.value.field == "region"


async def test_what_the_source_raises_is_raised() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield ROWS
        raise ConnectionResetError("the caller hung up")

    with pytest.raises(ConnectionResetError, match="hung up"):
        async with parsing(Options(), broken()) as parser:
            await all_frames(parser)
    await until_gone(parser.pid)


async def test_a_parser_that_is_killed_is_no_end_of_a_file() -> None:
    async with parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
        os.kill(parser.pid, signal.SIGKILL)
        with pytest.raises(ParserFailedError, match="-9"):
            await all_frames(parser)


async def test_its_end_is_left_for_asyncio_to_notice(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield ROWS
        raise ConnectionResetError

    wait = os.waitpid

    def wait_late(pid: int, options: int) -> tuple[int, int]:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        time.sleep(0.1)  # in which others could fetch its status
        return wait(pid, options)

    monkeypatch.setattr(os, "waitpid", wait_late)
    async with parsing(Options(), broken()) as parser:
        with pytest.raises(ConnectionResetError):
            await all_frames(parser)
        await until_gone(parser.pid)
    assert not caplog.records


async def test_leaving_it_with_all_pipes_full_ends_it_too() -> None:
    async with asyncio.timeout(30), parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
        async for _ in parser.frames():
            break
        before = -1
        while parser.fed != before:  # until nothing moves any more
            before = parser.fed
            await asyncio.sleep(0.2)
    await until_gone(parser.pid)


async def test_leaving_early_and_cancelling_end_the_process() -> None:
    async with parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
        async for _ in parser.frames():
            break
    await until_gone(parser.pid)

    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def import_for_ever() -> None:
        async with parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
            started.set_result(parser.pid)
            await all_frames(parser)

    task = asyncio.create_task(import_for_ever())
    pid = await started
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_gone(pid)


async def test_who_takes_no_frames_is_fed_no_further() -> None:
    async with parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
        before = -1
        while parser.fed == 0 or parser.fed != before:
            before = parser.fed
            await asyncio.sleep(0.2)
        assert parser.fed < 20_000_000
        taken = 0
        async for frame in parser.frames():
            taken += isinstance(frame, Contacts)
            if parser.fed > before:
                break
        assert taken


async def test_memory_stays_small_whatever_comes() -> None:
    pieces = [b'phone,name\n+12025550123,"', *[b"x" * 65_536] * 300, b"\n", *[b"x," * 32_768] * 100]
    async with parsing(Options(), source(*pieces, b"\n", ROWS[11:])) as parser:
        frames = []
        most = 0
        async for frame in parser.frames():
            frames.append(frame)
            if isinstance(frame, Contacts):
                most = int(status(parser.pid, "VmHWM").split()[0])
    assert isinstance(frames[-1], Done)
    assert frames[-1].contacts == 1000
    assert 0 < most < 64_000  # kB


async def test_it_sees_no_secret_and_yields_to_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SMSD_PROVIDER__TWILIO__AUTH_TOKEN", "secret")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "/run/credentials/smsd")
    async with parsing(Options(), endless(ROWS, ROWS[11:])) as parser:
        async for _ in parser.frames():
            break
        environment = Path(f"/proc/{parser.pid}/environ").read_bytes()
        assert b"secret" not in environment
        assert b"CREDENTIALS" not in environment
        assert os.getpriority(os.PRIO_PROCESS, parser.pid) >= 10
        assert Path(f"/proc/{parser.pid}/cwd").readlink() == Path("/")


async def test_a_bug_is_reported_by_its_place_and_not_by_what_it_was_about() -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRONMENT,
    )
    written, _ = await process.communicate(b"+12025550123 is no option\n")
    assert process.returncode == 1
    assert b"0123" not in written
    with pytest.raises(ParserFailedError, match=r"JSONDecodeError at frames\.py:[0-9]+"):
        decode(written)


PARENT = """
import asyncio
from smsd.core.contacts.events import Options
from smsd.importing.process import parsing

async def endless():
    yield b"phone\\n"
    while True:
        yield b"+12025550123\\n" * 1000

async def main():
    async with parsing(Options(), endless()) as parser:
        print(parser.pid, flush=True)
        async for _ in parser.frames():
            pass

asyncio.run(main())
"""


async def test_it_ends_when_the_daemon_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    pid = int(await parent.stdout.readline())
    parent.kill()
    await parent.wait()
    await until_gone(pid)
