"""Personalised bodies: a strict subset of Liquid. Rule: what is not understood is refused.

    {{ name }}   {{ name | default: "there" }}   {{ name | upcase }}   capitalize   truncate: 20

No tags, no dots, nothing to evaluate. A body is read once, and filled in for each recipient.
"""

from collections.abc import Sequence

from smsd.core.segment import Segments


class Template:
    """A body with placeholders.

    Raises `FieldError` (field `message`) where it cannot be read: with the place, and for `{name}`,
    `((name))`, `%name%`, `[name]` with "did you mean {{ name }}?".
    """

    def __init__(self, body: str) -> None:
        raise NotImplementedError

    @property
    def columns(self) -> tuple[str, ...]:
        """The fields it uses, each once, in the order of their first use."""
        raise NotImplementedError

    @property
    def required(self) -> tuple[str, ...]:
        """Those of them without a default: no recipient may lack one."""
        raise NotImplementedError

    def bind(self, columns: Sequence[str]) -> "BoundTemplate":
        """For rows with values in the order of `columns`. Raises `KeyError` for one missing."""
        raise NotImplementedError


class BoundTemplate:
    """A body for rows of one form."""

    def render(self, values: Sequence[str]) -> str:
        """The text for one recipient. Raises `FieldError` (the column) where a value is missing."""
        raise NotImplementedError

    def segments(self, values: Sequence[str]) -> Segments:
        """What that text takes; the literals are counted once. Raises as `segment.count` does."""
        raise NotImplementedError
