"""A provider that is only configuration. Rule: its table is a file, and a user gives the rest.

`smsd/provider/presets/<name>.toml` is a table `[provider.http]` without the `url`; its strings may
hold `${USERNAME}` and `${PASSWORD}`. A user gives them and the `url` in `[provider.<name>]`.
"""

import tomllib
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any, ClassVar, Self, cast

from pydantic import Field, ValidationInfo, model_validator
from pydantic_core import PydanticCustomError

from smsd.provider.base import Provider, ProviderSecret, default_sender
from smsd.provider.generic.http import Http
from smsd.provider.generic.settings import GenericSettings
from smsd.provider.wire.settings import HttpSettings, HttpUrl

_FILES = files("smsd.provider") / "presets"
_SUFFIX = ".toml"


class PresetSettings(HttpSettings):
    """What a user gives for a preset: `[provider.<name>]`."""

    table: ClassVar[Mapping[str, Any]]

    url: HttpUrl
    username: str = Field(min_length=1)
    password: ProviderSecret

    @model_validator(mode="after")
    def _has_a_sender(self, info: ValidationInfo) -> Self:
        names_sender = "from" in self.gateway().request_template().placeholders
        if names_sender and default_sender(info) == "":
            needs = "needs [message] default_from, for messages that name no sender"
            raise PydanticCustomError("incomplete", needs)
        return self

    def gateway(self) -> GenericSettings:
        """The whole `[provider.http]`."""
        secrets = {"username": self.username, "password": self.password.get_secret_value()}
        return GenericSettings.model_validate(
            {**self.table, "url": self.url, "ca_file": self.ca_file, "secrets": secrets}
        )


def names() -> list[str]:
    """The presets there are."""
    return sorted(
        file.name.removesuffix(_SUFFIX) for file in _FILES.iterdir() if file.name.endswith(_SUFFIX)
    )


@lru_cache
def load(name: str) -> type[Provider]:
    """The provider that is the preset `name`."""

    class Settings(PresetSettings):
        table = tomllib.loads((_FILES / f"{name}{_SUFFIX}").read_text("utf-8"))

    class Preset(Http):
        @classmethod
        def build(cls, settings: PresetSettings, **reach: Any) -> Http:  # type: ignore[override]
            return Http.build(settings.gateway(), **reach)

    Preset.Settings = Settings
    return cast("type[Provider]", Preset)
