"""Recovery. Rule: whatever was claimed and is known to nobody is found again."""

import pytest

from smsd.redis.errors import (
    Away,
)
from tests.redis.dispatching import recovery
from tests.redis.ruins import Ruin, ruins
from tests.support.proxy import Proxy
from tests.support.store import (
    ALICE,
    OpenStore,
    Store,
    sha,
    soon,
)


@ruins
async def test_recovery_goes_on_without_groups(store: Store, ruin: Ruin) -> None:
    await store.sending()
    await store.append()
    await store.claim_one()
    await ruin(store)
    await soon(recovery(store).recover())
    await store.append()
    await store.claimer.admit(await store.queue.claim(10, 10))
    assert await store.unsettled.in_flight() == {}
    assert len(store.prefetch) >= 1


async def test_a_claim_whose_reply_was_lost_is_recovered(wired: Store, proxy: Proxy) -> None:
    await wired.append(*[ALICE] * 5)
    proxy.lose_reply(sha("claim"))
    with pytest.raises(Away):
        await soon(wired.queue.claim(5, 5))
    assert await wired.queue.claim(5, 5) == []
    await recovery(wired).recover()
    assert len(wired.prefetch) == 5


async def test_what_another_daemon_settled_and_a_person_replayed_is_sent_from_its_new_entry(
    open_store: OpenStore,
) -> None:
    first, second = await open_store("a").lead(), open_store("b")
    _, attempt, message = await first.sending()
    await second.lead()
    await recovery(second).recover()
    [letter] = await second.dead_letters.page("", 10)
    assert letter.in_doubt
    assert await second.queue.replay(letter.id, message.id)

    await first.lead()
    await recovery(first).recover()
    entry, again = await first.claim_one()
    assert again.id == message.id
    assert await first.begin(entry, attempt, message.recipient) == "begun"
