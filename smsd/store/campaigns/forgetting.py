"""Campaigns that ended long ago. Rule: each goes as a whole, but for those that need attention."""

from contextlib import suppress

from smsd.core.campaign import CampaignState
from smsd.store.campaigns import reader, verbs
from smsd.store.campaigns.errors import WrongState
from smsd.store.client import StoreClient

ITSELF = "smsd"  # who removes them
_GO = (CampaignState.FINISHED, CampaignState.CANCELLED)


async def forget_ended(client: StoreClient, before: int) -> int:
    """See `Campaigns.forget_ended`."""
    after, more, forgotten = "", True, 0
    while more:
        page, after = await reader.page(client, after, reader.MOST_IN_PAGE)
        for campaign in page:
            if campaign.state in _GO and campaign.since < before:
                with suppress(WrongState):  # some of it is still being cancelled
                    await verbs.remove(client, campaign, ITSELF)
                    forgotten += 1
        more = bool(after)
    return forgotten
