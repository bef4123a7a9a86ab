"""What SIGHUP reloads. Rule: the rate and the log level; any other change is named, not made."""

import logging
from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel

from smsd import log as logs
from smsd.config import ConfigError, Settings, load

log = logging.getLogger("smsd.daemon")


def reload(used: Settings, config_path: Path, *, set_rate: Callable[[float], None]) -> Settings:
    """Read the file again and use its rate and log level; return the settings in use."""
    try:
        read = load(config_path)
    except ConfigError as error:
        log.error("not reloaded", extra={"reason": str(error)})  # noqa: TRY400
        return used
    rate, level = read.rate.segments_per_second, read.log.level
    settings = used.model_copy(
        update={
            "rate": used.rate.model_copy(update={"segments_per_second": rate}),
            "log": used.log.model_copy(update={"level": level}),
        }
    )
    logs.set_level(level)
    set_rate(rate)
    log.info("reloaded", extra={"rate": rate, "level": level})
    if keys := _differences(settings, read):
        log.warning("a change needs a restart", extra={"keys": ",".join(keys)})
    return settings


def _differences(used: Settings, read: Settings) -> list[str]:
    """The keys whose value in the file is not the one in use."""
    return [
        f"{table}.{key}" if key else table
        for table, values in used
        for key in _differing(values, getattr(read, table))
    ]


def _differing(used: object, read: object) -> list[str]:
    if used == read:
        return []
    if not isinstance(used, BaseModel):
        return [""]
    return [key for key, value in used if value != getattr(read, key)] or [""]
