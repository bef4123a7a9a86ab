"""The memory for bodies. Rule: the slowest gives way, and what was held comes back once."""

import asyncio

import pytest

from smsd.web.edge.body_memory import BODIES, BodyMemory, HeldBody
from smsd.web.errors import ApiError

ALL = BODIES * 10


async def arriving(body: HeldBody, octets: int) -> str:
    """A body that stops after some octets: how its reader ends."""
    body.reserve(0)
    try:
        async with asyncio.timeout(60) as limit:
            with body.arriving(limit):
                body.reserve(octets)
                await asyncio.Event().wait()
    except TimeoutError:
        return "gave way" if body.gave_way else "timeout"
    finally:
        body.release()
    raise AssertionError


def memory_left(memory: BodyMemory) -> int:
    body, left = memory.body(), 0
    while left <= ALL:
        try:
            body.reserve(1)
        except ApiError:
            break
        left += 1
    body.release()
    return left


async def test_what_is_held_counts_and_nothing_else() -> None:
    memory = BodyMemory(10)
    assert memory_left(memory) == ALL
    one, other = memory.body(), memory.body()
    one.reserve(3)
    one.reserve(4)
    other.reserve(1)
    assert memory_left(memory) == ALL - 8
    one.release()
    one.release()
    assert memory_left(memory) == ALL - 1
    other.release()
    assert memory_left(memory) == ALL


async def test_where_nothing_is_arriving_the_new_body_is_refused() -> None:
    memory = BodyMemory(10)
    full = memory.body()
    full.reserve(ALL)
    with pytest.raises(ApiError) as caught:
        memory.body().reserve(1)
    assert (caught.value.status, caught.value.code) == (503, "busy")
    full.release()
    assert memory_left(memory) == ALL


async def test_the_one_that_has_been_arriving_for_longest_gives_way() -> None:
    memory = BodyMemory(10)
    slow = asyncio.create_task(arriving(memory.body(), ALL - 5))
    late = asyncio.create_task(arriving(memory.body(), 5))
    await asyncio.sleep(0)
    quick = memory.body()
    quick.reserve(7)
    assert await asyncio.wait_for(slow, 20) == "gave way"
    assert not late.done()
    quick.release()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert memory_left(memory) == ALL


async def test_the_slowest_that_needs_more_is_refused_itself() -> None:
    memory = BodyMemory(10)
    whole = memory.body()
    whole.reserve(ALL - 1)
    slow = memory.body()
    async with asyncio.timeout(60) as limit:
        with slow.arriving(limit):
            slow.reserve(1)
            with pytest.raises(ApiError):
                slow.reserve(1)
    slow.release()
    whole.release()
    assert memory_left(memory) == ALL


async def test_one_whose_time_is_over_already_gives_way_quietly() -> None:
    memory = BodyMemory(10)
    slow = memory.body()

    async def read() -> None:
        async with asyncio.timeout(0) as limit:
            with slow.arriving(limit):
                slow.reserve(ALL)
                try:
                    await asyncio.Event().wait()
                finally:
                    assert limit.expired()
                    memory.body().reserve(1)

    with pytest.raises(TimeoutError):
        await read()
    assert not slow.gave_way
