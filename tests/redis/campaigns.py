"""Campaigns in tests: short ways to start one, and to see its recipients."""

from collections.abc import Sequence
from typing import Any

from smsd.core.campaign import Campaign, CampaignRequest
from tests.redis.audiences import import_rows, numbers
from tests.support.store import Store

BODY = "Hi {{ name }}"


def request(**given: Any) -> CampaignRequest:
    """A request for a campaign over the audience `a`, where nothing else is given."""
    return CampaignRequest(**{"name": "spring", "message": BODY, "audience": "a"} | given)


async def start(
    store: Store,
    given: CampaignRequest | None = None,
    *,
    required: Sequence[str] = (),
    columns: Sequence[str] = (),
    idempotency: tuple[str, str] | None = None,
) -> Campaign:
    """Start a campaign; it is another one than before."""
    campaign, before = await store.campaigns.start(
        given or request(), by="me", required=required, columns=columns, idempotency=idempotency
    )
    assert not before
    return campaign


async def audience(store: Store, count: int, name: str = "a") -> list[str]:
    """An audience of this many contacts, with the fields `name` and `city`; their numbers."""
    rows = [[number, f"name {n}", f"city {n}"] for n, number in enumerate(numbers(count))]
    await import_rows(store, name, rows, fields=["name", "city"])
    return [row[0] for row in rows]


async def frozen(store: Store, campaign: Campaign) -> dict[str, str]:
    """The recipients as the buckets have them: number to value."""
    found: dict[str, str] = {}
    async for key in store.redis.scan_iter(match=f"{store.keys.audience(campaign.id)}:*"):
        for number, value in (await store.redis.hgetall(key)).items():
            found[f"+{number.decode()}"] = value.decode()
    return found


async def shown(store: Store, campaign: Campaign) -> Campaign:
    """The campaign as it is now."""
    found = await store.campaigns.show(campaign.id)
    assert found is not None
    return found
