"""Answers to outcomes. Rule: only what a provider clearly refused is ever taken for not sent.

A ruling is written as text, in the tables of providers and in configuration alike: `"throttled"`,
`"halted:sender"`, `"rejected:recipient:opted_out"`; `RULINGS` has them all.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Annotated, Literal, assert_never

from pydantic import PlainValidator

from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Scope,
    Throttled,
    Unavailable,
)
from smsd.provider.wire import forwarded
from smsd.provider.wire import redact as echo
from smsd.provider.wire.transport import Answer

Kind = Literal["accepted", "rejected", "throttled", "unavailable", "in_doubt", "halted"]

LONGEST_PAUSE_S = 3600.0  # whatever a provider asks for
MOST_WORDS = 1000  # characters that are looked at, of a provider's own words
LONGEST_WORDS = 200  # characters that are kept of them

# RFC 9110 §15.4: the request itself is to go elsewhere. The other redirects may well be the answer
# to one that was acted on.
_MOVED = (301, 307, 308)
_ACCOUNT_FAULTS = (401, 402, 403)
_REQUEST_TIMEOUT = 408  # a proxy may have passed the request on
_TOO_MANY = 429
_DOWN = 503
_CLIENT_FAULTS = range(400, 500)

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_COUNT = re.compile(r"[1-9][0-9]{0,2}")
_NUMBER = re.compile(r"\+?[0-9](?:[ ().-]{0,3}[0-9]){6,}")  # seven digits, as short as E.164 gets


@dataclass(frozen=True, slots=True)
class Ruling:
    """What one code, or one rule, makes of an answer."""

    kind: Kind
    scope: Scope = "message"
    opted_out: bool = False


RULINGS: Mapping[str, Ruling] = {
    "accepted": Ruling("accepted"),
    "rejected": Ruling("rejected"),
    "rejected:message": Ruling("rejected"),
    "rejected:recipient": Ruling("rejected", "recipient"),
    "rejected:recipient:opted_out": Ruling("rejected", "recipient", opted_out=True),
    "rejected:sender": Ruling("rejected", "sender"),
    "rejected:account": Ruling("rejected", "account"),
    "throttled": Ruling("throttled"),
    "unavailable": Ruling("unavailable"),
    "in_doubt": Ruling("in_doubt"),
    "halted": Ruling("halted", "account"),
    "halted:sender": Ruling("halted", "sender"),
    "halted:account": Ruling("halted", "account"),
}


def ruling(text: object) -> Ruling:
    """Read the written form. Raises `ValueError`."""
    if not isinstance(text, str) or text not in RULINGS:
        raise ValueError(f"must be one of {', '.join(RULINGS)}")
    return RULINGS[text]


RulingField = Annotated[Ruling, PlainValidator(ruling)]


def apply(found: Ruling, answer: Answer, code: str, reason: str) -> Outcome:
    """The outcome that a ruling names."""
    match found.kind:
        case "accepted":
            return Accepted()
        case "rejected":
            return Rejected(code, reason, found.scope, found.opted_out)
        case "throttled":
            return Throttled(retry_after(answer.headers), reason)
        case "unavailable":
            return Unavailable(reason)
        case "in_doubt":
            return InDoubt(reason)
        case "halted":
            return Halted(code, reason, found.scope)
        case _:
            assert_never(found.kind)


def refused(found: Ruling, code: str, reason: str) -> Rejected | Unavailable:
    """What a ruling makes of a record of a submission, if it was not taken.

    What was too fast, or the account's fault, was not taken either: it is tried again, and then
    its own answer decides.
    """
    if found.kind == "rejected":
        return Rejected(code, reason, found.scope, found.opted_out)
    return Unavailable(reason)


def by_status(answer: Answer, code: str, reason: str) -> Outcome:
    """The outcome of an answer that nothing but its status explains."""
    status = answer.status
    if status in _MOVED:
        # Whoever takes the texts is elsewhere: every one will end so until the address is mended.
        return Halted(code, f"{reason}: a redirect, and none is followed; mend the URL")
    if status in _ACCOUNT_FAULTS:
        return Halted(code, reason, known=False)
    if status == _TOO_MANY:
        return Throttled(retry_after(answer.headers), reason)
    if status == _DOWN:
        return _down(answer, reason)
    if status in _CLIENT_FAULTS and status != _REQUEST_TIMEOUT:
        return Rejected(code, reason, known=False)
    return InDoubt(reason)


def _down(answer: Answer, reason: str) -> Outcome:
    if how := forwarded.broke_off(answer):
        return InDoubt(f"{reason}: forwarded, then {how}")
    if "Retry-After" in answer.headers:
        return Throttled(retry_after(answer.headers), reason)
    return Unavailable(reason)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait: the header's number, or its date as seen from the answer's own `Date`."""
    asked = headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(asked):
        return min(float(asked), LONGEST_PAUSE_S)
    try:
        until = parsedate_to_datetime(asked).timestamp()
        since = parsedate_to_datetime(headers.get("Date", "")).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(until - since, 0.0), LONGEST_PAUSE_S)


def segment_count(text: object) -> int | None:
    """A provider's own count; None where it tells none, or a nought for "not known yet"."""
    return int(text) if isinstance(text, str) and _COUNT.fullmatch(text) else None


def words(text: str, hidden: Collection[str]) -> str:
    """A provider's own words, fit for a log: nothing `hidden`, no number, one line, not long.

    None at all if they still repeat a part of what is hidden, or might, where they were cut.
    """
    said = text[:MOST_WORDS]
    kept = echo.without(said, hidden)
    cut_echo = kept != said and len(text) > len(said)
    kept = _NUMBER.sub(lambda found: "…" + found[0][-2:], kept)
    if cut_echo or echo.repeats(kept, hidden):
        return ""
    kept = echo.without_codes(kept, hidden)
    kept = "".join(c if c.isprintable() else " " for c in kept)
    return kept if len(kept) <= LONGEST_WORDS else kept[: LONGEST_WORDS - 1] + "…"


def reason(status: int, code: str = "", text: str = "") -> str:
    """How an outcome says what was answered."""
    return ": ".join(part for part in (f"HTTP {status}", code, text) if part)
