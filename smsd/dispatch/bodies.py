"""Bodies of campaigns. Rule: each is read once, and no recipient keeps the others from theirs.

What cannot be filled in for a recipient, or is too long, is put in line all the same: it is refused
when it is claimed, like any other message, and is a dead letter that says what is wrong. (Where
that comes to many, the expander pauses the campaign.)
"""

from collections.abc import Collection, Sequence

from smsd.core.campaign import Campaign
from smsd.core.fields import FieldError
from smsd.core.message import Content, Limits, parse, to_fields
from smsd.core.segment import Segments
from smsd.core.template import Template
from smsd.store.campaigns import Rendered

UNKNOWN = Segments("gsm7", 0, 1)  # of a message that will be refused


class Bodies:
    """The bodies of the campaigns that run."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._read: dict[str, Body] = {}

    def of(self, campaign: Campaign) -> "Body":
        """The body of a campaign. Raises `FieldError` or `KeyError` where it cannot be read."""
        if campaign.id not in self._read:
            self._read[campaign.id] = Body(campaign, self._limits)
        return self._read[campaign.id]

    def keep(self, ids: Collection[str]) -> None:
        """Forget those of all other campaigns."""
        self._read = {id_: body for id_, body in self._read.items() if id_ in ids}


class Body:
    """One body, ready to be filled in."""

    def __init__(self, campaign: Campaign, limits: Limits) -> None:
        """Raise `FieldError` or `KeyError` where it cannot be read."""
        self._limits = limits
        self._template = Template(campaign.request.message).bind(
            campaign.columns, transliterating=campaign.request.transliterate
        )

    def message(
        self, campaign: Campaign, number: str, values: Sequence[str]
    ) -> tuple[Rendered, str]:
        """The message to one recipient, and the field for which it will be refused, or "".

        `campaign`: as it is now.
        """
        request, at_fault = campaign.request, ""
        fault: list[str] = []
        given = {"from": request.sender} if request.sender else {}
        try:
            text = self._template.render(values)
        except FieldError as error:
            at_fault = error.field
            text, fault = request.message, ["fault", f"{error.field}: {error}"]
        try:
            content = parse({"message": text, **given}, self._limits, 0)
        except FieldError as error:
            at_fault = at_fault or error.field
            content = Content(text, UNKNOWN, request.sender)
        content = content._replace(
            expires_at=request.expires_at, campaign=request.name, ref=request.ref
        )
        fields = ["to", number, *to_fields(content), *fault]
        return Rendered(number, fields, content.segments.segments), at_fault
