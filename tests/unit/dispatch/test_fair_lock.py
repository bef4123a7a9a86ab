"""The lock of the pace. Rule: one holder at a time, in the order of arrival, whoever gives up."""

import asyncio
import random

import pytest

from smsd.dispatch.fair_lock import FairLock


@pytest.mark.parametrize("together", [1, 3, 100])
@pytest.mark.parametrize("seed", range(30))
async def test_one_at_a_time_in_order_whoever_gives_up(together: int, seed: int) -> None:
    chance = random.Random(seed)
    lock, inside, entered = FairLock(), 0, list[int]()

    async def pass_through(number: int, turns: int) -> None:
        nonlocal inside
        await lock.acquire(together)
        try:
            entered.append(number)
            inside += 1
            assert inside == 1
            for _ in range(turns):
                await asyncio.sleep(0)
        finally:
            inside -= 1
            lock.release(together)

    tasks: list[asyncio.Task[None]] = []
    for number in range(60):
        tasks.append(asyncio.create_task(pass_through(number, chance.choice([0, 0, 1, 3]))))
        if chance.random() < 0.3:
            await asyncio.sleep(0)
        if chance.random() < 0.3:
            chance.choice(tasks).cancel()
    async with asyncio.timeout(20):
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    assert entered == sorted(entered)
    assert all(end is None or isinstance(end, asyncio.CancelledError) for end in ends)
    assert {number for number, end in enumerate(ends) if end is None} <= set(entered)


async def test_a_crowd_passes_in_one_turn_of_the_loop_when_called_together() -> None:
    lock, passed = FairLock(), list[int]()

    async def pass_through(number: int) -> None:
        await lock.acquire(100)
        passed.append(number)
        lock.release(100)

    await lock.acquire(100)
    crowd = [asyncio.create_task(pass_through(number)) for number in range(50)]
    await asyncio.sleep(0)
    assert passed == []
    lock.release(100)
    await asyncio.sleep(0)
    assert passed == list(range(50))
    await asyncio.gather(*crowd)


async def test_nobody_overtakes_those_who_have_been_called() -> None:
    lock, passed = FairLock(), list[str]()

    async def pass_through(name: str) -> None:
        await lock.acquire(1)
        passed.append(name)
        lock.release(1)

    await lock.acquire(1)
    first = asyncio.create_task(pass_through("first"))
    await asyncio.sleep(0)
    lock.release(1)
    await asyncio.gather(pass_through("second"), first)
    assert passed == ["first", "second"]
