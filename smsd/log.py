"""Log lines. Rule: one event is one line, whatever it holds, and no line ever holds up the loop.

    log.info("sent", extra={"id": message.id, "to": message.recipient, "attempt": 1})
    2026-11-24T08:11:36.123Z info sent id=… to=+1202*****23 attempt=1

Every phone number is masked, in fields, reasons and tracebacks alike. A traceback is one field; the
values of variables are never in it.
"""

import json
import logging
import os
import queue
import re
import sys
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from typing import Any, Literal

import orjson

from smsd.core import number

LONGEST_QUEUE = 10_000  # lines waiting for stderr; further ones are dropped and counted
LONGEST_FIELD = 8192  # characters; of a traceback the end is kept, where the error is

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "text", "json"]

_NUMBER = re.compile(r"(?:\+|%2[Bb])([0-9]{6,15})")  # plain, or in the query of a URL
_BARE_NUMBER = re.compile(r"[0-9]{7,15}")  # only where a number is expected, in `to` and `from`
_WORD = re.compile(r"[^\s\"=\\]+")
_STANDARD = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
# sd-daemon(3): what journald takes off the front of a line
_PRIORITIES = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}


def setup(level: Level, format: Format, *, full_numbers: bool) -> Callable[[], None]:  # noqa: A002
    """Send every log line to stderr from a thread of its own. Returns what flushes and stops it."""
    root = logging.getLogger()
    waiting: queue.Queue[Any] = queue.Queue(LONGEST_QUEUE)
    handler = _Handler(waiting)
    handler.setFormatter(
        Formatter(as_json=format == "json", full_numbers=full_numbers, journal=_is_journal())
    )
    listener = QueueListener(waiting, logging.StreamHandler(sys.stderr))
    listener.start()
    root.addHandler(handler)
    set_level(level)

    def stop() -> None:
        root.removeHandler(handler)
        waiting.join()  # the listener's own end mark needs room, and so does the report
        handler.report()
        listener.stop()

    return stop


def set_level(level: Level) -> None:
    """Change what is logged while running."""
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
        text = self._masked(text)
        return text[-LONGEST_FIELD:] if key == "trace" else text[:LONGEST_FIELD]

    def _masked(self, text: str) -> str:
        return text if self._full_numbers else _NUMBER.sub(lambda m: number.mask(f"+{m[1]}"), text)


class _Handler(QueueHandler):
    """Puts lines into the queue; into a full one, none."""

    def __init__(self, waiting: queue.Queue[Any]) -> None:
        super().__init__(waiting)
        self._dropped = 0

    def enqueue(self, record: logging.LogRecord) -> None:
        """Never blocks: the loop must not wait for a terminal or a full disk."""
        self.report()
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            self._dropped += 1

    def report(self) -> None:
        """Say how many lines are missing, once that can be said."""
        if not self._dropped:
            return
        fields = {"levelno": logging.WARNING, "levelname": "WARNING", "dropped": self._dropped}
        record = logging.makeLogRecord({"name": __name__, "msg": "log_lines_dropped", **fields})
        try:
            self.queue.put_nowait(self.prepare(record))
        except queue.Full:
            return
        self._dropped = 0


def _fields(record: logging.LogRecord) -> dict[str, object]:
    fields = {key: value for key, value in vars(record).items() if key not in _STANDARD}
    if not record.name.startswith("smsd"):  # our own events are named; others' are sentences
        fields["logger"] = record.name
    if record.exc_info and record.exc_info[1] is not None:
        fields["trace"] = "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return fields


def _text_line(time: str, level: str, event: str, fields: dict[str, object]) -> str:
    pairs = (f"{_word(key)}={_word(_plain(value))}" for key, value in fields.items())
    return " ".join(filter(None, (time, level, _word(event), *pairs)))


def _plain(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


def _word(text: str) -> str:
    """`text` as it is when nothing in it could be taken for a space, a field or a line."""
    if _WORD.fullmatch(text) and text.isprintable():
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
    except TypeError:  # half a surrogate pair, or an int beyond 64 bits
        line = json.dumps(entry)
    if line.isprintable():
        return line
    # JSON may hold them raw, terminals obey them: C1 controls, line separators, bidi overrides.
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


def _timestamp(created: float) -> str:
    return datetime.fromtimestamp(created, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _is_journal() -> bool:
    """Whether stderr itself is what systemd connected to the journal (systemd.exec(5))."""
    try:
        stat = os.fstat(sys.stderr.fileno())
    except (OSError, ValueError):
        return False
    return os.environ.get("JOURNAL_STREAM") == f"{stat.st_dev}:{stat.st_ino}"
