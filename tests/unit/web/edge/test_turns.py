"""Turns of the loop. Rule: however many callers there are, each turn has an end."""

import asyncio
from itertools import chain

import pytest

from smsd.web.edge.turns import BUDGET_S, STEPS_PER_TURN, Turns


class Clock:
    """Seconds that pass only where a step takes them."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def enter(turns: Turns, done: list[int], number: int, clock: Clock, takes: float = 0.0) -> None:
    def step() -> None:
        clock.now += takes
        done.append(number)

    if turns.take():
        step()
    else:
        turns.later(step)


async def steps(turns: Turns, clock: Clock, count: int, takes: float = 0.0) -> list[list[int]]:
    """Ask for `count` steps at once; which were done in each turn of the loop."""
    done: list[int] = []
    for number in range(count):
        enter(turns, done, number, clock, takes)
    found = [done.copy()]
    while len(done) < count:
        before = len(done)
        await asyncio.sleep(0)
        found.append(done[before:])
    return found


async def test_they_come_in_order_and_a_few_each_turn(clock: Clock) -> None:
    found = await steps(Turns(clock), clock, 3 * STEPS_PER_TURN + 1)

    assert list(chain(*found)) == list(range(3 * STEPS_PER_TURN + 1))
    assert max(map(len, found)) == STEPS_PER_TURN


async def test_the_fewer_the_longer_they_take(clock: Clock) -> None:
    found = await steps(Turns(clock), clock, 20, takes=0.4 * BUDGET_S)

    assert list(chain(*found)) == list(range(20))
    assert max(map(len, found)) == 3  # the third begins within the budget


async def test_one_that_takes_longer_than_all_there_is_comes_in_all_the_same(clock: Clock) -> None:
    found = await steps(Turns(clock), clock, 5, takes=10 * BUDGET_S)

    assert [one for one in found if one] == [[0], [1], [2], [3], [4]]


async def test_nobody_overtakes_who_waits(clock: Clock) -> None:
    turns, done = Turns(clock), list[int]()
    for number in range(STEPS_PER_TURN + 2):
        enter(turns, done, number, clock)
    await asyncio.sleep(0)
    enter(turns, done, STEPS_PER_TURN + 2, clock)
    assert done == list(range(STEPS_PER_TURN + 3))

    assert turns.wait() is None


async def test_the_loop_is_left_alone_when_nobody_asks(clock: Clock) -> None:
    turns = Turns(clock)
    await steps(turns, clock, STEPS_PER_TURN + 1)
    for _ in range(3):
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    called = loop.time()
    await asyncio.sleep(0.05)  # the loop sleeps, and wakes but for this
    assert loop.time() - called >= 0.05
    assert turns.wait() is None


async def test_one_that_gave_up_waiting_takes_nobody_s_turn(clock: Clock) -> None:
    turns = Turns(clock)
    for _ in range(STEPS_PER_TURN):
        assert turns.wait() is None
    gone, next_ = turns.wait(), turns.wait()
    assert gone is not None
    assert next_ is not None
    gone.cancel()
    await asyncio.wait_for(next_, 20)
