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


class ErrorContent(Strict):
    """Why a request was refused."""

    code: str
    message: str
    field: str | None = None
    faults: list[Fault] | None = Field(
        None, description="Of a list of recipients: what is wrong with the first of the bad ones."
    )
    fault_count: int | None = Field(None, ge=1, description="All bad ones.")


class Error(Strict):
    """Every answer that is no success."""

    error: ErrorContent


class RetryAfter(Strict):
    """The headers of a refusal that may pass."""

    retry_after: str = Field(alias="Retry-After")
