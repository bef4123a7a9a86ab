"""A message's fields, declared once. Rule: whatever knows a field by its name takes it from here.

The parser of both intakes, the entry in Redis, look-ups, dead letters, the contract, the command
line, the placeholders of a gateway and the scripts are made from `FIELDS`. To add a field, add

- its row here, and to `Content` (message.py) the attribute that the row names;
- its name, in backticks, to docs/sending.md, which `make check` compares with this table;
- its name to the tests that spell the names out: `test_who_knows_which_is_as_it_is_promised` in
  tests/unit/core/test_fields.py, and, where callers may set it, in test_message.py beside it
  `test_a_body_and_a_stream_entry_of_the_same_words_are_the_same`.

Nothing is ever stripped, normalised or replaced: a field is used as it came in, or refused.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from smsd.core import number

Priority = Literal["high", "normal"]

LONGEST_LABEL = 128  # characters of `campaign` and `ref`
LONGEST_NAME = 64  # characters of an unknown field's name that are repeated to its caller

# RFC 3339 §5.6; a zone is required, since a message at the wrong hour cannot be taken back.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# A sender is an E.164 number, a short code, or up to 11 characters of the GSM alphabet's safe
# part with a letter among them (3GPP TS 23.040 §9.1.2.5: 11 septets of address).
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &._+-]{1,11}")
VISIBLE_ASCII = "[!-~]{1,255}"  # a pattern
_VISIBLE = re.compile(VISIBLE_ASCII)
MESSAGE_ID = "[A-Za-z0-9_-]{1,64}"  # a pattern
_ID = re.compile(MESSAGE_ID)
_ATTEMPTS = re.compile("[0-9]{1,9}")
_NUMBER = re.compile(r"[0-9]{1,19}")  # one that is not yet parsed may hold anything
# A pattern that repeats one class, of visible ASCII alone: neither negated nor with a backslash.
_OF_VISIBLE_ASCII = re.compile(r"\^\[(?!\^)[!-\[^-~]+\]\{\d+,\d+\}\$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class FieldError(ValueError):
    """`field` cannot be accepted; the message says what was expected and is safe to show."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = shortened(field)


def shortened(name: str) -> str:
    """A field's name as it is repeated: a caller's own may be as long as a body."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


# -- the rules: name and raw value to the value, which is never None. Each raises `FieldError`. ----


def read_recipient(name: str, raw: object) -> str:
    """One E.164 number."""
    if not isinstance(raw, str):
        raise FieldError(name, 'must be a phone number in quotes, like "+12025550123"')
    try:
        return number.parse(raw)
    except ValueError as error:
        raise FieldError(name, str(error)) from None


def read_text(name: str, raw: object) -> str:
    """The body; what it may hold depends on the limits of the intake (see message.py)."""
    if not isinstance(raw, str):
        raise FieldError(name, "must be a string")
    return raw


def read_sender(name: str, raw: object) -> str:
    """A number, a short code or a name."""
    if not isinstance(raw, str) or not _SENDER.fullmatch(raw):
        raise FieldError(
            name, "must be a +number, a short code, or 1 to 11 letters, digits and spaces"
        )
    return raw


def read_priority(name: str, raw: object) -> Priority:
    """Which stream it goes through."""
    if raw not in ("high", "normal"):
        raise FieldError(name, 'must be "high" or "normal"')
    return raw


def read_instant(name: str, raw: object) -> int:
    """A time, in Unix ms."""
    if isinstance(raw, str) and _RFC3339.fullmatch(raw):
        try:
            # In UTC at once: a year 0 or 10000 there could not be written to the queue again.
            moment = datetime.fromisoformat(raw.upper()).astimezone(UTC)
            return (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            pass
    raise FieldError(name, 'must be an RFC 3339 time with a zone, like "2026-12-24T18:00:00Z"')


def read_label(name: str, raw: object) -> str:
    """A word of the caller's own."""
    if not isinstance(raw, str) or not 0 < len(raw) <= LONGEST_LABEL or not raw.isprintable():
        raise FieldError(name, f"must be 1 to {LONGEST_LABEL} printable characters")
    return raw


def read_visible(name: str, raw: object) -> str:
    """1 to 255 visible ASCII characters, as an idempotency key has."""
    if not isinstance(raw, str) or not _VISIBLE.fullmatch(raw):
        raise FieldError(name, "must be 1 to 255 visible ASCII characters")
    return raw


def read_id(name: str, raw: object) -> str:
    """A message's id."""
    if not isinstance(raw, str) or not _ID.fullmatch(raw):
        raise FieldError(name, "must be 1 to 64 letters, digits, - or _")
    return raw


def read_attempts(name: str, raw: object) -> int:
    """A number of submissions."""
    if not isinstance(raw, str) or not _ATTEMPTS.fullmatch(raw):
        raise FieldError(name, "must be a whole number")
    return int(raw)


# -- the written form -----------------------------------------------------------------------------


def rfc3339(unix_ms: int) -> str:
    """A time as the queue has it: in UTC, to the millisecond."""
    return (_EPOCH + unix_ms * _MILLISECOND).isoformat(timespec="milliseconds")


def _shown_instant(written: str) -> str | None:
    try:
        return rfc3339(read_instant("", written))
    except FieldError:
        return None


def _shown_number(written: str) -> int | None:
    return int(written) if _NUMBER.fullmatch(written) else None


def _shown_text(written: str) -> str | None:
    return written or None


@dataclass(frozen=True, slots=True)
class Kind:
    """What the values of a field are: how they are read, written, shown and described."""

    schema: Mapping[str, object]  # JSON Schema of what an intake accepts
    read: Callable[[str, object], Any] = read_text
    write: Callable[[Any], str] = str  # as Redis has it
    show: Callable[[str], object | None] = _shown_text  # in a look-up; None: it is left out
    shown_schema: Mapping[str, object] | None = None  # None: any string

    @property
    def is_number(self) -> bool:
        """Whether an answer shows a JSON number."""
        return self.show is _shown_number

    @property
    def is_visible_ascii(self) -> bool:
        """Whether the pattern of its schema surely allows nothing but visible ASCII."""
        return bool(_OF_VISIBLE_ASCII.fullmatch(str(self.schema.get("pattern", ""))))


_STRING = {"type": "string"}
_INTEGER = {"type": "integer"}
_DATE_TIME = {"type": "string", "format": "date-time"}

RECIPIENT = Kind(
    {"type": "string", "pattern": r"^\+[0-9][0-9 .()-]*$", "maxLength": number.LONGEST_RAW},
    read_recipient,
)
TEXT = Kind({"type": "string", "minLength": 1}, read_text)
SENDER = Kind({"type": "string", "minLength": 1, "maxLength": 16}, read_sender)
PRIORITY = Kind({"enum": ["high", "normal"]}, read_priority)
INSTANT = Kind(_DATE_TIME, read_instant, rfc3339, _shown_instant, _DATE_TIME)
LABEL = Kind({"type": "string", "minLength": 1, "maxLength": LONGEST_LABEL}, read_label)
VISIBLE = Kind({"type": "string", "pattern": f"^{VISIBLE_ASCII}$"}, read_visible)
ID = Kind({"type": "string", "pattern": f"^{MESSAGE_ID}$"}, read_id)
ENCODING = Kind({"enum": ["gsm7", "ucs2"]}, shown_schema={"enum": ["gsm7", "ucs2"]})
NUMBER = Kind(_INTEGER, read_attempts, show=_shown_number, shown_schema=_INTEGER)
PLAIN = Kind(_STRING)


# The row of `message` shows the three names of a field: `message` is what callers and producers
# write, `content.text` is where a `Message` has it, `{text}` is what a gateway's templates call it.
@dataclass(frozen=True, slots=True)
class Field:
    """One field. Unless its row says otherwise, both intakes accept it, look-ups and dead letters
    show it, and it survives a deferral and a replay.
    """

    name: str
    kind: Kind
    description: str
    # Where `Message` has its value, dotted; "" where it is no part of it.
    attribute: str = ""
    example: object = None  # required where callers or producers may set the field
    # Who may set it: callers (`POST /send`, `smsd send`), producers (XADD), or smsd alone.
    in_send: bool = True
    in_entry: bool = True
    by_smsd: bool = False
    required: bool = False  # an entry without it is no message
    # Where it is shown.
    in_look_up: bool = True
    in_dead_letter: bool = True
    # Whether it is dropped, or set anew, when its message is deferred, or replayed after its death.
    dropped_on_deferral: bool = False
    dropped_on_replay: bool = False
    # What a gateway's fields call it, "" for nothing; whether its headers may hold it, too. That is
    # refused for a kind whose pattern allows more than visible ASCII: a line end would end the
    # header.
    placeholder: str = ""
    in_headers: bool = False

    def __post_init__(self) -> None:
        """Raise `ValueError` for a row that cannot be kept."""
        if self.example is None and not self.by_smsd:
            raise ValueError(f"{self.name}: needs an example, since it may be given")
        if self.in_headers and not (self.placeholder and self.kind.is_visible_ascii):
            raise ValueError(
                f"{self.name}: in_headers needs a placeholder, and a kind like VISIBLE"
            )


def _own(name: str, kind: Kind, description: str, **differs: Any) -> Field:
    """A field that smsd alone sets, in what it knows of a message and not in its entry."""
    usual = {"in_send": False, "in_entry": False, "by_smsd": True}
    return Field(name, kind, description, **(usual | differs))


# In the order in which they are shown.
FIELDS: tuple[Field, ...] = (
    Field(
        "to", RECIPIENT, "The recipient, in E.164.", "recipient", "+12025550123",
        required=True, placeholder="to",
    ),
    Field(
        "message", TEXT, "The text.", "content.text", "Your parcel is on its way.",
        required=True, in_look_up=False, in_dead_letter=False, placeholder="text",
    ),
    Field("from", SENDER, "The sender.", "content.sender", "Acme", placeholder="from"),
    Field(
        "priority", PRIORITY, "high or normal.", "content.priority", "high",
        in_look_up=False, dropped_on_deferral=True,
    ),
    Field(
        "send_at", INSTANT, "Not before this time (RFC 3339).", "content.send_at",
        "2026-12-24T18:00:00Z", in_look_up=False, dropped_on_deferral=True,
    ),
    Field(
        "expires_at", INSTANT, "Not after this time (RFC 3339).", "content.expires_at",
        "2026-12-24T20:00:00Z",
    ),
    Field("campaign", LABEL, "A word to find it by.", "content.campaign", "spring"),
    Field("ref", LABEL, "Your own reference.", "content.ref", "order-7", placeholder="ref"),
    Field(
        "key", VISIBLE, "The producer's key, by which a repetition is known.", "key", "order-7",
        in_send=False, in_look_up=False, in_dead_letter=False,
    ),
    _own(
        "id", ID, "The message's id.", attribute="id", in_entry=True, in_look_up=False,
        in_dead_letter=False, placeholder="id", in_headers=True,
        dropped_on_deferral=True, dropped_on_replay=True,
    ),
    _own(
        "fault", PLAIN, "Why a recipient of a campaign can get no message.", in_entry=True,
        in_look_up=False, in_dead_letter=False,
    ),
    _own(
        "segments", NUMBER, "How many segments it takes.",
        attribute="content.segments.segments", in_dead_letter=False, placeholder="segments",
    ),
    _own(
        "encoding", ENCODING, "How its text is encoded.",
        attribute="content.segments.encoding", in_dead_letter=False, placeholder="encoding",
    ),
    _own("provider_id", PLAIN, "The provider's id of it.", in_dead_letter=False),
    _own("due", NUMBER, "When it is sent, in Unix milliseconds.", in_dead_letter=False),
    _own("reason", PLAIN, "Why it is dead, or was not sent.", dropped_on_replay=True),
    _own("code", PLAIN, "The provider's, or the field at fault.", dropped_on_replay=True),
    _own("detail", PLAIN, "The reason in words.", dropped_on_replay=True),
    _own(
        "attempts", NUMBER, "How many submissions were spent on it.", attribute="attempts",
        in_entry=True, dropped_on_deferral=True, dropped_on_replay=True,
    ),
    _own(
        "failed_at", NUMBER, "When it died, in Unix milliseconds.", in_look_up=False,
        dropped_on_replay=True,
    ),
    _own(
        "lane", PLAIN, "The stream that it was in: h or n.", in_look_up=False,
        in_dead_letter=False, dropped_on_replay=True,
    ),
)  # fmt: skip


def _names(chosen: Callable[[Field], bool]) -> tuple[str, ...]:
    return tuple(field.name for field in FIELDS if chosen(field))


# -- who knows which: nobody keeps a list of names beside these -----------------------------------

SEND_FIELDS = frozenset(_names(lambda field: field.in_send))
PRODUCER_FIELDS = frozenset(_names(lambda field: field.in_entry and not field.by_smsd))
ENTRY_FIELDS = frozenset(_names(lambda field: field.in_entry))
# An entry's value cannot be null: an empty one of these counts as none.
OPTIONAL_FIELDS = PRODUCER_FIELDS - frozenset(_names(lambda field: field.required))

LOOK_UP = tuple(field for field in FIELDS if field.in_look_up)
DEAD_LETTER = tuple(field for field in FIELDS if field.in_dead_letter)
# For scripts: what an entry that is not yet parsed shows of itself; what a message loses, or gets
# anew, when it is deferred, and when its dead letter is replayed.
ENTRY_IN_LOOK_UP = _names(lambda field: field.in_entry and field.in_look_up)
NOT_DEFERRED = _names(lambda field: field.dropped_on_deferral)
NOT_REPLAYED = _names(lambda field: field.dropped_on_replay)


def of_content(chosen: Callable[[Field], bool]) -> Iterator[tuple[str, str, Kind]]:
    """The chosen among the fields of `Content`: name, attribute and kind of each."""
    for field in FIELDS:
        owner, _, attribute = field.attribute.partition(".")
        if owner == "content" and chosen(field):
            yield field.name, attribute, field.kind
