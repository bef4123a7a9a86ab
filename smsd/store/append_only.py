"""The append-only file after a crash. Rule: its torn end is cut off before a server reads it.

A server that loads a file whose last transaction is torn cuts the torn command, but leaves the
MULTI before it (seen with Valkey 8.1). What it then appends belongs, for the next load, to that
open transaction, and is thrown away with it: texts that were on disk. The server's own checker
cuts in front of the MULTI.
"""

import logging
import re
import subprocess
from pathlib import Path

log = logging.getLogger("smsd.append_only")

LARGEST_TEAR = 16 * 2**20  # octets; a transaction is no longer, so beyond it lies other damage
CHECK_S = 600.0


def mend(server: str, directory: Path) -> None:
    """Cut the torn end of the append-only file in `directory`.

    `server` is the server's binary: under another name it is its own checker. Raises `ValueError`
    if the damage is another.
    """
    manifest = directory / "appendonlydir" / "appendonly.aof.manifest"
    if not manifest.exists():
        return
    valid, said = _check(server, manifest)
    if valid:
        return
    torn = max((int(octets) for octets in re.findall(r"diff=(\d+)", said)), default=0)
    if torn > LARGEST_TEAR:
        raise ValueError(f"{manifest} is damaged; its last {torn} octets cannot be read")
    log.warning("append-only file mended", extra={"octets_cut": torn})
    mended, said = _check(server, manifest, "--fix")
    if not mended:
        raise ValueError(f"{manifest} cannot be mended: {said.strip().splitlines()[-1]}")


def _check(server: str, manifest: Path, *options: str) -> tuple[bool, str]:
    command = ["redis-check-aof", *options, str(manifest)]  # its name; its path is `server`
    done = subprocess.run(  # noqa: S603 - the server's own binary
        command,
        executable=server,
        input="y\n",
        capture_output=True,
        text=True,
        errors="replace",
        timeout=CHECK_S,
        check=False,
    )
    return done.returncode == 0, done.stdout + done.stderr
