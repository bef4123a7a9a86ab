"""What other programs' placeholders look like. Rule: none goes out to a recipient by mistake.

`{name}`, `((name))`, `%name%` and the like are refused wherever they stand. `[name]`, `<name>` and
`$name` may be meant as they are written (`[Acme] Your order`): they are refused where the name is
one that fields have, or is that of a column.
"""

import re
from collections.abc import Container
from typing import NamedTuple

from smsd.core.contacts.columns import identifier

LONGEST_ADDRESS = 500  # characters
_NAME = r"[^\W\d_]\w{0,63}"
_NAMES = rf"{_NAME}(?:[ .-]{_NAME}){{0,2}}"
_SURE = re.compile(
    rf"""[$#]?\{{[#$%]?\s*(?P<brace>{_NAMES})\s*(?:\|[^{{}}]*)?[#%]?\}}+"""
    rf"""|\(\(\s*(?P<round>{_NAMES})\s*(?:\?\?[^()]*)?\)\)"""
    rf"""|\*\|\s*(?P<star>{_NAMES})\s*\|\*"""
    rf"""|\[\[\s*(?P<square>{_NAMES})\s*\]\]"""
    rf"""|<<\s*(?P<angle>{_NAMES})\s*>>"""
    rf"""|%\((?P<python>{_NAME})\)s"""
    rf"""|(?<![0-9%])%+(?P<percent>{_NAME})%+(?!\w)"""
    r"""|(?P<end>\}\})"""
)
_PERHAPS = re.compile(
    rf"""\[\s*(?P<square>{_NAMES})\s*\]|<\s*(?P<angle>{_NAMES})\s*>|\$(?P<dollar>{_NAME})"""
    rf"""|%(?P<percent>{_NAME})%"""
)
_USUAL = re.compile(r".*name|\w+_(?:date|time|code|number|id|link|url)|code|otp", re.IGNORECASE)
_ESCAPED_OCTET = re.compile("[0-9A-Fa-f]{2}")


class Lookalike(NamedTuple):
    """What is probably meant as a placeholder: where it begins, what it is, the field's name."""

    at: int
    shown: str
    name: str


def find(literal: str) -> Lookalike | None:
    """The first that is none by its form or by its name; None if there is none."""
    for found in _SURE.finditer(literal):
        if found.lastgroup != "percent" or not _is_escaped_octet(literal, found):
            return _lookalike(found)
    for found in _PERHAPS.finditer(literal):
        if found.lastgroup != "percent" and _USUAL.fullmatch(found[found.lastgroup or 0]):
            return _lookalike(found)
    return None


def find_of(literal: str, columns: Container[str]) -> Lookalike | None:
    """The first that names one of these columns."""
    for found in _PERHAPS.finditer(literal):
        if (one := _lookalike(found)).name in columns:
            return one
    return None


def _lookalike(found: re.Match[str]) -> Lookalike:
    kind = found.lastgroup or "end"
    name = "" if kind == "end" else found[kind].rpartition(".")[2]
    return Lookalike(found.start(), found[0], identifier(name))


def _is_escaped_octet(literal: str, found: re.Match[str]) -> bool:
    """Whether it stands in an address, in which `%20` is a blank."""
    at = found.start()
    before = literal[max(0, at - LONGEST_ADDRESS) : at].rsplit(maxsplit=1)
    inside = bool(before) and "/" in before[-1] and not literal[at - 1].isspace()
    return inside and _ESCAPED_OCTET.match(found["percent"]) is not None
