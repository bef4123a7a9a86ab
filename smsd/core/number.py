"""Phone numbers. Rule: what is not surely an international number is refused, never guessed at.

`phonenumbers` knows every numbering plan (trunk zeros, Italian leading zeros, lengths by country)
but is no validator: it also reads vanity letters, extensions, other scripts' digits and a number
in the midst of text. So a filter of characters stands before it. Lengths are checked, ranges are
not: new ranges are in service before they are in the metadata, and the provider knows better.
"""

import re
import unicodedata
from functools import cache, lru_cache
from typing import Literal, NamedTuple

import phonenumbers
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    ValidationResult,
    is_valid_number,
)

Kind = Literal["not_a_number", "no_country_code", "impossible_number", "ambiguous_number"]

LONGEST_RAW = 40  # characters: 15 digits, each with a separator, and some to spare
LONGEST_E164 = 16  # the + and 15 digits (ITU-T E.164 §6)

# For `fullmatch`: `$` lets a final newline pass, and `\d` the digits of every script.
_WRITTEN = re.compile(r"\+[0-9][0-9 .()\-]*")
_DIALLED = re.compile(r"[0-9(][0-9 .()\-]*")
_SIGNS = str.maketrans("", "", " .()-")
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
    return raw if is_canonical(raw) else _read_plainly(raw) or _read(raw)


def parse_dialled(raw: str, region: str) -> str:
    """`raw` in E.164, as it is written in `region` (ISO 3166: US), where it may be national.

    Raises `ValueError` as `parse` does.
    """
    if raw.startswith("+"):
        return parse(raw)
    return _dialled_plainly(raw, region) or _read(raw, region)


class Unreadable(ValueError):  # noqa: N818 - it is an answer, not a fault
    """Why a number is refused: the message is for people, the kind for programs."""

    def __init__(self, message: str, kind: Kind = "not_a_number") -> None:
        super().__init__(message)
        self.kind: Kind = kind


class _Plan(NamedTuple):
    """What decides about the numbers of a country code that are written canonically."""

    digits: int  # of the country code
    lengths: frozenset[int]  # of all that follows the +
    trunk_prefix: re.Pattern[str]  # what `phonenumbers` may take off, or replace


def is_canonical(raw: str) -> bool:
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


def _read_plainly(raw: str) -> str:
    """`_read(raw)` for a canonical number with blanks and signs in it; else ""."""
    if len(raw) > LONGEST_RAW or not _WRITTEN.fullmatch(raw):
        return ""
    number = raw.translate(_SIGNS)
    return number if is_canonical(number) else ""


def _dialled_plainly(raw: str, region: str) -> str:
    """`_read(raw, region)` for digits that can surely be read in one way; else ""."""
    if len(raw) > LONGEST_RAW or not _DIALLED.fullmatch(raw):
        return ""
    digits = raw.translate(_SIGNS)
    plan = _dialling(region)
    if len(digits) > plan.longest and digits.startswith(plan.code):  # only its + is missing
        number = f"+{digits}"
    elif len(digits) in plan.lengths and not plan.prefix.match(digits):
        number = f"+{plan.code}{digits}"
    else:
        return ""
    return number if is_canonical(number) else ""


class _Dialling(NamedTuple):
    """What decides about national numbers of a region that are written as digits alone."""

    code: str
    lengths: frozenset[int]
    longest: int
    prefix: re.Pattern[str]  # of a number that begins with more than the area


@cache
def _dialling(region: str) -> _Dialling:
    metadata = PhoneMetadata.metadata_for_region(region)
    if metadata is None or metadata.general_desc is None or metadata.country_code is None:
        raise ValueError(f"{region} is no region")
    code = str(metadata.country_code)
    prefixes = (code, metadata.international_prefix, metadata.national_prefix_for_parsing)
    alternatives = filter(None, prefixes)
    lengths = metadata.general_desc.possible_length
    return _Dialling(
        code,
        frozenset(lengths),
        max(lengths),
        re.compile("|".join(f"(?:{prefix})" for prefix in alternatives)),
    )


def is_region(name: str) -> bool:
    """Whether numbering plans know a region of this name, as US."""
    return name in phonenumbers.SUPPORTED_REGIONS


def _read(raw: str, region: str = "") -> str:
    if len(raw) > LONGEST_RAW:
        raise Unreadable("is too long for a phone number")
    written = raw.translate(_MEANT).lstrip(" ")
    if not written.startswith("+"):
        if region and _DIALLED.fullmatch(written):
            return _read_dialled(written, region)
        raise Unreadable(
            "must start with + and the country code, like +12025550123", "no_country_code"
        )
    if not _WRITTEN.fullmatch(written):
        raise Unreadable(f"may hold only digits, spaces and . - ( ) after the +{_culprit(written)}")
    return _e164(_parsed(written))


def _read_dialled(written: str, region: str) -> str:
    """A number without a +. It may have lost that, and begin with the country code after all."""
    code = _dialling(region).code
    digits = "".join(filter(str.isdigit, written))
    as_dialled = _parsed(written, region)
    if not digits.startswith(code):
        return _e164(as_dialled)
    try:
        international = phonenumbers.parse("+" + digits)
    except NumberParseException:
        return _e164(as_dialled)
    if international == as_dialled:
        return _e164(as_dialled)
    valid = [number for number in (as_dialled, international) if is_valid_number(number)]
    if len(valid) != 1:
        raise Unreadable(f"may be a number of {region}, or begin with +{code}", "ambiguous_number")
    return _e164(valid[0])


def _parsed(written: str, region: str | None = None) -> PhoneNumber:
    try:
        return phonenumbers.parse(written, region)
    except NumberParseException as error:
        if error.error_type == NumberParseException.INVALID_COUNTRY_CODE:
            raise Unreadable("starts with no known country code") from None
        raise Unreadable("is not a phone number") from None


def _e164(parsed: PhoneNumber) -> str:
    # Not `is_possible_number`: that one lets local numbers pass, as +1 5550123 without its area.
    if phonenumbers.is_possible_number_with_reason(parsed) != ValidationResult.IS_POSSIBLE:
        raise Unreadable(
            f"is not a possible number for +{parsed.country_code}", "impossible_number"
        )
    number = phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    if len(number) > LONGEST_E164:
        raise Unreadable(
            "has more than the 15 digits of an international number", "impossible_number"
        )
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
