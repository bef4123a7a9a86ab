"""Recipients of a campaign. Rule: a page costs the same, however many recipients there are.

What became of each is its value among the frozen contacts (`results`); those without a message
share one state.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from smsd.core.campaign import Campaign, message_id
from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.audiences import MOST_IN_PAGE, is_number, position
from smsd.store.campaigns.record import OTHERS, WAITING
from smsd.store.campaigns.results import unpack
from smsd.store.client import StoreClient

STEPS = 20  # of one page: 1,000 buckets, some 30,000 recipients
# As in `Counts`, to what is kept; a message that is in flight is one that waits.
STATES: Mapping[str, Sequence[str]] = {"waiting": WAITING} | {state: (state,) for state in OTHERS}
_SHOWN = {kept: shown for shown, all_kept in STATES.items() for kept in all_kept}


class Recipient(NamedTuple):
    """One recipient of a campaign, and what became of the message to them."""

    number: str  # E.164
    message_id: str
    state: str  # as in `Counts`, but for `in_flight`: such a message is waiting
    at: int | None = None  # Unix ms, to the second
    provider_id: str = ""
    reason: str = ""  # why it is dead


class RecipientPage(NamedTuple):
    """Some recipients, and where to go on; "" at the end."""

    recipients: list[Recipient]
    cursor: str


async def page(
    client: StoreClient, campaign: Campaign, state: str, cursor: str, count: int
) -> RecipientPage:
    """Recipients from `cursor` on; see `Campaigns.recipients`."""
    keys = [client.keys.campaign(campaign.id), client.keys.audience(campaign.id)]
    request: dict[str, object] = {"states": STATES[state]} if state else {}
    at, count, found = position(cursor), min(count, MOST_IN_PAGE), list[Recipient]()
    for _ in range(STEPS):
        step = request | {"at": at, "most": count - len(found)}
        reply = await client.ask(Call("campaign_page", step, keys))
        if reply == b"gone":
            raise Refused("is gone, and the recipients with it", keys[1])
        at, flat, rest = cast("tuple[int, list[bytes], bytes]", reply)
        pairs = zip(flat[::2], flat[1::2], strict=True)
        found += [_recipient(campaign, text(number), raw, text(rest)) for number, raw in pairs]
        if at < 0 or len(found) >= count:
            break
    return RecipientPage(found, str(at) if at >= 0 else "")


async def look(client: StoreClient, campaign: Campaign, number: str) -> Recipient | None:
    """One recipient, if it is one."""
    if not is_number(number):
        return None
    digits, key = number.removeprefix("+"), client.keys.campaign(campaign.id)
    call = Call("audience_look", {"number": digits}, [client.keys.audience(campaign.id)])
    reply = await client.ask(call)
    if not isinstance(reply, list):
        return None
    rest = await client.read(lambda redis: redis.hget(key, "rest"))
    return _recipient(campaign, digits, cast("list[bytes]", reply)[0], text(rest or ""))


def _recipient(campaign: Campaign, digits: str, value: bytes, rest: str) -> Recipient:
    number, result = f"+{digits}", unpack(value, campaign.created, rest)
    id_ = message_id(campaign.id, campaign.key, number)
    state = _SHOWN.get(result.state, result.state)
    return Recipient(number, id_, state, result.at, result.provider_id, result.reason)
