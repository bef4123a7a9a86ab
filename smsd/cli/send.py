"""`smsd send`. Rule: what POST /send would refuse is refused here, in the same words."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from smsd import daemon
from smsd.cli.console import EX_FAILED, config_option, fail, print_line, read_text
from smsd.cli.store import with_store
from smsd.config import Settings
from smsd.core.fields import FIELDS, FieldError
from smsd.core.message import parse, parse_recipient
from smsd.store import Store
from smsd.store.append import Append, QueueFull
from smsd.store.long_lists import Unfinished

Command = TypeVar("Command", bound=Callable[..., Any])


def field_options(command: Command) -> Command:
    """An option for each optional field of a message."""
    for field in reversed(FIELDS):
        if field.in_send and not field.required:
            option = f"--{field.name.replace('_', '-')}"
            command = click.option(option, field.name, help=field.description)(command)
    return command


@click.command()
@config_option
@click.option("--to", "recipients", multiple=True, required=True, help="A number; repeatable.")
@click.option(
    "--message", required=True, help="The text of the message; - reads it from standard input."
)
@field_options
def send(config_path: Path, recipients: Sequence[str], message: str, **options: str | None) -> None:
    """Queue a message to each number; the ids are printed once all are durable."""
    fields: dict[str, object] = {
        name: value for name, value in options.items() if value is not None
    }

    async def append(store: Store, settings: Settings) -> list[str]:
        fields["message"] = read_text(message)
        return (await store.queue.append(_request(settings, recipients, fields))).ids

    try:
        ids = with_store(config_path, append)
    except QueueFull:
        fail("the queue is full; nothing was queued", EX_FAILED)
    except Unfinished:
        fail("accepted, but not all of them are queued yet: the daemon does the rest", EX_FAILED)
    for id_ in ids:
        print_line(id_)


def _request(settings: Settings, recipients: Sequence[str], fields: dict[str, object]) -> Append:
    now_ms = daemon.now_ms()
    numbers = list(dict.fromkeys(map(parse_recipient, recipients)))
    if len(numbers) > settings.http.max_recipients:
        raise FieldError("to", f"must name 1 to {settings.http.max_recipients} numbers")
    content = parse(fields, daemon.build_limits(settings), now_ms)
    return Append.of(content, numbers, now_ms)
