"""Typographic characters in GSM-7. Rule: a reader reads the same, and only what is asked for.

One curly quote makes a message UCS-2, which holds 70 characters where GSM-7 holds 160. Replaced are
quotes, dashes, dots, blanks and ligatures that word processors put in, what is invisible, and an
accent that is a character of its own, where GSM-7 has the letter with it. Letters are never changed
to others (`Š` stays), nor is what may be meant (`½`, `™`, an emoji); so a message may be UCS-2 all
the same.
"""

import re
import unicodedata
from collections.abc import Mapping

from smsd.core.segment import DEFAULT_ALPHABET

_BY_REPLACEMENT = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2039\u203a`\xb4",
    '"': "\u201c\u201d\u201e\u201f\u2033\xab\xbb",
    "-": "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\u2022\u2043",
    "/": "\u2044",
    "...": "\u2026",
    "..": "\u2025",
    " ": "\t\xa0\u202f\u205f\u3000" + "".join(map(chr, range(0x2000, 0x200B))),
    "": "\xad\u200b\u2060\ufeff",
    "ff": "\ufb00",
    "fi": "\ufb01",
    "fl": "\ufb02",
    "ffi": "\ufb03",
    "ffl": "\ufb04",
    "st": "\ufb05\ufb06",
    "OE": "\u0152",
    "oe": "\u0153",
    "IJ": "\u0132",
    "ij": "\u0133",
    "\u03a9": "\u2126",  # the sign of ohms, which is the letter
    "\xc5": "\u212b",  # that of ångströms
}
# A letter and an accent of its own, which is how files from a Mac and some PDFs have them.
_COMPOSED = {
    apart: letter
    for letter in DEFAULT_ALPHABET
    if len(apart := unicodedata.normalize("NFD", letter)) > 1
}
REPLACEMENTS: Mapping[str, str] = _COMPOSED | {
    one: replacement for replacement, many in _BY_REPLACEMENT.items() for one in many
}

_MARKS = "[\u0300-\u036f]"
_ANY = re.compile(
    f"[{''.join(re.escape(one) for one in REPLACEMENTS if len(one) == 1)}]"
    f"|(?:{'|'.join(_COMPOSED)})(?!{_MARKS})"
)


def transliterate(text: str) -> str:
    """`text` with what GSM-7 has in place of typographic characters."""
    if text.isascii() and "`" not in text and "\t" not in text:
        return text
    return _ANY.sub(lambda found: REPLACEMENTS[found[0]], text)


def replaced(text: str) -> list[str]:
    """What `transliterate` replaces in `text`, each place."""
    return _ANY.findall(text)
