"""Reading answers. Rule: what is not where it should be is None, never a guess."""

import re
from collections.abc import Callable
from typing import Annotated, Self

from pydantic import Field, PlainValidator, model_validator

from smsd.provider.base import ProviderSettings
from smsd.provider.codes import RulingField
from smsd.provider.transport import Answer

Extract = Callable[[Answer], str | None]


def pattern(text: object) -> re.Pattern[str]:
    """Read `re:…`. Raises `ValueError`."""
    if not isinstance(text, str) or not text.startswith("re:"):
        raise ValueError('must be written "re:" and a regular expression')
    try:
        return re.compile(text.removeprefix("re:"))
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None


def extract(text: object) -> Extract:
    """Read `json:a.0.b`, `re:…` or `header:Name`. Raises `ValueError`."""
    kind, _, rest = text.partition(":") if isinstance(text, str) else ("", "", "")
    if kind == "re":
        return _by_pattern(pattern(text))
    if kind == "json" and rest:
        return json_at(rest)
    if kind == "header" and rest:
        return lambda answer: answer.headers.get(rest)
    raise ValueError('must begin with "json:", "re:" or "header:"')


def picked(pick: Extract | None, answer: Answer) -> str:
    """What there is to extract; "" where it is missing, or was not asked for."""
    return (pick(answer) if pick is not None else None) or ""


ExtractField = Annotated[Extract, PlainValidator(extract)]


class Rule(ProviderSettings):
    """One row of `rules`: every condition that is set must hold."""

    status: Annotated[int, Field(ge=100, le=599)] | None = None
    body: Annotated[re.Pattern[str], PlainValidator(pattern)] | None = None
    path: str | None = Field(None, alias="json")
    values: tuple[str | int, ...] = Field((), alias="in")
    outcome: RulingField

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if (self.path is None) != (not self.values):
            raise ValueError("`json` and `in` go together")
        return self

    def match(self, answer: Answer) -> str | None:
        """The provider's code if the rule applies ("" when it looks at none), else None."""
        if self.status is not None and self.status != answer.status:
            return None
        if self.body is not None and not self.body.search(answer.text()):
            return None
        if self.path is None:
            return ""
        code = json_at(self.path)(answer)
        return code if code in [str(value) for value in self.values] else None


def json_at(path: str) -> Extract:
    """The text, number or truth value at a path of keys and indexes with dots between them."""
    steps = path.split(".")

    def at(answer: Answer) -> str | None:
        value = answer.json()
        for step in steps:
            value = _step(value, step)
        if isinstance(value, bool):
            return str(value).lower()
        return str(value) if isinstance(value, str | int | float) else None

    return at


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
