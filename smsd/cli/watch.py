"""`smsd watch`. Rule: every change of a text's state, one line each, as it happens."""

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, TypeAlias, cast

import click
from redis.asyncio import Redis

from smsd.cli.store import Store, config_option, say, with_store
from smsd.redis.client import text
from smsd.redis.errors import Away

PATIENCE_MS = 1000  # of one blocking read; shorter than the patience for a reply
MOST = 500  # events at a time
PAUSE_S = 1.0  # before Redis is asked again after it was away

Event: TypeAlias = tuple[bytes, dict[bytes, bytes]]


@click.command()
@config_option
def watch(config_path: Path) -> None:
    """Follow what happens to texts, until Ctrl-C; also across restarts of smsd."""
    with suppress(KeyboardInterrupt):
        with_store(config_path, _follow)


async def _follow(store: Store) -> NoReturn:
    events = store.client.keys.events
    last = await store.client.read(lambda redis: redis.xrevrange(events, count=1))
    after = text(last[0][0]) if last else "0-0"
    click.echo("watching; Ctrl-C ends it", err=True)
    while True:
        try:
            found = await store.client.read(partial(_wait, events=events, after=after))
        except Away as error:
            click.echo(f"waiting for Redis: {error}", err=True)
            await asyncio.sleep(PAUSE_S)
            continue
        for entry, fields in found:
            after = text(entry)
            say(_line(after, {text(name): text(value) for name, value in fields.items()}))


async def _wait(redis: Redis, *, events: str, after: str) -> list[Event]:
    found = cast("Any", await redis.xread({events: after}, count=MOST, block=PATIENCE_MS))
    return cast("list[Event]", found[0][1] if found else [])


def _line(entry: str, event: dict[str, str]) -> str:
    unix_ms = int(entry.partition("-")[0])
    at = datetime.fromtimestamp(unix_ms / 1000, UTC)
    by = f"by {event['by']}" if event.get("by") else ""
    words = (event.get("id", ""), event.get("state", ""), event.get("detail", ""), by)
    return " ".join((at.isoformat(timespec="milliseconds"), *filter(None, words)))
