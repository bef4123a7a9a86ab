"""Log lines. Rule: whatever an event holds, one line comes out of it, and nothing waits for it."""

import fcntl
import json
import logging
import os
import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, cast

import orjson
import pytest

from smsd import log

NOON = 1795248696.123  # 2026-11-21T08:11:36.123Z
NUMBER = "+12025550123"
MASKED = "+1202*****23"
PAGE = 4096
NASTY = 'a"b\\c\nd\re\tf\x00g\x1b[31mh\x85i\u2028j\u202ekl\x7fm\U000e0001'


@pytest.fixture(autouse=True)
def _quiet_root() -> Iterator[None]:
    root = logging.getLogger()
    level = root.level
    yield
    root.setLevel(level)
    assert not [handler for handler in root.handlers if type(handler).__module__ == log.__name__]


def record(event: str, name: str = "smsd.dispatch", **fields: Any) -> logging.LogRecord:
    values = {"name": name, "msg": event, "levelname": "INFO", "levelno": 20, "created": NOON}
    return logging.makeLogRecord({**values, **fields})


def text(event: str, *, full_numbers: bool = False, journal: bool = False, **fields: Any) -> str:
    formatter = log.Formatter(as_json=False, full_numbers=full_numbers, journal=journal)
    return formatter.format(record(event, **fields))


def as_json(event: str, *, journal: bool = False, **fields: Any) -> str:
    formatter = log.Formatter(as_json=True, full_numbers=False, journal=journal)
    return formatter.format(record(event, **fields))


def submit(body: str) -> None:
    raise ValueError(f"line one\nline two, to {NUMBER}, {len(body)}")


def failure() -> Any:
    body = " ".join(["the", "text", "nobody", "may", "read"])  # in no source line as a whole
    try:
        submit(body)
    except ValueError:
        return sys.exc_info()


def test_an_event_is_a_time_a_level_a_name_and_its_fields() -> None:
    line = text("sent", id="01J", to=NUMBER, attempt=1)

    assert line == f"2026-11-21T08:11:36.123Z info sent id=01J to={MASKED} attempt=1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("ünïcode", "ünïcode"),
        ("", '""'),
        ("two words", '"two words"'),
        ("a=b", '"a=b"'),
        ('say "hi"', '"say \\"hi\\""'),
        ("back\\slash", '"back\\\\slash"'),
        ("sent\n2026 info sent id=2", '"sent\\n2026 info sent id=2"'),
        ("\x1b[2Jgone", '"\\x1b[2Jgone"'),
        ("\u202egnp", '"\\u202egnp"'),
        ("\ud800", '"\\ud800"'),
        (1.5, "1.5"),
        (True, "true"),
        (None, "none"),
        (["a", 1], "\"['a', 1]\""),
    ],
)
def test_a_value_in_text_is_bare_or_quoted_and_escaped(value: object, shown: str) -> None:
    assert text("x", reason=value).split(" info ", 1)[1] == f"x reason={shown}"


@pytest.mark.parametrize("nasty", [NASTY, NASTY + "\ud800"])
@pytest.mark.parametrize("make", [text, as_json])
def test_no_event_field_or_name_of_a_field_can_begin_another_line(make: Any, nasty: str) -> None:
    for line in (make(nasty), make("x", reason=nasty), make("x", **{nasty: 1})):
        assert line.isprintable()
    if make is as_json:
        assert json.loads(as_json("x", reason=nasty))["reason"] == nasty


def test_json_lines_hold_the_same_fields_with_their_types() -> None:
    assert orjson.loads(as_json("sent", to=NUMBER, attempt=1, late=None, ok=True)) == {
        "time": "2026-11-21T08:11:36.123Z",
        "level": "info",
        "event": "sent",
        "to": MASKED,
        "attempt": 1,
        "late": None,
        "ok": True,
    }


def test_json_survives_what_orjson_refuses() -> None:
    assert json.loads(as_json("x", big=2**70, half="\ud800")) == {
        "time": "2026-11-21T08:11:36.123Z",
        "level": "info",
        "event": "x",
        "big": 2**70,
        "half": "\ud800",
    }


@pytest.mark.parametrize(
    ("field", "value", "shown"),
    [
        ("to", NUMBER, MASKED),
        ("from", NUMBER, MASKED),
        ("from", "ACME", "ACME"),
        ("from", "12345", "12345"),
        ("to", "12025550123", "*****"),
        ("reason", f"'To' {NUMBER} is invalid", f"\"'To' {MASKED} is invalid\""),
        ("url", "https://x/?To=%2B12025550123", f'"https://x/?To={MASKED}"'),
        ("segments", 12025550123, "12025550123"),
        ("id", "12025550123", "1202*****23"),
        ("id", "12025550123-0", "1202*****23-0"),
        ("id", "h12025550123-0", "h1202*****23-0"),
        ("id", "4915123456789-0", "4915*******89-0"),
        ("first", "12025550123-7", "1202*****23-7"),
    ],
)
def test_no_whole_number_is_shown_unless_asked_for(field: str, value: Any, shown: str) -> None:
    assert text("x", **{field: value}).endswith(f" x {field}={shown}")
    assert str(value) in text("x", **{field: value}, full_numbers=True)


@pytest.mark.parametrize("id_", ["1795509128304-0", "h1795509128304-12", "01J9", "order-12025"])
def test_an_id_that_is_no_number_is_shown_whole(id_: str) -> None:
    assert text("x", id=id_).endswith(f" id={id_}")


def test_a_number_that_a_gateway_gives_back_as_its_id_is_masked() -> None:
    line = text("sent", to=NUMBER, provider_id="12025550123/a1")
    assert line.endswith(f" to={MASKED} provider_id=1202*****23/a1")
    whole = text("sent", to=NUMBER, provider_id="12025550123/a1", full_numbers=True)
    assert whole.endswith(f" to={NUMBER} provider_id=12025550123/a1")


def test_a_number_within_the_event_is_masked_too() -> None:
    assert text(f"to {NUMBER}").endswith(f'info "to {MASKED}"')


@pytest.mark.parametrize("make", [text, as_json])
def test_a_traceback_is_one_field_of_one_line_without_the_values_of_variables(make: Any) -> None:
    line = make("failed", exc_info=failure())

    assert line.isprintable()
    assert "ValueError: line one\\nline two" in line
    assert "in submit\\n" in line
    assert NUMBER not in line
    assert "the text nobody may read" not in line


def test_of_a_long_traceback_the_end_is_kept_and_of_a_long_field_the_beginning() -> None:
    entry = orjson.loads(as_json("x", reason="a" + "b" * 9999, exc_info=failure()))
    assert entry["reason"] == "a" + "b" * 8191

    error = ValueError("c" * 9999 + "end")
    entry = orjson.loads(as_json("x", exc_info=(ValueError, error, None)))
    assert len(entry["trace"]) == 8192
    assert entry["trace"].endswith("cend")


def test_the_lines_of_other_libraries_name_their_logger() -> None:
    assert text("Task was destroyed", name="asyncio").endswith(
        'info "Task was destroyed" logger=asyncio'
    )


@pytest.mark.parametrize(
    ("level", "prefix"),
    [("DEBUG", 7), ("INFO", 6), ("WARNING", 4), ("ERROR", 3), ("CRITICAL", 2), ("odd", 6)],
)
def test_the_journal_gets_a_priority_in_place_of_the_time(level: str, prefix: int) -> None:
    word = level.lower()

    assert text("x", journal=True, levelname=level) == f"<{prefix}>{word} x"
    entry = as_json("x", journal=True, levelname=level)
    assert entry == f'<{prefix}>{{"level":"{word}","event":"x"}}'


def test_setup_writes_to_stderr_until_it_is_stopped(capfd: pytest.CaptureFixture[str]) -> None:
    stop = log.setup("info", "auto", full_numbers=False)
    logger = logging.getLogger("smsd.test")
    logger.debug("unseen")
    logger.info("%s", "seen", extra={"to": NUMBER})
    log.set_level("debug")
    logger.debug("seen_now")
    stop()
    logger.info("unseen")

    lines = capfd.readouterr().err.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [f"info seen to={MASKED}", "debug seen_now"]


def test_setup_writes_json_when_told(capfd: pytest.CaptureFixture[str]) -> None:
    stop = log.setup("info", "json", full_numbers=True)
    logging.getLogger("smsd.test").info("sent", extra={"to": NUMBER})
    stop()

    assert orjson.loads(capfd.readouterr().err)["to"] == NUMBER


class FullPipe:
    """A stderr that nobody reads, until it is drained; then a test reads what follows."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.writer, False)
        fcntl.fcntl(self.writer, fcntl.F_SETPIPE_SZ, PAGE)
        self._filler = 0
        with suppress(BlockingIOError):
            while True:
                self._filler += os.write(self.writer, b"-" * PAGE)
        os.set_blocking(self.writer, True)

    def drain(self) -> None:
        assert os.read(self.reader, self._filler) == b"-" * self._filler

    def lines(self) -> list[str]:
        """What has been written since, without the times."""
        with open(self.reader) as reader:  # noqa: PTH123 - a descriptor
            return [line.split(" ", 1)[1] for line in reader.read().splitlines()]

    def close(self) -> None:
        for descriptor in (self.reader, self.writer):
            with suppress(OSError):
                os.close(descriptor)


@pytest.fixture
def full_pipe() -> Iterator[FullPipe]:
    pipe = FullPipe()
    yield pipe
    pipe.close()


@pytest.mark.parametrize("talks_on", [True, False])
def test_a_full_queue_drops_lines_counts_them_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
    full_pipe: FullPipe,
    talks_on: bool,
) -> None:
    monkeypatch.setattr(log, "LONGEST_QUEUE", 3)
    with open(full_pipe.writer, "w") as stderr:  # noqa: PTH123 - a descriptor
        monkeypatch.setattr(sys, "stderr", stderr)
        stop = log.setup("info", "text", full_numbers=False)
        [handler] = [one for one in logging.getLogger().handlers if isinstance(one, log._Handler)]
        logger = logging.getLogger("smsd.test")

        logger.info("first")
        waiting = cast("queue.Queue[bytes]", handler.queue)
        while not waiting.empty():  # the writing thread is stuck with it; now three fit
            pass
        for n in range(10):
            logger.info("more", extra={"n": n})
        full_pipe.drain()
        while talks_on and waiting.unfinished_tasks:
            pass
        if talks_on:
            logger.info("again")
        stop()

    kept = ["info first", "info more n=0", "info more n=1", "info more n=2"]
    report = ["warning log_lines_dropped dropped=7"]
    assert full_pipe.lines() == kept + report + (["info again"] if talks_on else [])


LOGS_AND_STOPS = """
import logging, os, sys
from smsd import log
log.FLUSH_S = 0.2
stop = log.setup("info", "text", full_numbers=False)
for n in range(11_000):
    logging.getLogger("smsd.test").info("more", extra={"n": n})
stop()
print("stopped")
"""


@pytest.mark.parametrize("blocking", [True, False])
def test_a_process_ends_though_nobody_reads_its_log(full_pipe: FullPipe, blocking: bool) -> None:
    os.set_blocking(full_pipe.writer, blocking)
    command = [sys.executable, "-c", LOGS_AND_STOPS]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=full_pipe.writer, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"stopped\n")


def test_a_process_goes_on_though_the_reader_of_its_log_has_gone(full_pipe: FullPipe) -> None:
    os.close(full_pipe.reader)
    command = [sys.executable, "-c", LOGS_AND_STOPS]
    done = subprocess.run(
        command, stdout=subprocess.PIPE, stderr=full_pipe.writer, timeout=20, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"stopped\n")


def test_no_file_gets_the_number_of_a_closed_stderr() -> None:
    program = LOGS_AND_STOPS + "\nassert os.open(os.devnull, os.O_RDONLY) > 2"
    command = ["/bin/sh", "-c", 'exec "$0" -c "$1" 0<&- 2>&-', sys.executable, program]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (0, b"stopped\n")


@pytest.mark.parametrize("is_journal", [True, False])
def test_the_journal_is_known_by_the_device_and_inode_of_stderr(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
    is_journal: bool,
) -> None:
    path = tmp_path_factory.mktemp("journal") / "stderr"
    with path.open("w") as stderr:
        stat = os.fstat(stderr.fileno())
        monkeypatch.setattr(sys, "stderr", stderr)
        inode = stat.st_ino if is_journal else stat.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{stat.st_dev}:{inode}")
        stop = log.setup("info", "text", full_numbers=False)
        logging.getLogger("smsd.test").info("x")
        stop()

    assert path.read_text().startswith("<6>info x") is is_journal
