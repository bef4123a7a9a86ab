"""Many calls at once. Rule: reads do not keep a message from its slot."""

import asyncio

import pytest

from smsd.redis import availability
from smsd.redis.client import PLACES
from smsd.redis.scripts import Call
from tests.support.proxy import Proxy
from tests.support.store import (
    Store,
    soon,
)


async def test_however_much_is_asked_for_a_text_is_begun_meanwhile(store: Store) -> None:
    await store.append()
    entry, message = await store.claim_one()
    answered: list[str] = []

    async def cancel(number: int) -> None:
        answered.append(await store.queue.cancel(f"{number}-0"))

    cancels = [asyncio.create_task(cancel(number)) for number in range(1, 1001)]
    await asyncio.sleep(0)
    assert await soon(store.begin(entry, store.attempt(), message.recipient)) == "begun"
    before = len(answered)
    await soon(asyncio.gather(*cancels))
    assert before < 500


@pytest.mark.parametrize(
    ("call", "keyed"),
    [(Call("census"), False), (Call("cancel", {"id": "1-0", "look_up_names": []}), True)],
)
async def test_who_waits_behind_others_does_not_take_redis_for_away(
    wired: Store,
    proxy: Proxy,
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
    *,
    keyed: bool,
) -> None:
    if keyed:
        call = call._replace(keys=[wired.keys.message("1-0")])
    seen: list[bool] = []
    wired.availability.changed = lambda up, _why: seen.append(up)
    monkeypatch.setattr(availability, "REPLY_S", 1.5)
    proxy.reply_takes_s = 0.1
    callers = int(PLACES * availability.REPLY_S / proxy.reply_takes_s) + 2 * PLACES
    answers = await soon(
        asyncio.gather(*(wired.client.ask(call) for _ in range(callers)), return_exceptions=True)
    )
    assert not [answer for answer in answers if isinstance(answer, Exception)]
    assert False not in seen
