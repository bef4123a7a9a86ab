"""`smsd dead-letters`. Rule: the same selectors as over HTTP, and a sweep goes on to its end."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from smsd.cli.store import EX_FAILED, Store, config_option, fail, say, with_store
from smsd.core.life import DeadReason
from smsd.store import dead_letters as letters
from smsd.store.dead_letters import Letters, Order, Swept
from smsd.web.dead_letters import told_of

Command = TypeVar("Command", bound=Callable[..., Any])

WIDTHS = {"letter": 16, "id": 16, "to": 14, "reason": 9}  # what most are: the columns stay in line


def selectors(command: Command) -> Command:
    """The options that choose letters."""
    for name, about in (
        ("campaign", "Those of this campaign."),
        ("reason", f"Those that died of this: {', '.join(DeadReason)}."),
        ("letter", "The one with this id."),
        ("id", "That of the text with this id."),
    ):
        command = click.option(f"--{name}", name, help=about)(command)
    return config_option(command)


@click.group("dead-letters")
def dead_letters() -> None:
    """Look at dead letters, send them again, or drop them."""


@dead_letters.command("list")
@selectors
@click.option("--json", "as_json", is_flag=True, help="One JSON object a letter.")
@click.option("--message", "with_text", is_flag=True, help="Show the texts too.")
def list_(config_path: Path, *, as_json: bool, with_text: bool, **options: str | None) -> None:
    """Show them, oldest first."""

    async def show(store: Store) -> None:
        found = Letters(store.queue, store.status)
        choice, after, more = letters.choose(_given(options)), "", True
        while more:
            page = await found.find(choice, after=after, count=letters.PAGE)
            for letter in page.letters:
                told = told_of(letter, with_text=with_text)
                say(orjson.dumps(told).decode() if as_json else _line(told))
            after, more = page.swept.after, page.swept.more

    with_store(config_path, show)


@dead_letters.command()
@selectors
@click.option("--all", "all_", is_flag=True, help="All of them.")
@click.option("--in-doubt", is_flag=True, help="Also those that may have been sent: then twice.")
def replay(config_path: Path, *, all_: bool, in_doubt: bool, **options: str | None) -> None:
    """Put them back into the queue."""
    order = {**_given(options), "all": all_, "in_doubt": in_doubt}
    swept = _sweep(config_path, order, "replay", lambda found: found.replay)
    _found_one(swept, options)
    say(f"{swept.done} replayed")
    if swept.skipped:
        say(f"{swept.skipped} skipped: they may have been sent; --in-doubt replays these too")


@dead_letters.command()
@selectors
@click.option("--all", "all_", is_flag=True, help="All of them.")
def drop(config_path: Path, *, all_: bool, **options: str | None) -> None:
    """Throw them away for good."""
    order = {**_given(options), "all": all_}
    swept = _sweep(config_path, order, "drop", lambda found: found.drop)
    _found_one(swept, options)
    say(f"{swept.done} dropped")


def _sweep(
    config_path: Path,
    fields: dict[str, object],
    what: str,
    how: Callable[[Letters], Callable[[Order], Awaitable[Swept]]],
) -> Swept:
    async def sweep(store: Store) -> Swept:
        order = letters.order(fields, replay=what == "replay")
        step, total = how(Letters(store.queue, store.status)), Swept(more=True)
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


def _line(told: dict[str, object]) -> str:
    columns = [f"{told.get(name) or '-':<{width}}" for name, width in WIDTHS.items()]
    died, tried = _moment(told.get("failed_at")), f"tried {told.get('attempts', '-')}"
    rest = [str(told[name]) for name in ("code", "detail", "message") if told.get(name)]
    return "  ".join((*columns, f"{died:<20}", f"{tried:<8}", *rest)).rstrip()


def _moment(unix_ms: object) -> str:
    """UTC; "-" for what is no time: other hands may have left the letter there."""
    try:
        moment = datetime.fromtimestamp(int(str(unix_ms)) // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "-"
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
