"""Which listed message is ours, and what became of it. Rule: a record alone proves no acceptance.

This is how Twilio is asked about a message in doubt (a caller's look-up of a status is in
`smsd/store/lookup.py`).
Twilio keeps no reference of ours with a message, so a message is recognised by its recipient, text,
sender and time. An absence proves nothing: Twilio may list a message late. Twilio also lists
messages that it refused: their status and code are read as those of an answer are.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from smsd.core.outcome import Accepted, InDoubt, Outcome, Rejected, Unavailable
from smsd.provider.twilio.codes import code_in
from smsd.provider.wire.answer import segment_count
from smsd.provider.wire.rulings import Ruling

EARLY_S = 5.0  # by which Twilio's clock, in whole seconds, may be behind ours
LATE_S = 60.0  # after our time-out, in which a request may still be taken
PAGE = 20  # messages to one number since the day began; a small answer
NOT_LISTED = InDoubt("not listed")
# Twilio did not send a message in these states. In every other state it has taken the message, even
# if the carrier did not deliver it afterwards; unless its code is one that `codes.py` or the
# configuration has a row for: what a code means goes before the status.
_NOT_TAKEN = ("failed", "canceled")

Listed = Mapping[str, object]
Record = Accepted | Rejected | Unavailable | InDoubt


@dataclass(frozen=True, slots=True)
class Sought:
    """The message that is searched for, as Twilio would list it."""

    recipient: str
    bodies: Collection[str]  # as it was sent, or as Smart Encoding makes it
    sender: Mapping[str, str]  # the field that names the sender, as Twilio lists it
    started: float  # Unix seconds
    since: float
    until: float

    @property
    def query(self) -> Mapping[str, str]:
        """The query for the list: by day, the finest filter that is documented."""
        day = datetime.fromtimestamp(self.since, UTC).date().isoformat()
        return {"To": self.recipient, "DateSent>": day, "PageSize": str(PAGE)}

    def matches(self, listed: Listed) -> bool:
        """Whether the listed message may be this one, whatever became of it since."""
        created = created_at(listed)
        return (
            listed.get("to") == self.recipient
            and listed.get("body") in self.bodies
            and all(listed.get(field) == value for field, value in self.sender.items())
            and created is not None
            and self.since <= created <= self.until
        )


def matching_messages(answered: object, sought: Sought) -> dict[str, Listed] | InDoubt | None:
    """The listed messages that match, by sid; `InDoubt` for no list, None for too long a one."""
    if not isinstance(answered, dict) or not isinstance(answered.get("messages"), list):
        return InDoubt("no list of messages in the answer")
    listed: list[Listed] = [one for one in answered["messages"] if isinstance(one, dict)]
    if answered.get("next_page_uri") and not _reaches_back(listed, sought.since):
        return None  # there may be further matches on the next page
    return {sid: one for one in listed if (sid := _sid(one)) and sought.matches(one)}


def outcome_of_listed(
    ours: Mapping[str, Listed],
    sought: Sought,
    ruling_of: Callable[[str], Ruling | None],
    *,
    first: bool,
) -> Outcome | None:
    """The outcome of the message sought, by the listed messages that match and are no other.

    `ruling_of`: what a code means. `first`: no earlier attempt was refused. If several were taken,
    nothing is known. A refusal may belong to an earlier attempt, and then says nothing about the
    last one; only that the number has opted out stays true.
    """
    records = [(_record(sid, one, ruling_of), one) for sid, one in ours.items()]
    taken = [record for record, _ in records if isinstance(record, Accepted)]
    if taken:
        return taken[0] if len(taken) == 1 else None
    for record, _ in records:
        if isinstance(record, Rejected) and record.opted_out:
            return record
    # Twilio lists times in whole seconds.
    of_this_attempt = [
        record for record, one in records if (created_at(one) or 0.0) >= int(sought.started)
    ]
    return of_this_attempt[0] if of_this_attempt and first else NOT_LISTED


def _record(sid: str, listed: Listed, ruling_of: Callable[[str], Ruling | None]) -> Record:
    status, code = str(listed.get("status")), code_in(listed.get("error_code"))
    not_taken, ruling = status in _NOT_TAKEN, ruling_of(code)
    if ruling is None or ruling.kind == "accepted":
        if not not_taken or ruling is not None:
            return Accepted(sid, segment_count(listed.get("num_segments")))
        return Rejected(code or status, _reason(status, code), known=False)
    reason = _reason(status if not_taken else "not delivered", code)
    if ruling.kind == "in_doubt":
        return InDoubt(reason)
    return ruling.outcome_of_record(code, reason)


def _reason(status: str, code: str) -> str:
    return f"listed as {status}: {code}" if code else f"listed as {status}"


def _sid(listed: Listed) -> str:
    sid = listed.get("sid")
    return sid if isinstance(sid, str) else ""


def _reaches_back(listed: Sequence[Listed], since: float) -> bool:
    """Whether the first page, which holds the latest messages, goes back before `since`."""
    return any((created := created_at(one)) is not None and created < since for one in listed)


def created_at(listed: Listed) -> float | None:
    """When Twilio created the message, in Unix seconds; None if that is not listed."""
    try:
        return parsedate_to_datetime(str(listed.get("date_created"))).timestamp()
    except (ValueError, OverflowError):
        return None
