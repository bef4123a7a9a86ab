"""The share of a provider in trouble. Rule: it is asked as often as it can bear, and no more."""

import random
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.share import FIRST, SILENT, SLOWEST, Share

RATES = st.floats(0.01, 5000)
STEPS = st.lists(st.sampled_from(["grow", "shrink", "costly", "begin"]), max_size=200)


def step(share: Share, name: str) -> None:
    match name:
        case "grow":
            share.grow()
        case "begin":
            share.begin()
        case _:
            share.shrink(costly=name == "costly")


@given(RATES, STEPS)
def test_it_is_never_more_than_the_rate_nor_less_than_the_slowest(
    rate: float, steps: list[str]
) -> None:
    share = Share(rate)
    assert share.whole
    for name in steps:
        step(share, name)
        assert min(rate, SLOWEST) <= share.per_second <= rate
        assert share.interval_s == 1 / share.per_second


@given(RATES, STEPS)
def test_an_answer_never_takes_and_a_failure_never_adds(rate: float, steps: list[str]) -> None:
    share = Share(rate)
    for name in steps:
        before = share.per_second
        step(share, name)
        if name == "grow":
            assert share.per_second > before or share.whole
        else:
            assert share.per_second <= max(before, FIRST)


@given(RATES, STEPS)
def test_from_wherever_it_is_a_few_answers_make_it_whole(rate: float, steps: list[str]) -> None:
    share = Share(rate)
    for name in [*steps, *["grow"] * 8]:
        step(share, name)
    assert share.whole


@given(RATES, STEPS)
def test_from_wherever_it_is_silence_brings_it_to_the_slowest(
    rate: float, steps: list[str]
) -> None:
    share = Share(rate)
    for name in [*steps, *["shrink"] * (SILENT + 20)]:
        step(share, name)
    assert share.per_second == min(rate, SLOWEST)


@given(RATES)
def test_at_first_it_is_at_least_one_a_second(rate: float) -> None:
    share = Share(rate)
    share.begin()
    for _ in range(SILENT):
        assert share.per_second >= min(rate, FIRST)
        share.shrink(costly=False)


@given(RATES, RATES, STEPS)
def test_it_follows_the_rate(rate: float, other: float, steps: list[str]) -> None:
    share = Share(rate)
    for name in steps:
        step(share, name)
    was_whole = share.whole
    share.set_rate(other)
    assert share.per_second <= other
    assert not was_whole or share.whole


# -- how much a provider gets --------------------------------------------------------------------


def taken(
    rate: float, refused: float, seconds: float, *, seed: int, latency: float = 0.05
) -> float:
    """What a provider takes that refuses so many at random, as a part of all that it could."""
    chance, share = random.Random(seed), Share(rate)
    share.begin()
    now, count = 0.0, 0
    answers: deque[tuple[float, bool]] = deque()
    while now < seconds:
        now += share.interval_s
        while answers and answers[0][0] <= now:
            if answers.popleft()[1]:
                share.grow()
            else:
                share.shrink(costly=False)
        takes = chance.random() >= refused
        answers.append((now + latency, takes))
        count += takes
    return count / (rate * seconds * (1 - refused))


@pytest.mark.parametrize(
    ("refused", "at_least"), [(0.0, 0.97), (0.1, 0.93), (0.3, 0.9), (0.5, 0.85), (0.7, 0.65)]
)
@pytest.mark.parametrize("rate", [5, 45])
def test_a_provider_that_takes_a_part_gets_nearly_all_it_takes(
    rate: float, refused: float, at_least: float
) -> None:
    runs = [taken(rate, refused, 120, seed=seed) for seed in range(3)]
    assert sum(runs) / len(runs) >= at_least


def test_a_provider_with_half_the_capacity_is_kept_busy() -> None:
    share, now, free_at, count = Share(45), 0.0, 0.0, 0
    share.begin()
    while now < 60:
        now += share.interval_s
        if now >= free_at:  # it takes 22.5 a second, and refuses what comes too early
            free_at, count = max(free_at, now - 0.1) + 1 / 22.5, count + 1
            share.grow()
        else:
            share.shrink(costly=False)
    assert count >= 0.95 * 22.5 * 60


def test_one_that_dies_is_asked_little_more_and_one_that_returns_is_found_within_a_minute() -> None:
    share, now, asked = Share(45), 0.0, 0
    share.begin()
    for _ in range(8):
        share.grow()
    while now < 600:
        now += share.interval_s
        asked += 1
        share.shrink(costly=False)
    assert asked <= 45
    assert share.interval_s <= 60
