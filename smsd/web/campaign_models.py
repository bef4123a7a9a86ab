"""Campaigns as callers give and see them. Rule: every field that an answer can hold is named."""

from typing import Any, Literal, cast

from pydantic import Field, RootModel, create_model
from pydantic.config import JsonDict

from smsd.core import fields
from smsd.core.campaign import CampaignState
from smsd.core.campaign_request import (
    LONGEST_BODY,
    LONGEST_REASON,
    MOST_WEIGHT,
    NAME,
    OF_MESSAGES,
)
from smsd.store.campaigns.recipients import STATES
from smsd.web.message_models import documented
from smsd.web.models import Strict
from smsd.web.query import Flag

MOST_SHOWN = 50  # campaigns in a page: a millisecond
MOST_RECIPIENTS = 1000  # in a page
_FIELDS = {field.name: field for field in fields.FIELDS}
_Reason: Any = Field(None, max_length=LONGEST_REASON, description="Why; it is kept and shown.")
_Expect: Any = Field(
    None, ge=0, description="How many messages it has to concern; else nothing is done (409)."
)
_Weight: Any = Field(
    None, ge=1, le=MOST_WEIGHT, description="Its share of the rate beside other campaigns: 1."
)


def _as_in_messages(name: str) -> Any:
    field = _FIELDS[name]
    schema = dict(field.kind.schema) | {"examples": [field.example]}
    return documented(field, schema)


_NUMBER = dict(fields.RECIPIENT.schema)
_TO = {"anyOf": [_NUMBER, {"type": "array", "minItems": 1, "items": _NUMBER}]}


class _CampaignRequest(Strict):
    message: str = Field(
        min_length=1,
        max_length=LONGEST_BODY,
        description='The text; in it `{{ field }}` or `{{ field | default: "x" }}`.',
        examples=['Hi {{ first_name | default: "there" }}!'],
    )
    name: str | None = Field(
        None, pattern=f"^{NAME}$", description="No other campaign has it; else it is the id."
    )
    audience: str | None = Field(None, min_length=1, max_length=fields.LONGEST_LABEL)
    to: Any = Field(None, description="Numbers.", json_schema_extra=cast("JsonDict", _TO))
    kind: Literal["marketing", "service"] | None = Field(
        None, description="What its messages are; marketing, where it is not given."
    )
    weight: int | None = _Weight
    transliterate: bool | None = Field(
        None, description="Replace typographic characters that the GSM alphabet lacks."
    )


CampaignRequest = create_model(
    "CampaignRequest",
    __base__=_CampaignRequest,
    __doc__="One message to many recipients: those of `audience`, those in `to`, or both.",
    **{name: _as_in_messages(name) for name in OF_MESSAGES},
)


class StartQuery(Strict):
    """Whether it is started."""

    dry_run: Flag | None = Field(
        None, description="Answer what it would be and cost; nothing is started."
    )


class Cost(Strict):
    """What segments cost by `[campaign] price_per_segment`."""

    sent: float = Field(ge=0, description="So far.")
    expected: float = Field(ge=0, description="In the end.")
    currency: str | None = None


class Started(Strict):
    """A campaign that is on its way."""

    id: str
    name: str
    state: CampaignState
    recipients: int = Field(ge=0)
    segments: int = Field(ge=0, description="In the end: an estimate, where values differ.")
    drains_at: str | None = Field(
        None, description="When its last message leaves, by all that is known now: RFC 3339."
    )


class PlannedUcs2Because(Strict):
    """A character that the GSM alphabet lacks."""

    character: str
    name: str
    column: str = Field(description="In which it stands; empty: the message itself.")
    messages: int = Field(ge=1)
    extra_segments: int = Field(description="That they take more than without it.")
    extra_cost: float | None = None


class PlannedUcs2(Strict):
    """Messages that become UCS-2, whose segments hold 70 characters and not 160."""

    messages: int = Field(ge=0)
    extra_segments: int
    extra_cost: float | None = None
    because: list[PlannedUcs2Because] = Field(max_length=20, description="The most frequent.")


class PlannedReplacement(Strict):
    """A character that is replaced, as `transliterate` asks for."""

    character: str
    replacement: str
    messages: int = Field(ge=1)


class FaultyRecipient(Strict):
    """One that gets no message."""

    number: str
    column: str | None = None


class PlannedFault(Strict):
    """Recipients that would get no message."""

    recipients: int = Field(ge=0)
    columns: dict[str, int]
    first: list[FaultyRecipient] = Field(max_length=20)


class Plan(Strict):
    """What a campaign would be. Nothing has been started."""

    dry_run: Literal[True]
    would_start: bool = Field(description="False: recipients lack values; it would be refused.")
    recipients: int = Field(ge=1)
    duplicates: int = Field(ge=0, description="Numbers in `to` that are there already.")
    opted_out: int = Field(ge=0)
    messages: int = Field(ge=0)
    segments: int = Field(ge=0)
    by_segments: dict[str, int] = Field(description="How many messages take how many segments.")
    ucs2: PlannedUcs2
    replaced: list[PlannedReplacement] | None = Field(
        None, max_length=20, description="The most frequent, if `transliterate` is asked for."
    )
    missing: PlannedFault = Field(description="That lack a value without a default.")
    unusable: PlannedFault = Field(description="That have a value that cannot be sent.")
    too_long: PlannedFault = Field(description="Whose message has more segments than is allowed.")
    would_expire: int = Field(ge=0, description="Messages that `expires_at` comes before.")
    drains_at: str = Field(description="When its last message would leave: RFC 3339.")
    cost: Cost | None = None


class StartAnswer(RootModel[Started | Plan]):
    """The campaign; with `dry_run`, the plan of it."""


class Counts(Strict):
    """Recipients by what became of their messages. `recipients` is the sum of the others."""

    recipients: int = Field(ge=0)
    waiting: int = Field(ge=0)
    held: int = Field(ge=0, description="Taken back from the queue by a pause.")
    deferred: int = Field(ge=0, description="Tried, and waiting to be tried again.")
    in_flight: int = Field(ge=0)
    sent: int = Field(ge=0)
    dead: int = Field(ge=0)
    suppressed: int = Field(ge=0, description="Opted out.")
    expired: int = Field(ge=0)
    cancelled: int = Field(ge=0)
    dropped: int = Field(ge=0, description="Dead letters that were thrown away.")
    lost: int = Field(ge=0, description="Found nowhere by `smsd fsck`.")


class CampaignShown(Started):
    """A campaign and how far it is."""

    reason: str | None = Field(None, description="Why it is in this state.")
    by: str
    since: str = Field(description="When it came into this state: RFC 3339.")
    created: str = Field(description="RFC 3339.")
    audience: str | None = None
    sender: str | None = Field(None, alias="from")
    kind: Literal["marketing", "service"]
    priority: Literal["high", "normal"]
    weight: int
    send_at: str | None = None
    expires_at: str | None = None
    ref: str | None = None
    transliterate: bool | None = None
    message: str | None = Field(None, description="Where one campaign is shown.")
    counts: Counts
    dead: dict[str, int] = Field(description="Dead letters by their reason.")
    segments_sent: int = Field(ge=0)
    rate: float = Field(ge=0, description="Segments a second, in the last seconds.")
    cost: Cost | None = None


class CampaignList(Strict):
    """A page of campaigns, the latest first."""

    campaigns: list[CampaignShown]
    more: bool
    after: str | None = None


class ListQuery(Strict):
    """Which campaigns."""

    after: str | None = Field(None, description="What the page before answered.")
    count: int | None = Field(None, ge=1, le=MOST_SHOWN)


class VerbRequest(Strict):
    """Why it is done, and to how many messages."""

    reason: str | None = _Reason
    expect: int | None = _Expect


class RetryRequest(VerbRequest):
    """Which dead letters are sent again."""

    in_doubt: bool | None = Field(
        None, description="Those too that may have been sent: these then come twice."
    )
    after: str | None = Field(None, description="What the answer before says.")
    until: str | None = Field(None, description="What the answer before says.")


class EditRequest(Strict):
    """What a campaign gets; it keeps the rest."""

    weight: int | None = _Weight
    expires_at: str | None = Field(None, json_schema_extra={"format": "date-time"})


class Retried(Strict):
    """How many dead letters are in the queue again, and where to go on."""

    status: Literal["replayed"]
    replayed: int = Field(ge=0)
    skipped: int = Field(ge=0, description="In doubt: they may have been sent.")
    more: bool
    after: str | None = None
    until: str | None = None


class CampaignRemoved(Strict):
    """It is gone."""

    status: Literal["removed"]
    id: str
    name: str


class RecipientShown(Strict):
    """A recipient, and what became of the message to them."""

    number: str
    message_id: str
    state: Literal[tuple(STATES)]  # type: ignore[valid-type] # the names that the store knows
    at: str | None = Field(None, description="When: RFC 3339, to the second.")
    provider_id: str | None = None
    reason: str | None = Field(None, description="Why it is dead.")
    code: str | None = Field(None, description="The provider's, or the field at fault.")


class RecipientQuery(Strict):
    """Which recipients, and how they are written."""

    state: Literal[tuple(STATES)] | None = None  # type: ignore[valid-type]
    after: str | None = Field(None, description="What the page before answered.")
    count: int | None = Field(None, ge=1, le=MOST_RECIPIENTS)
    excel: Flag | None = Field(None, description="As CSV: written so that Excel changes no number.")


class RecipientPage(Strict):
    """A page of recipients, in no order; it may be empty though there are more."""

    recipients: list[RecipientShown]
    more: bool
    after: str | None = None
