"""A campaign as callers see it. Rule: what is not known is left out, and never guessed as 0."""

from collections.abc import Sequence
from typing import NamedTuple

from smsd.core.campaign import Campaign, CampaignState
from smsd.core.fields import rfc3339
from smsd.core.forecast import moment
from smsd.web.campaign_progress import Progress, segments_of

ENDED = (CampaignState.FINISHED, CampaignState.NEEDS_ATTENTION, CampaignState.CANCELLED)


class Price(NamedTuple):
    """What a segment costs; 0: that is not known."""

    per_segment: float
    currency: str


class CampaignView:
    """Shows campaigns."""

    def __init__(self, progress: Progress, price: Price) -> None:
        self._progress = progress
        self._price = price

    def started(self, campaign: Campaign) -> dict[str, object]:
        """What the start of one is answered with."""
        return self._head(campaign, self._progress.finish_times([campaign]).get(campaign.id))

    def whole(self, campaign: Campaign) -> dict[str, object]:
        """All of one."""
        [shown] = self.several([campaign])
        return shown | {"message": campaign.request.message}

    def several(self, campaigns: Sequence[Campaign]) -> list[dict[str, object]]:
        """All of each, but for its text."""
        ends = self._progress.finish_times(campaigns)
        return [self._shown(one, ends.get(one.id)) for one in campaigns]

    def costs(self, sent: float, expected: float) -> dict[str, object]:
        """What so many segments cost, as an answer has it; {} where no price is known."""
        if not self._price.per_segment:
            return {}
        cost: dict[str, object] = {"sent": self._cost(sent), "expected": self._cost(expected)}
        if self._price.currency:
            cost["currency"] = self._price.currency
        return {"cost": cost}

    def extra_cost(self, segments: float) -> dict[str, object]:
        """What segments cost that need not be; {} where no price is known."""
        return {"extra_cost": self._cost(segments)} if self._price.per_segment else {}

    def _cost(self, segments: float) -> float:
        return round(segments * self._price.per_segment, 4)

    def _head(self, campaign: Campaign, drains_at: int | None) -> dict[str, object]:
        head: dict[str, object] = {
            "id": campaign.id,
            "name": campaign.request.name,
            "state": campaign.state,
            "recipients": campaign.counts.recipients,
            "segments": segments_of(campaign),
        }
        if drains_at is not None and campaign.state not in ENDED:
            head["drains_at"] = moment(drains_at)
        return head

    def _shown(self, campaign: Campaign, drains_at: int | None) -> dict[str, object]:
        request = campaign.request
        asked: dict[str, object] = {
            "audience": request.audience,
            "from": request.sender,
            "kind": request.kind,
            "priority": request.priority,
            "weight": request.weight,
            "send_at": _moment(request.send_at),
            "expires_at": _moment(request.expires_at),
            "ref": request.ref,
            "transliterate": request.transliterate or None,
        }
        state_reason = {"reason": campaign.reason} if campaign.reason else {}
        return {
            **self._head(campaign, drains_at),
            **state_reason,
            "by": campaign.by,
            "since": rfc3339(campaign.since),
            "created": rfc3339(campaign.created),
            **{name: value for name, value in asked.items() if value not in ("", None)},
            "counts": campaign.counts._asdict(),
            "dead": dict(campaign.dead),
            "segments_sent": campaign.segments_sent,
            "rate": round(self._progress.rate(campaign), 3),
            **self.costs(campaign.segments_sent, segments_of(campaign)),
        }


def _moment(unix_ms: int | None) -> str | None:
    return None if unix_ms is None else rfc3339(unix_ms)
