"""A cell of a file to a number. Rule: what a spreadsheet has spoilt is refused, never completed.

Spreadsheets shorten long numbers (`1.20255E+10`), add a fraction (`12025550123.0`), or are kept
from it by armour (`'+1…`, `="+1…"`); address books put several numbers into a cell.
"""

import re
import unicodedata

from smsd.core import number
from smsd.core.contacts.events import Reason

LONGEST_CELL = 400  # characters; several numbers with what parts them
FEWEST_DIGITS = 6

MEANT = (Reason.NO_COUNTRY_CODE, Reason.SHORTENED_NUMBER)  # as a number, though it is refused

_ARMOUR = re.compile(r"""=\s*"(.*)"|=\s*(\+?[0-9].*)|['\u2019`](.*)|"(.*)\"""", re.DOTALL)
_EXPONENT = re.compile(r"(\+?)([0-9])(?:[.,]([0-9]*))?[eE]\+?([0-9]{1,3})")
_FRACTION = re.compile(r"(\+?[0-9]{6,})[.,]0+")
_SEVERAL = re.compile(r"\s*(?::::|[;,|/\r\n])\s*")
_DIGITS = re.compile(r"[0-9 .()\-]+")


class CellRefused(ValueError):  # noqa: N818 - it is why a row is left out
    """A cell that cannot be used."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def read(cell: str, region: str = "") -> tuple[str, bool]:
    """The number in E.164, and whether others that stand behind it were left out.

    Raises `CellRefused`.
    """
    if number.is_canonical(cell):
        return cell, False
    written = _bare(cell)
    if not written:
        raise CellRefused(Reason.NO_NUMBER)
    if len(written) > LONGEST_CELL:
        raise CellRefused(Reason.NOT_A_NUMBER)
    if shortened := _EXPONENT.fullmatch(written):
        return _one(_whole(shortened), region), False
    if _FRACTION.fullmatch(written):
        return _one(written, region), False
    first, *others = [part for part in _SEVERAL.split(written) if part] or [written]
    found = _one(first, region)
    for other in others:  # `+49 30 123456/7` is one number, and another's ending
        _one(_bare(other), region)
    return found, bool(others)


def is_number(cell: str, region: str) -> bool:
    """Whether a cell surely is meant as a number, be it one that is refused."""
    try:
        read(cell, region)
    except CellRefused as refused:
        return refused.reason in MEANT
    return True


def _bare(cell: str) -> str:
    """Without blanks and invisible characters around and in it, and without armour."""
    if not cell.isascii():
        cell = "".join(map(_seen, cell))
    cell = cell.strip()
    for _ in range(3):
        if (armour := _ARMOUR.fullmatch(cell)) is None:
            break
        cell = next(filter(None, armour.groups()), "").strip()
    return cell


def _seen(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    # U+202E shows digits in another order than they have: `number.parse` refuses it.
    return "" if category == "Cf" and character != "\u202e" else character


def _whole(shortened: re.Match[str]) -> str:
    """`3.108207129E9` has all digits of its number; `1.20255E+10` has lost some."""
    plus, first, rest, exponent = shortened.groups()
    digits, length = first + (rest or ""), int(exponent) + 1
    if len(digits) < length or digits[length:].strip("0"):
        raise CellRefused(Reason.SHORTENED_NUMBER)
    return plus + digits[:length]


def _one(written: str, region: str) -> str:
    if fraction := _FRACTION.fullmatch(written):
        written = fraction[1]
    try:
        return number.parse_dialled(written, region) if region else number.parse(written)
    except number.Unreadable as refused:
        kind = refused.kind
    if kind == "no_country_code" and not (
        _DIGITS.fullmatch(written) and sum(map(str.isdigit, written)) >= FEWEST_DIGITS
    ):
        kind = "not_a_number"
    raise CellRefused(Reason(kind))
