"""A bounded memory. Rule: what was noted first is forgotten first."""

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The last so many things noted, by key."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._noted: dict[str, V] = {}

    def note(self, key: str, value: V) -> None:
        """Remember `value`; under the same key, in place of what was noted before."""
        self._noted.pop(key, None)
        self._noted[key] = value
        if len(self._noted) > self._most:
            del self._noted[next(iter(self._noted))]

    def get(self, key: str) -> V | None:
        """What was noted, if it is not forgotten."""
        return self._noted.get(key)
