"""Fair turns. Rule: over any stretch of some rounds, shares are as the weights are."""

from collections import Counter
from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from smsd.core.turns import Turns

WEIGHTS = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(1, 1000), min_size=1)
LARGEST = 12  # segments of a turn
SIZES = st.lists(st.integers(1, LARGEST), min_size=1, max_size=50)
Served = list[tuple[str, int]]


def serve(turns: Turns, times: int, sizes: list[int]) -> Served:
    served = []
    for time in range(times):
        one = turns.next
        assert one is not None
        served.append((one, sizes[time % len(sizes)]))
        turns.took(*served[-1])
    return served


def segments_of(served: Served) -> Mapping[str, int]:
    segments: Counter[str] = Counter()
    for one, size in served:
        segments[one] += size
    return segments


def assert_fair(served: Served, weights: Mapping[str, int]) -> None:
    """No two are further apart than one turn of each, by their weights."""
    segments = segments_of(served)
    for one, weight in weights.items():
        for other, others in weights.items():
            apart = abs(segments[one] / weight - segments[other] / others)
            assert apart <= LARGEST / weight + LARGEST / others + 1e-6


@given(WEIGHTS, SIZES, st.integers(0, 300), st.integers(1, 300))
def test_over_any_stretch_each_is_at_most_a_turn_from_its_share(
    weights: dict[str, int], sizes: list[int], first: int, length: int
) -> None:
    turns = Turns()
    turns.keep(weights)
    assert_fair(serve(turns, first + length, sizes)[first:], weights)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), SIZES, st.integers(0, 100))
def test_over_some_rounds_shares_are_within_a_twentieth_of_the_weights(
    given_: list[int], sizes: list[int], first: int
) -> None:
    weights = {str(place): weight for place, weight in enumerate(given_)}
    turns, total = Turns(), sum(given_)
    turns.keep(weights)
    served = serve(turns, first + 40 * LARGEST * total, sizes)[first:]
    segments = segments_of(served)
    for one, weight in weights.items():
        due = sum(segments.values()) * weight / total
        assert abs(segments[one] - due) <= 0.05 * due


@given(WEIGHTS, SIZES, st.integers(0, 300), st.integers(1, 300), st.integers(1, 1000))
def test_who_joins_late_gets_its_share_from_then_on_and_no_more(
    weights: dict[str, int], sizes: list[int], before: int, after: int, weight: int
) -> None:
    turns = Turns()
    turns.keep(weights)
    serve(turns, before, sizes)
    weights["late"] = weight
    turns.keep(weights)
    assert_fair(serve(turns, after, sizes), weights)


@given(WEIGHTS, SIZES, st.integers(1, 300), st.integers(1, 300), st.data())
def test_who_had_no_work_for_a_while_does_not_catch_up(
    weights: dict[str, int], sizes: list[int], away: int, after: int, data: st.DataObject
) -> None:
    turns = Turns()
    turns.keep(weights)
    absent = data.draw(st.sampled_from(sorted(weights)))
    turns.drop(absent)
    if len(weights) > 1:
        assert absent not in segments_of(serve(turns, away, sizes))
    turns.keep(weights)
    assert_fair(serve(turns, after, sizes), weights)


@given(WEIGHTS, SIZES, st.integers(0, 300), st.integers(1, 300), st.data())
def test_other_weights_hold_at_once(
    weights: dict[str, int], sizes: list[int], before: int, after: int, data: st.DataObject
) -> None:
    turns = Turns()
    turns.keep(weights)
    serve(turns, before, sizes)
    changed = {one: data.draw(st.integers(1, 1000)) for one in weights}
    turns.keep(changed)
    assert_fair(serve(turns, after, sizes), changed)


def test_nobody_without_work_has_a_turn() -> None:
    turns = Turns()
    assert turns.next is None
    turns.keep({"a": 1})
    turns.drop("a")
    assert turns.next is None


def test_those_that_are_level_have_their_turns_in_the_order_in_which_they_joined() -> None:
    turns = Turns()
    for known in ({"b": 1}, {"b": 1, "a": 1}):
        turns.keep(known)
    assert [one for one, _ in serve(turns, 4, [1])] == ["b", "a", "b", "a"]
