"""Which providers there are. Rule: built-ins and plugins are found the same way, by entry point."""

from importlib.metadata import entry_points
from typing import cast

from smsd.provider.base import Provider

GROUP = "smsd.providers"


def names() -> list[str]:
    """What there is, sorted."""
    return sorted(entry_points(group=GROUP).names)


def load(name: str) -> type[Provider]:
    """The provider class called `name`. Raises `LookupError`, which names those there are."""
    known = entry_points(group=GROUP)
    if name not in known.names:
        raise LookupError(f"no provider {name!r}; known are {', '.join(names())}")
    return cast("type[Provider]", known[name].load())
