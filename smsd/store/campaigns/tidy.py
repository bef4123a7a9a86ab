"""What a verb or an expiry leaves to do. Rule: in bounded steps, each of which may be repeated.

A pause or a cancellation holds in the instant at which it is made: `begin` looks at the campaign.
What had been queued or deferred before is brought up to it here.
"""

from collections.abc import Sequence
from typing import cast

from smsd.core.campaign import Campaign, CampaignState, message_id
from smsd.core.fields import ENTRY_IN_LOOK_UP
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient

TOGETHER = 100  # messages that one script releases
BUCKETS = 100  # in which one step looks for messages that wait


class Tidying:
    """Brings campaigns up to what was asked of them."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client
        self._swept: dict[str, int] = {}  # by campaign: the hash value up to which it is

    async def step(self, campaign: Campaign) -> bool:
        """One step; whether there is more to do at once."""
        held_key = self._client.keys.campaign_held(campaign.id)
        call = Call("campaign_tidy", {"campaign": campaign.id}, [held_key])
        reply = await self._client.ask(call)
        if reply == b"gone":
            return False
        ending, held, waiting = cast("tuple[bytes, int, int]", reply)
        if held and (ending or campaign.state != CampaignState.PAUSED):
            return await self._release(campaign, held_key) > 0
        if ending == b"cancelled" and waiting:
            return await self._sweep(campaign)
        self._swept.pop(campaign.id, None)
        return False

    async def _release(self, campaign: Campaign, key: str) -> int:
        """Let messages that were held be due, or end; how many of them did."""
        found = await self._client.read(lambda redis: redis.srandmember(key, TOGETHER))
        ids = [text(one) for one in cast("Sequence[bytes]", found)]
        request = {"campaign": campaign.id, "ids": ids}
        places = [key, *map(self._client.keys.message, ids)]
        return cast("int", await self._client.ask(Call("campaign_release", request, places)))

    async def _sweep(self, campaign: Campaign) -> bool:
        """Cancel messages that wait, but for those that are being sent."""
        at = self._swept.get(campaign.id, 0)
        request = {"campaign": campaign.id, "at": at, "most": BUCKETS}
        reply = await self._client.ask(Call("campaign_unsettled", request))
        next_, numbers = cast("tuple[int, list[bytes]]", reply)
        ids = [message_id(campaign.id, campaign.key, text(one)) for one in numbers]
        if ids:
            await self._client.insist_all([self._cancel(id_) for id_ in ids])
        self._swept[campaign.id] = max(next_, 0)
        return next_ >= 0

    def _cancel(self, id_: str) -> Call:
        request = {"id": id_, "look_up_names": ENTRY_IN_LOOK_UP}
        return Call("cancel", request, [self._client.keys.message(id_)])
