"""What a person does to a campaign. Rule: each verb is one step, and may be repeated.

Who asked again finds it done, and changes nothing: the reason stays that of the first.
"""

from collections.abc import Mapping
from typing import NamedTuple, cast

from smsd.core.campaign import Campaign, CampaignState
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.audiences.reader import insist
from smsd.store.campaigns import reader
from smsd.store.campaigns.errors import CountChanged, WrongState
from smsd.store.client import StoreClient

GOING = (CampaignState.RUNNING, CampaignState.PAUSED)  # (in Redis, a scheduled one runs)
TRIES = 20  # while others change its state
ENDED = (CampaignState.FINISHED, CampaignState.NEEDS_ATTENTION, CampaignState.CANCELLED)


class Turn(NamedTuple):
    """A verb that brings a campaign into another state."""

    to: CampaignState
    by: str
    reason: str
    expect: int | None


async def turn(client: StoreClient, campaign: Campaign, asked: Turn) -> Campaign:
    """Pause, resume or cancel it; see `Campaigns.pause`."""
    keys = [client.keys.campaign(campaign.id), client.keys.campaigns_active]
    request: dict[str, object] = {
        "campaign": campaign.id,
        "state": asked.to,
        "from": GOING,
        "reason": asked.reason,
        "by": asked.by,
    }
    if asked.expect is not None:
        request["expect"] = asked.expect
    reply: object = b"again"
    for _ in range(TRIES):
        turns = await client.read(lambda redis: redis.hget(keys[0], "turn"))
        numbered = request | {"turn": text(turns or b"0")}
        reply = await insist(client, Call("campaign_turn", numbered, keys))
        if reply != b"again":  # which may be since our own reply was lost
            break
    _raise_refusal(reply)
    return await _now(client, campaign)


async def edit(
    client: StoreClient, campaign: Campaign, changes: Mapping[str, int | None], by: str
) -> Campaign:
    """Write other values into fields of its record; see `Campaigns.edit`."""
    given = {name: value for name, value in changes.items() if value is not None}
    if given:
        fields = [str(one) for pair in given.items() for one in pair]
        request = {"campaign": campaign.id, "from": GOING, "fields": fields, "by": by}
        call = Call("campaign_edit", request, [client.keys.campaign(campaign.id)])
        _raise_refusal(await insist(client, call))
    return await _now(client, campaign)


async def remove(client: StoreClient, campaign: Campaign, by: str) -> None:
    """Forget it; see `Campaigns.remove`."""
    keys = client.keys
    places = [
        keys.campaign(campaign.id),
        keys.campaigns,
        keys.campaign_names,
        keys.campaigns_active,
        keys.campaign_held(campaign.id),
        keys.audiences_unfinished,
    ]
    request = {"campaign": campaign.id, "name": campaign.request.name, "from": ENDED, "by": by}
    reply = await insist(client, Call("campaign_remove", request, places))
    if reply != b"absent":  # perhaps it was we, and the reply was lost
        _raise_refusal(reply)


def _raise_refusal(reply: object) -> None:
    if reply == b"absent":
        raise WrongState("has been removed")
    if reply == b"again":
        raise WrongState("is changed again and again")
    if not isinstance(reply, list):
        return
    what, detail = cast("tuple[bytes, bytes | int]", reply)
    if what == b"count":
        raise CountChanged(int(detail))
    if what == b"open":
        raise WrongState(f"has {int(detail)} messages that are not settled yet")
    raise WrongState(f"is {text(detail)}")


async def _now(client: StoreClient, campaign: Campaign) -> Campaign:
    found = await reader.show(client, campaign.id)
    if found is None:
        raise WrongState("has been removed")
    return found
