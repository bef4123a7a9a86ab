"""Which listed message is ours, and what became of it. Rule: a record alone does not say "taken".

Twilio keeps no reference of ours with a message, so it is known by its recipient, text, sender and
time. An absence proves nothing: Twilio may list a message late. Creations that it refused are
listed too: their status and code are read as those of an answer are.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from smsd.core.outcome import Accepted, InDoubt, Outcome, Rejected, Unavailable
from smsd.provider.wire import rulings as codes
from smsd.provider.wire.rulings import Ruling

EARLY_S = 5.0  # how far Twilio's clock, which tells whole seconds, may be behind ours
LATE_S = 60.0  # how long after our time-out a request may still be taken
PAGE = 20  # messages to one number since a day began; the answer stays small
NOT_LISTED = InDoubt("not listed")
# Of a message in these states Twilio sent nothing; in all others it has taken it, be it that the
# carrier did not deliver it afterwards.
_NOT_TAKEN = ("failed", "canceled")
_CODE = re.compile(r"[0-9]{1,6}")

Listed = Mapping[str, object]
Record = Accepted | Rejected | Unavailable | InDoubt


@dataclass(frozen=True, slots=True)
class Sought:
    """What the message must say of itself."""

    recipient: str
    bodies: Collection[str]  # as it was sent, or as Smart Encoding makes it
    sender: Mapping[str, str]  # the field that says who sent it, as Twilio lists it
    started: float  # Unix seconds
    since: float
    until: float

    @property
    def query(self) -> Mapping[str, str]:
        """How the list is asked for: by day, as fine as the filter is documented."""
        day = datetime.fromtimestamp(self.since, UTC).date().isoformat()
        return {"To": self.recipient, "DateSent>": day, "PageSize": str(PAGE)}

    def fits(self, listed: Listed) -> bool:
        """Whether it is what was sent, whatever has become of it since."""
        created = created_at(listed)
        return (
            listed.get("to") == self.recipient
            and listed.get("body") in self.bodies
            and all(listed.get(field) == value for field, value in self.sender.items())
            and created is not None
            and self.since <= created <= self.until
        )


def fitting(said: object, sought: Sought) -> dict[str, Listed] | InDoubt | None:
    """The listed messages that fit, by sid; `InDoubt` for no list, None for too long a one."""
    if not isinstance(said, dict) or not isinstance(said.get("messages"), list):
        return InDoubt("no list of messages in the answer")
    listed: list[Listed] = [one for one in said["messages"] if isinstance(one, dict)]
    if said.get("next_page_uri") and not _reaches_back(listed, sought.since):
        return None  # there are more like it than are shown
    return {sid: one for one in listed if (sid := _sid(one)) and sought.fits(one)}


def outcome(
    ours: Mapping[str, Listed],
    sought: Sought,
    ruled: Callable[[str], Ruling | None],
    *,
    first: bool,
) -> Outcome | None:
    """What the messages that fit, and are no other's, say of the one sought.

    `ruled`: what the table of codes makes of one. `first`: nothing of it was refused before. Of
    several that were taken none is believed. A refusal may be that of an earlier attempt, and says
    nothing of a later one: only that the number has opted out stays true.
    """
    records = [(_record(sid, one, ruled), one) for sid, one in ours.items()]
    taken = [found for found, _ in records if isinstance(found, Accepted)]
    if taken:
        return taken[0] if len(taken) == 1 else None
    for found, _ in records:
        if isinstance(found, Rejected) and found.opted_out:
            return found
    # Twilio's clock tells whole seconds.
    own = [found for found, one in records if (created_at(one) or 0.0) >= int(sought.started)]
    return own[0] if own and first else NOT_LISTED


def _record(sid: str, listed: Listed, ruled: Callable[[str], Ruling | None]) -> Record:
    status, code = str(listed.get("status")), str(listed.get("error_code") or "")
    if not _CODE.fullmatch(code):
        code = ""
    not_taken, found = status in _NOT_TAKEN, ruled(code)
    if found is None or found.kind == "accepted":
        if not not_taken or found is not None:
            return Accepted(sid, codes.segment_count(listed.get("num_segments")))
        return Rejected(code or status, _reason(status, code), known=False)
    reason = _reason(status if not_taken else "not delivered", code)
    return InDoubt(reason) if found.kind == "in_doubt" else codes.refused(found, code, reason)


def _reason(status: str, code: str) -> str:
    return f"listed as {status}: {code}" if code else f"listed as {status}"


def _sid(listed: Listed) -> str:
    sid = listed.get("sid")
    return sid if isinstance(sid, str) else ""


def _reaches_back(listed: Sequence[Listed], since: float) -> bool:
    """Whether the first page, which has the latest messages, begins before `since`."""
    return any((created := created_at(one)) is not None and created < since for one in listed)


def created_at(listed: Listed) -> float | None:
    """When Twilio made it, Unix seconds; None if it does not say."""
    try:
        return parsedate_to_datetime(str(listed.get("date_created"))).timestamp()
    except (ValueError, OverflowError):
        return None
