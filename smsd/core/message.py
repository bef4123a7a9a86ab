"""Fields to messages. Rule: one parser for both intakes, so both accept and refuse the same things.

The fields of a `POST /send` body and of a stream entry are the same words; `parse` reads
everything but the recipients, `parse_recipient` reads one number. Nothing is ever stripped,
normalised or replaced: the text that is counted and sent is the text that came in.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Literal, NamedTuple

from smsd.core import number, segment
from smsd.core.segment import Segments

Priority = Literal["high", "normal"]

FIELDS = frozenset(
    {"to", "message", "from", "priority", "send_at", "expires_at", "campaign", "ref"}
)
LONGEST_LABEL = 128  # characters of `campaign` and `ref`
LONGEST_NAME = 64  # characters of a field's name that are repeated to whoever made it up
FURTHEST_MS = 366 * 86_400_000  # how far ahead `send_at` may lie

# RFC 3339 §5.6; a zone is required, since a text at the wrong hour cannot be taken back.
_RFC3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
# A sender is an E.164 number, a short code, or up to 11 characters of the GSM alphabet's safe
# part with a letter among them (3GPP TS 23.040 §9.1.2.5: 11 septets of address).
_SENDER = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 &._+-]{1,11}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


class FieldError(ValueError):
    """`field` cannot be accepted; the message says what was expected and is safe to show."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = shortened(field)


def shortened(name: str) -> str:
    """A field's name as it is told: a caller's own may be as long as a body."""
    return name if len(name) <= LONGEST_NAME else f"{name[:LONGEST_NAME]}…"


@dataclass(frozen=True, slots=True)
class Limits:
    """What an intake refuses, and the sender it fills in."""

    max_segments: int = 10
    default_from: str = ""
    # What a provider makes of a text before it is billed, where the text has no sender of its own.
    billed: Callable[[str], str] | None = None


class Content(NamedTuple):
    """A text without its recipient: what one `POST /send` says to everybody in `to`."""

    text: str
    segments: Segments
    sender: str = ""
    priority: Priority | None = None  # None: that of the stream it came through
    send_at: int | None = None  # Unix ms
    expires_at: int | None = None  # Unix ms
    campaign: str = ""
    ref: str = ""


class Message(NamedTuple):
    """One text to one recipient."""

    id: str
    recipient: str  # E.164
    content: Content
    attempts: int = 0  # submissions already spent on it
    key: str = ""  # its producer's own, by which a repetition is known; "" for none


def parse(
    fields: Mapping[str, object],
    limits: Limits,
    now_ms: int,
    known: frozenset[str] = FIELDS,
) -> Content:
    """Read everything but `to`. Raises `FieldError`; one that is not `known` is one too."""
    if not fields.keys() <= FIELDS:
        name = next(name for name in fields if name not in FIELDS)
        raise FieldError(name, f"is no known field; known are {', '.join(sorted(known))}")
    text = _text(fields.get("message"))
    by_provider = not (fields.get("from") or limits.default_from)
    segments = _counted(text, limits.max_segments, limits.billed if by_provider else None)
    if len(fields) == 1:  # nothing but the text, as most are
        return Content(text, segments, limits.default_from)
    send_at = _instant("send_at", fields.get("send_at"))
    expires_at = _instant("expires_at", fields.get("expires_at"))
    if send_at is not None and send_at > now_ms + FURTHEST_MS:
        raise FieldError("send_at", "must lie within a year from now")
    if expires_at is not None and send_at is not None and expires_at <= send_at:
        raise FieldError("expires_at", "must be later than send_at")
    return Content(
        text=text,
        segments=segments,
        sender=_sender(fields.get("from")) or limits.default_from,
        priority=_priority(fields.get("priority")),
        send_at=send_at,
        expires_at=expires_at,
        campaign=_label("campaign", fields.get("campaign")),
        ref=_label("ref", fields.get("ref")),
    )


def parse_recipient(raw: object, field: str = "to") -> str:
    """One E.164 number. Raises `FieldError`."""
    if raw is None:
        raise FieldError(field, "is missing")
    if not isinstance(raw, str):
        raise FieldError(field, 'must be a phone number in quotes, like "+12025550123"')
    try:
        return number.parse(raw)
    except ValueError as error:
        raise FieldError(field, str(error)) from None


def _text(raw: object) -> str:
    if raw is None:
        raise FieldError("message", "is missing")
    if not isinstance(raw, str):
        raise FieldError("message", "must be a string")
    return raw


@lru_cache(maxsize=64)  # the texts of a campaign come one after another, and say the same
def _counted(text: str, most: int, billed: Callable[[str], str] | None = None) -> Segments:
    if not text.strip():
        raise FieldError("message", "is empty")
    if "\0" in text or "\x1b" in text:
        raise FieldError("message", "must not hold NUL or ESC characters")
    try:
        segments = segment.count(text if billed is None else billed(text))
    except segment.TooLong:
        raise _too_long(f"more than {segment.MOST_SEGMENTS}", most) from None
    except ValueError as error:  # half a surrogate pair
        raise FieldError("message", str(error)) from None
    if segments.segments > most:
        raise _too_long(f"{segments.segments}", most)
    return segments


def _too_long(segments: str, most: int) -> FieldError:
    return FieldError("message", f"is {segments} segments long; at most {most} are allowed")


def _sender(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str) or not _SENDER.fullmatch(raw):
        raise FieldError(
            "from", "must be a +number, a short code, or 1 to 11 letters, digits and spaces"
        )
    return raw


def configured_sender(sender: str) -> str:
    """`sender`, as a message could bring it; "" is none. Raises `FieldError`."""
    return _sender(sender or None)


def _priority(raw: object) -> Priority | None:
    if raw is None:
        return None
    if raw not in ("high", "normal"):
        raise FieldError("priority", 'must be "high" or "normal"')
    return raw


def _instant(field: str, raw: object) -> int | None:
    if raw is None:
        return None
    if isinstance(raw, str) and _RFC3339.fullmatch(raw):
        try:
            # In UTC at once: a year 0 or 10000 there could not be written to the queue again.
            moment = datetime.fromisoformat(raw.upper()).astimezone(UTC)
            return (moment - _EPOCH) // _MILLISECOND
        except (ValueError, OverflowError):
            pass
    raise FieldError(field, 'must be an RFC 3339 time with a zone, like "2026-12-24T18:00:00Z"')


def same_instant(raw: str) -> str:
    """A time as `rfc3339` writes it, however `raw` does; "" if that is none."""
    try:
        unix_ms = _instant("", raw)
    except FieldError:
        return ""
    return "" if unix_ms is None else rfc3339(unix_ms)


def _label(field: str, raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str) or not 0 < len(raw) <= LONGEST_LABEL or not raw.isprintable():
        raise FieldError(field, f"must be 1 to {LONGEST_LABEL} printable characters")
    return raw


# A stream entry's own fields beside those of the parser: its producer's key, and what an earlier
# life left in it.
_OWN = FIELDS | {"key"}
ENTRY_FIELDS = _OWN | {"id", "attempts"}
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_ATTEMPTS = re.compile("[0-9]{1,9}")
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_OPTIONAL = _OWN - {"to", "message"}


def idempotency_key(raw: str, field: str) -> str:
    """`raw`, if it can be one. Raises `FieldError`."""
    if not _KEY.fullmatch(raw):
        raise FieldError(field, "must be 1 to 255 visible ASCII characters")
    return raw


def to_fields(content: Content, *, with_priority: bool = False) -> list[str]:
    """The flat stream fields of `content`, always in one order: equal orders are stored once."""
    fields = ["message", content.text]
    for name, value in (
        ("from", content.sender),
        ("priority", content.priority if with_priority else None),
        ("expires_at", None if content.expires_at is None else rfc3339(content.expires_at)),
        ("campaign", content.campaign),
        ("ref", content.ref),
    ):
        if value:
            fields += (name, value)
    return fields


def from_fields(
    raw: Sequence[bytes], default_id: str, limits: Limits, now_ms: int, *, ours: bool = False
) -> Message:
    """A stream entry's flat fields as a message. Raises `FieldError`.

    `ours`: we put the entry there ourselves. In any other `id` and `attempts` are unknown fields.
    """
    fields = _decoded(raw)
    if b"" in raw:  # a flat field cannot be null: this is how producers leave one out
        fields = {name: value for name, value in fields.items() if value or name not in _OPTIONAL}
    message_id, attempts = _earlier_life(fields, default_id) if ours else (default_id, 0)
    key = idempotency_key(fields.pop("key"), "key") if "key" in fields else ""
    recipient = parse_recipient(fields.pop("to", None))
    return Message(message_id, recipient, parse(fields, limits, now_ms, _OWN), attempts, key)


def _earlier_life(fields: dict[str, str], default_id: str) -> tuple[str, int]:
    """The id and the attempts of a message that has been in line before."""
    message_id, attempts = fields.pop("id", default_id), fields.pop("attempts", "0")
    if not _ID.fullmatch(message_id):
        raise FieldError("id", "must be 1 to 64 letters, digits, - or _")
    if not _ATTEMPTS.fullmatch(attempts):
        raise FieldError("attempts", "must be a whole number")
    return message_id, int(attempts)


def _decoded(raw: Sequence[bytes]) -> dict[str, str]:
    words = map(bytes.decode, raw)
    try:
        fields = dict(zip(words, words, strict=True))
    except UnicodeDecodeError as error:
        name = raw[raw.index(error.object) // 2 * 2]
        raise FieldError(name.decode("utf-8", "backslashreplace"), "is not valid UTF-8") from None
    if 2 * len(fields) < len(raw):
        names = raw[::2]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise FieldError(twice.decode(), "is given twice")
    return fields


def rfc3339(unix_ms: int) -> str:
    """A time as the queue has it: in UTC, to the millisecond."""
    return (_EPOCH + unix_ms * _MILLISECOND).isoformat(timespec="milliseconds")
