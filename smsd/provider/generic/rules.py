"""Reading an answer, by configuration. Rule: what is not where it should be is None."""

import re
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import ConfigDict, Field, PlainValidator, model_validator

from smsd.provider.base import ProviderSettings
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.rulings import RulingField

Extract = Callable[[Answer], str | None]


def pattern(written: object) -> re.Pattern[str]:
    """Read `re:…`. Raises `ValueError`."""
    if not isinstance(written, str) or not written.startswith("re:"):
        raise ValueError('must be written "re:" and a regular expression')
    try:
        return re.compile(written.removeprefix("re:"))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def extract(written: object) -> Extract:
    """Read `json:a.0.b`, `re:…` or `header:Name`. Raises `ValueError`."""
    kind, _, rest = written.partition(":") if isinstance(written, str) else ("", "", "")
    if kind == "re":
        return _by_pattern(pattern(written))
    if kind == "json" and rest:
        return json_at(rest)
    if kind == "header" and rest:
        return lambda answer: answer.headers.get(rest)
    raise ValueError('must begin with "json:", "re:" or "header:"')


def extracted(extract: Extract | None, answer: Answer) -> str:
    """What is extracted; "" if it is missing, or if nothing is to be extracted."""
    return (extract(answer) if extract is not None else None) or ""


ExtractField = Annotated[Extract, PlainValidator(extract)]


def _wanted(value: object) -> str | int:
    # Not left to pydantic, whose message for a union names every member.
    if isinstance(value, str | int):
        return value
    raise ValueError("expected a string, a whole number, or true or false")


class Rule(ProviderSettings):
    """One row of `rules`: every condition that is set must hold.

    In `in`, 7 matches the answer's 7, 7.0 or "7"; a string matches that string or a number that is
    written so; true and false match themselves alone.
    """

    model_config = ConfigDict(strict=True)  # no row comes from an environment variable

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    body: Annotated[re.Pattern[str], PlainValidator(pattern)] | None = None
    path: str | None = Field(None, alias="json")
    values: tuple[Annotated[str | int, PlainValidator(_wanted)], ...] = Field(
        (), alias="in", strict=False
    )
    ruling: RulingField = Field(alias="outcome")

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.path is None) != (not self.values):
            raise ValueError("`json` and `in` go together")
        return self

    @property
    def reads(self) -> bool:
        """Whether it looks at more than the status."""
        return self.body is not None or self.path is not None

    def match(self, answer: Answer) -> str | None:
        """The provider's code if the rule matches ("" if it looks at no code), else None."""
        if self.status is not None and self.status != answer.status:
            return None
        if self.body is not None and not self.body.search(answer.text()):
            return None
        if self.path is None:
            return ""
        found = _at(self.path, answer)
        return _plain(found) if any(_equals(wanted, found) for wanted in self.values) else None


def json_at(path: str) -> Extract:
    """The string or number at a path of keys and indexes with dots between them."""

    def pick(answer: Answer) -> str | None:
        found = _at(path, answer)
        return None if isinstance(found, bool) else _plain(found)

    return pick


def _equals(wanted: str | int, found: object) -> bool:
    if isinstance(wanted, bool):
        return found is wanted
    if isinstance(wanted, int) and isinstance(found, float):
        return found == wanted
    return _plain(found) == str(wanted)


def _plain(value: object) -> str | None:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _at(path: str, answer: Answer) -> object:
    value = answer.json()
    for step in path.split("."):
        value = _step(value, step)
    return value


def _step(value: object, step: str) -> object:
    if isinstance(value, dict):
        return value.get(step)
    if isinstance(value, list) and step.isdecimal() and int(step) < len(value):
        return value[int(step)]
    return None


def _by_pattern(wanted: re.Pattern[str]) -> Extract:
    def search(answer: Answer) -> str | None:
        found = wanted.search(answer.text())
        return None if found is None else found[min(wanted.groups, 1)]

    return search
