"""Log lines. Rule: one event is one line, whatever it holds, and no line ever holds up the loop.

    log.info("sent", extra={"id": message.id, "to": message.recipient, "attempt": 1})
    2026-11-24T08:11:36.123Z info sent id=… to=+1202*****23 attempt=1

Every phone number is masked, in fields, reasons and tracebacks, and so is an id that is a number.
A traceback is one field and never holds the values of variables. If nobody reads stderr, or it is
closed, only log lines are lost.
"""

import json
import logging
import os
import queue
import re
import select
import sys
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from typing import Any, Literal

import orjson

from smsd.core import number

LONGEST_QUEUE = 10_000  # lines that may wait for stderr; more are dropped and counted
LONGEST_FIELD = 8192  # characters; of a traceback the end is kept, where the error is
FLUSH_S = 2.0  # how long a stop waits for the last lines to be written

LAST_STANDARD_FD = 2

_Lines = queue.Queue[bytes | None]  # None: no more will follow
Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]

_NUMBER = re.compile(r"(?:\+|%2[Bb])([0-9]{6,15})")  # plain, or in a URL
_BARE_NUMBER = re.compile(r"[0-9]{7,15}")  # only in the fields `to` and `from`
# An id that is a phone number, alone or before a sequence. Ids of smsd and Redis begin with Unix
# milliseconds, until 2033 a 1 and twelve digits: no phone number with country code 1 is as long.
_ID_NUMBER = re.compile(r"(h?)(?!1[0-9]{12}(?:-|$))([0-9]{7,15})((?:-[0-9]+)*)")
_IDS = ("id", "first", "last", "entry")
_BARE = re.compile(r"[^\s\"=\\]+")
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
# sd-daemon(3): what journald takes off the front of a line
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def setup(level: Level, format: Format, *, full_numbers: bool) -> Callable[[], None]:  # noqa: A002
    """Write log lines to stderr from a thread. Returns a function that flushes and stops it."""
    root = logging.getLogger()
    lines: _Lines = queue.Queue(LONGEST_QUEUE)
    handler = _Handler(lines)
    handler.setFormatter(
        Formatter(as_json=format == "json", full_numbers=full_numbers, journal=_is_journal())
    )
    # A daemon thread: while a full pipe blocks it, the loop goes on, and the process can end.
    threading.Thread(target=_write_lines, args=(lines, _open_stderr()), daemon=True).start()
    root.addHandler(handler)
    set_level(level)

    def stop() -> None:
        root.removeHandler(handler)
        if _all_written(lines):  # the report and the end of the lines need room
            handler.report()
            lines.put(None)
            _all_written(lines)

    return stop


def set_level(level: Level) -> None:
    """Change the level while running."""
    logging.getLogger().setLevel(level.upper())


class Formatter(logging.Formatter):
    """A record as one line, key=value or JSON."""

    def __init__(self, *, as_json: bool, full_numbers: bool, journal: bool) -> None:
        super().__init__()
        self._line = _json_line if as_json else _text_line
        self._full_numbers = full_numbers
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its newline."""
        fields = {key: self._shown(key, value) for key, value in _fields(record).items()}
        if not self._full_numbers:
            _mask_repeated(record, fields)
        level = record.levelname.lower()
        event = str(self._shown("event", record.getMessage()))
        if self._journal:  # journald stamps the time itself
            return _PRIORITIES.get(level, "<6>") + self._line("", level, event, fields)
        return self._line(_timestamp(record.created), level, event, fields)

    def _shown(self, key: str, value: object) -> object:
        if value is None or isinstance(value, bool | int | float):
            return value
        text = str(value)
        if key in ("to", "from") and _BARE_NUMBER.fullmatch(text) and not self._full_numbers:
            return number.mask(text)
        if key in _IDS and (found := _ID_NUMBER.fullmatch(text)) and not self._full_numbers:
            return found[1] + _mask_digits(found[2]) + found[3]
        text = self._masked(text)
        return text[-LONGEST_FIELD:] if key == "trace" else text[:LONGEST_FIELD]

    def _masked(self, text: str) -> str:
        return text if self._full_numbers else _NUMBER.sub(lambda m: number.mask(f"+{m[1]}"), text)


class _Handler(QueueHandler):
    """Puts lines into the queue, and drops and counts them while it is full."""

    def __init__(self, lines: _Lines) -> None:
        super().__init__(lines)
        self._dropped = 0

    def prepare(self, record: logging.LogRecord) -> bytes:
        """The line, as bytes."""
        return self.format(record).encode(errors="backslashreplace") + b"\n"

    def enqueue(self, record: Any) -> None:
        """Never blocks: the loop must not wait for a terminal or a full disk."""
        self.report()
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def report(self) -> None:
        """Log how many lines were dropped, as soon as there is room for that line."""
        if not self._dropped:
            return
        fields = {"levelno": logging.WARNING, "levelname": "WARNING", "dropped": self._dropped}
        record = logging.makeLogRecord({"name": __name__, "msg": "log_lines_dropped", **fields})
        try:
            self.queue.put_nowait(self.prepare(record))
        except queue.Full:
            return
        self._dropped = 0


def _open_stderr() -> int:
    """The descriptor that lines are written to; /dev/null where stderr is closed.

    Closed standard descriptors are opened on /dev/null, too: otherwise the next file or socket
    would get their numbers, and with them whatever a library writes to stderr.
    """
    while (nothing := os.open(os.devnull, os.O_RDWR)) <= LAST_STANDARD_FD:
        os.set_inheritable(nothing, True)  # noqa: FBT003 - the name says it
    if sys.stderr is None:
        return nothing
    os.close(nothing)
    return sys.stderr.fileno()


def _write_lines(lines: _Lines, descriptor: int) -> None:
    while (line := lines.get()) is not None:
        with suppress(OSError):  # nobody reads, or the disk is full: nothing can be done
            _write(descriptor, line)
        lines.task_done()
    lines.task_done()


def _write(descriptor: int, line: bytes) -> None:
    while line:
        try:
            line = line[os.write(descriptor, line) :]
        except BlockingIOError:  # another process made the shared pipe non-blocking
            select.select([], [descriptor], [])


def _all_written(lines: _Lines) -> bool:
    """Wait until every line is written, for `FLUSH_S` at most."""
    with lines.all_tasks_done:
        return lines.all_tasks_done.wait_for(lambda: not lines.unfinished_tasks, FLUSH_S)


def _mask_digits(digits: str) -> str:
    return number.mask(f"+{digits}").removeprefix("+")


def _mask_repeated(record: logging.LogRecord, fields: dict[str, object]) -> None:
    """Mask the recipient's number where a gateway repeats it, for example in the provider's id."""
    digits = str(getattr(record, "to", "")).removeprefix("+")
    if not _BARE_NUMBER.fullmatch(digits):
        return
    for key, value in fields.items():
        if isinstance(value, str) and digits in value:
            fields[key] = value.replace(digits, _mask_digits(digits))


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if not record.name.startswith("smsd"):  # of a library, whose events are sentences
        fields["logger"] = record.name
    if record.exc_info and record.exc_info[1] is not None:
        fields["trace"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return fields


def _text_line(time: str, level: str, event: str, fields: dict[str, object]) -> str:
    pairs = (f"{_quoted(key)}={_quoted(_plain(value))}" for key, value in fields.items())
    return " ".join(filter(None, (time, level, _quoted(event), *pairs)))


def _plain(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _quoted(text: str) -> str:
    """`text` in quotes, unless nothing in it could be read as a space, a field or a line."""
    if _BARE.fullmatch(text) and text.isprintable():
        return text
    return '"' + "".join(map(_escaped, text)) + '"'


def _escaped(char: str) -> str:
    if char in '"\\':
        return "\\" + char
    return char if char.isprintable() else char.encode("unicode_escape").decode()


def _json_line(time: str, level: str, event: str, fields: dict[str, object]) -> str:
    stamp = {"time": time} if time else {}
    entry = {**stamp, "level": level, "event": event, **fields}
    try:
        line = orjson.dumps(entry).decode()
    except TypeError:  # half a surrogate pair, or an integer beyond 64 bits
        line = json.dumps(entry)
    if line.isprintable():
        return line
    # JSON may hold C1 controls, line separators and bidi overrides raw, but terminals obey them.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _timestamp(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _is_journal() -> bool:
    """Whether systemd has connected stderr to the journal (systemd.exec(5))."""
    if sys.stderr is None:
        return False
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
