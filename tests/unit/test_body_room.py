"""The memory for bodies. Rule: the slowest gives way, and what was held comes back once."""

import asyncio

import pytest

from smsd.web.edge.body_memory import BODIES, HeldBody, Room
from smsd.web.errors import ApiError

ALL = BODIES * 10


async def arriving(place: HeldBody, octets: int) -> str:
    """A body that stops after some octets: how its reader ends."""
    place.take(0)
    try:
        async with asyncio.timeout(60) as limit:
            with place.arriving(limit):
                place.take(octets)
                await asyncio.Event().wait()
    except TimeoutError:
        return "gave way" if place.gave_way else "timeout"
    finally:
        place.let_go()
    raise AssertionError


def room_left(room: Room) -> int:
    place, left = room.place(), 0
    while left <= ALL:
        try:
            place.take(1)
        except ApiError:
            break
        left += 1
    place.let_go()
    return left


async def test_what_is_held_counts_and_nothing_else() -> None:
    room = Room(10)
    assert room_left(room) == ALL
    one, other = room.place(), room.place()
    one.take(3)
    one.take(4)
    other.take(1)
    assert room_left(room) == ALL - 8
    one.let_go()
    one.let_go()
    assert room_left(room) == ALL - 1
    other.let_go()
    assert room_left(room) == ALL


async def test_where_nothing_is_arriving_the_newcomer_is_refused() -> None:
    room = Room(10)
    full = room.place()
    full.take(ALL)
    with pytest.raises(ApiError) as caught:
        room.place().take(1)
    assert (caught.value.status, caught.value.code) == (503, "busy")
    full.let_go()
    assert room_left(room) == ALL


async def test_the_one_that_has_been_arriving_for_longest_gives_way() -> None:
    room = Room(10)
    slow = asyncio.create_task(arriving(room.place(), ALL - 5))
    late = asyncio.create_task(arriving(room.place(), 5))
    await asyncio.sleep(0)
    quick = room.place()
    quick.take(7)
    assert await asyncio.wait_for(slow, 1) == "gave way"
    assert not late.done()
    quick.let_go()
    late.cancel()
    await asyncio.gather(late, return_exceptions=True)
    assert room_left(room) == ALL


async def test_the_slowest_that_needs_more_is_refused_itself() -> None:
    room = Room(10)
    whole = room.place()
    whole.take(ALL - 1)
    slow = room.place()
    async with asyncio.timeout(1) as limit:
        with slow.arriving(limit):
            slow.take(1)
            with pytest.raises(ApiError):
                slow.take(1)
    slow.let_go()
    whole.let_go()
    assert room_left(room) == ALL


async def test_one_whose_time_is_over_already_gives_way_quietly() -> None:
    room = Room(10)
    slow = room.place()

    async def read() -> None:
        async with asyncio.timeout(0) as limit:
            with slow.arriving(limit):
                slow.take(ALL)
                try:
                    await asyncio.Event().wait()
                finally:
                    assert limit.expired()
                    room.place().take(1)

    with pytest.raises(TimeoutError):
        await read()
    assert not slow.gave_way
