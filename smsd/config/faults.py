"""Faults as messages. Rule: one line each: the source, the key, what was expected, what was found.

A value is shown only where the model is known and the field is not a secret.
"""

import difflib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from smsd.config.environment import variable_of, variable_within

LONGEST_SHOWN = 60  # characters of a value in a fault
MOST_SHOWN = 10**LONGEST_SHOWN  # Python writes no whole number of over 4,300 digits

Loc = tuple[int | str, ...]

# pydantic names types as Python does; these are TOML's names.
_TYPES = {
    "string_type": "a string",
    "path_type": "a string",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
    "finite_number": "a finite number",
}

_AS_JSON = ("tuple_type", "list_type", "dict_type", "model_type")  # in a variable
_MISSING = ("missing", "incomplete")  # a model raises the second for keys that go together


class ConfigError(Exception):
    """The configuration cannot be used; `faults` has a line for each reason."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def explain(
    error: ValidationError,
    model: type[BaseModel],
    path: Path,
    table: tuple[str, ...] = (),
    *,
    unused: bool = False,
) -> ConfigError:
    """The faults of `error`, which `model` raised for `table` of the file `path`.

    `table` is a path, as `("provider", "twilio")`. A missing key is no fault in an `unused` table.
    """
    return ConfigError(
        _line(detail, model, path, table)
        for detail in error.errors()
        if not unused or detail["type"] not in _MISSING
    )


def unknown_table(table: tuple[str, ...], what: str, known: Iterable[str], path: Path) -> str:
    """The fault of a table whose name is no known `what`."""
    hint = nearest(table[-1], known)
    key = _key(table, len(table))
    return _printable(f"{_source_within(table, path)}: {key}: unknown {what}; {hint}")


def nearest(name: str, known: Iterable[str]) -> str:
    """The name of `known` that is most like `name`, or all of them, as a hint."""
    names = list(known)
    if near := difflib.get_close_matches(name, names, n=1):
        return f"did you mean {near[0]}?"
    return f"known: {', '.join(names) or 'none'}"


def _line(detail: ErrorDetails, model: type[BaseModel], path: Path, table: tuple[str, ...]) -> str:
    context: dict[str, Any] = detail.get("ctx") or {}
    loc = context.get("at", detail["loc"])  # a check across tables names its key
    loc = tuple(part for part in loc if part != "[key]")  # pydantic names a wrong key so
    place = (*table, *loc)
    origin = source(place, path)
    key, fault = _key(place, len(table) or 1), _fault(detail, model, loc, origin)
    return _printable(f"{origin}: {key}: {fault}")


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def source(place: Loc, path: Path) -> str:
    """The source whose value for `place` is used; the order is that of `sources.load`."""
    names = [part for part in place if isinstance(part, str)]
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    for length in range(len(names), 0, -1):
        if variable := variable_of(names[:length]):
            return variable
        if credentials and (file := Path(credentials, ".".join(names[:length]))).is_file():
            return str(file)
    return str(path)


def _source_within(table: tuple[str, ...], path: Path) -> str:
    """The first source that sets anything in `table`."""
    if variable := variable_within(table):
        return variable
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    files = sorted(Path(credentials).glob("*")) if credentials else ()
    given = [str(file) for file in files if file.name.startswith(".".join((*table, "")))]
    return given[0] if given else source(table, path)


def _key(place: Loc, depth: int) -> str:
    """`("audiences", "demo", 0)` as `[audiences] demo[0]`."""
    table = ".".join(map(str, place[:depth]))
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place[depth:])
    return f"[{table}] {key.removeprefix('.')}".rstrip()


def _fault(detail: ErrorDetails, model: type[BaseModel], loc: Loc, origin: str) -> str:
    names = [part for part in loc if isinstance(part, str)]  # an item has its list's type
    kind, field = detail["type"], _field(model, names)
    if kind == "extra_forbidden" or (kind == "dict_type" and field is None):
        hint = nearest(names[-1], _names(model, names[:-1]))
        if kind == "dict_type" and origin in os.environ and hint.startswith("known: "):
            return f"expected a table as JSON, since it is no key; {hint}"
        return f"unknown key; {hint}"
    if kind == "missing":
        return "is required, and not set"
    if kind in ("unknown_audience", "incomplete"):
        return detail["msg"]
    if kind == "value_error" and field and _model(field):
        return _expected(detail)  # it concerns a whole table, so there is no value to show
    got = _shown(detail["input"]) if field and "Secret" not in repr(field.annotation) else ""
    as_json = " as JSON" if kind in _AS_JSON and origin in os.environ else ""
    return _expected(detail) + as_json + (f", got {got}" if got else "")


def _expected(detail: ErrorDetails) -> str:
    if type_name := _TYPES.get(detail["type"]):
        return f"expected {type_name}"
    if detail["type"] == "string_pattern_mismatch":
        return f"expected a string that matches {detail['ctx']['pattern']}"
    message = detail["msg"].removeprefix("Value error, ")
    # "Input should be greater than 0", "String should have at least 1 character"
    return re.sub(r"^\w+ should (?:be|have) ", "expected ", message)


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > MOST_SHOWN:
        return "a number far larger"
    if isinstance(value, str | int | float):
        shown = json.dumps(value, ensure_ascii=False)
        return shown if len(shown) <= LONGEST_SHOWN else shown[:LONGEST_SHOWN] + "…"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    return f"a {type(value).__name__}"


def _fields(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _field(model: type[BaseModel], names: list[str]) -> FieldInfo | None:
    """The field at the path `names`; None if the model has no such field."""
    field = _fields(model).get(names[0]) if names else None
    inner = field and _model(field)
    return _field(inner, names[1:]) if inner and len(names) > 1 else field


def _names(model: type[BaseModel], names: list[str]) -> Iterable[str]:
    if not names:
        return _fields(model)
    field = _field(model, names)
    inner = field and _model(field)
    return _fields(inner) if inner else ()


def _model(field: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that holds one, a list of them, or an optional one."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None
