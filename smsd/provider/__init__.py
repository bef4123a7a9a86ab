"""Which providers there are. Rule: an entry point, ours or of a plugin, goes before a preset."""

from importlib.metadata import entry_points
from typing import cast

from smsd.provider.base import Provider
from smsd.provider.generic import preset

GROUP = "smsd.providers"


def names() -> list[str]:
    """The names of all providers, sorted."""
    return sorted({*entry_points(group=GROUP).names, *preset.names()})


def load(name: str) -> type[Provider]:
    """The provider class called `name`. Raises `LookupError`, which names those there are."""
    plugins = entry_points(group=GROUP)
    if name in plugins.names:
        return cast("type[Provider]", plugins[name].load())
    if name in preset.names():
        return preset.load(name)
    raise LookupError(f"no provider {name!r}; known are {', '.join(names())}")
