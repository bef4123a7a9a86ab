"""Messages as callers write and see them. Rule: a message's fields come from the table in core."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, create_model

from smsd.core import fields
from smsd.core.life import State
from smsd.web.models import Strict

Count = Annotated[int, Field(ge=1)]


def documented(field: fields.Field, schema: Mapping[str, Any], *, required: bool = False) -> Any:
    """A field of the table as pydantic's `create_model` takes it."""
    default = ... if required else None
    return Any, Field(default, description=field.description, json_schema_extra=dict(schema))


def _accepted(field: fields.Field) -> Any:
    one, examples = dict(field.kind.schema), {"examples": [field.example]}
    if field.name != "to":
        return documented(field, one | examples, required=field.name == "message")
    several = {"type": "array", "minItems": 1, "items": one}
    return documented(field, {"anyOf": [one, several], **examples})


def _shown(field: fields.Field) -> Any:
    return documented(field, field.kind.shown_schema or {"type": "string"})


SendRequest = create_model(
    "SendRequest",
    __base__=Strict,
    __doc__="A message to one or many recipients; without `to`, to the default audience.",
    **{field.name: _accepted(field) for field in fields.FIELDS if field.in_send},
)


class Ucs2Because(Strict):
    """The first character that the GSM alphabet does not have."""

    character: str
    name: str
    position: Count


class Queued(Strict, json_schema_extra={"oneOf": [{"required": ["id"]}, {"required": ["ids"]}]}):
    """What was queued: `id` for one recipient, `ids` for several, in the order of `to`."""

    status: Literal["queued"]
    messages: Count
    segments: Count
    segments_per_message: Count
    encoding: Literal["gsm7", "ucs2"]
    drains_at: str = Field(
        description="When the last of them leaves, if nothing is held: RFC 3339. An estimate.",
        json_schema_extra={"format": "date-time"},
    )
    duplicates: Count | None = None
    ucs2_because: Ucs2Because | None = None
    id: str | None = None
    ids: list[str] | None = Field(None, min_length=2)


class Change(Strict):
    """One change of a message's state."""

    state: str
    at: int = Field(description="Unix milliseconds.")
    detail: str | None = None


class _MessageStatus(Strict):
    id: str
    state: State
    history: list[Change]


MessageStatus = create_model(
    "MessageStatus",
    __base__=_MessageStatus,
    __doc__="Where a message is, and how it came there.",
    **{field.name: _shown(field) for field in fields.LOOK_UP},
)


class Cancelled(Strict):
    """The message is taken back."""

    status: Literal["cancelled"]
    id: str
