"""Looking at campaigns. Rule: what a look costs is bounded, however many recipients there are."""

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import cast

from smsd.core.campaign import Campaign
from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.campaigns.record import in_flight_of, unpack
from smsd.store.client import StoreClient

MOST_IN_PAGE = 100  # campaigns
TOGETHER = 25  # that one script reads: to parse them takes less than a millisecond
_ID = re.compile(r"c[0-9a-z]{1,13}")

Looked = tuple[list[Sequence[bytes]], object]  # as campaign_look answers


async def look(client: StoreClient, ids: Sequence[str]) -> list[Campaign | None]:
    """Campaigns by their ids. Raises `Refused` where one cannot be read."""
    found = await _records(client, ids)
    return [_read(client, id_, raw, found[1]) for id_, raw in zip(ids, found[0], strict=True)]


async def look_readable(
    client: StoreClient, ids: Sequence[str], *, in_flight: bool = True
) -> list[Campaign]:
    """Those of them that are there and can be read (`smsd fsck` names the others).

    `in_flight`: whether messages in flight are counted; otherwise they are among those that wait.
    """
    campaigns = []
    for at in range(0, len(ids), TOGETHER):
        some = ids[at : at + TOGETHER]
        found = await _records(client, some, in_flight=in_flight)
        for id_, raw in zip(some, found[0], strict=True):
            with suppress(Refused):
                if campaign := _read(client, id_, raw, found[1]):
                    campaigns.append(campaign)
    return campaigns


async def show(client: StoreClient, id_or_name: str) -> Campaign | None:
    """One campaign. An id comes before a name that looks like one."""
    if _ID.fullmatch(id_or_name):
        [campaign] = await look(client, [id_or_name])
        if campaign:
            return campaign
    names = client.keys.campaign_names
    id_ = await client.read(lambda redis: redis.hget(names, id_or_name))
    if id_ is None or not _ID.fullmatch(text(id_)):
        return None
    [campaign] = await look(client, [text(id_)])
    return campaign


async def page(client: StoreClient, after: str, count: int) -> tuple[list[Campaign], str]:
    """Campaigns that were started before the one with id `after`, the latest first."""
    highest = f"({after}" if after else "+"
    count = min(count, MOST_IN_PAGE)
    key = client.keys.campaigns
    found = await client.read(
        lambda redis: redis.zrevrangebylex(key, highest, "-", start=0, num=count)
    )
    ids = [text(one) for one in cast("list[bytes]", found)]
    campaigns = await look_readable(client, [id_ for id_ in ids if _ID.fullmatch(id_)])
    return campaigns, ids[-1] if len(ids) == count else ""


async def _records(client: StoreClient, ids: Sequence[str], *, in_flight: bool = True) -> Looked:
    keys = [client.keys.campaign(id_) for id_ in ids]
    call = Call("campaign_look", {"in_flight": in_flight}, keys)
    return cast("Looked", await client.ask(call))


def _read(client: StoreClient, id_: str, raw: Sequence[bytes], counts: object) -> Campaign | None:
    if not raw:
        return None
    in_flight = in_flight_of(counts).get(id_, 0)
    return unpack(id_, raw, in_flight, client.now_ms(), client.keys)
