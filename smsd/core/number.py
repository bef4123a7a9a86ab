"""Phone numbers. Rule: what is not surely an international number is refused, never guessed at.

`phonenumbers` knows every numbering plan (trunk zeros, Italian leading zeros, lengths by country)
but is no validator: it also reads vanity letters, extensions, other scripts' digits and a number
in the midst of text. So a filter of characters stands before it. Lengths are checked, ranges are
not: new ranges are in service before they are in the metadata, and the provider knows better.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumberFormat,
    ValidationResult,
)

LONGEST_RAW = 40  # characters: 15 digits, each with a separator, and some to spare
LONGEST_E164 = 16  # the + and 15 digits (ITU-T E.164 §6)

# For `fullmatch`: `$` lets a final newline pass, and `\d` the digits of every script.
_WRITTEN = re.compile(r"\+[0-9][0-9 .()\-]*")
_E164 = re.compile(r"\+[0-9]{6,15}")

# Invisible characters that address books and web pages put around and into numbers: marks of
# writing direction (not U+202E, which shows digits in another order than they have), joiners, and
# a byte order mark. Without them the number is the same.
_UNSEEN = (
    "\u00ad\u061c\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d"
    "\u2060\u2066\u2067\u2068\u2069\ufeff"
)
_BLANKS = "\u00a0\u2007\u2009\u202f"  # blanks that break no line, and thin ones
_HYPHENS = "\u2010\u2011"
_MEANT = str.maketrans(
    dict.fromkeys(_UNSEEN, "") | dict.fromkeys(_BLANKS, " ") | dict.fromkeys(_HYPHENS, "-")
)


@lru_cache(maxsize=4096)  # a number is read at intake and, soon after, at its claim
def parse(raw: str) -> str:
    """`raw` in E.164. Raises `ValueError`, whose message repeats nothing but a country code, or
    names one character that does not belong there.
    """
    return raw if _is_canonical(raw) else _read(raw)


class _Plan(NamedTuple):
    """What decides about the numbers of a country code that are written canonically."""

    digits: int  # of the country code
    lengths: frozenset[int]  # of all that follows the +
    trunk_prefix: re.Pattern[str]  # what `phonenumbers` may take off, or replace


def _is_canonical(raw: str) -> bool:
    """Whether `_read` would surely return `raw` itself; this costs a fifteenth of `_read`."""
    if not _E164.fullmatch(raw):
        return False
    plan = _plan(raw[1:4])
    if plan is None or len(raw) - 1 not in plan.lengths:
        return False
    prefix = plan.trunk_prefix.match(raw[1 + plan.digits :])
    # Argentina's pattern also matches nothing at all, and then nothing is taken off.
    return prefix is None or (prefix.end() == 0 and prefix.lastindex is None)


@cache
def _plan(first_digits: str) -> _Plan | None:
    """The plan of the country code that three digits begin with; loaded when it is first used."""
    code = next(
        (
            code
            for width in (1, 2, 3)
            if (code := int(first_digits[:width])) in COUNTRY_CODE_TO_REGION_CODE
        ),
        0,
    )
    if not code or first_digits[0] == "0":
        return None
    region = COUNTRY_CODE_TO_REGION_CODE[code][0]
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if metadata is None or metadata.general_desc is None:
        return None
    digits = len(str(code))
    lengths = {digits + length for length in metadata.general_desc.possible_length}
    return _Plan(
        digits,
        frozenset(length for length in lengths if length < LONGEST_E164),
        re.compile(metadata.national_prefix_for_parsing or "(?!)"),
    )


def _read(raw: str) -> str:
    if len(raw) > LONGEST_RAW:
        raise ValueError("is too long for a phone number")
    written = raw.translate(_MEANT).lstrip(" ")
    if not written.startswith("+"):
        raise ValueError("must start with + and the country code, like +12025550123")
    if not _WRITTEN.fullmatch(written):
        raise ValueError(f"may hold only digits, spaces and . - ( ) after the +{_culprit(written)}")
    try:
        parsed = phonenumbers.parse(written)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise ValueError("starts with no known country code") from None
        raise ValueError("is not a phone number") from None
    # Not `is_possible_number`: that one lets local numbers pass, as +1 5550123 without its area.
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        raise ValueError(f"is not a possible number for +{parsed.country_code}")
    number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if len(number) > LONGEST_E164:
        raise ValueError("has more than the 15 digits of an international number")
    return number


def _culprit(written: str) -> str:
    """The first character that is invisible or not ASCII, by its code point, for the refusal."""
    for character in written:
        if not character.isascii() or not character.isprintable():
            name = unicodedata.name(character, "")
            return f", not U+{ord(character):04X} {name}".rstrip()
    return ""


def mask(number: str) -> str:
    """A number as a log may show it: `+1202*****23`. All of anything else is hidden."""
    if not _E164.fullmatch(number):
        return "*****"
    shown = min(5, len(number) - 6)  # the shortest still hide four digits
    return number[:shown] + "*" * (len(number) - shown - 2) + number[-2:]
