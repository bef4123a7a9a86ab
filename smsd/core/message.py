"""Fields to messages. Rule: one parser for both intakes, so both accept and refuse the same things.

The fields of a `POST /send` body and of a stream entry are the same (see fields.py); `parse` reads
everything but the recipients, `parse_recipient` reads one number.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import NamedTuple

from smsd.core import segment
from smsd.core.fields import (
    OPTIONAL_FIELDS,
    PRODUCER_FIELDS,
    SEND_FIELDS,
    Field,
    FieldError,
    Priority,
    of_content,
    read_attempts,
    read_id,
    read_recipient,
    read_sender,
    read_text,
    read_visible,
)
from smsd.core.segment import Segments

FURTHEST_MS = 366 * 86_400_000  # how far ahead `send_at` may lie


@dataclass(frozen=True, slots=True)
class Limits:
    """What an intake refuses, and the sender it fills in."""

    max_segments: int = 10
    default_from: str = ""
    # The body as the provider bills it, for a message that names no sender.
    billed: Callable[[str], str] | None = None


class Content(NamedTuple):
    """A message without its recipient: what one `POST /send` sends to everybody in `to`."""

    text: str
    segments: Segments
    sender: str = ""
    priority: Priority = "normal"
    send_at: int | None = None  # Unix ms
    expires_at: int | None = None  # Unix ms
    campaign: str = ""
    ref: str = ""


class Message(NamedTuple):
    """One message to one recipient."""

    id: str
    recipient: str  # E.164
    content: Content
    attempts: int = 0  # submissions already spent on it
    key: str = ""  # its producer's, by which a repetition is recognised; "" for none

    def has_expired(self, now_ms: int) -> bool:
        """Whether it is too late to send it."""
        expires_at = self.content.expires_at
        return expires_at is not None and expires_at <= now_ms


# What may be given beside the text, as name, attribute of `Content` and rule. (`message`, which is
# required, is read by `_text`.)
_GIVEN = [
    (name, attribute, kind.read)
    for name, attribute, kind in of_content(lambda field: not field.by_smsd)
    if name != "message"
]


def parse(
    fields: Mapping[str, object],
    limits: Limits,
    now_ms: int,
    known: frozenset[str] = SEND_FIELDS,
) -> Content:
    """Read everything but `to`. Raises `FieldError`; one that is not `known` is one too."""
    if not fields.keys() <= known:
        name = next(name for name in fields if name not in known)
        raise FieldError(name, f"is no known field; known are {', '.join(sorted(known))}")
    text = _text(fields.get("message"))
    by_provider = not (fields.get("from") or limits.default_from)
    segments = _counted(text, limits.max_segments, limits.billed if by_provider else None)
    if len(fields) == 1:  # nothing but the text, as most are
        return Content(text, segments, limits.default_from)
    given = {
        attribute: read(name, raw)
        for name, attribute, read in _GIVEN
        if (raw := fields.get(name)) is not None
    }
    given.setdefault("sender", limits.default_from)
    content = Content(text, segments, **given)
    _check_times(content, now_ms)
    return content


def _check_times(content: Content, now_ms: int) -> None:
    send_at, expires_at = content.send_at, content.expires_at
    if send_at is not None and send_at > now_ms + FURTHEST_MS:
        raise FieldError("send_at", "must lie within a year from now")
    if expires_at is not None and send_at is not None and expires_at <= send_at:
        raise FieldError("expires_at", "must be later than send_at")


def parse_recipient(raw: object, field: str = "to") -> str:
    """One E.164 number. Raises `FieldError`."""
    if raw is None:
        raise FieldError(field, "is missing")
    return read_recipient(field, raw)


def _text(raw: object) -> str:
    if raw is None:
        raise FieldError("message", "is missing")
    return read_text("message", raw)


@lru_cache(maxsize=64)  # the messages of a campaign come one after another, with the same text
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


def configured_sender(sender: str) -> str:
    """A sender of the configuration, held to the same rule; "" is none. Raises `FieldError`."""
    return read_sender("from", sender) if sender else ""


def _written(chosen: Callable[[Field], bool]) -> Callable[[Content], list[str]]:
    """What makes flat fields of a content: of its chosen fields, those that it has."""
    columns = [
        (name, attrgetter(attribute), kind.write) for name, attribute, kind in of_content(chosen)
    ]

    def write(content: Content) -> list[str]:
        flat: list[str] = []
        for name, value_of, written in columns:
            value = value_of(content)
            if value is not None and value != "":
                flat += (name, written(value))
        return flat

    return write


# What stands in an entry of a message: what a deferral keeps of it. Always in one order: Redis
# stores the names of equal orders once.
_entry_fields = _written(lambda field: field.in_entry and not field.dropped_on_deferral)
_look_up_fields = _written(lambda field: field.in_look_up)


@lru_cache(maxsize=64)  # as for `_counted`
def look_up_fields(content: Content) -> tuple[str, ...]:
    """The flat fields of `content` that a look-up shows: true of it whoever gets it."""
    return tuple(_look_up_fields(content))


def to_fields(content: Content, *, with_priority: bool = False) -> list[str]:
    """The flat stream fields of `content`; its priority only where no stream says it."""
    fields = _entry_fields(content)
    if with_priority and content.priority != "normal":
        fields += ("priority", content.priority)
    return fields


def from_fields(
    raw: Sequence[bytes],
    default_id: str,
    limits: Limits,
    now_ms: int,
    *,
    default_priority: Priority = "normal",
    ours: bool = False,
) -> Message:
    """A stream entry's flat fields as a message. Raises `FieldError`.

    `default_priority`: where it has no field that gives one.
    `ours`: we put the entry there ourselves. In any other `id` and `attempts` are unknown fields.
    """
    if not ours and raw[:1] == [b"to"] and raw[1].isascii():
        content = _timeless(tuple(raw[2:]), limits, default_priority)
        if content is not None:
            return Message(default_id, parse_recipient(raw[1].decode()), content)
    fields = _given(raw)
    message_id, attempts = _earlier_life(fields, default_id) if ours else (default_id, 0)
    if ours and "fault" in fields:
        column, _, detail = fields["fault"].partition(": ")
        raise FieldError(column, detail)
    key = read_visible("key", fields.pop("key")) if "key" in fields else ""
    recipient = parse_recipient(fields.pop("to", None))
    content = _content(fields, limits, now_ms, default_priority)
    return Message(message_id, recipient, content, attempts, key)


@lru_cache(maxsize=64)  # as for `_counted`: all but `to` is the same
def _timeless(raw: tuple[bytes, ...], limits: Limits, default_priority: Priority) -> Content | None:
    """The content of flat fields whose meaning does not depend on the time; else None."""
    if not _TIMELESS.issuperset(raw[::2]):
        return None
    try:
        return _content(_given(raw), limits, 0, default_priority)
    except FieldError:  # which of an entry's faults is named first is not for this to say
        return None


_TIMELESS = {name.encode() for name in PRODUCER_FIELDS - {"to", "key", "send_at"}}


def _content(
    fields: Mapping[str, str], limits: Limits, now_ms: int, default_priority: Priority
) -> Content:
    content = parse(fields, limits, now_ms, PRODUCER_FIELDS)
    if default_priority != "normal" and "priority" not in fields:
        content = content._replace(priority=default_priority)
    return content


def _given(raw: Sequence[bytes]) -> dict[str, str]:
    """The fields that are given: one cannot be null, so producers leave it out by an empty one."""
    fields = _decoded(raw)
    if b"" not in raw:
        return fields
    return {name: value for name, value in fields.items() if value or name not in OPTIONAL_FIELDS}


def _earlier_life(fields: dict[str, str], default_id: str) -> tuple[str, int]:
    """The id and the attempts of a message that was deferred or replayed."""
    message_id, attempts = fields.pop("id", default_id), fields.pop("attempts", "0")
    return read_id("id", message_id), read_attempts("attempts", attempts)


def _decoded(raw: Sequence[bytes]) -> dict[str, str]:
    decoded = map(bytes.decode, raw)
    try:
        fields = dict(zip(decoded, decoded, strict=True))
    except UnicodeDecodeError as error:
        name = raw[raw.index(error.object) // 2 * 2]
        raise FieldError(name.decode("utf-8", "backslashreplace"), "is not valid UTF-8") from None
    if 2 * len(fields) < len(raw):
        names = raw[::2]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise FieldError(twice.decode(), "is given twice")
    return fields
