"""From settings to parts. Rule: settings are read here; every part is handed plain values.

The commands build the same parts with the same functions as the daemon does.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from smsd import provider as providers
from smsd.config import ConfigError, Settings, explain, unknown_table
from smsd.core.message import Limits
from smsd.daemon.clocks import clock, now_ms
from smsd.daemon.proxies import proxy_for
from smsd.provider.base import DEFAULT_FROM, Provider, ProviderSettings, missing_for_look_up
from smsd.redis.availability import Availability
from smsd.redis.damage import Damage
from smsd.store import Bounds, DaemonStore, Store
from smsd.store.identity import Identity
from smsd.store.lost_writes import Loss
from smsd.store.operator_hold import HeldBy, Operator


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
            provider = kind.build(
                options,
                timeout_s=chosen.timeout,
                max_in_flight=chosen.max_in_flight,
                keep_alive_s=chosen.keep_alive,
                proxy_for=proxy_for(chosen.proxy.get_secret_value()),
            )
            lacking = missing_for_look_up(provider)
            if not lacking:
                return provider
            faults = [
                f"{config_path}: [provider] name: {chosen.name!r} has look_up, but lacks"
                f" {' and '.join(lacking)}: see SupportsLookUp in smsd/provider/base.py"
            ]
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


def open_store(settings: Settings, url: str, *, owner: str) -> Store:
    """The store of a command; an async context manager."""
    return Store(
        url,
        settings.redis.prefix,
        owner=owner,
        now_ms=now_ms,
        bounds=_bounds(settings),
        availability=Availability(),
        damage=Damage(clock),
    )


def open_daemon_store(
    settings: Settings,
    url: str,
    *,
    owner: str,
    availability: Availability,
    damage: Damage,
    identity: Identity,
    on_operator: Callable[[Operator], HeldBy | None],
    on_loss: Callable[[Loss], None],
) -> DaemonStore:
    """The store of a daemon; an async context manager."""
    return DaemonStore(
        url,
        settings.redis.prefix,
        owner=owner,
        now_ms=now_ms,
        clock=clock,
        bounds=_bounds(settings),
        availability=availability,
        damage=damage,
        identity=identity,
        lease_s=settings.redis.lease,
        on_operator=on_operator,
        on_loss=on_loss,
    )


def _bounds(settings: Settings) -> Bounds:
    queue = settings.queue
    return Bounds(
        max_length=queue.max_length,
        max_events=queue.max_events,
        keep_status_ms=queue.keep_status * 1000,
        keep_idempotency_ms=queue.keep_idempotency * 1000,
        replicas_ack=settings.redis.replicas_ack,
    )
