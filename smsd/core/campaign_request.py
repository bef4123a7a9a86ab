"""What callers ask of campaigns, validated. Rule: what is wrong is refused by the field's name."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from smsd.core import segment
from smsd.core.campaign import CampaignRequest, Kind
from smsd.core.fields import FieldError, read_instant, read_label
from smsd.core.message import Content, Limits, parse
from smsd.core.template import BoundTemplate, Template

NAME = "[a-z0-9][a-z0-9_-]{0,63}"  # a pattern
MOST_WEIGHT = 1000
LONGEST_REASON = 200  # characters
LONGEST_BODY = 43_200  # characters, with its placeholders: those of 255 segments
_PLACEHOLDERS = 4000  # characters that placeholders may take beside what is sent
OF_MESSAGES = ("from", "priority", "send_at", "expires_at", "ref")
_KNOWN = ("name", "message", "audience", *OF_MESSAGES, "kind", "weight", "transliterate")


@dataclass(frozen=True, slots=True)
class Draft:
    """A campaign that could be started."""

    request: CampaignRequest
    template: Template
    content: Content  # the shortest message that it makes

    def bind(self, columns: Sequence[str]) -> BoundTemplate:
        """Its body for rows with values in the order of `columns`."""
        return self.template.bind(columns, transliterating=self.request.transliterate)


@dataclass(frozen=True, slots=True)
class Verb:
    """Why a campaign is paused, resumed, cancelled or tried again; how many messages that is."""

    reason: str
    expect: int | None
    in_doubt: bool


@dataclass(frozen=True, slots=True)
class Edit:
    """What a campaign gets; None for what it keeps."""

    weight: int | None
    expires_at: int | None  # Unix ms


def read_draft(fields: Mapping[str, object], limits: Limits, now_ms: int) -> Draft:
    """Everything but `to`. Raises `FieldError`."""
    _refuse_unknown(fields, (*_KNOWN, "to"))
    body = _body(fields.get("message"), limits.max_segments)
    template = Template(body)
    is_transliterated = _flag(fields, "transliterate")
    content = _content(fields, template, limits, now_ms, is_transliterated=is_transliterated)
    if content.expires_at is not None and content.expires_at <= now_ms:
        raise FieldError("expires_at", "has passed already")
    request = CampaignRequest(
        name=_name(fields.get("name")),
        message=body,
        audience=_audience(fields.get("audience")),
        sender=content.sender,
        priority=content.priority,
        kind=_kind(fields.get("kind")),
        send_at=content.send_at,
        expires_at=content.expires_at,
        weight=_weight(fields.get("weight")) or 1,
        ref=content.ref,
        transliterate=is_transliterated,
    )
    return Draft(request, template, content)


def read_verb(fields: Mapping[str, object], *, in_doubt: bool = False) -> Verb:
    """Why, and how many are expected. `in_doubt`: that may be given, too. Raises `FieldError`."""
    _refuse_unknown(fields, ("reason", "expect", *(("in_doubt",) if in_doubt else ())))
    return Verb(_reason(fields.get("reason")), _expect(fields), _flag(fields, "in_doubt"))


def read_edit(fields: Mapping[str, object], now_ms: int) -> Edit:
    """Another weight, another expiry, or both. Raises `FieldError`."""
    known = ("weight", "expires_at")
    _refuse_unknown(fields, known)
    weight, raw = _weight(fields.get("weight")), fields.get("expires_at")
    expires_at = None if raw is None else read_instant("expires_at", raw)
    if weight is None and expires_at is None:
        raise FieldError("weight", "or expires_at must be given: there is nothing to change")
    if expires_at is not None and expires_at <= now_ms:
        raise FieldError("expires_at", "has passed already")
    return Edit(weight, expires_at)


# -- fields ---------------------------------------------------------------------------------------


def _refuse_unknown(fields: Mapping[str, object], known: Collection[str]) -> None:
    for name in fields:
        if name not in known:
            raise FieldError(name, f"is no known field; known are {', '.join(sorted(known))}")


def _body(raw: object, most_segments: int) -> str:
    if raw is None:
        raise FieldError("message", "is missing")
    if not isinstance(raw, str):
        raise FieldError("message", "must be a string")
    # What cannot be sent is not read: that takes some milliseconds for 40,000 characters.
    if len(raw) > (most := most_segments * segment.PART["gsm7"] + _PLACEHOLDERS):
        raise FieldError("message", f"must be at most {most} characters long")
    return raw


def _content(
    fields: Mapping[str, object],
    template: Template,
    limits: Limits,
    now_ms: int,
    *,
    is_transliterated: bool,
) -> Content:
    """What a message of the shortest values holds: where that is refused, all would be."""
    bound = template.bind(template.columns, transliterating=is_transliterated)
    text = bound.render(["x"] * len(template.columns))
    given = {name: fields[name] for name in OF_MESSAGES if name in fields}
    return parse({"message": text, **given}, limits, now_ms)


def _name(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str) or not re.fullmatch(NAME, raw):
        must = "must be 1 to 64 small letters, digits, - or _, and not begin with - or _"
        raise FieldError("name", must)
    return raw


def _audience(raw: object) -> str:
    """Any label: those of the settings have names of every kind."""
    return "" if raw is None else read_label("audience", raw)


def _kind(raw: object) -> Kind:
    if raw is None:
        return "marketing"
    if raw not in ("marketing", "service"):
        raise FieldError("kind", 'must be "marketing" or "service"')
    return raw


def _weight(raw: object) -> int | None:
    if raw is None:
        return None
    if not isinstance(raw, int) or isinstance(raw, bool) or not 1 <= raw <= MOST_WEIGHT:
        raise FieldError("weight", f"must be a whole number from 1 to {MOST_WEIGHT}")
    return raw


def _reason(raw: object) -> str:
    if raw is None:
        return ""
    if not isinstance(raw, str) or len(raw) > LONGEST_REASON or not raw.isprintable():
        raise FieldError("reason", f"must be at most {LONGEST_REASON} printable characters")
    return raw.strip()


def _expect(fields: Mapping[str, object]) -> int | None:
    raw = fields.get("expect")
    if raw is not None and (not isinstance(raw, int) or isinstance(raw, bool) or raw < 0):
        raise FieldError("expect", "must be a whole number")
    return raw


def _flag(fields: Mapping[str, object], name: str) -> bool:
    raw = fields.get(name)
    if raw is None:
        return False
    if not isinstance(raw, bool):
        raise FieldError(name, "must be true or false")
    return raw
