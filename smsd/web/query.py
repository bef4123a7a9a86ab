"""Parameters of a query. Rule: each is known, given once, and refused by its name."""

import re
from collections.abc import Collection, Mapping
from typing import Literal

from aiohttp import web

from smsd.core.fields import FieldError, shortened

FLAGS: Mapping[object, bool] = {"true": True, "1": True, "false": False, "0": False}
Flag = Literal["true", "false", "1", "0"]  # the same, for the contract


def read_query(request: web.BaseRequest, known: Collection[str]) -> dict[str, str]:
    """The parameters by name. Raises `FieldError`."""
    query: dict[str, str] = {}
    for name, value in request.query.items():
        if name not in known:
            raise FieldError(
                shortened(name), f"is no known parameter; known are {', '.join(known)}"
            )
        if name in query:
            raise FieldError(name, "is given twice")
        query[name] = value
    return query


def read_count(query: Mapping[str, object], *, most: int, default: int) -> int:
    """How many are asked for, as `count`. Raises `FieldError`."""
    raw = str(query.get("count", default))
    if not re.fullmatch("[0-9]{1,9}", raw) or not 1 <= int(raw) <= most:
        raise FieldError("count", f"must be 1 to {most}")
    return int(raw)


def read_flag(query: Mapping[str, object], name: str) -> bool:
    """A parameter that is true or false. Raises `FieldError`."""
    raw = query.get(name, "false")
    if raw not in FLAGS:
        raise FieldError(name, "must be true or false")
    return FLAGS[raw]
