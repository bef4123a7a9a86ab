"""Redis as others run it: everything that a store asks of one, and why one cannot be reached."""

import pytest
import redis

from smsd.core.life import DeadReason
from smsd.redis.connection import connect
from smsd.redis.errors import Away, meaning
from smsd.store.append import Append
from tests.redis.audiences import import_rows, keys_of_audiences, numbers, values
from tests.redis.campaigns import audience as campaign_audience
from tests.redis.campaigns import request, start
from tests.redis.recipients import expand
from tests.support.store import ALICE, Store, content


async def whole_life(store: Store) -> None:
    """Every script a text can meet, each to its end."""
    await _campaign(store)
    await store.append(ALICE, ALICE, priority="high")
    entry, attempt, message = await store.begin_next()
    assert await store.queue.ack(entry, attempt, message, "p")
    entry, attempt, message = await store.begin_next()
    assert await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
    await store.schedule(-1)
    assert await store.queue.promote() == 2
    life = await store.begin_next()
    assert await store.queue.bury(*life, reason=DeadReason.REJECTED, opted_out=True)
    assert (await store.lookup.message(message.id) or {})["state"] in ("dead", "queued")
    [letter, *_] = await store.dead_letters.page("", 10)
    assert await store.queue.replay(letter[0], letter[1]["id"])
    [id_] = await store.append()
    assert await store.queue.cancel(id_) == "cancelled"
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    assert (await store.queue.append(request)).answer is None
    assert (await store.queue.append(request)).answer == b"{}"
    claimed, _ = await store.claim_one()
    assert [entry.name for entry in await store.queue.reclaim([claimed.name])] == [claimed.name]
    assert await store.difference() == 0
    await _audience(store)


async def _campaign(store: Store) -> None:
    """Every script of a campaign; its recipients are in several buckets."""
    people = await campaign_audience(store, 500)
    campaign = await start(store, request(recipients=(ALICE,)), idempotency=("c", "f"))
    assert campaign.counts.recipients == 501
    campaign = await store.campaigns.pause(campaign, by="me", reason="r", expect=501)
    campaign = await store.campaigns.resume(campaign, by="me", reason="r")
    campaign = await store.campaigns.edit(campaign, by="me", weight=2, expires_at=None)
    waiting = await store.campaigns.waiting(campaign, 10)
    assert {one.number for one in waiting} <= {*people, ALICE}
    await expand(store, campaign, people[0])
    assert await store.queue.ack(*await store.begin_next(), "p")
    [active] = await store.campaigns.active()
    assert (active.counts.sent, active.counts.waiting) == (1, 500)
    page = await store.campaigns.recipients(campaign, state="sent")
    assert [one.number for one in page.recipients] == [people[0]]
    campaign = await store.campaigns.cancel(campaign, by="me", reason="r")
    assert campaign.counts.cancelled == 500
    assert not await store.campaigns.tidy(campaign)
    await store.campaigns.remove(campaign, by="me")
    await store.audiences.remove("a")
    await store.audiences.clean()
    assert await keys_of_audiences(store) == set()


async def _audience(store: Store) -> None:
    """Every script of an audience; it has several buckets."""
    rows = [[number, "x"] for number in numbers(500)]
    await import_rows(store, "a", rows, fields=["name"])
    assert (await import_rows(store, "a", rows[:1], replace=False)).counts.unchanged == 1
    added = await import_rows(store, "a", [*rows, [ALICE, "x"]], fields=["name"], replace=False)
    assert (added.counts.added, added.counts.unchanged) == (1, 500)
    assert len(await values(store, "a")) == 501
    assert [one.contacts for one in await store.audiences.all()] == [501]
    assert await store.audiences.discard("a", ALICE)
    assert await store.audiences.remove("a")
    await store.audiences.clean()
    assert await keys_of_audiences(store) == set()


async def refusal_of(url: str) -> redis.RedisError:
    async with connect(url, connections=1, timeout_s=3.0) as client:
        with pytest.raises(redis.RedisError) as caught:
            await client.ping()
    assert isinstance(meaning(caught.value), Away)
    return caught.value
