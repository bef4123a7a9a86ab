"""What holds of every run. Rule: judged from the recorded departures, by arithmetic of its own."""

import math
import random
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from smsd.core.pacer import CREDIT, SECOND, Ceiling, Pacer

# Tracing makes it three times as slow; tests/unit/core/test_pacer.py reaches the same lines.
pytestmark = pytest.mark.no_cover

T = 1_000_000 * SECOND
MS = 1_000_000
LATEST = 1_200_000  # ns, of a wake-up on a busy machine

quick = settings(deadline=None, max_examples=200)
long = settings(deadline=None, max_examples=10)


@dataclass(frozen=True)
class Departure:
    at: int
    segments: int
    rate: float  # in force when it left


@dataclass(frozen=True)
class Send:
    """A message that has waited since `idle` ns after the last, and wakes up `late`."""

    segments: int
    idle: int = 0
    late: int = 0


@dataclass(frozen=True)
class Pause:
    ns: int


@dataclass(frozen=True)
class Rate:
    rate: float


Step = Send | Pause | Rate

rates = st.one_of(
    st.sampled_from([0.5, 1.0, 2.0, 10.0, 45.0, 45.5, 99.9, 1000.0]),
    st.floats(0.3, 1000).map(lambda rate: round(rate, 2)),
)
gaps = st.one_of(st.just(0), st.integers(0, 50 * MS), st.integers(0, 3 * SECOND))
lateness = st.one_of(st.just(0), st.integers(0, LATEST), st.integers(0, 2 * SECOND))
sends = st.builds(Send, st.one_of(st.just(1), st.integers(1, 20)), idle=gaps, late=lateness)
bursts = st.builds(lambda send, times: [send] * times, sends, st.integers(1, 60))
steps = st.one_of(bursts, st.builds(Pause, st.integers(0, 3 * SECOND)).map(lambda step: [step]))
seeds = st.integers(0, 2**32)
changes = st.lists(st.builds(Rate, rates), min_size=1, max_size=3)
runs = st.lists(steps, max_size=12).map(lambda parts: [step for part in parts for step in part])
changing_runs = st.lists(st.one_of(steps, changes), max_size=16).map(
    lambda parts: [step for part in parts for step in part]
)


def record(pacer: Pacer, rate: float, run: Sequence[Step]) -> list[Departure]:
    """Drive a pacer as a dispatcher does, and write down what left when."""
    now, departures = T, []
    for step in run:
        match step:
            case Send(segments, idle, late):
                now += idle
                due = pacer.due(segments, now)
                assert due >= now
                assert pacer.due(segments, due) == due  # it keeps its word
                now = due + late
                pacer.depart(segments, now)
                departures.append(Departure(now, segments, rate))
            case Pause(ns):
                pacer.pause(now + ns)
            case Rate():
                rate = step.rate
                pacer.set_rate(rate, now)
                departures.append(Departure(now, 0, rate))
    return departures


def occupied(departures: Sequence[Departure]) -> list[tuple[int, float]]:
    """Every segment's instant, t + k/rate, and the rate it left at.

    A change of rate (a departure of no segments) moves those that are still to come closer.
    """
    instants: list[tuple[int, float]] = []
    for leaving in departures:
        gap = SECOND / Fraction(str(leaving.rate))
        if leaving.segments:
            instants += [
                (leaving.at + math.floor(k * gap), leaving.rate) for k in range(leaving.segments)
            ]
            continue
        past = [each for each in instants if each[0] <= leaving.at]
        last = past[-1][0] if past else leaving.at
        for place, (at, rate) in enumerate(instants[len(past) :], 1):
            moved = last + math.floor(place * gap)
            past.append((moved, leaving.rate) if moved < at else (at, rate))
        instants = past
    return instants


def assert_no_second_exceeds_the_rate(instants: Sequence[tuple[int, float]]) -> None:
    """Every window that ends at an instant is the fullest of those that hold it as their last."""
    moments = [at for at, _ in instants]
    for place, (at, rate) in enumerate(instants):
        before = bisect_right(moments, at - SECOND)  # half-open: one just a second ago is out
        assert place + 1 - before <= math.ceil(rate), (at - T, rate)


@quick
@given(rates, runs)
@example(45.0, [Send(1)] * 200)
@example(45.5, [Send(1, late=LATEST)] * 200)
@example(45.0, [Send(1), Send(1, idle=3 * SECOND)] + [Send(1)] * 100)
def test_no_second_holds_more_than_the_rate(rate: float, run: list[Step]) -> None:
    departures = record(Pacer(rate, ceiling="segment"), rate, run)

    assert_no_second_exceeds_the_rate(occupied(departures))


@quick
@given(rates, changing_runs)
@example(45.0, [Send(1, late=20 * MS)] * 100 + [Rate(1.0), Rate(45.0)] + [Send(1)] * 100)
@example(1000.0, [Send(20)] * 60 + [Rate(0.5)] + [Send(1)] * 3)
def test_no_second_holds_more_than_the_rate_while_the_rate_changes(
    rate: float, run: list[Step]
) -> None:
    departures = record(Pacer(rate, ceiling="segment"), rate, run)

    assert_no_second_exceeds_the_rate(occupied(departures))


@quick
@given(rates, runs, st.integers(-SECOND, SECOND))
def test_a_full_bucket_counts_like_departures(rate: float, run: list[Step], until: int) -> None:
    pacer = Pacer(rate, ceiling="segment")
    pacer.fill(T + until)
    departures = record(pacer, rate, run)

    somebody_elses = [(T + until, rate)] * math.ceil(rate)
    assert_no_second_exceeds_the_rate(somebody_elses + occupied(departures))


@quick
@given(rates, runs)
def test_by_the_message_ceiling_no_second_holds_more_starts(rate: float, run: list[Step]) -> None:
    departures = record(Pacer(rate, ceiling="message"), rate, run)

    moments = [leaving.at for leaving in departures]
    for place, last in enumerate(departures):
        first = bisect_right(moments, last.at - SECOND)
        segments = sum(leaving.segments for leaving in departures[first : place + 1])
        # One that is longer than any second may hold leaves alone.
        assert segments <= math.ceil(rate) or first == place


@quick
@given(rates, changing_runs, st.sampled_from(["segment", "message"]))
def test_departures_never_overtake_each_other(
    rate: float, run: list[Step], ceiling: Ceiling
) -> None:
    departures = record(Pacer(rate, ceiling=ceiling), rate, run)
    moments = [leaving.at for leaving in departures if leaving.segments]

    assert moments == sorted(moments)


@quick
@given(rates, runs)
@example(45.0, [Send(1), Send(1, late=2 * SECOND)] + [Send(1)] * 10)
@example(45.0, [Send(1), Send(1, idle=3 * SECOND), Send(1), Send(1)])
def test_nothing_bursts_after_idling_or_stalling(rate: float, run: list[Step]) -> None:
    departures = record(Pacer(rate, ceiling="segment"), rate, run)

    gap = SECOND / Fraction(str(rate))
    credit = max(gap, Fraction(CREDIT))
    begun = Fraction(0)  # on the schedule, at the latest that any earlier departure allows
    for leaving in departures:
        assert leaving.at + 1 >= begun - credit  # whole nanoseconds
        begun = max(begun, Fraction(leaving.at)) + leaving.segments * gap


@quick
@given(rates, runs, st.integers(0, 10 * SECOND))
def test_nothing_leaves_in_a_pause(rate: float, run: list[Step], ns: int) -> None:
    pacer = Pacer(rate, ceiling="segment")
    departures = record(pacer, rate, run)
    now = departures[-1].at if departures else T
    pacer.pause(now + ns)

    assert pacer.due(1, now) >= now + ns


@quick
@given(rates, st.lists(st.integers(1, 20), min_size=1, max_size=300))
def test_without_lateness_every_departure_is_on_the_schedule(
    rate: float, counts: list[int]
) -> None:
    pacer = Pacer(rate, ceiling="segment")
    pacer.pause(T)  # no credit: the schedule starts here
    departures = record(pacer, rate, [Send(count) for count in counts])

    before = 0
    for leaving in departures:
        ideal = T + math.ceil(before * SECOND / Fraction(str(rate)))
        # Instants are whole nanoseconds: each second may round one up.
        assert 0 <= leaving.at - ideal <= 2 + before / rate
        before += leaving.segments


@pytest.mark.parametrize("rate", [0.5, 45.0, 45.5, 99.9, 1000.0])
def test_a_hundred_thousand_departures_end_exactly_on_the_schedule(rate: float) -> None:
    pacer = Pacer(rate, ceiling="segment")
    pacer.pause(T)
    departures = record(pacer, rate, [Send(1)] * 100_001)

    exact = Fraction(str(rate))
    assert [leaving.at for leaving in departures] == [
        T + math.ceil(count * SECOND / exact) for count in range(100_001)
    ]


def throughput(rate: float, counts: Sequence[int], lateness: Sequence[int]) -> float:
    """Segments started per second, as a part of the rate."""
    run = [Send(count, late=late) for count, late in zip(counts, lateness, strict=True)]
    pacer = Pacer(rate, ceiling="segment")
    departures = record(pacer, rate, run)
    assert_no_second_exceeds_the_rate(occupied(departures))
    seconds = (departures[-1].at - departures[0].at) / SECOND
    return sum(counts[:-1]) / seconds / rate


@long
@given(rates, seeds)
def test_saturated_and_punctual_it_reaches_the_rate(rate: float, seed: int) -> None:
    chance = random.Random(seed)
    counts = [chance.randint(1, 20) for _ in range(2_000)]

    assert throughput(rate, counts, [0] * len(counts)) >= 0.9999


@long
@given(st.integers(1, 10), seeds)
def test_saturated_and_late_it_reaches_999_permille_of_45(longest: int, seed: int) -> None:
    chance = random.Random(seed)
    counts = [chance.randint(1, longest) for _ in range(5_000)]
    late = [chance.randrange(LATEST) for _ in counts]

    assert throughput(45.0, counts, late) >= 0.999
