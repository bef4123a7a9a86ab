"""An HTTP answer, as read. Rule: what cannot be read is missing, and never guessed."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

LONGEST_PAUSE_S = 3600.0  # whatever a provider asks for

_SECONDS = re.compile(r"[0-9]{1,9}(\.[0-9]{1,9})?")
_COUNT = re.compile(r"[1-9][0-9]{0,2}")


@dataclass(frozen=True, slots=True)
class Answer:
    """The whole answer, except that the body of an error may be cut short."""

    status: int
    headers: Mapping[str, str]  # case-insensitive
    body: bytes
    unread: str = ""  # why the body of an error is missing

    @property
    def good(self) -> bool:
        """A status of 200 to 299."""
        return 200 <= self.status < 300  # noqa: PLR2004 - RFC 9110 §15

    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", "replace")

    def json(self) -> object:
        """The body as JSON; None if it is not JSON. Integers of any size stay exact."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def retry_after(self) -> float | None:
        """Seconds to wait: a number, or a date relative to the answer's own `Date`."""
        asked = self.headers.get("Retry-After", "").strip()
        if _SECONDS.fullmatch(asked):
            return min(float(asked), LONGEST_PAUSE_S)
        try:
            until = parsedate_to_datetime(asked).timestamp()
            since = parsedate_to_datetime(self.headers.get("Date", "")).timestamp()
        except (ValueError, OverflowError):
            return None
        return min(max(until - since, 0.0), LONGEST_PAUSE_S)

    def reason(self, code: str = "", text: str = "") -> str:
        """The reason that an outcome gives: the status, the provider's code and its own text."""
        return ": ".join(part for part in (f"HTTP {self.status}", code, text) if part)


def segment_count(value: object) -> int | None:
    """A provider's own count of segments; None if there is none, or "0" for "not known yet"."""
    return int(value) if isinstance(value, str) and _COUNT.fullmatch(value) else None
