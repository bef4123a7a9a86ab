"""Dead letters as callers choose and see them. Rule: every field that an answer can hold is named.

The message's own fields are shown as they came, whatever they hold.
"""

from typing import Any, Literal

from pydantic import Field, create_model

from smsd.core import fields
from smsd.core.life import DeadReason
from smsd.store.dead_letters import MOST_HANDLED
from smsd.web.message_models import documented
from smsd.web.models import Strict
from smsd.web.query import Flag


class DeadLetterQuery(Strict):
    """Which dead letters: those of which all that is given is true."""

    id: str | None = None
    letter: str | None = None
    reason: DeadReason | None = None
    campaign: str | None = None
    after: str | None = None
    count: int | None = Field(None, ge=1, le=MOST_HANDLED)
    message: Flag | None = None


class _DeadLetter(Strict):
    letter: str
    id: str = Field(description="Of the message; empty where smsd did not write the dead letter.")


def _shown(field: fields.Field) -> Any:
    # A number may be any string where smsd did not write the dead letter.
    types = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
    return documented(field, types if field.kind.is_number else {"type": "string"})


DeadLetter = create_model(
    "DeadLetter",
    __base__=_DeadLetter,
    __doc__="A message that will not be sent. Its own fields are shown as they came.",
    message=(str | None, Field(None, description="The text, with `message=true`.")),
    **{field.name: _shown(field) for field in fields.DEAD_LETTER},
)


class DeadLetterPage(Strict):
    """A page of dead letters."""

    dead_letters: list[DeadLetter]
    more: bool
    after: str | None = None


class DeadLetterChoice(Strict):
    """`all`, or those of which all that is given is true."""

    id: str | None = None
    letter: str | None = None
    reason: DeadReason | None = None
    campaign: str | None = None
    all: Literal[True] | None = None
    in_doubt: bool | None = Field(
        None, description="When they are replayed: those too that may have been sent."
    )
    after: str | None = None
    until: str | None = None


class SweptAnswer(Strict):
    """How many were replayed or dropped, and where to go on."""

    status: Literal["replayed", "dropped"]
    replayed: int | None = None
    skipped: int | None = None
    dropped: int | None = None
    more: bool
    after: str | None = None
    until: str | None = None
