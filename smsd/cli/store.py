"""The store as commands open it. Rule: one way to reach it, one line when it cannot be reached."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote, unquote, urlsplit

from smsd import daemon
from smsd.cli.console import EX_CONFIG, EX_FAILED, EX_USAGE, fail
from smsd.config import ConfigError, Settings, data_dir, load, source
from smsd.core.fields import FieldError
from smsd.redis import owner
from smsd.redis.durability import persistence
from smsd.redis.embedded import Embedded
from smsd.redis.errors import Away, NoReply, RedisError, Unreachable
from smsd.store import Store

T = TypeVar("T")


class UnreachableError(Exception):
    """There is no store to work on; the message says why."""


def with_store(config_path: Path, work: Callable[[Store, Settings], Awaitable[T]]) -> T:
    """Do `work` on the store that the settings name; a failure is printed in one line."""
    try:
        return asyncio.run(_work(config_path, work))
    except ConfigError as error:
        fail(str(error), EX_CONFIG)
    except FieldError as error:
        fail(f"{error.field} {error}", EX_USAGE)
    except BrokenPipeError:
        raise  # nobody reads our output any more; click knows what to do
    except UnreachableError as error:
        fail(str(error), EX_FAILED)
    except Away as error:
        fail(f"Redis went away; a change may be half done: {error}", EX_FAILED)
    except RedisError as error:
        fail(f"Redis: {error}", EX_FAILED)
    except OSError as error:
        fail(str(error), EX_FAILED)


async def _work(config_path: Path, work: Callable[[Store, Settings], Awaitable[T]]) -> T:
    settings = load(config_path)
    url = _url(settings, config_path)
    async with daemon.open_store(settings, url, owner=owner.name()) as store:
        await _reach(store, settings, config_path)
        return await work(store, settings)


def _url(settings: Settings, config_path: Path) -> str:
    """Where Redis listens: for "embedded", the socket of the daemon that runs it."""
    url = settings.redis.url.get_secret_value()
    if url != "embedded":
        return url
    socket = Path(unquote(urlsplit(Embedded(data_dir(settings, config_path)).url).path))
    with suppress(OSError):
        socket = socket.readlink()  # its own path would be too long to connect to
    return f"unix://{quote(str(socket))}"


async def _reach(store: Store, settings: Settings, config_path: Path) -> None:
    prefix = settings.redis.prefix
    try:
        found = await store.client.read(lambda redis: persistence(redis, prefix=prefix))
    except Away as error:
        if settings.redis.url.get_secret_value() != "embedded" or isinstance(error, NoReply):
            raise UnreachableError(f"Redis does not answer: {error}") from None
        reason = f"smsd is not running on {_place(settings, config_path)}"
        known = isinstance(error, Unreachable) and "ermission" not in str(error)
        raise UnreachableError(reason if known else f"{reason}, or not yet: {error}") from None
    if found.fault:
        raise UnreachableError(found.fault)


def _place(settings: Settings, config_path: Path) -> str:
    """Where the daemon's data was looked for, and why there: it may be the wrong directory."""
    named_in = source(("redis", "data_dir"), config_path.absolute())
    return f"{data_dir(settings, config_path)} ([redis] data_dir in {named_in})"
