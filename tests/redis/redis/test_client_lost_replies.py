"""Lost replies. Rule: what is repeated counts once, and the rest is never repeated."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from smsd.core.life import DeadReason
from smsd.redis.errors import (
    Away,
)
from smsd.store.append import Append
from tests.support.proxy import Proxy
from tests.support.store import (
    ALICE,
    Store,
    Wall,
    content,
    sha,
    soon,
)


async def test_an_append_whose_reply_was_lost_is_repeated_and_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    for _ in range(10):
        proxy.lose_reply(sha("append"))
        await soon(wired.append(ALICE, ALICE))
    proxy.lose_reply(sha("append"), times=3)
    made = await soon(asyncio.gather(*(wired.append() for _ in range(100))))
    assert proxy.lost == 13
    assert len({id_ for [id_] in made}) == 100
    assert await wired.length() == 120


async def test_an_append_that_never_arrived_is_repeated_and_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_request(sha("append"), times=2)
    made = await soon(asyncio.gather(*(wired.append() for _ in range(100))))
    assert proxy.lost == 2
    assert len({id_ for [id_] in made}) == await wired.length() == 100


async def test_a_scheduled_and_an_idempotent_append_are_repeated_too(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_reply(sha("append"))
    await soon(wired.schedule(5))
    assert await wired.redis.zcard(wired.keys.deferred) == 1
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    proxy.lose_reply(sha("append"))
    first = await soon(wired.queue.append(request))
    assert first.answer is None
    assert (await wired.queue.append(request)).ids == first.ids
    assert await wired.length() == 1
    assert await wired.difference() == 0


@pytest.mark.usefixtures("impatient")
async def test_an_append_whose_every_reply_is_lost_fails_and_is_queued_once(
    wired: Store, proxy: Proxy
) -> None:
    proxy.lose_reply(sha("append"), times=1000)
    with pytest.raises(Away):
        await soon(wired.append())
    assert proxy.lost > 1
    assert await wired.length() == 1


async def test_a_begin_whose_reply_was_lost_is_begun(wired: Store, proxy: Proxy) -> None:
    await wired.append()
    entry, message = await wired.claim_one()
    proxy.lose_reply(sha("begin"), times=2)
    begun = await soon(wired.begin(entry, wired.attempt(), message.recipient))
    assert proxy.lost == 2
    assert begun == "begun"
    assert await wired.unsettled.in_flight() == {entry.name: wired.attempt()}


SETTLED = {
    "finish": lambda store, life: store.queue.ack(*life, "p"),
    "defer": lambda store, life: store.queue.defer(*life, until=1, attempts=1, why="w"),
    "bury": lambda store, life: store.queue.bury(*life, reason=DeadReason.REJECTED),
    "release": lambda store, life: store.queue.release(life[0].name, life[1]),
}


@pytest.mark.parametrize("script", SETTLED)
async def test_a_settlement_whose_reply_was_lost_is_done_once(
    wired: Store, proxy: Proxy, script: str
) -> None:
    life = await wired.sending()
    proxy.lose_reply(sha(script), times=2)
    await soon(SETTLED[script](wired, life))
    assert proxy.lost == 2
    assert await wired.unsettled.in_flight() == {}
    assert await wired.difference() == 0
    settled = wired.length() if script != "release" else wired.redis.xlen(wired.keys.dead)
    assert await settled == 0


async def test_a_promotion_whose_reply_was_lost_is_done_once(
    wired: Store, proxy: Proxy, wall: Wall
) -> None:
    for n in range(10):
        await wired.schedule(1, f"s{n}")
    wall.advance(2)
    proxy.lose_reply(sha("promote"))
    await soon(wired.queue.promote())
    assert await wired.length() == 10
    assert await wired.difference() == 0


@pytest.mark.parametrize("script", ["cancel", "replay", "drop"])
async def test_what_a_person_asked_for_is_not_repeated_by_itself_and_can_be_asked_for_again(
    wired: Store, proxy: Proxy, script: str
) -> None:
    letter, dead_id = await wired.dead_letter()
    [id_] = await wired.append()
    operation: dict[str, Callable[[], Awaitable[object]]] = {
        "cancel": lambda: wired.queue.cancel(id_),
        "replay": lambda: wired.queue.replay(letter, dead_id),
        "drop": lambda: wired.queue.drop(letter, dead_id),
    }
    proxy.lose_reply(sha(script))
    with pytest.raises(Away):
        await soon(operation[script]())
    assert await operation[script]() in ("cancelled", False)
    assert await wired.difference() == 0
