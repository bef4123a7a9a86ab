"""Which listed message is ours. Rule: the one that fits in every word; of several, none.

Twilio keeps no reference of ours with a message, so it is known by its recipient, text, sender and
time. An absence proves nothing: Twilio may list a message late.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from smsd.core.outcome import Accepted, InDoubt, Outcome
from smsd.provider import codes

EARLY_S = 5.0  # how far Twilio's clock, which tells whole seconds, may be behind ours
LATE_S = 60.0  # how long after our time-out a request may still be taken
PAGE = 20  # messages to one number since a day began; the answer stays small

Listed = Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Sought:
    """What the message must say of itself."""

    recipient: str
    text: str
    sender: Mapping[str, str]  # the field that says who sent it, as Twilio lists it
    since: float  # Unix seconds
    until: float

    @property
    def query(self) -> Mapping[str, str]:
        """How the list is asked for: by day, as fine as the filter is documented."""
        day = datetime.fromtimestamp(self.since, UTC).date().isoformat()
        return {"To": self.recipient, "DateSent>": day, "PageSize": str(PAGE)}

    def fits(self, listed: Listed) -> bool:
        """Whether it is what was sent, whatever has become of it since."""
        created = _created(listed)
        return (
            (listed.get("to"), listed.get("body")) == (self.recipient, self.text)
            and all(listed.get(field) == value for field, value in self.sender.items())
            and created is not None
            and self.since <= created <= self.until
        )


def find(said: object, sought: Sought, is_others: Callable[[str], bool]) -> Outcome | None:
    """What a list says. `is_others`: whether a sid, which stands for one text, is another's."""
    if not isinstance(said, dict) or not isinstance(said.get("messages"), list):
        return InDoubt("no list of messages in the answer")
    listed: list[Listed] = [one for one in said["messages"] if isinstance(one, dict)]
    if said.get("next_page_uri") and not _reaches_back(listed, sought.since):
        return None  # there are more like it than are shown
    found = list(_ours(listed, sought, is_others))
    if not found:
        return InDoubt("not listed")
    return found[0] if len(found) == 1 else None


def _ours(
    listed: list[Listed], sought: Sought, is_others: Callable[[str], bool]
) -> Iterator[Accepted]:
    for one in listed:
        sid = one.get("sid")
        if isinstance(sid, str) and sid and sought.fits(one) and not is_others(sid):
            yield Accepted(sid, codes.segment_count(one.get("num_segments")))


def _reaches_back(listed: list[Listed], since: float) -> bool:
    """Whether the first page, which has the latest messages, begins before `since`."""
    return any((created := _created(one)) is not None and created < since for one in listed)


def _created(listed: Listed) -> float | None:
    try:
        return parsedate_to_datetime(str(listed.get("date_created"))).timestamp()
    except (ValueError, OverflowError):
        return None
