"""The look-ahead. Rule: what was put in is known until it is forgotten, and comes out once."""

import asyncio
from typing import Literal

import pytest

from smsd.core.message import Content, Message
from smsd.core.segment import Segments
from smsd.dispatch.prefetch import SMALLEST, Held, Window
from smsd.store.entry import Entry


def held(name: str) -> Held:
    content = Content("Hi", Segments("gsm7", 2, 1), "", None, None, None, "", "")
    return Held(Entry(name, [], 0), Message(name[1:], "+12025550123", content))


def taken(window: Window, count: int) -> list[str]:
    return [window.take().entry.name for _ in range(count)]


def test_a_lane_is_first_in_first_out() -> None:
    window = Window(45)
    for name in ("n1-0", "n1-1", "n1-2"):
        window.put(held(name))

    assert taken(window, 3) == ["n1-0", "n1-1", "n1-2"]


def test_high_priority_goes_before_all_that_wait() -> None:
    window = Window(45)
    for name in ("n1-0", "n1-1", "h2-0", "h2-1"):
        window.put(held(name))

    assert taken(window, 4) == ["h2-0", "h2-1", "n1-0", "n1-1"]


@pytest.mark.parametrize(("lane", "priority"), [("n", "high"), ("h", "normal")])
def test_texts_of_one_stream_take_no_room_from_the_other_whatever_their_priority(
    lane: str, priority: Literal["high", "normal"]
) -> None:
    window = Window(45)
    high_before, normal_before = window.room
    for number in range(normal_before):
        one = held(f"{lane}1-{number}")
        content = one.message.content._replace(priority=priority)
        window.put(Held(one.entry, one.message._replace(content=content)))
    assert window.room == ((0, normal_before) if lane == "h" else (high_before, 0))

    window.take()
    window.put_last(window.take())
    assert window.room == ((1, normal_before) if lane == "h" else (high_before, 1))


def test_what_is_put_back_is_first_in_its_lane() -> None:
    window = Window(45)
    for name in ("n1-0", "n1-1", "h2-0"):
        window.put(held(name))
    high, normal = window.take(), window.take()
    window.put(held("h2-1"))
    window.put_back(normal)
    window.put_back(high)

    assert taken(window, 4) == ["h2-0", "h2-1", "n1-0", "n1-1"]


def test_an_entry_is_known_from_put_to_forget() -> None:
    window = Window(45)
    assert not window.knows("n1-0")

    window.put(held("n1-0"))
    assert window.knows("n1-0")

    window.take()  # under way
    assert window.knows("n1-0")

    window.forget("n1-0")
    assert not window.knows("n1-0")


def test_entries_of_one_id_in_both_lanes_are_two() -> None:
    window = Window(45)
    window.put(held("n1-0"))

    assert not window.knows("h1-0")


def test_forgetting_what_is_not_known_is_nothing() -> None:
    Window(45).forget("n1-0")


def test_what_was_forgotten_and_is_put_back_is_known_again() -> None:
    window = Window(45)
    window.put(held("n1-0"))
    one = window.take()
    window.forget("n1-0")
    window.put_back(one)

    assert window.knows("n1-0")


async def test_a_put_is_an_arrival() -> None:
    window = Window(45)
    waiting = asyncio.create_task(window.arrival())
    await asyncio.sleep(0)
    assert not waiting.done()

    window.put(held("n1-0"))
    await waiting
    assert window.take().entry.name == "n1-0"


async def test_a_put_back_is_an_arrival() -> None:
    window = Window(45)
    window.put(held("n1-0"))
    one = window.take()
    waiting = asyncio.create_task(window.arrival())
    await asyncio.sleep(0)
    assert not waiting.done()

    window.put_back(one)
    await waiting
    assert window.take() is one


async def test_what_is_there_need_not_arrive() -> None:
    window = Window(45)
    window.put(held("n1-0"))
    await window.arrival()

    assert taken(window, 1) == ["n1-0"]


def test_its_length_is_what_waits() -> None:
    window = Window(45)
    window.put(held("n1-0"))
    window.put(held("h1-0"))
    assert len(window) == 2

    window.take()
    assert len(window) == 1


def test_there_is_room_for_two_seconds_in_each_lane() -> None:
    window = Window(45)
    assert window.room == (90, 90)

    for count in range(90):
        window.put(held(f"n1-{count}"))
    window.put(held("h1-0"))
    assert window.room == (89, 0)

    window.take()
    window.take()
    assert window.room == (90, 1)


def test_a_window_that_is_over_full_has_no_room_and_no_less() -> None:
    window = Window(45)
    for count in range(100):
        window.put_back(held(f"n1-{count}"))

    assert window.room == (90, 0)


@pytest.mark.parametrize(("rate", "room"), [(0.1, SMALLEST), (45.5, 91), (1_000, 2_000)])
def test_the_room_follows_the_rate(rate: float, room: int) -> None:
    window = Window(1)
    window.set_rate(rate)

    assert window.room == (room, room)
    assert Window(rate).room == window.room


@pytest.mark.parametrize(("rate", "half_s"), [(45, 1.0), (1, 16.0), (100_000, 2048 / 100_000)])
def test_it_tells_how_long_half_of_it_lasts(rate: float, half_s: float) -> None:
    window = Window(45)
    window.set_rate(rate)
    assert window.half_s == half_s
