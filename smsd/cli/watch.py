"""`smsd watch`. Rule: every change of a message's state, one line each, as it happens."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click

from smsd.cli.console import config_option, print_line
from smsd.cli.store import with_store
from smsd.config import Settings
from smsd.redis.errors import Away
from smsd.store import Store
from smsd.store.events import Event

PAUSE_S = 1.0  # before Redis is asked again after it was away


@click.command()
@config_option
def watch(config_path: Path) -> None:
    """Follow what happens to messages, until Ctrl-C; also across restarts of smsd."""
    with suppress(KeyboardInterrupt):
        with_store(config_path, _follow)


async def _follow(store: Store, _: Settings) -> NoReturn:
    after = await store.events.last_id()
    click.echo("watching; Ctrl-C ends it", err=True)
    while True:
        try:
            found = await store.events.wait(after)
        except Away as error:
            click.echo(f"waiting for Redis: {error}", err=True)
            await asyncio.sleep(PAUSE_S)
            continue
        for event in found:
            after = event.id
            print_line(_line(event))


def _line(event: Event) -> str:
    fields, at = event.fields, datetime.fromtimestamp(event.at_ms / 1000, UTC)
    by = f"by {fields['by']}" if fields.get("by") else ""
    parts = (fields.get("id", ""), fields.get("state", ""), fields.get("detail", ""), by)
    return " ".join((at.isoformat(timespec="milliseconds"), *filter(None, parts)))
