"""From a text to its segments. Rule: what is counted here is what the carrier bills, unit by unit.

A segment carries 140 octets of user data: 160 septets of the GSM 7-bit default alphabet, or 70
UCS-2 code units as soon as one character is in neither table (3GPP TS 23.038 §6.2). A longer
text is concatenated: a header with an 8-bit reference takes 6 octets of every segment and leaves
153 septets or 67 code units (3GPP TS 23.040 §9.2.3.24.1), and no character may straddle two
segments. So the count is not units / 153 rounded up: a segment may end one unit short.

Nothing is normalised or replaced. Grapheme clusters have no standing in either standard and are
cut between code points. National language tables are not used, as no provider's bill knows them.
"""

import re
from collections.abc import Iterator
from typing import Literal, NamedTuple

Encoding = Literal["gsm7", "ucs2"]

# TS 23.038 §6.2.1, sixteen codes a line. 0x1B is the escape, which is no character of its own;
# 0x09 is the capital Ç: the small one, like every other accented letter not here, needs UCS-2.
DEFAULT_ALPHABET = (
    "@£$¥èéùìòÇ\nØø\rÅå"
    "Δ_ΦΓΛΩΠΨΣΘΞÆæßÉ"
    " !\"#¤%&'()*+,-./"
    "0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNO"
    "PQRSTUVWXYZÄÖÑÜ§"
    "¿abcdefghijklmno"
    "pqrstuvwxyzäöñüà"
)
# TS 23.038 §6.2.1.1: an escape and a code, hence two septets each. The first is "page break".
EXTENSION_TABLE = "\f^{}\\[~]|€"

WHOLE: dict[Encoding, int] = {"gsm7": 160, "ucs2": 70}  # units of a text that fits one segment
PART: dict[Encoding, int] = {"gsm7": 153, "ucs2": 67}  # units of one segment among several
MOST_SEGMENTS = 255  # TS 23.040 §9.2.3.24.1 numbers them in one octet
LONGEST = MOST_SEGMENTS * PART["gsm7"]  # characters: none takes less than a unit

# A set of characters in a compiled pattern is the fastest test CPython has: it runs in C, and
# needs a third of a microsecond for 160 characters where a loop needs six. `*+` does not go back
# over them when the last one fails.
_leading_default = re.compile(f"[{re.escape(DEFAULT_ALPHABET)}]*+").match
_all_gsm7 = re.compile(f"[{re.escape(DEFAULT_ALPHABET + EXTENSION_TABLE)}]*+").fullmatch
_not_gsm7 = re.compile(f"[^{re.escape(DEFAULT_ALPHABET + EXTENSION_TABLE)}]").search
_extended = re.compile(f"[{re.escape(EXTENSION_TABLE)}]")
_supplementary = re.compile("[\U00010000-\U0010ffff]")
_surrogate = re.compile("[\ud800-\udfff]").search

# Stand-ins for the two units of a pair. A surrogate, since half a pair is refused before this.
_HEAD = "\ud800"
_PAIR = _HEAD + "\udc00"


class Segments(NamedTuple):
    """What a text costs. `units` are septets (gsm7) or 16-bit code units (ucs2)."""

    encoding: Encoding
    units: int
    segments: int


class TooLong(ValueError):  # noqa: N818 - a state, named as users see it
    """More segments than can be numbered: they are not counted to the end."""


def count(text: str) -> Segments:
    """What `text` costs; an empty one is one segment too. Raises `ValueError`, as `split` does."""
    if len(text) > LONGEST:  # megabytes would hold up the loop only to be counted
        raise TooLong(f"is longer than {MOST_SEGMENTS} segments")
    encoding, units = _units(text)
    if len(units) <= WHOLE[encoding]:
        return Segments(encoding, len(units), 1)
    return Segments(encoding, len(units), sum(1 for _ in _ends(units, PART[encoding])))


def split(text: str) -> list[str]:
    """The text of each segment; joined they are `text`.

    Raises `ValueError` for half a surrogate pair and for more than 255 segments.
    """
    encoding, units = _units(text)
    if len(units) <= WHOLE[encoding]:
        return [text]
    segments = []
    start = at = 0  # the same place, in units and in characters
    for end in _ends(units, PART[encoding]):
        length = end - start - units.count(_HEAD, start, end)
        segments.append(text[at : at + length])
        start, at = end, at + length
    return segments


def culprit(text: str) -> tuple[int, str] | None:
    """Index and character of the first that forces UCS-2; None if the text is gsm7."""
    found = _not_gsm7(text)
    return None if found is None else (found.start(), found[0])


class Fixed:
    """The part of many texts that is the same in all: it is counted once."""

    def __init__(self, text: str) -> None:
        self._length = len(text)
        self._is_gsm7 = _all_gsm7(text) is not None
        self._has_surrogate = _surrogate(text) is not None
        self._extended = len(_extended.findall(text))
        self._supplementary = len(_supplementary.findall(text))

    def count_with(self, added: str) -> Segments | None:
        """As `count` for a text made of this and of `added`, put into it at any places.

        None where that depends on the places, as it does if a segment may end one unit short and
        the room left does not make up for it; and for a text that `count` refuses.
        """
        encoding, pairs = self._encoding_and_pairs(added)
        if encoding is None:
            return None
        units = self._length + len(added) + pairs
        if units <= WHOLE[encoding]:
            return Segments(encoding, units, 1)
        least = -(-units // PART[encoding])
        unused = least * PART[encoding] - units
        if unused < min(pairs, least - 1) or least > MOST_SEGMENTS:
            return None
        return Segments(encoding, units, least)

    def _encoding_and_pairs(self, added: str) -> tuple[Encoding | None, int]:
        """The encoding, and how many characters take two units in it."""
        if self._is_gsm7:
            leading = _leading_default(added)
            if leading and leading.end() == len(added):
                return "gsm7", self._extended
            if _all_gsm7(added):
                return "gsm7", self._extended + len(_extended.findall(added))
        if self._has_surrogate or _surrogate(added):
            return None, 0
        return "ucs2", self._supplementary + len(_supplementary.findall(added))


def _units(text: str) -> tuple[Encoding, str]:
    """The encoding, and the text at one character per unit: a character of two is `_PAIR`."""
    leading = _leading_default(text)
    plain = leading.end() if leading else 0
    if plain == len(text):
        return "gsm7", text
    if _all_gsm7(text, plain):
        return "gsm7", _extended.sub(_PAIR, text)
    try:
        octets = len(text.encode("utf-16-le"))
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half a surrogate pair at character {error.start + 1}") from None
    # In UCS-2 a character of the extension table is one unit like any other (§6.2.3). Those
    # beyond U+FFFF are two; that the two stay together is not in the standard, which knows
    # none, but every careful sender does it: a receiver may decode segment by segment.
    return "ucs2", text if octets == 2 * len(text) else _supplementary.sub(_PAIR, text)


def _ends(units: str, room: int) -> Iterator[int]:
    """Where each segment ends. One that would end between the units of a pair ends before it."""
    end = 0
    for _ in range(MOST_SEGMENTS):
        if len(units) - end <= room:
            yield len(units)
            return
        end += room
        if units[end - 1] == _HEAD:
            end -= 1
        yield end
    raise TooLong(f"is longer than {MOST_SEGMENTS} segments")
