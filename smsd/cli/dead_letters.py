"""`smsd dead-letters`. Rule: the same selectors as over HTTP, and a sweep goes on to its end."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from smsd.cli.console import EX_FAILED, config_option, fail, print_line
from smsd.cli.store import with_store
from smsd.config import Settings
from smsd.core.life import DeadReason
from smsd.store import Store
from smsd.store.dead_letter_request import Order, read_choice, read_order
from smsd.store.dead_letters import PAGE, DeadLetters, Swept

Command = TypeVar("Command", bound=Callable[..., Any])

WIDTHS = {"letter": 16, "id": 16, "to": 14, "reason": 9}  # what most are: the columns stay in line


def selectors(command: Command) -> Command:
    """The options that choose dead letters."""
    for name, help_ in (
        ("campaign", "Those of this campaign."),
        ("reason", f"Those with this reason: {', '.join(DeadReason)}."),
        ("letter", "The dead letter with this id."),
        ("id", "That of the message with this id."),
    ):
        command = click.option(f"--{name}", name, help=help_)(command)
    return config_option(command)


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at dead letters, send them again, or drop them."""


@dead_letters.command("list")
@selectors
@click.option("--json", "as_json", is_flag=True, help="One JSON object a dead letter.")
@click.option("--message", "with_text", is_flag=True, help="Show the text of each message, too.")
def list_(config_path: Path, *, as_json: bool, with_text: bool, **options: str | None) -> None:
    """Show dead letters, oldest first."""

    async def show(store: Store, _: Settings) -> None:
        choice, after, more = read_choice(_given(options)), "", True
        while more:
            page = await store.dead_letters.find(choice, after=after, count=PAGE)
            for dead_letter in page.dead_letters:
                fields = dead_letter.shown(with_text=with_text)
                print_line(orjson.dumps(fields).decode() if as_json else _line(fields))
            after, more = page.swept.after, page.swept.more

    with_store(config_path, show)


@dead_letters.command()
@selectors
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--in-doubt", is_flag=True, help="Also those that may have been sent: then twice.")
def replay(config_path: Path, *, all_: bool, in_doubt: bool, **options: str | None) -> None:
    """Put dead letters back into the queue."""
    order = {**_given(options), "all": all_, "in_doubt": in_doubt}
    swept = _sweep(config_path, order, "replay", lambda dead_letters: dead_letters.replay)
    _found_one(swept, options)
    print_line(f"{swept.done} replayed")
    if swept.skipped:
        print_line(
            f"{swept.skipped} skipped: they may have been sent; --in-doubt replays these too"
        )


@dead_letters.command()
@selectors
@click.option("--all", "all_", is_flag=True, help="All of them.")
def drop(config_path: Path, *, all_: bool, **options: str | None) -> None:
    """Throw dead letters away for good."""
    order = {**_given(options), "all": all_}
    swept = _sweep(config_path, order, "drop", lambda dead_letters: dead_letters.drop)
    _found_one(swept, options)
    print_line(f"{swept.done} dropped")


def _sweep(
    config_path: Path,
    fields: dict[str, object],
    what: str,
    how: Callable[[DeadLetters], Callable[[Order], Awaitable[Swept]]],
) -> Swept:
    async def sweep(store: Store, _: Settings) -> Swept:
        order = read_order(fields, replay=what == "replay")
        step, total = how(store.dead_letters), Swept(more=True)
        while total.more:
            swept = await step(order)
            total.done += swept.done
            total.skipped += swept.skipped
            total.more = swept.more
            order = replace(order, after=swept.after, until=swept.until)
        return total

    return with_store(config_path, sweep)


def _found_one(swept: Swept, options: dict[str, str | None]) -> None:
    """End with an error where one was named, and there is none."""
    if swept.done + swept.skipped == 0 and (options.get("id") or options.get("letter")):
        fail("no dead letter has this id", EX_FAILED)


def _given(options: dict[str, str | None]) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}


def _line(fields: dict[str, object]) -> str:
    columns = [f"{fields.get(name) or '-':<{width}}" for name, width in WIDTHS.items()]
    died, tried = _moment(fields.get("failed_at")), f"tried {fields.get('attempts', '-')}"
    rest = [str(fields[name]) for name in ("code", "detail", "message") if fields.get(name)]
    return "  ".join((*columns, f"{died:<20}", f"{tried:<8}", *rest)).rstrip()


def _moment(unix_ms: object) -> str:
    """UTC; "-" for what is no time: other hands may have left it there."""
    try:
        moment = datetime.fromtimestamp(int(str(unix_ms)) // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "-"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
