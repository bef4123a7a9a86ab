"""Audiences as callers give and see them. Rule: every field that an answer can hold is named."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from smsd.web.models import Rejected, Strict
from smsd.web.query import Flag

MOST_SHOWN = 1000  # contacts in a page
NAME = r"^[a-z0-9][a-z0-9_-]{0,63}$"


class ImportQuery(Strict):
    """How a file of contacts is read."""

    column: str | None = Field(
        None, min_length=1, description="The column of the numbers, where its name does not tell."
    )
    region: str | None = Field(
        None,
        pattern="^[A-Za-z]{2}$",
        description="The country, as US, whose national numbers are read too; without it only"
        " international ones are.",
    )
    encoding: str | None = Field(
        None, min_length=1, description="That of the file, where it is not found out."
    )
    delimiter: str | None = Field(
        None, min_length=1, description='Between columns: ",", ";", "|" or "tab".'
    )


class ImportedContact(BaseModel):
    """One contact: its number under any usual name, and fields of your own."""

    model_config = ConfigDict(extra="allow")

    number: str


class Contacts(Strict):
    """Contacts, as JSON."""

    contacts: list[ImportedContact]


class ImportAnswer(Strict):
    """What an import did."""

    name: str
    contacts: int = Field(ge=0, description="That are in the audience now.")
    fields: list[str]
    added: int = Field(ge=0)
    updated: int = Field(ge=0, description="That were in the audience before.")
    duplicates: int = Field(ge=0, description="Rows whose number came earlier in this file.")
    rejected: Rejected
    notices: list[str] = Field(description="What was decided in reading it that may surprise.")
    unchanged: bool = Field(
        description="The audience is already what this file makes of it: nothing was done."
    )
    imported_before: str | None = Field(
        None, description="When the same file was last imported here: RFC 3339."
    )


class AudienceShown(Strict):
    """A named set of contacts."""

    name: str
    contacts: int = Field(ge=0)
    fields: list[str] = Field(description="What is kept of each contact beside its number.")
    source: Literal["config", "redis"] = Field(description="Where it is kept.")
    created: str | None = Field(None, description="RFC 3339.")
    updated: str | None = Field(None, description="RFC 3339.")
    by: str | None = Field(None, description="What last changed it.")
    imports: list["ImportShown"] | None = Field(None, description="The last ones.")


class ImportShown(Strict):
    """An import that took place."""

    at: str = Field(description="RFC 3339.")
    sha256: str = Field(description="Of the file.")
    replaced: bool = Field(description="The audience; else it was added to.")
    by: str
    added: int = Field(ge=0)
    updated: int = Field(ge=0)
    duplicates: int = Field(ge=0)
    rejected: int = Field(ge=0)


class AudienceList(Strict):
    """All audiences."""

    audiences: list[AudienceShown]


class ContactShown(Strict):
    """A contact."""

    number: str
    fields: dict[str, str]


class ContactQuery(Strict):
    """Which contacts, and how they are written."""

    after: str | None = Field(None, description="What the page before answered.")
    count: int | None = Field(None, ge=1, le=MOST_SHOWN)
    excel: Flag | None = Field(
        None, description="As CSV: written so that Excel changes no number and runs no formula."
    )


class ContactPage(Strict):
    """A page of contacts, in no order."""

    contacts: list[ContactShown]
    more: bool
    after: str | None = None


class Removed(Strict):
    """It is gone."""

    status: Literal["removed"]
    name: str
    number: str | None = None
