"""From settings to parts. Rule: settings are read here; every part is handed plain values.

The commands build the same parts with the same functions as the daemon does.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from redis.asyncio import Redis

from smsd import provider as providers
from smsd.config import ConfigError, Settings, explain, unknown_table
from smsd.core.message import Limits
from smsd.daemon.clocks import now_ms
from smsd.daemon.proxies import proxy_for
from smsd.provider.base import DEFAULT_FROM, Provider, ProviderSettings
from smsd.redis.availability import Availability
from smsd.redis.damage import Damage
from smsd.store.client import StoreClient
from smsd.store.identity import Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import LostWrites
from smsd.store.queue import Queue


def build_provider(settings: Settings, config_path: Path) -> Provider:
    """The configured provider. Raises `ConfigError`, also for the tables of the others."""
    chosen = settings.provider
    faults = [
        fault
        for name in chosen.tables
        if name != chosen.name
        for fault in _faults_of_unused(chosen.options(name), name, config_path)
    ]
    try:
        kind, options = _chosen(
            chosen.name, chosen.options(chosen.name), config_path, settings.message.default_from
        )
    except ConfigError as error:
        faults = [*error.faults, *faults]
    else:
        if not faults:
            return kind.build(
                options,
                timeout_s=chosen.timeout,
                max_in_flight=chosen.max_in_flight,
                keep_alive_s=chosen.keep_alive,
                proxy_for=proxy_for(chosen.proxy.get_secret_value()),
            )
    raise ConfigError(faults)  # outside `except`: a traceback must not bring the values along


def build_limits(settings: Settings) -> Limits:
    """What an intake refuses, and how it counts. Faults of the provider's table are no matter."""
    chosen, message = settings.provider, settings.message
    try:
        billed = providers.load(chosen.name).Settings.billed_text(chosen.options(chosen.name))
    except LookupError:
        billed = None
    return Limits(message.max_segments, message.default_from, billed)


def _chosen(
    name: str, table: dict[str, Any], config_path: Path, default_from: str
) -> tuple[type[Provider], ProviderSettings]:
    try:
        kind = providers.load(name)
    except LookupError as error:
        raise ConfigError([f"{config_path}: [provider] name: {error.args[0]}"]) from None
    try:
        return kind, kind.Settings.model_validate(table, context={DEFAULT_FROM: default_from})
    except ValidationError as error:
        raise explain(error, kind.Settings, config_path, ("provider", name)) from None


def _faults_of_unused(table: dict[str, Any], name: str, config_path: Path) -> Sequence[str]:
    """What is wrong with a table beside the chosen one; it may be incomplete, a credential say."""
    place = ("provider", name)
    if name not in (known := providers.names()):
        return [unknown_table(place, "provider", known, config_path)]
    kind = providers.load(name)
    try:
        kind.Settings.model_validate(table)
    except ValidationError as error:
        return explain(error, kind.Settings, config_path, place, unused=True).faults
    return []


def build_client(
    settings: Settings,
    redis: Redis,
    availability: Availability,
    damage: Damage,
    *,
    owner: str,
    lost_writes: LostWrites | None = None,
    identity: Identity | None = None,
) -> StoreClient:
    """Redis as everything in the store sees it."""
    kept = settings.queue
    return StoreClient(
        redis,
        Keys(settings.redis.prefix),
        owner=owner,
        availability=availability,
        damage=damage,
        now_ms=now_ms,
        keep_status_ms=kept.keep_status * 1000,
        max_events=kept.max_events,
        lost_writes=lost_writes,
        identity=identity,
        replicas_ack=settings.redis.replicas_ack,
    )


def build_queue(settings: Settings, client: StoreClient) -> Queue:
    """The queue with its configured bounds."""
    return Queue(
        client,
        max_length=settings.queue.max_length,
        keep_idempotency_ms=settings.queue.keep_idempotency * 1000,
    )
