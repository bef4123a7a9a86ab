"""A cell of a file to a value for a message. Rule: nothing invisible costs money or breaks a line.

A no-break space or a direction mark makes a message UCS-2, and so do accents that are characters
of their own; line breaks and tabs become blanks.
"""

import re
import unicodedata
from functools import lru_cache

from smsd.core.contacts.events import Reason
from smsd.core.contacts.number_cell import CellRefused

LONGEST = 255  # characters

# Nothing to do: visible ASCII, blanks within, no armour in front.
is_plain = re.compile(r"(?:[!-&(-<>-~](?:[ -~]{0,253}[!-~])?)?").fullmatch

_ARMOUR = re.compile(r"""=\s*"((?:[^"]|"")*)"|'([=+\-@].*)""", re.DOTALL)
_BREAKS = re.compile("[ ]*[\t-\r\u0085\u2028\u2029]+[ ]*")
_JOINERS = "\u200c\u200d"


@lru_cache(maxsize=1024)  # names come again and again
def clean(cell: str) -> str:
    """The value of a cell. Raises `CellRefused`."""
    value = _BREAKS.sub(" ", cell).strip()
    if not value.isascii():
        value = _visible(unicodedata.normalize("NFC", value))
    while armour := _ARMOUR.fullmatch(value):  # all of it: else an export would lose the rest
        quoted, bare = armour.groups()
        value = (bare or (quoted or "").replace('""', '"')).strip()
    if len(value) > LONGEST:
        raise CellRefused(Reason.VALUE_TOO_LONG)
    for character in value:
        if not character.isprintable():
            _check(character)
    if "\ufffd" in value:
        raise CellRefused(Reason.UNREADABLE_CHARACTER)
    return value


def _visible(value: str) -> str:
    """Without what nobody sees; joiners stay where they shape other scripts and emoji."""
    kept = [_kept(character) for character in value]
    found = "".join(kept).strip()
    bare = found.translate(dict.fromkeys(map(ord, _JOINERS)))
    return bare if bare.isascii() else found


def _kept(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Zs":
        return " "
    shapes = character in _JOINERS or "\U000e0020" <= character <= "\U000e007f"  # flags' tags
    return character if category != "Cf" or shapes else ""


def _check(character: str) -> None:
    category = unicodedata.category(character)
    if category == "Cc":
        raise CellRefused(Reason.CONTROL_CHARACTER)
    if category == "Cs":
        raise CellRefused(Reason.UNREADABLE_CHARACTER)
