"""The look-ahead. Rule: what was put in is known until it is forgotten, and comes out once."""

import asyncio
from typing import Literal

import pytest

from smsd.core.message import Content, Message
from smsd.core.segment import Segments
from smsd.dispatch.prefetch import SMALLEST, Claimed, Prefetch
from smsd.store.entry import Entry


def held(name: str) -> Claimed:
    entry = Entry(name, [], 0)
    priority = entry.default_priority
    content = Content("Hi", Segments("gsm7", 2, 1), "", priority, None, None, "", "")
    return Claimed(entry, Message(name[1:], "+12025550123", content))


def taken(prefetch: Prefetch, count: int) -> list[str]:
    return [prefetch.take().entry.name for _ in range(count)]


def test_a_lane_is_first_in_first_out() -> None:
    prefetch = Prefetch(45)
    for name in ("n1-0", "n1-1", "n1-2"):
        prefetch.put(held(name))

    assert taken(prefetch, 3) == ["n1-0", "n1-1", "n1-2"]


def test_high_priority_goes_before_all_that_wait() -> None:
    prefetch = Prefetch(45)
    for name in ("n1-0", "n1-1", "h2-0", "h2-1"):
        prefetch.put(held(name))

    assert taken(prefetch, 4) == ["h2-0", "h2-1", "n1-0", "n1-1"]


@pytest.mark.parametrize(("lane", "priority"), [("n", "high"), ("h", "normal")])
def test_texts_of_one_stream_take_no_room_from_the_other_whatever_their_priority(
    lane: str, priority: Literal["high", "normal"]
) -> None:
    prefetch = Prefetch(45)
    high_before, normal_before = prefetch.room
    for number in range(normal_before):
        one = held(f"{lane}1-{number}")
        content = one.message.content._replace(priority=priority)
        prefetch.put(Claimed(one.entry, one.message._replace(content=content)))
    assert prefetch.room == ((0, normal_before) if lane == "h" else (high_before, 0))

    prefetch.take()
    prefetch.put_last(prefetch.take())
    assert prefetch.room == ((1, normal_before) if lane == "h" else (high_before, 1))


def test_what_is_put_back_is_first_in_its_lane() -> None:
    prefetch = Prefetch(45)
    for name in ("n1-0", "n1-1", "h2-0"):
        prefetch.put(held(name))
    high, normal = prefetch.take(), prefetch.take()
    prefetch.put(held("h2-1"))
    prefetch.put_back(normal)
    prefetch.put_back(high)

    assert taken(prefetch, 4) == ["h2-0", "h2-1", "n1-0", "n1-1"]


def test_an_entry_is_known_from_put_to_forget() -> None:
    prefetch = Prefetch(45)
    assert not prefetch.knows("n1-0")

    prefetch.put(held("n1-0"))
    assert prefetch.knows("n1-0")

    prefetch.take()  # under way
    assert prefetch.knows("n1-0")

    prefetch.forget("n1-0")
    assert not prefetch.knows("n1-0")


def test_entries_of_one_id_in_both_lanes_are_two() -> None:
    prefetch = Prefetch(45)
    prefetch.put(held("n1-0"))

    assert not prefetch.knows("h1-0")


def test_forgetting_what_is_not_known_is_nothing() -> None:
    Prefetch(45).forget("n1-0")


def test_what_was_forgotten_and_is_put_back_is_known_again() -> None:
    prefetch = Prefetch(45)
    prefetch.put(held("n1-0"))
    one = prefetch.take()
    prefetch.forget("n1-0")
    prefetch.put_back(one)

    assert prefetch.knows("n1-0")


async def test_a_put_is_an_arrival() -> None:
    prefetch = Prefetch(45)
    waiting = asyncio.create_task(prefetch.arrival())
    await asyncio.sleep(0)
    assert not waiting.done()

    prefetch.put(held("n1-0"))
    await waiting
    assert prefetch.take().entry.name == "n1-0"


async def test_a_put_back_is_an_arrival() -> None:
    prefetch = Prefetch(45)
    prefetch.put(held("n1-0"))
    one = prefetch.take()
    waiting = asyncio.create_task(prefetch.arrival())
    await asyncio.sleep(0)
    assert not waiting.done()

    prefetch.put_back(one)
    await waiting
    assert prefetch.take() is one


async def test_what_is_there_need_not_arrive() -> None:
    prefetch = Prefetch(45)
    prefetch.put(held("n1-0"))
    await prefetch.arrival()

    assert taken(prefetch, 1) == ["n1-0"]


def test_its_length_is_what_waits() -> None:
    prefetch = Prefetch(45)
    prefetch.put(held("n1-0"))
    prefetch.put(held("h1-0"))
    assert len(prefetch) == 2

    prefetch.take()
    assert len(prefetch) == 1


def test_there_is_room_for_two_seconds_in_each_lane() -> None:
    prefetch = Prefetch(45)
    assert prefetch.room == (90, 90)

    for count in range(90):
        prefetch.put(held(f"n1-{count}"))
    prefetch.put(held("h1-0"))
    assert prefetch.room == (89, 0)

    prefetch.take()
    prefetch.take()
    assert prefetch.room == (90, 1)


def test_a_window_that_is_over_full_has_no_room_and_no_less() -> None:
    prefetch = Prefetch(45)
    for count in range(100):
        prefetch.put_back(held(f"n1-{count}"))

    assert prefetch.room == (90, 0)


@pytest.mark.parametrize(("rate", "room"), [(0.1, SMALLEST), (45.5, 91), (1_000, 2_000)])
def test_the_room_follows_the_rate(rate: float, room: int) -> None:
    prefetch = Prefetch(1)
    prefetch.set_rate(rate)

    assert prefetch.room == (room, room)
    assert Prefetch(rate).room == prefetch.room


@pytest.mark.parametrize(("rate", "half_s"), [(45, 1.0), (1, 16.0), (100_000, 2048 / 100_000)])
def test_it_tells_how_long_half_of_it_lasts(rate: float, half_s: float) -> None:
    prefetch = Prefetch(45)
    prefetch.set_rate(rate)
    assert prefetch.half_s == half_s
