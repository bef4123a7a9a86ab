"""Campaigns as a person runs them, beside daemons: by the calls that HTTP is made of."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from smsd.core.campaign import Campaign, CampaignRequest, Counts
from smsd.redis.availability import Availability
from smsd.redis.damage import Damage
from smsd.store import Bounds, Store
from smsd.store.campaigns import Campaigns, Recipient
from tests.support.processes import eventually

T = TypeVar("T")
BOUNDS = Bounds(5_000_000, 100_000, 86_400_000, 86_400_000, 0)
BY = "a test"


class Desk:
    """Starts campaigns, changes them and looks at them."""

    def __init__(self, url: str) -> None:
        """`url`: of Redis."""
        self._url = url

    def start(self, name: str, message: str, **given: Any) -> str:
        """Start one; its id."""
        request = CampaignRequest(name, message, **given)
        campaign, _ = self.ask(lambda campaigns: campaigns.start(request, by=BY))
        return campaign.id

    def show(self, id_: str) -> Campaign:
        found = self.ask(lambda campaigns: campaigns.show(id_))
        assert found is not None
        assert sum(found.counts[1:]) == found.counts.recipients, "counts add up at every look"
        return found

    def all(self) -> list[Campaign]:
        """Every campaign, the latest first."""
        campaigns, _ = self.ask(lambda campaigns: campaigns.page(count=100))
        return campaigns

    def recipients(self, campaign: Campaign) -> list[Recipient]:
        """All its recipients."""

        async def read(campaigns: Campaigns) -> list[Recipient]:
            found, cursor, more = [], "", True
            while more:
                page = await campaigns.recipients(campaign, cursor=cursor, count=500)
                found += page.recipients
                cursor = page.cursor
                more = cursor != ""
            return found

        return self.ask(read)

    def counts(self, id_: str) -> Counts:
        return self.show(id_).counts

    def state(self, id_: str) -> str:
        return self.show(id_).state

    def turn(self, verb: str, id_: str, reason: str = "chaos") -> Campaign:
        """Pause, resume or cancel."""
        campaign = self.show(id_)
        verbs = {"pause": Campaigns.pause, "resume": Campaigns.resume, "cancel": Campaigns.cancel}
        return self.ask(lambda all_: verbs[verb](all_, campaign, by=BY, reason=reason))

    def until(self, id_: str, *states: str, seconds: float = 60) -> Campaign:
        """Wait for one of these states."""
        eventually(
            lambda: self.state(id_) in states, seconds, f"{id_} is one of {', '.join(states)}"
        )
        return self.show(id_)

    def ask(self, call: Callable[[Campaigns], Awaitable[T]]) -> T:
        """One call of the store, over a connection of its own."""
        return asyncio.run(self._ask(call))

    async def _ask(self, call: Callable[[Campaigns], Awaitable[T]]) -> T:
        store = Store(
            self._url,
            "smsd:",
            owner="desk",
            now_ms=lambda: time.time_ns() // 1_000_000,
            bounds=BOUNDS,
            availability=Availability(),
            damage=Damage(time.monotonic_ns),
        )
        async with store:
            return await call(store.campaigns)
