"""Pauses a campaign that fails by itself. Rule: the messages that showed it are not spent.

They are replayed once the campaign is paused: they wait until it goes on. So are those that were
under way at that moment and are rejected, too.
"""

import asyncio
import logging
from typing import NamedTuple

from smsd.core.campaign import Campaign, split_id
from smsd.core.life import DeadReason
from smsd.core.outcome import Ack, Bury, Verdict
from smsd.core.recent import Recent
from smsd.core.rejections import MOST_CAMPAIGNS, Rejections
from smsd.dispatch.context import Context
from smsd.dispatch.expander import ITSELF
from smsd.redis.errors import Away, OutOfMemory, Refused
from smsd.store.campaigns import Campaigns, WrongState
from smsd.store.dead_letter_request import Choice, Order
from smsd.store.dead_letters import DeadLetters
from smsd.store.entry import Attempt

log = logging.getLogger("smsd.campaign")
PAUSE_S = 1.0  # before Redis is asked again


class _Case(NamedTuple):
    """Messages that are to wait again, and why their campaign is to be paused; "": it was."""

    campaign_id: str
    rejected: list[str]
    reason: str = ""


class AutoPause:
    """Learns what becomes of messages, and pauses campaigns."""

    def __init__(
        self, context: Context, campaigns: Campaigns, dead_letters: DeadLetters, *, most: int
    ) -> None:
        """`most` of the latest messages of a campaign may be rejected; 0: any number."""
        self._now_ms = context.now_ms
        self._campaigns = campaigns
        self._dead_letters = dead_letters
        self._rejections = Rejections(most)
        self._paused_at: Recent[int] = Recent(MOST_CAMPAIGNS)  # Unix ms
        self._cases: asyncio.Queue[_Case] = asyncio.Queue()

    def learn(self, message_id: str, attempt: Attempt, verdict: Verdict) -> None:
        """A verdict on a message was carried out."""
        found = split_id(message_id)
        if found is None:
            return
        campaign_id = found[0]
        match verdict:
            case Ack():
                self._rejections.sent(campaign_id)
            case Bury(DeadReason.REJECTED, code, opted_out=False):
                self._rejected(campaign_id, message_id, attempt, code)
            case _:
                pass

    def _rejected(self, campaign_id: str, message_id: str, attempt: Attempt, code: str) -> None:
        paused_at = self._paused_at.get(campaign_id)
        if paused_at is not None and attempt.started_ms <= paused_at:
            self._cases.put_nowait(_Case(campaign_id, [message_id]))
        elif failing := self._rejections.rejected(campaign_id, message_id, code):
            self._paused_at.remember(campaign_id, self._now_ms())
            self._cases.put_nowait(_Case(campaign_id, failing.rejected, failing.reason))

    async def run(self) -> None:
        """Pause what is to be paused, until cancelled."""
        while True:
            case = await self._cases.get()
            try:
                await self._handle(case)
            except (Away, OutOfMemory):
                await asyncio.sleep(PAUSE_S)
                self._cases.put_nowait(case)
            except Refused as error:
                fields = {"campaign": case.campaign_id, "reason": str(error)}
                log.warning("a campaign that fails cannot be paused", extra=fields)

    async def _handle(self, case: _Case) -> None:
        campaign = await self._campaigns.show(case.campaign_id)
        if campaign is not None and await self._is_paused(campaign, case.reason):
            for message_id in case.rejected:
                await self._dead_letters.replay(Order(Choice(message_id=message_id)))

    async def _is_paused(self, campaign: Campaign, reason: str) -> bool:
        """Pause it for a reason, if there is one. False: it has ended, and nothing of it waits."""
        if not reason:
            return True
        try:
            await self._campaigns.pause(campaign, by=ITSELF, reason=reason)
        except WrongState:
            return False
        log.error("campaign paused", extra={"campaign": campaign.id, "reason": reason})
        return True
