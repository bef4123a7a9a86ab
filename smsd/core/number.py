"""Phone numbers. Rule: what is not surely an international number is refused, never guessed at.

`phonenumbers` knows every numbering plan (trunk zeros, Italian leading zeros, lengths by country)
but is no validator: it also reads vanity letters, extensions, other scripts' digits and a number
in the midst of text. So a filter of characters stands before it. Lengths are checked, ranges are
not: new ranges are in service before they are in the metadata, and the provider knows better.
"""

import re
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, ValidationResult

LONGEST_RAW = 40  # characters: 15 digits, each with a separator, and some to spare
LONGEST_E164 = 16  # the + and 15 digits (ITU-T E.164 §6)

# For `fullmatch`: `$` lets a final newline pass, and `\d` the digits of every script.
_WRITTEN = re.compile(r"\+[0-9][0-9 .()\-]*")
_E164 = re.compile(r"\+[0-9]{6,15}")


@lru_cache(maxsize=4096)  # a number is read at intake and, soon after, at its claim
def parse(raw: str) -> str:
    """`raw` in E.164. Raises `ValueError`, whose message repeats nothing but a country code."""
    if len(raw) > LONGEST_RAW:
        raise ValueError("is too long for a phone number")
    if not raw.startswith("+"):
        raise ValueError("must start with + and the country code, like +12025550123")
    if not _WRITTEN.fullmatch(raw):
        raise ValueError("may hold only digits, spaces and . - ( ) after the +")
    try:
        parsed = phonenumbers.parse(raw)
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


def mask(number: str) -> str:
    """What a log may show: `+1202*****23`. Of anything but an E.164 number, nothing at all."""
    if not _E164.fullmatch(number):
        return "*****"
    shown = min(5, len(number) - 6)  # the shortest still hide four digits
    return number[:shown] + "*" * (len(number) - shown - 2) + number[-2:]
