"""What the models of all calls share. Rule: a model documents; the handlers check and answer.

In a model, None stands for a field that is left out. The contract allows no null.
"""

from pydantic import BaseModel, ConfigDict, Field


class Strict(BaseModel):
    """A model that names every field there is."""

    model_config = ConfigDict(extra="forbid")


class Fault(Strict):
    """One bad number of a list of recipients."""

    field: str
    message: str


class RejectedRow(Strict):
    """A row of a file that is not in the audience."""

    line: int = Field(ge=1, description="The line of the file on which the row begins.")
    column: str = Field(description="Its name; empty where the fault is the row's.")
    reason: str = Field(description="A code.")
    message: str = Field(description="The same for people.")
    value: str


class Rejected(Strict):
    """Rows that were not taken."""

    count: int = Field(ge=0)
    reasons: dict[str, int] = Field(description="How many for each reason.")
    first: list[RejectedRow] = Field(max_length=20)


class ErrorContent(Strict):
    """Why a request was refused."""

    code: str
    message: str
    field: str | None = None
    faults: list[Fault] | None = Field(
        None, description="Of a list of recipients: what is wrong with the first of the bad ones."
    )
    fault_count: int | None = Field(None, ge=1, description="All bad ones.")
    rejected: Rejected | None = Field(None, description="Of a file in which no row is a contact.")
    found: int | None = Field(None, ge=0, description="What is there in place of `expect`.")
    column: str | None = Field(None, description="That recipients have no value in.")
    number: str | None = Field(None, description="Of one of them.")
    missing: int | None = Field(None, ge=1, description="How many they are.")


class Error(Strict):
    """Every answer that is no success."""

    error: ErrorContent


class RetryAfter(Strict):
    """The headers of a refusal that may pass."""

    retry_after: str = Field(alias="Retry-After")
