"""`python -m smsd.importing.child`: octets in, frames out. Rule: it knows nothing but the file.

It has no environment, no network and no file but its pipes; it runs at a low priority, within a
bounded address space, and ends when the daemon does: its input ends then, and nobody reads.
"""

import hashlib
import os
import resource
import signal
import sys
from collections.abc import Iterator
from contextlib import suppress
from io import BufferedIOBase
from pathlib import Path

from smsd.core.contacts.events import Batch, Event, ImportRefused, Reject
from smsd.core.contacts.reader import read
from smsd.importing.frames import (
    Done,
    Rejects,
    decode_options,
    encode,
    encode_contacts,
    encode_failed,
    encode_refused,
)

NICE = 10
MEMORY = 1 << 29  # octets of address space; what it takes is less than a tenth of that
PIECE = 65_536
MOST_REJECTS = 100  # in a frame
LARGEST_REJECTS = 65_536  # characters and cells of their rows


class Input:
    """Octets from a pipe, counted and digested on the way."""

    def __init__(self, pipe: BufferedIOBase) -> None:
        self.octets = 0
        self.digest = hashlib.sha256()
        self._pipe = pipe

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._pipe.read1(PIECE):
            self.octets += len(piece)
            self.digest.update(piece)
            yield piece


class Output:
    """Frames to a pipe; rejects are gathered."""

    def __init__(self, pipe: BufferedIOBase) -> None:
        self.contacts = self.rejected = 0
        self._pipe = pipe
        self._rejects: list[Reject] = []
        self._size = 0  # characters and cells of their rows

    def event(self, event: Event) -> None:
        """Write what the reader found."""
        if isinstance(event, Reject):
            self._rejects.append(event)
            self._size += sum(map(len, event.row)) + len(event.row)
            if len(self._rejects) >= MOST_REJECTS or self._size >= LARGEST_REJECTS:
                self._flush()
            return
        self._flush()
        if isinstance(event, Batch):
            self.contacts += len(event.contacts)
            self.line(encode_contacts(event.contacts))
        else:
            self.line(encode(event))

    def done(self, octets: int, digest: str) -> None:
        """Write that all was read."""
        self._flush()
        rows = self.contacts + self.rejected
        self.line(encode(Done(rows, self.contacts, self.rejected, octets, digest)))

    def line(self, frame: bytes) -> None:
        """Write a frame."""
        self._pipe.write(frame + b"\n")
        self._pipe.flush()

    def _flush(self) -> None:
        if self._rejects:
            self.rejected += len(self._rejects)
            self.line(encode(Rejects(tuple(self._rejects))))
            self._rejects = []
            self._size = 0


def run(source: BufferedIOBase, target: BufferedIOBase) -> None:
    """Parse what comes from one pipe into the other."""
    options = decode_options(source.readline())
    octets, frames = Input(source), Output(target)
    try:
        for event in read(octets, options):
            frames.event(event)
    except ImportRefused as refused:
        frames.line(encode_refused(refused))
    else:
        frames.done(octets.octets, octets.digest.hexdigest())


def main() -> None:
    """Run as a process."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the daemon
    with suppress(OSError):  # a service may be forbidden even this
        os.nice(NICE)
    with suppress(ValueError):  # it has less already
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # it would hold numbers
    try:
        with open(0, "rb") as source, open(1, "wb", closefd=False) as target:
            run(source, target)
    except Exception as error:  # noqa: BLE001 - whatever it is, the daemon logs it
        where = error.__traceback__
        while where and where.tb_next:
            where = where.tb_next
        place = f"{Path(where.tb_frame.f_code.co_filename).name}:{where.tb_lineno}" if where else ""
        # Not its message: that may hold a number.
        frame = encode_failed(f"{type(error).__name__} at {place}")
        sys.stdout.buffer.write(frame + b"\n")
        sys.stdout.buffer.flush()
        sys.exit(1)


if __name__ == "__main__":
    main()
