"""What a file of contacts is read with, and what comes of it. Rule: every refusal has a code."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Format = Literal["csv", "ndjson", "json"]

# The number, then its values in the order of `Fields.names`; empty ones at the end are left off.
Contact = tuple[str, ...]

MOST_IN_BATCH = 500  # contacts
LARGEST_BATCH = 65_536  # characters of the rows that a batch is made of


@dataclass(frozen=True, slots=True)
class Options:
    """How a file is to be read; what is empty is found out from the file."""

    format: Format = "csv"
    column: str = ""  # that holds the number: its name, or its place counted from 1
    region: str = ""  # of national numbers, as US; without it they are refused
    encoding: str = ""
    delimiter: str = ""


class Reason(StrEnum):
    """Why a row is left out."""

    NO_NUMBER = "no_number"
    NOT_A_NUMBER = "not_a_number"
    NO_COUNTRY_CODE = "no_country_code"
    IMPOSSIBLE_NUMBER = "impossible_number"
    AMBIGUOUS_NUMBER = "ambiguous_number"
    SHORTENED_NUMBER = "shortened_number"
    CONTROL_CHARACTER = "control_character"
    UNREADABLE_CHARACTER = "unreadable_character"
    VALUE_TOO_LONG = "value_too_long"
    TOO_MANY_COLUMNS = "too_many_columns"
    CUT_SHORT = "cut_short"
    UNCLOSED_QUOTE = "unclosed_quote"
    ROW_TOO_LONG = "row_too_long"
    NOT_JSON = "not_json"


MEANINGS = {
    Reason.NO_NUMBER: "has no phone number",
    Reason.NOT_A_NUMBER: "is not a phone number",
    Reason.NO_COUNTRY_CODE: "has no + and country code; name the region of national numbers",
    Reason.IMPOSSIBLE_NUMBER: "has a length that no number of its country has",
    Reason.AMBIGUOUS_NUMBER: "may be a national or an international number without its +",
    Reason.SHORTENED_NUMBER: (
        "was shortened by a spreadsheet, and digits are lost; format the column as text"
    ),
    Reason.CONTROL_CHARACTER: "holds a control character",
    Reason.UNREADABLE_CHARACTER: "holds octets that are no character in the file's encoding",
    Reason.VALUE_TOO_LONG: "has more than 255 characters",
    Reason.TOO_MANY_COLUMNS: "has more columns than the header",
    Reason.CUT_SHORT: "is the last row, and ends early: the file is cut off",
    Reason.UNCLOSED_QUOTE: "opens a quotation mark that is not closed",
    Reason.ROW_TOO_LONG: "is too long for a contact",
    Reason.NOT_JSON: "is not a JSON object",
}


@dataclass(frozen=True, slots=True)
class Fields:
    """The names of the values, before the first contact and again when there are more of them."""

    names: tuple[str, ...]
    header: tuple[str, ...]  # the columns of the file as they are written there; () for JSON


@dataclass(frozen=True, slots=True)
class Batch:
    """Contacts in the order of the file; the same number may come again."""

    contacts: list[Contact]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is left out."""

    line: int  # the physical line that it starts on, from 1
    column: str  # as the header has it; "" if it is the row as a whole
    reason: Reason
    value: str  # of that column, at most `LONGEST_SHOWN` characters
    row: tuple[str, ...]  # its cells; of JSON its source


@dataclass(frozen=True, slots=True)
class Notice:
    """What was assumed or changed, for whoever sent the file. All come at the end."""

    text: str


Event = Fields | Batch | Reject | Notice
LONGEST_SHOWN = 100


class ImportRefused(ValueError):  # noqa: N818 - it is an answer, not a fault
    """The file as a whole cannot be read. `field` is the option at fault, if one is."""

    def __init__(self, code: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.field = field
