"""Where values come from. Rule: defaults < config.toml < systemd credentials < environment.

A misspelt variable or credential is a fault, as a misspelt key is: a rate that silently stays at
its default would be noticed too late.
"""

import json
import os
import re
import tomllib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource, InitSettingsSource

from smsd.config import environment
from smsd.config.environment import ENV_PREFIX
from smsd.config.faults import ConfigError, explain, nearest, source
from smsd.config.settings import Provider, Settings

_CREDENTIAL = re.compile(r"http\.tokens|redis\.url|provider\.proxy|provider(\.[^.]+){2,}")


class _Environment(EnvSettingsSource):
    """`SMSD_RATE__SEGMENTS_PER_SECOND=45`; lists and tables as JSON."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return environment.variables()

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Leave a value that is not JSON to the model, whose fault names the variable."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value

    def explode_env_vars(
        self, field_name: str, field: FieldInfo, env_vars: Mapping[str, str | None]
    ) -> dict[str, Any]:
        """The values that variables set in one table.

        Below `provider` a variable may be a table as JSON. Only the provider knows the types of its
        keys, so other values there stay strings.
        """
        if field_name != "provider":
            return super().explode_env_vars(field_name, field, env_vars)
        own = {name: value for name, value in env_vars.items() if name.count("__") == 1}
        tables = super().explode_env_vars(field_name, field, own)
        for name in tables.keys() - Provider.model_fields.keys():
            _table(tables, name)
        deeper = [name for name in env_vars if name.count("__") > 1]
        for name in sorted(deeper, key=lambda name: name.count("__")):
            of, *path, key = name.removeprefix(ENV_PREFIX.lower()).split("__")
            if of == field_name:
                table = tables
                for part in path:
                    table = _table(table, part)
                table[key] = env_vars[name]
        return tables


def _table(parent: dict[str, Any], name: str) -> dict[str, Any]:
    """The table of this name in `parent`, parsed if it is JSON; if it is no table, a new one."""
    value = parent.setdefault(name, {})
    if isinstance(value, str):
        with suppress(ValueError):
            value = json.loads(value)
    if not isinstance(value, dict):
        return {}  # the model finds the fault
    parent[name] = value
    return value


def load(path: Path) -> Settings:
    """Read `path` and what overrides it. Raises `ConfigError` with every fault."""
    table = _read(path)
    credentials, faults = _credentials()
    faults += _unknown_variables()
    sources = (
        _Environment(Settings, case_sensitive=False),
        InitSettingsSource(Settings, credentials),
        InitSettingsSource(Settings, table),
    )
    try:
        settings = Settings(_build_sources=(sources, {}))
    except ValidationError as error:
        faults += explain(error, Settings, path).faults
    else:
        if not faults:
            return settings
    raise ConfigError(faults)  # outside `except`: its traceback must not carry the values


def data_dir(settings: Settings, path: Path) -> Path:
    """The embedded server's directory: beside `path`, or below the current one if overridden."""
    origin = source(("redis", "data_dir"), path)
    return (path.parent if origin == str(path) else Path()).absolute() / settings.redis.data_dir


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        reason = f"cannot be read: {error.strerror}"
    except UnicodeDecodeError as error:
        reason = f"expected UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start}"
    except tomllib.TOMLDecodeError as error:
        reason = f"expected TOML: {error}"
    except ValueError:  # Python reads no decimal number of over 4,300 digits
        reason = "expected TOML: a number is too long"
    except RecursionError:
        reason = "expected TOML: it is nested too deeply"
    raise ConfigError([f"{path}: {reason}"])


def _credentials() -> tuple[dict[str, Any], list[str]]:
    """Tables and faults from the files of $CREDENTIALS_DIRECTORY, each named like its key.

    A name that begins with a dot is skipped: a Secret that Kubernetes mounts holds its files twice.
    """
    tables: dict[str, Any] = {}
    faults = []
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    for file in sorted(Path(directory).glob("*")) if directory else ():
        if file.name.startswith("."):
            continue
        if not _CREDENTIAL.fullmatch(file.name):
            known = "http.tokens, redis.url, provider.proxy, provider.<name>.<key>"
            faults.append(f"{file}: unknown credential; known: {known}")
            continue
        try:
            text = file.read_text("utf-8-sig").strip("\r\n")
        except OSError as error:
            faults.append(f"{file}: cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            faults.append(f"{file}: expected UTF-8 text")
        else:
            _place(tables, file.name, text)
    return tables, faults


def _place(tables: dict[str, Any], name: str, text: str) -> None:
    if not text:  # smsd.service makes an empty credential of a file that does not exist
        return
    *path, key = name.split(".")
    for part in path:
        tables = tables.setdefault(part, {})
    tables[key] = [*filter(None, text.splitlines())] if name == "http.tokens" else text


def _unknown_variables() -> list[str]:
    """Faults for variables of unknown tables, which pydantic-settings never looks at."""
    faults = []
    for variable in sorted(os.environ):
        table, *keys = environment.path(variable) or ("",)
        if table and keys and table not in Settings.model_fields:
            hint = nearest(table, Settings.model_fields)
            faults.append(f"{variable}: expected {ENV_PREFIX}<TABLE>__<KEY>, got [{table}]; {hint}")
    return faults
