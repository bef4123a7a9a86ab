"""What commands stand on. Rule: one way to reach the store, one line when it cannot be reached."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, TypeVar
from urllib.parse import quote, unquote, urlsplit

import click

from smsd import daemon
from smsd.config import ConfigError, Settings, data_dir, load, source
from smsd.core.fields import FieldError
from smsd.redis import owner
from smsd.redis.availability import Availability
from smsd.redis.client import CONNECTIONS
from smsd.redis.connection import connect
from smsd.redis.damage import Damage
from smsd.redis.durability import persistence
from smsd.redis.embedded import Embedded
from smsd.redis.errors import Away, NoReply, RedisError, Unreachable
from smsd.store.client import StoreClient
from smsd.store.dead_letters import DeadLetters
from smsd.store.events import Events
from smsd.store.queue import Queue

T = TypeVar("T")

EX_CONFIG = 78  # sysexits.h
EX_FAILED = 1
EX_USAGE = 2  # as click's own

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    default=Path("config.toml"),
    show_default=True,
    help="Settings; each can also be set as SMSD_TABLE__KEY.",
)


class UnreachableError(Exception):
    """There is no store to work on; the message says why."""


@dataclass(frozen=True, slots=True)
class Store:
    """All durable state, as a command sees it."""

    settings: Settings
    client: StoreClient
    queue: Queue
    dead_letters: DeadLetters
    events: Events


def with_store(config_path: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    """Do `work` on the store that the settings name; what goes wrong is told in one line."""
    try:
        return asyncio.run(_work(config_path, work))
    except ConfigError as error:
        fail(str(error), EX_CONFIG)
    except FieldError as error:
        fail(f"{error.field} {error}", EX_USAGE)
    except BrokenPipeError:
        raise  # whoever was reading has gone; click knows what to do
    except UnreachableError as error:
        fail(str(error), EX_FAILED)
    except Away as error:
        fail(f"Redis went away; a change may be half done: {error}", EX_FAILED)
    except RedisError as error:
        fail(f"Redis: {error}", EX_FAILED)
    except OSError as error:
        fail(str(error), EX_FAILED)


async def _work(config_path: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    settings = load(config_path)
    redis = connect(_url(settings, config_path), connections=CONNECTIONS, timeout_s=3.0)
    try:
        seen = Availability(), Damage(daemon.clock)
        client = daemon.build_client(settings, redis, *seen, owner=owner.name())
        await _reach(client, settings, config_path)
        queue = daemon.build_queue(settings, client)
        dead_letters = DeadLetters(client, queue)
        return await work(Store(settings, client, queue, dead_letters, Events(client)))
    finally:
        await redis.aclose()


def _url(settings: Settings, config_path: Path) -> str:
    """Where Redis listens: for "embedded", the socket of the daemon that runs it."""
    url = settings.redis.url.get_secret_value()
    if url != "embedded":
        return url
    socket = Path(unquote(urlsplit(Embedded(data_dir(settings, config_path)).url).path))
    with suppress(OSError):
        socket = socket.readlink()  # its own path would be too long to connect to
    return f"unix://{quote(str(socket))}"


async def _reach(client: StoreClient, settings: Settings, config_path: Path) -> None:
    prefix = settings.redis.prefix
    try:
        found = await client.read(lambda redis: persistence(redis, prefix=prefix))
    except Away as error:
        if settings.redis.url.get_secret_value() != "embedded" or isinstance(error, NoReply):
            raise UnreachableError(f"Redis does not answer: {error}") from None
        said = f"smsd is not running on {_place(settings, config_path)}"
        known = isinstance(error, Unreachable) and "ermission" not in str(error)
        raise UnreachableError(said if known else f"{said}, or not yet: {error}") from None
    if found.fault:
        raise UnreachableError(found.fault)


def _place(settings: Settings, config_path: Path) -> str:
    """Where the daemon's data was looked for, and why there: it may be the wrong directory."""
    said_by = source(("redis", "data_dir"), config_path.absolute())
    return f"{data_dir(settings, config_path)} ([redis] data_dir in {said_by})"


def say(line: str = "") -> None:
    """Print a line. What came from elsewhere must not speak to the terminal."""
    click.echo("".join(one if one.isprintable() else "\ufffd" for one in line))


def fail(message: str, code: int) -> NoReturn:
    """End with a line on stderr, or on stdout where stderr is closed."""
    click.echo(message, err=sys.stderr is not None)
    raise SystemExit(code)
