"""The append-only file after a crash. Rule: its torn end is cut off before a server reads it.

A server that loads a file whose last transaction is torn cuts the torn command, but leaves the
MULTI before it (seen with Valkey 8.1). What it then appends belongs, for the next load, to that
open transaction, and is thrown away with it: messages that were on disk. The server's own checker
cuts in front of the MULTI.

The file comes in parts, a dump first. Only the last part can be torn, and only that is given to the
checker: since Valkey 9 writes dumps of its own, its checker takes each for damaged (seen with 9.1).
"""

import asyncio
import logging
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

log = logging.getLogger("smsd.append_only")

LARGEST_TEAR = 16 * 2**20  # octets; a transaction is no longer, so beyond it lies other damage
_PART = re.compile(r"^file (\S+) seq ([0-9]+) type i", re.MULTILINE)
CHECK_S = 600.0
CHECKING_S = 1.0  # between signs of life while it is checked


async def mend(
    server: str, directory: Path, *, checking: Callable[[], None] = lambda: None
) -> None:
    """Cut the torn end of the append-only file in `directory`.

    `server` is the server's binary: under another name it is its own checker. `checking` is called
    now and then: a large file takes minutes. Raises `ValueError` if the damage is another.
    """
    part = _last_part(directory / "appendonlydir")
    if part is None or part.stat().st_size == 0:
        return
    valid, output = await _check(server, part, checking)
    if valid:
        return
    torn = max((int(octets) for octets in re.findall(r"diff=(\d+)", output)), default=0)
    if torn > LARGEST_TEAR:
        raise ValueError(f"{part} is damaged; its last {torn} octets cannot be read")
    log.warning("append-only file mended", extra={"octets_cut": torn})
    mended, output = await _check(server, part, checking, "--fix")
    if not mended:
        raise ValueError(f"{part} cannot be mended: {output.strip().splitlines()[-1]}")


def _last_part(directory: Path) -> Path | None:
    """Where the last command was written, as the manifest says; None if there is no such part."""
    try:
        manifest = (directory / "appendonly.aof.manifest").read_text(errors="replace")
    except FileNotFoundError:
        return None
    parts = {int(number): name for name, number in _PART.findall(manifest)}
    last = directory / parts[max(parts)] if parts else None
    return last if last and last.exists() else None


async def _check(
    server: str, part: Path, checking: Callable[[], None], *options: str
) -> tuple[bool, str]:
    process = await asyncio.create_subprocess_exec(
        "redis-check-aof",  # its name; its path is `server`
        *options,
        str(part),
        executable=server,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C is for the daemon
    )
    answer = asyncio.ensure_future(process.communicate(b"y\n"))
    try:
        async with asyncio.timeout(CHECK_S):
            while not (await asyncio.wait([answer], timeout=CHECKING_S))[0]:
                checking()
            output, _ = answer.result()
    except TimeoutError:
        raise ValueError(f"{part} could not be checked in {CHECK_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        answer.cancel()
    return process.returncode == 0, output.decode(errors="replace")
