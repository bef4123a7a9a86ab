"""From recipients to messages. Rule: about a second of work lies in line, and little more.

So a campaign that is paused or cancelled has little in line, and a message to one person has little
before it. Campaigns take fair turns, those of high priority among themselves: what they have in
line delays other messages of high priority by less than a second.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from smsd.core.campaign import Campaign, CampaignState
from smsd.core.fields import FieldError, Priority
from smsd.core.pacer import SECOND
from smsd.core.rejections import Rejections
from smsd.core.turns import Turns
from smsd.dispatch.bodies import Bodies, Body
from smsd.dispatch.context import Context
from smsd.dispatch.hold import Hold
from smsd.dispatch.prefetch import Prefetch
from smsd.redis.errors import Away, OutOfMemory, Refused
from smsd.store.arrivals import Arrivals
from smsd.store.campaigns import Campaigns, Rendered, Waiting, WrongState
from smsd.store.handed_out import Fenced

log = logging.getLogger("smsd.campaign")

AHEAD_S: Mapping[Priority, float] = {"high": 0.75, "normal": 1.25}  # of work in line
LEAST_AHEAD = 4  # segments in line while dispatch is held: others must be left to probe with
TURN_S = 0.1  # of work that a turn puts in line at most
MOST_IN_TURN = 100  # messages: what one script queues
STEP = 16  # messages made in one turn of the event loop: a third of a millisecond
PAUSE_S = 0.1  # between looks at what is in line
TIDY_S = 0.005  # between steps, while much is left to do: Redis has others to serve
LOOK_S = 0.5  # between looks at which campaigns there are
PART = 10  # of the time at most goes into those, where there are very many: a tenth
FAILED_PAUSE_S = 0.5  # after Redis could not do what it was asked to
ITSELF = "smsd"  # who pauses a campaign that cannot run


class Expander:
    """Puts messages of campaigns in line, and finishes what a verb has begun."""

    def __init__(
        self,
        context: Context,
        campaigns: Campaigns,
        arrivals: Arrivals,
        prefetch: Prefetch,
        hold: Hold,
        *,
        rate: Callable[[], float],
        most_faults: int,
    ) -> None:
        """`rate`: segments per second. `most_faults`: of the latest messages; 0: any number."""
        self._clock = context.clock
        self._now_ms = context.now_ms
        self._metrics = context.metrics
        self._on_fenced = context.on_fenced
        self._may_send = context.may_send
        self._campaigns = campaigns
        self._arrivals = arrivals
        self._prefetch = prefetch
        self._hold = hold
        self._rate = rate
        self._bodies = Bodies(context.limits)
        self._faults = Rejections(most_faults, what="cannot be sent")
        self._turns: Mapping[Priority, Turns] = {"high": Turns(), "normal": Turns()}
        self._running: dict[str, Campaign] = {}
        self._untidy: list[Campaign] = []
        self._segments_each = 1.0  # of messages that were made of late
        self._look_at = 0

    async def run(self) -> None:
        """Expand until cancelled."""
        while True:
            try:
                await self._step()
                await asyncio.sleep(TIDY_S if self._untidy else PAUSE_S)
            except Fenced:
                self._on_fenced()
                await asyncio.sleep(FAILED_PAUSE_S)
            except (Refused, Away, OutOfMemory):
                await asyncio.sleep(FAILED_PAUSE_S)

    async def _step(self) -> None:
        if not self._may_send():  # older data may show as waiting what is being sent
            return
        if self._clock() >= self._look_at:
            await self._look()
        self._untidy = [one for one in self._untidy if await self._tidy(one)]
        if self._running:
            await self._fill()

    # -- which there are --------------------------------------------------------------------------

    async def _look(self) -> None:
        began = self._clock()
        active = await self._campaigns.active()
        self._metrics.campaigns_active = len(active)
        self._running = {one.id: one for one in active if self._has_work(one)}
        self._untidy = [one for one in active if self._may_be_untidy(one)]
        self._bodies.keep(self._running)
        for priority, turns in self._turns.items():
            those = (one for one in self._running.values() if one.request.priority == priority)
            turns.keep({one.id: one.request.weight for one in those})
        now = self._clock()
        self._look_at = now + max(round(LOOK_S * SECOND), PART * (now - began))

    def _has_work(self, campaign: Campaign) -> bool:
        expires_at = campaign.request.expires_at
        expired = expires_at is not None and expires_at <= self._now_ms()
        return campaign.state is CampaignState.RUNNING and campaign.unexpanded > 0 and not expired

    def _may_be_untidy(self, campaign: Campaign) -> bool:
        """Nothing is left to do of one that has not begun, or goes on and was never paused."""
        goes_on = campaign.id in self._running and campaign.counts.held == 0
        return campaign.state is not CampaignState.SCHEDULED and not goes_on

    async def _tidy(self, campaign: Campaign) -> bool:
        """One step, however many there are: others must not wait for it. Whether there are more."""
        try:
            return await self._campaigns.tidy(campaign)
        except Refused:  # its own keys are damaged
            return False

    # -- turns ------------------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Let campaigns have turns, as long as too little is in line."""
        unclaimed, each = await self._arrivals.unclaimed(), self._segments_each
        high = self._prefetch.segments("h") + unclaimed.high * each
        normal = self._prefetch.segments("n") + unclaimed.normal * each
        high = await self._take_turns("high", high)
        await self._take_turns("normal", high + normal)

    async def _take_turns(self, priority: Priority, in_line: float) -> float:
        """Take turns as long as less than enough is in line; how much is then."""
        turns = self._turns[priority]
        while (missing := self._enough(priority) - in_line) > 0 and (id_ := turns.next) is not None:
            most = min(missing, TURN_S * self._rate(), MOST_IN_TURN)
            made = await self._take_turn(self._running[id_], max(1, math.ceil(most)))
            if made:
                turns.took(id_, made)
            else:  # until the next look
                turns.drop(id_)
            in_line += made
        return in_line

    def _enough(self, priority: Priority) -> float:
        """How many segments are to be in line."""
        enough = self._rate() * AHEAD_S[priority] * self._hold.share
        if self._hold.operator_reason or not self._hold.engaged:
            return enough
        # A message that probes waits afterwards, or is refused. With none in line nobody would find
        # out that the provider is up again.
        return max(enough, LEAST_AHEAD)

    async def _take_turn(self, campaign: Campaign, most: int) -> int:
        """Put messages of `most` segments in line: of how many. 0: it has none, or may not."""
        try:
            body = self._bodies.of(campaign)
            recipients = await self._campaigns.waiting(campaign, most)
            messages, segments = await self._make(campaign, body, recipients, most)
            new = await self._campaigns.expand(campaign, messages) if messages else 0
        except Refused:  # the others must not wait until its keys, or its stream, are mended
            return 0
        except (FieldError, KeyError) as error:
            await self._pause(campaign, f"its message cannot be read: {error}")
            return 0
        self._metrics.recipients_expanded += new
        if not new:
            return 0
        self._segments_each = segments / len(messages)
        return segments

    async def _make(
        self, campaign: Campaign, body: Body, recipients: Sequence[Waiting], most: int
    ) -> tuple[list[Rendered], int]:
        """Messages of as many segments as a turn has, and one message at least."""
        messages: list[Rendered] = []
        segments = 0
        for number, values in recipients:
            if segments >= most:
                break
            message, fault = body.message(campaign, number, values)
            if fault and (failing := self._faults.rejected(campaign.id, number, fault)):
                await self._pause(campaign, failing.reason)
                return [], 0
            if not fault:
                self._faults.sent(campaign.id)
            messages.append(message)
            segments += message.segments
            if len(messages) % STEP == 0:
                await asyncio.sleep(0)
        return messages, segments

    async def _pause(self, campaign: Campaign, reason: str) -> None:
        log.error("a campaign cannot run", extra={"campaign": campaign.id, "reason": reason})
        with suppress(WrongState):  # it was cancelled meanwhile
            await self._campaigns.pause(campaign, by=ITSELF, reason=reason)
