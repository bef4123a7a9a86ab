"""From settings to parts. Rule: settings are read here; every part is handed plain values.

The commands build the same parts with the same functions as the daemon does.
"""

from pathlib import Path

from pydantic import ValidationError
from redis.asyncio import Redis

from smsd import provider as providers
from smsd.config import ConfigError, Settings, explain
from smsd.daemon.clocks import now_ms
from smsd.provider.base import Provider
from smsd.store.connection import Availability
from smsd.store.keys import Keys
from smsd.store.queue import Queue
from smsd.store.server import Server
from smsd.store.witness import Witness


def build_provider(settings: Settings, config_path: Path) -> Provider:
    """The configured provider. Raises `ConfigError`."""
    chosen = settings.provider
    try:
        kind = providers.load(chosen.name)
    except LookupError as error:
        raise ConfigError([f"{config_path}: [provider] name: {error.args[0]}"]) from None
    try:
        options = kind.Settings.model_validate(chosen.options(chosen.name))
    except ValidationError as error:
        raise explain(error, kind.Settings, config_path, ("provider", chosen.name)) from None
    return kind.build(options, timeout_s=chosen.timeout, max_in_flight=chosen.max_in_flight)


def build_server(
    settings: Settings,
    client: Redis,
    availability: Availability,
    *,
    owner: str,
    witness: Witness | None = None,
) -> Server:
    """Redis as everything in the store sees it."""
    kept = settings.queue
    return Server(
        client,
        Keys(settings.redis.prefix),
        owner=owner,
        availability=availability,
        now_ms=now_ms,
        keep_status_ms=kept.keep_status * 1000,
        max_events=kept.max_events,
        witness=witness,
        replicas_ack=settings.redis.replicas_ack,
    )


def build_queue(settings: Settings, server: Server) -> Queue:
    """The queue with its configured bounds."""
    return Queue(
        server,
        max_length=settings.queue.max_length,
        keep_idempotency_ms=settings.queue.keep_idempotency * 1000,
    )
