"""Whether a campaign fails by itself. Rule: it does when too many of its last messages do.

What the provider refuses for a message's own sake (blocked content, a bad number, its sender)
counts; an outage does not, nor a recipient who has opted out.
"""

from collections import Counter, deque
from typing import NamedTuple

from smsd.core.recent import Recent

LOOKED_AT = 50  # the latest messages of a campaign that were sent or rejected
MOST_CAMPAIGNS = 1000  # that are remembered
MOST_CODES = 3  # that a reason names


class Failing(NamedTuple):
    """Why a campaign fails, and its messages that were rejected."""

    reason: str
    rejected: list[str]


class Rejections:
    """What became of the latest messages of each campaign, from its first rejection on."""

    def __init__(self, most: int, *, what: str = "were rejected") -> None:
        """`most` of the latest may be rejected; 0: any number. `what` a reason says of them."""
        self._most = most
        self._what = what
        self._latest: Recent[deque[tuple[str, str] | None]] = Recent(MOST_CAMPAIGNS)

    def sent(self, campaign_id: str) -> None:
        """One of its messages was sent."""
        if (latest := self._latest.get(campaign_id)) is not None:
            latest.append(None)

    def rejected(self, campaign_id: str, message_id: str, code: str) -> Failing | None:
        """One was rejected, with this code. What is returned does not count again."""
        if not self._most:
            return None
        latest = self._latest.get(campaign_id) or deque(maxlen=LOOKED_AT)
        self._latest.remember(campaign_id, latest)
        latest.append((message_id, code))
        rejected = [one for one in latest if one is not None]
        if len(rejected) <= self._most:
            return None
        codes = Counter(code for _, code in rejected if code).most_common(MOST_CODES)
        named = ", ".join(code for code, _ in codes)
        reason = f"{len(rejected)} of the last {len(latest)} {self._what}"
        latest.clear()
        return Failing(f"{reason}: {named}" if named else reason, [id_ for id_, _ in rejected])
