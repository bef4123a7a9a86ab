"""How fast campaigns go. Rule: looking costs Redis the same, however many look.

All campaigns that have not ended are looked at about once a second; whatever is answered of the
rate, and of when each is finished, comes from that.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from smsd.core.campaign import Campaign, CampaignState
from smsd.core.forecast import Backlog, Forecast, forecast
from smsd.redis.errors import RedisError
from smsd.store.campaigns import Campaigns

EVERY_S = 1.0
PART = 50  # one over this is the share of the time that looking may take: there may be very many
REMEMBERED = 5  # looks: the rate is that of as many seconds
LATEST_MS = 1 << 53
MOST_FORECAST = 200  # campaigns: some 0.5 ms
IN_LINE = ""  # an id, for messages of no campaign


class Progress:
    """What is known of the campaigns that have not ended."""

    def __init__(
        self,
        campaigns: Campaigns,
        *,
        queue_length: Callable[[], Awaitable[int]],
        rate: Callable[[], float],
        clock: Callable[[], float],
        now_ms: Callable[[], int],
    ) -> None:
        """`rate`: what was bought, in segments/s. `clock`: in seconds."""
        self._campaigns = campaigns
        self._queue_length = queue_length
        self._rate = rate
        self._clock = clock
        self._now_ms = now_ms
        self._active: dict[str, Campaign] = {}
        self._sent: dict[str, deque[tuple[float, int]]] = {}  # when, and segments by then
        self._in_line = 0  # messages of no campaign

    async def run(self) -> None:
        """Look until cancelled."""
        while True:
            began = self._clock()
            try:
                await self.look()
            except RedisError:
                self.forget()
            await asyncio.sleep(max(EVERY_S, PART * (self._clock() - began)))

    async def look(self) -> None:
        """Look at all of them once. Raises what Redis answers."""
        active = await self._campaigns.active()
        self._active = {one.id: one for one in active}
        queued = await self._queue_length() if active else 0
        ours = sum(one.counts.waiting + one.counts.in_flight - one.unexpanded for one in active)
        self._in_line = max(0, queued - ours)
        now = self._clock()
        before, self._sent = self._sent, {}
        for one in active:
            looks = before.get(one.id) or deque(maxlen=REMEMBERED + 1)
            looks.append((now, one.segments_sent))
            self._sent[one.id] = looks

    def forget(self) -> None:
        """Nothing is known any more."""
        self._active, self._sent, self._in_line = {}, {}, 0

    def rate(self, campaign: Campaign) -> float:
        """Segments/s that it had in the last seconds."""
        looks = self._sent.get(campaign.id)
        if not looks:
            return 0.0
        (begin, sent_before), (end, sent) = looks[0], looks[-1]
        return max(0, sent - sent_before) / (end - begin) if end > begin else 0.0

    def finish_times(self, campaigns: Iterable[Campaign]) -> dict[str, int]:
        """When each leaves its last message, in Unix ms; those that cannot tell are left out."""
        of = {one.id: one for one in campaigns}
        ends = self.forecast(of.values()).finished
        now = self._now_ms()
        return {
            id_: min(now + round(1000 * ends[id_]), one.request.expires_at or LATEST_MS)
            for id_, one in of.items()
            if id_ in ends
        }

    def forecast(
        self, campaigns: Iterable[Campaign], *more: Backlog, until: float | None = None
    ) -> Forecast:
        """What becomes of these, and `more`, among all that there are."""
        known = {one.id: one for one in campaigns}
        others = [one for id_, one in self._active.items() if id_ not in known]
        chosen = [*known.values(), *others][:MOST_FORECAST]
        now = self._now_ms()
        backlogs = [_backlog(one, now) for one in chosen if _runs(one)]
        if self._in_line:
            backlogs.append(Backlog(IN_LINE, self._in_line, goes_first=True))
        backlogs += more
        if until is None:
            return forecast(backlogs, self._rate())
        return forecast(backlogs, self._rate(), until=until)


def segments_of(campaign: Campaign) -> int:
    """What all its messages take, as far as that is known."""
    return round(campaign.segments_expanded + campaign.unexpanded * campaign.segments_each)


def _runs(campaign: Campaign) -> bool:
    return campaign.state in (CampaignState.RUNNING, CampaignState.SCHEDULED)


def _backlog(campaign: Campaign, now: int) -> Backlog:
    counts, request = campaign.counts, campaign.request
    left = counts.waiting + counts.in_flight + counts.deferred
    made = counts.recipients - campaign.unexpanded
    each = campaign.segments_expanded / made if made > 0 else campaign.segments_each
    segments = campaign.unexpanded * campaign.segments_each
    segments += max(0, left - campaign.unexpanded) * (each or campaign.segments_each)
    return Backlog(
        campaign.id,
        segments,
        request.weight,
        goes_first=request.priority == "high",
        starts_at=max(0.0, ((request.send_at or 0) - now) / 1000),
    )
