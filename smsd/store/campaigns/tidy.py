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
        ending, held, waiting, listed = cast("tuple[bytes, int, int, int]", reply)
        if listed and (ending or campaign.state != CampaignState.PAUSED):
            found = await self._client.read(lambda redis: redis.srandmember(held_key, TOGETHER))
            return await self._release(campaign, list(map(text, cast("list[bytes]", found)))) > 0
        if held and (ending or campaign.state != CampaignState.PAUSED):  # other hands were there
            return await self._sweep(campaign, ["held"])
        if ending == b"cancelled" and waiting:
            return await self._sweep(campaign, ["queued", "deferred"])
        self._swept.pop(campaign.id, None)
        return False

    async def _sweep(self, campaign: Campaign, states: Sequence[str]) -> bool:
        """Look for messages in these states, and release those, or cancel them; not all at once."""
        at = self._swept.get(campaign.id, 0)
        request = {"campaign": campaign.id, "states": states, "at": at, "most": BUCKETS}
        reply = await self._client.ask(Call("campaign_unsettled", request))
        next_, numbers = cast("tuple[int, list[bytes]]", reply)
        ids = [message_id(campaign.id, campaign.key, text(one)) for one in numbers]
        for first in range(0, len(ids), TOGETHER):
            some = ids[first : first + TOGETHER]
            await (self._release(campaign, some) if "held" in states else self._cancel(some))
        self._swept[campaign.id] = max(next_, 0)
        return next_ >= 0

    async def _release(self, campaign: Campaign, ids: Sequence[str]) -> int:
        """Let messages that were held be due, or end; how many of them did."""
        keys = self._client.keys
        places = [keys.campaign_held(campaign.id), *map(keys.message, ids)]
        call = Call("campaign_release", {"campaign": campaign.id, "ids": ids}, places)
        return cast("int", await self._client.ask(call))

    async def _cancel(self, ids: Sequence[str]) -> None:
        """Cancel messages that wait, but for those that are being sent."""
        message = self._client.keys.message
        requests = [{"id": id_, "look_up_names": ENTRY_IN_LOOK_UP} for id_ in ids]
        calls = [
            Call("cancel", one, [message(id_)]) for one, id_ in zip(requests, ids, strict=True)
        ]
        await self._client.insist_all(calls)
