"""A bounded memory. Rule: the oldest is forgotten first."""

from typing import Generic, TypeVar

V = TypeVar("V")


class Recent(Generic[V]):
    """The latest values, by key; `most` of them."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: dict[str, V] = {}

    def remember(self, key: str, value: V) -> None:
        """Remember `value` under `key`, in place of an earlier one."""
        self._values.pop(key, None)
        self._values[key] = value
        if len(self._values) > self._most:
            del self._values[next(iter(self._values))]

    def get(self, key: str) -> V | None:
        """The value, or None if it is forgotten."""
        return self._values.get(key)
