"""A private Redis server. Rule: one daemon a directory; what is answered is on disk.

Runs the server that binary.py chooses, on a unix socket only. It is stopped cleanly with the
daemon, dies with it if the daemon is killed, and is started again if it dies first. Nobody else may
read its files, whatever the directory allows.
"""

import asyncio
import ctypes
import fcntl
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from redis.asyncio import Redis

from smsd.redis.aof import mend
from smsd.redis.binary import EmbeddedError, record, server_for
from smsd.redis.connection import connect
from smsd.redis.errors import Loading, RedisError, Unreachable, mapped

log = logging.getLogger("smsd.embedded")

START_S = 120.0  # without an answer; that it still loads its data is one
LISTENING_S = 0.02  # between questions whether it listens
LOADING_S = 0.2  # and whether it has loaded
STOP_S = 10.0
LONGEST_SOCKET_PATH = 100  # octets; the kernel's own limit is 107
PR_SET_PDEATHSIG = 1  # prctl(2)

OPTIONS = {
    "port": "0",
    "unixsocketperm": "700",
    "appendonly": "yes",
    "appendfsync": "always",
    "no-appendfsync-on-rewrite": "no",
    "save": "",
    "maxmemory-policy": "noeviction",
    "daemonize": "no",
    "logfile": "redis.log",
}


class Embedded:
    """The server of one data directory."""

    def __init__(self, data_dir: Path, *, loading: Callable[[], None] = lambda: None) -> None:
        """`loading` is called now and then while what is on disk is checked and loaded."""
        self._data_dir = data_dir.absolute()
        self._loading = loading
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._lock = -1
        self._socket = self._data_dir / "redis.sock"
        self._unclean = self._data_dir / "unclean"  # there while a server runs, and after a crash

    @property
    def url(self) -> str:
        """Where clients find it."""
        return f"unix://{quote(str(self._socket))}"

    async def start(self) -> None:
        """Lock the directory and start the server. Raises `EmbeddedError`."""
        self._take_directory()
        await self._end_orphan()
        if len(os.fsencode(self._socket)) > LONGEST_SOCKET_PATH:
            short = Path(tempfile.mkdtemp(prefix="smsd-")) / "redis.sock"
            self._socket.symlink_to(short)  # for a successor that has an orphan to end
            self._socket = short
        self._hide_files()
        await self._spawn()

    async def supervise(self) -> None:
        """Start the server again whenever it ends by itself; ends only when cancelled."""
        while self._process is not None:
            code = await self._process.wait()
            if self._stopping:
                return
            log.error("server ended", extra={"code": code})
            await asyncio.sleep(0.2)
            try:
                await self._spawn()
            except EmbeddedError as error:
                log.error("server does not start", extra={"reason": str(error)})  # noqa: TRY400
                await asyncio.sleep(2.0)

    async def stop(self) -> None:
        """Stop the server; everything it acknowledged is on disk."""
        self._stopping = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            try:
                if await asyncio.wait_for(self._process.wait(), STOP_S) == 0:
                    self._unclean.unlink(missing_ok=True)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1
        if self._socket.parent != self._data_dir:
            shutil.rmtree(self._socket.parent, ignore_errors=True)
            (self._data_dir / "redis.sock").unlink(missing_ok=True)

    def _take_directory(self) -> None:
        try:
            self._data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(self._data_dir / "smsd.lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise EmbeddedError(
                f"data directory {self._data_dir} cannot be written: {error.strerror}"
                " ([redis] data_dir)"
            ) from None
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._lock, 20, 0).decode("ascii", "replace").strip() or "?"
            raise EmbeddedError(
                f"data directory {self._data_dir} is in use by another smsd (process {holder})"
            ) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _hide_files(self) -> None:
        """Files of a server that made them readable to anybody, as earlier versions' did."""
        for name, mode in (("appendonlydir", 0o700), ("redis.log", 0o600), ("unclean", 0o600)):
            with suppress(OSError):  # there is none, or it is another user's
                (self._data_dir / name).chmod(mode)

    async def _end_orphan(self) -> None:
        """A server that outlived its daemon still has the files open: end it."""
        short = self._socket.readlink() if self._socket.is_symlink() else None
        if short is None and not self._socket.exists():
            return
        client = _client(short or self._socket)
        try:
            with mapped():
                async with asyncio.timeout(STOP_S):
                    await client.shutdown(nosave=True)
        except Unreachable:
            pass  # a socket file that nobody listens on
        except RedisError:
            raise EmbeddedError(
                f"a server that an earlier smsd left in {self._data_dir} does not end"
            ) from None
        finally:
            await client.aclose()
        self._socket.unlink(missing_ok=True)
        if short is not None:
            shutil.rmtree(short.parent, ignore_errors=True)

    async def _spawn(self) -> None:
        """Start a server and wait until it answers. Raises `EmbeddedError`, whatever it meets."""
        try:
            await self._start_server()
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            raise EmbeddedError(f"the server cannot be run: {error}") from None

    async def _start_server(self) -> None:
        binary = server_for(self._data_dir)
        await self._mend(binary.path)
        options = [part for name, value in OPTIONS.items() for part in (f"--{name}", value)]
        self._process = await asyncio.create_subprocess_exec(
            binary.path,
            *options,
            "--unixsocket",
            str(self._socket),
            cwd=self._data_dir,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            umask=0o077,
            start_new_session=True,  # Ctrl-C is for the daemon: it stops the server itself
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        await self._until_it_answers(self._process)
        record(self._data_dir, binary)
        log.info("server started", extra={"server": binary.path, "socket": str(self._socket)})

    async def _mend(self, binary: str) -> None:
        """Unless the last server ended as it should, look at what it wrote last."""
        if self._unclean.exists():
            await mend(binary, self._data_dir, checking=self._loading)
        self._unclean.touch(mode=0o600)

    async def _until_it_answers(self, process: asyncio.subprocess.Process) -> None:
        client = _client(self._socket)
        try:
            async with asyncio.timeout(START_S) as patience:
                while process.returncode is None:
                    try:
                        with mapped():
                            await client.ping()
                    except Loading:  # were it killed, the next one would begin anew
                        patience.reschedule(asyncio.get_running_loop().time() + START_S)
                        self._loading()
                        await asyncio.sleep(LOADING_S)
                    except RedisError:
                        await asyncio.sleep(LISTENING_S)
                    else:
                        return
        except TimeoutError:
            process.kill()
        finally:
            await client.aclose()
        raise EmbeddedError(f"the server did not start: {_last_lines(self._data_dir)}")


def _client(path: Path) -> Redis:
    return connect(f"unix://{quote(str(path))}", connections=1, timeout_s=STOP_S)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _last_lines(data_dir: Path) -> str:
    try:
        lines = (data_dir / "redis.log").read_text(errors="replace").splitlines()
    except OSError:
        return "it left no log"
    return " / ".join(lines[-3:])
