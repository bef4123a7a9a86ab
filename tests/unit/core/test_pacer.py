"""The pacer. Rule: every instant asserted is written out by hand, in nanoseconds."""

import math
from collections.abc import Sequence

import pytest

from smsd.core.pacer import CREDIT, SECOND, Ceiling, Pacer

T = 5_000 * SECOND  # some instant of a monotonic clock
GAP = 22_222_222  # of 45/s, and two ninths
MS = 1_000_000


def pacer(rate: float = 45.0, *, ceiling: Ceiling = "segment", at: int = T) -> Pacer:
    """A pacer whose first slot is `at`: without the credit of an idle time."""
    made = Pacer(rate, ceiling=ceiling)
    made.pause(at)
    return made


def run(pacer: Pacer, segments: Sequence[int], *, now: int = T, late: int = 0) -> list[int]:
    """Departures of messages that all wait already, each `late` ns after it was due."""
    departures = []
    for count in segments:
        now = pacer.due(count, now) + late
        pacer.depart(count, now)
        departures.append(now)
    return departures


def after(start: int, *instants: int) -> list[int]:
    return [start + instant for instant in instants]


def test_a_new_pacer_lets_the_first_message_start_at_once() -> None:
    assert Pacer(45.0, ceiling="segment").due(1, T) == T


def test_departures_lie_on_the_schedule() -> None:
    assert run(pacer(), [1] * 5) == after(T, 0, 22_222_223, 44_444_445, 66_666_667, 88_888_889)


def test_a_message_moves_the_schedule_by_all_its_segments() -> None:
    assert run(pacer(10), [1, 3, 2, 1]) == after(T, 0, 100 * MS, 400 * MS, 600 * MS)


def test_asking_changes_nothing() -> None:
    asked = pacer()
    run(asked, [1])

    assert [asked.due(1, T), asked.due(20, T), asked.due(1, T)] == [T + GAP + 1] * 3


def test_what_is_due_in_the_past_is_due_now() -> None:
    idle = pacer()
    run(idle, [1])

    assert idle.due(1, T + SECOND) == T + SECOND


def test_lateness_of_one_departure_is_not_added_to_the_next() -> None:
    late = pacer(10)

    assert run(late, [1], late=30 * MS) == [T + 30 * MS]
    assert run(late, [1, 1]) == after(T, 100 * MS, 200 * MS)


def test_idle_time_earns_one_slot_and_no_more() -> None:
    idle = pacer(10)
    run(idle, [1] * 3)

    monday = T + 86_400 * SECOND
    assert run(idle, [1] * 4, now=monday) == after(monday, 0, 0, 100 * MS, 200 * MS)


def test_a_stall_is_not_made_up_for() -> None:
    stalled = pacer(10)
    run(stalled, [1])
    run(stalled, [1], late=5 * SECOND)

    resumed = T + 5_100 * MS
    assert run(stalled, [1] * 3) == after(resumed, 0, 100 * MS, 200 * MS)


def test_a_second_holds_no_more_than_the_rate_whatever_the_schedule_says() -> None:
    idle = pacer(4)
    idle.depart(1, T + 10 * SECOND)

    # The credit puts two at the start, so the fifth waits for the second to be over.
    now = T + 10 * SECOND
    assert run(idle, [1] * 5, now=now) == after(now, 0, 250 * MS, 500 * MS, SECOND, SECOND)


def test_the_segments_of_a_message_follow_it_at_the_rate() -> None:
    long = pacer(4)
    long.depart(3, T)  # occupies 0, 250 and 500 ms

    # Three more would be 750, 1000, 1250 ms: no second holds more than four.
    assert long.due(3, T) == T + 750 * MS


def test_a_message_waits_until_all_of_its_segments_fit() -> None:
    late = pacer(4)
    late.depart(1, T)
    late.depart(1, T + 490 * MS)  # 240 ms late
    late.depart(1, T + 500 * MS)
    late.depart(1, T + 750 * MS)

    assert late.due(1, T) == T + SECOND
    assert late.due(2, T) == T + 1_240 * MS  # its second, 250 ms on, is the one that has to wait


def test_a_message_longer_than_a_second_may_hold_leaves_and_takes_its_time() -> None:
    assert run(pacer(2), [5, 1, 1]) == after(T, 0, 2_500 * MS, 3_000 * MS)


def test_nothing_starts_among_the_segments_of_the_message_before() -> None:
    slow = pacer(2)
    slow.depart(5, T)  # the last of them at 2 s

    assert slow.due(1, T) == T + 2_500 * MS


@pytest.mark.parametrize("segments", [1, 3])
def test_a_slow_rate_holds_nothing_up_after_it_has_ended(segments: int) -> None:
    changed = pacer()
    run(changed, [1])
    changed.set_rate(0.01, T)
    run(changed, [segments])  # the next at this rate: 100 s after its last segment
    left = T + 100 * SECOND
    changed.set_rate(45, left + SECOND)

    # Of three segments two were still to come: they follow at the new rate, from the first on.
    assert changed.due(1, left + SECOND) == left + SECOND


def test_segments_that_were_to_follow_slowly_follow_at_the_new_rate() -> None:
    changed = pacer(2)
    changed.depart(5, T)  # at 0, 0.5, 1, 1.5 and 2 s
    changed.set_rate(10, T + 700 * MS)  # 0.5 s was the last: then 0.6, 0.7 and 0.8 s

    assert changed.due(1, T) == T + 900 * MS


def test_a_lower_rate_moves_no_segment_that_was_to_follow() -> None:
    changed = pacer(10)
    changed.depart(5, T)  # the last of them at 0.4 s
    changed.set_rate(1, T)

    assert changed.due(1, T) == T + 1_400 * MS


def test_at_a_high_rate_an_idle_time_earns_a_credit_of_time() -> None:
    fast = pacer(1_000)
    run(fast, [1])

    later = T + SECOND // 2
    # The credit is 25 slots: so many leave at once, and the one that is due.
    assert CREDIT == 25 * MS
    assert run(fast, [1] * 28, now=later) == [*[later] * 26, later + MS, later + 2 * MS]


def test_at_a_high_rate_a_hiccup_is_made_up_for() -> None:
    fast = pacer(1_000)

    assert run(fast, [1] * 10)[-1] == T + 9 * MS
    assert run(fast, [1], late=20 * MS) == [T + 30 * MS]
    assert run(fast, [1] * 21, now=T + 30 * MS)[-1] == T + 31 * MS


def test_the_message_ceiling_counts_all_segments_at_the_start() -> None:
    strict = pacer(4, ceiling="message")

    assert run(strict, [3, 1, 1, 3]) == after(T, 0, 750 * MS, SECOND, 1_750 * MS)


def test_the_message_ceiling_lets_a_longer_message_out_alone() -> None:
    strict = pacer(4, ceiling="message")
    strict.depart(1, T)

    # It is 750 ms late for its slot, of which one slot, 250 ms, is credit.
    assert run(strict, [9, 1], now=T) == after(T, SECOND, 3_000 * MS)


def test_the_message_ceiling_equals_the_other_for_single_segments() -> None:
    assert run(pacer(ceiling="message"), [1] * 200) == run(pacer(), [1] * 200)


@pytest.mark.parametrize("ceiling", ["segment", "message"])
@pytest.mark.parametrize("segments", [1, 7, 45, 60])
def test_a_full_bucket_stays_shut_for_a_second(ceiling: Ceiling, segments: int) -> None:
    full = Pacer(45.0, ceiling=ceiling)
    full.fill(T)

    assert full.due(segments, T - SECOND) == T + SECOND
    assert full.due(segments, T + SECOND + 1) == T + SECOND + 1


def test_a_full_bucket_opens_without_a_burst() -> None:
    full = Pacer(10, ceiling="segment")
    full.fill(T)

    assert run(full, [1] * 4) == after(T + SECOND, 0, 0, 100 * MS, 200 * MS)


def test_nothing_starts_in_a_pause_and_nothing_bursts_after_it() -> None:
    paused = pacer(10)
    run(paused, [1] * 3)
    paused.pause(T + 7 * SECOND)

    assert paused.due(1, T) == T + 7 * SECOND
    assert run(paused, [1] * 3) == after(T + 7 * SECOND, 0, 100 * MS, 200 * MS)


def test_a_shorter_pause_does_not_end_a_longer_one() -> None:
    paused = pacer(10)
    paused.pause(T + 7 * SECOND)
    paused.pause(T + 2 * SECOND)

    assert paused.due(1, T) == T + 7 * SECOND


def test_a_higher_rate_holds_from_the_next_departure_on() -> None:
    faster = pacer(10)
    run(faster, [1, 1])
    faster.set_rate(100, T + 100 * MS)

    assert run(faster, [1, 1, 1]) == after(T, 110 * MS, 120 * MS, 130 * MS)


def test_at_a_lower_rate_what_left_at_the_higher_still_counts() -> None:
    slower = pacer(10)
    run(slower, [1] * 10)
    slower.set_rate(2, T + 900 * MS)

    # 0.8 s and 0.9 s are the last two; a second holds two now.
    assert run(slower, [1, 1, 1]) == after(T, 1_800 * MS, 1_900 * MS, 2_800 * MS)


def test_a_rate_that_was_lowered_for_a_moment_forgets_no_departure() -> None:
    moody = pacer(10)
    for tenth in range(10):
        moody.depart(1, T + tenth * 100 * MS + 99 * MS * (tenth == 1))
    moody.set_rate(1, T + 900 * MS)
    moody.set_rate(10, T + 900 * MS)

    assert run(moody, [1, 1]) == after(T, SECOND, 1_199 * MS)


def test_changing_to_the_same_rate_changes_nothing() -> None:
    steady, changed = pacer(), pacer()
    departures = run(steady, [1, 2, 3] * 50)
    mixed = []
    for count in [1, 2, 3] * 50:
        mixed += run(changed, [count])
        changed.set_rate(45.0, mixed[-1])

    assert all(abs(a - b) <= 150 for a, b in zip(mixed, departures, strict=True))  # a ns each


def test_a_pause_outlasts_a_change_of_rate() -> None:
    paused = pacer(10)
    paused.pause(T + 7 * SECOND)
    paused.set_rate(1_000, T)

    assert paused.due(1, T) == T + 7 * SECOND


@pytest.mark.parametrize(
    ("rate", "capacity", "gap"),
    [
        (0.5, 1, 2 * SECOND),
        (1, 1, SECOND),
        (45, 45, GAP),
        (45.0, 45, GAP),
        (45.5, 46, 21_978_021),
        (0.1, 1, 10 * SECOND),
        (1_000, 1_000, MS),
        (100_000, 100_000, 10_000),
        (0.0007, 1, 1_428_571_428_571),
        (0.0004, 1, 2_500 * SECOND),
        (1e-05, 1, 100_000 * SECOND),
    ],
)
def test_a_rate_is_taken_as_it_is_written(rate: float, capacity: int, gap: int) -> None:
    made = pacer(rate)

    assert (made.capacity, made.gap()) == (capacity, gap)
    assert run(made, [1, 1])[1] == T + math.ceil(SECOND / rate)


def test_half_a_segment_a_second_is_one_every_two() -> None:
    assert run(pacer(0.5), [1, 1, 2, 1]) == after(T, 0, 2 * SECOND, 4 * SECOND, 8 * SECOND)


def test_a_fractional_rate_is_met_exactly_over_two_seconds() -> None:
    departures = run(pacer(45.5), [1] * 911)

    assert [departures[count] for count in (91, 182, 910)] == after(
        T, 2 * SECOND, 4 * SECOND, 20 * SECOND
    )


def test_a_thousand_a_second_is_one_a_millisecond() -> None:
    assert run(pacer(1_000), [1] * 3_000) == [T + count * MS for count in range(3_000)]


def test_a_gap_is_what_its_segments_take() -> None:
    assert [pacer().gap(count) for count in (0, 1, 2, 45, 90)] == [
        *(0, GAP, 2 * GAP, SECOND, 2 * SECOND)
    ]
