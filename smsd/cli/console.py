"""What a command reads and prints. Rule: an answer on stdout, a failure in one line on stderr."""

import sys
from pathlib import Path
from typing import NoReturn

import click

from smsd.core.fields import FieldError

EX_CONFIG = 78  # sysexits.h
EX_FAILED = 1
EX_USAGE = 2  # as click's own
STDIN = "-"

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    help="Settings; each can also be set as SMSD_TABLE__KEY.",
)


def print_line(line: str = "") -> None:
    """Print a line without what would control the terminal: it may come from elsewhere."""
    click.echo("".join(one if one.isprintable() else "\ufffd" for one in line))


def read_text(argument: str) -> str:
    """The text of a message: what was given, or standard input for "-". Raises `FieldError`."""
    try:
        if argument == STDIN:  # without what ends the last line of any file
            return sys.stdin.buffer.read().decode().removesuffix("\n")
        argument.encode()  # octets that are not UTF-8 arrive as halves of surrogate pairs
    except UnicodeError:
        raise FieldError("message", "is not valid UTF-8") from None
    return argument


def fail(message: str, code: int) -> NoReturn:
    """End with a line on stderr, or on stdout where stderr is closed."""
    click.echo(message, err=sys.stderr is not None)
    raise SystemExit(code)
