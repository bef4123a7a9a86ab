"""Recipients of campaigns: their messages, their states, and the counts of those."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from smsd.core.campaign import Campaign, message_id
from smsd.redis.client import text
from smsd.store.campaigns import expansion
from smsd.store.campaigns.expansion import Rendered
from smsd.store.campaigns.results import Result, unpack
from tests.redis.audiences import import_rows, numbers
from tests.redis.campaigns import request, start
from tests.support.store import Store

__all__ = ["numbers"]


async def make(store: Store, people: Sequence[str], **given: Any) -> Campaign:
    """A running campaign to these numbers, each with its last digit as the value of `digit`."""
    await import_rows(store, "a", [[one, one[-1]] for one in people], fields=["digit"])
    return await start(store, request(**given))


async def set_state(store: Store, campaign: Campaign, state: str) -> None:
    await store.redis.hset(store.keys.campaign(campaign.id), "state", state)


def rendered(number: str, **fields: str) -> Rendered:
    given = {"to": number, "message": "Hi", "campaign": "spring", **fields}
    return Rendered(number, [part for pair in given.items() for part in pair], 1)


async def expand(store: Store, campaign: Campaign, *recipients: str, **fields: str) -> list[str]:
    """Expand these recipients; the ids of their messages."""
    messages = [rendered(one, **fields) for one in recipients]
    await expansion.expand(store.client, campaign, messages)
    return [message_id(campaign.id, campaign.key, one) for one in recipients]


async def counts(store: Store, campaign: Campaign) -> dict[str, int]:
    """The counts of a campaign that are not 0, by their names in its record."""
    record = await store.redis.hgetall(store.keys.campaign(campaign.id))
    names = ("n:", "segments_")
    return {
        text(name): int(value)
        for name, value in record.items()
        if text(name).startswith(names) and int(value)
    }


async def results(store: Store, campaign: Campaign) -> dict[str, Result]:
    """What the value of each recipient says."""
    rest = text(await store.redis.hget(store.keys.campaign(campaign.id), "rest") or "")
    found = {}
    state = store.keys.audience(campaign.id)
    async for key in store.redis.scan_iter(match=f"{state}:*", count=1000):
        for number, value in (await store.redis.hgetall(key)).items():
            found[f"+{text(number)}"] = unpack(value, campaign.created, rest)
    return found


async def assert_counts_are_true(store: Store, campaign: Campaign) -> None:
    """The counts are those of the recipients' values."""
    found = (await results(store, campaign)).values()
    states = {f"n:{state}": many for state, many in Counter(one.state for one in found).items()}
    reasons = Counter(one.reason.split(" ")[0] for one in found if one.state == "dead")
    states |= {f"n:dead:{reason}": many for reason, many in reasons.items()}
    counted = await counts(store, campaign)
    assert {name: n for name, n in counted.items() if name.startswith("n:")} == states
