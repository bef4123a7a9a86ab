"""Why a campaign cannot be started or changed, as callers see it. Rule: each has its own code."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from smsd.core.fields import FieldError
from smsd.redis.errors import Away
from smsd.store.append import KeyConflict
from smsd.store.audiences.version import AudienceChanged
from smsd.store.campaigns import (
    CampaignExists,
    CountChanged,
    MissingValue,
    NoRecipients,
    NoSuchAudience,
    WrongState,
)
from smsd.web.errors import ApiError, unavailable
from smsd.web.idempotency import conflict

_REFUSALS = (CampaignExists, NoSuchAudience, NoRecipients, MissingValue)
TO_REPEAT = (
    "Redis went away meanwhile: it may be started or not. A repetition with the same"
    " Idempotency-Key, or the same name, starts it once."
)


@contextmanager
def refusals_of_key() -> Iterator[None]:
    """Answers to what looking for the campaign of an earlier request raises."""
    try:
        yield
    except KeyConflict:
        raise conflict() from None
    except WrongState as error:
        raise _refusal(error) from None


@contextmanager
def refusals_of_start() -> Iterator[None]:
    """Answers to what the start of a campaign raises."""
    try:
        with refusals_of_key():
            yield
    except AudienceChanged:
        raise audience_changed() from None
    except KeyError as error:  # it had the column when it was looked at
        raise unknown_column(str(error.args[0]), ()) from None
    except Away as error:
        raise unavailable("outcome_unknown", TO_REPEAT) from error
    except _REFUSALS as error:
        raise _refusal(error) from None


def _refusal(error: Exception) -> Exception:
    match error:
        case CampaignExists():
            message = f"there is a campaign {error} already"
            return ApiError(409, "campaign_exists", message, field="name")
        case NoSuchAudience():
            return no_audience(str(error))
        case NoRecipients():
            return no_recipients()
        case MissingValue():
            return missing_value(error.number, error.column, error.missing)
        case _:
            return ApiError(409, "wrong_state", f"the campaign {error}")


@contextmanager
def refusals_of_verbs() -> Iterator[None]:
    """Answers to what a change of a campaign raises."""
    try:
        yield
    except WrongState as error:
        raise ApiError(409, "wrong_state", f"the campaign {error}") from None
    except CountChanged as error:
        raise count_changed(error.found) from None


def no_campaign(name: str) -> ApiError:
    """There is none."""
    return ApiError(404, "not_found", f"there is no campaign {name}")


def no_audience(name: str) -> FieldError:
    """There is none."""
    return FieldError("audience", f"names none that there is: {name}")


def no_recipients() -> FieldError:
    """Nobody would get a message."""
    return FieldError("audience", "has no contacts")


def audience_changed() -> ApiError:
    """It was replaced, removed or added to, again and again."""
    message = "the audience was changed meanwhile, and nothing was started: try again"
    return ApiError(409, "audience_changed", message)


def count_changed(found: int) -> ApiError:
    """Not as many as were expected."""
    message = f"it concerns {found} messages now, and nothing was done"
    return ApiError(409, "count_changed", message, field="expect", more={"found": found})


def missing_value(number: str, column: str, many: int) -> ApiError:
    """Recipients lack what the body needs."""
    others = f" and {many - 1} others lack values" if many > 1 else ""
    message = (
        f"needs {column}, which {number} has not{others};"
        f' give it a default: {{{{ {column} | default: "…" }}}}'
    )
    more = {"column": column, "number": number, "missing": many}
    return ApiError(400, "missing_value", f"message {message}", field="message", more=more)


def unknown_column(column: str, columns: Sequence[str]) -> FieldError:
    """The body names what no recipient has."""
    there = f"; they have {', '.join(columns)}" if columns else ""
    return FieldError("message", f"has {{{{ {column} }}}}, which recipients have not{there}")
