"""Ids of a campaign's messages."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smsd.core.campaign import MOST_KEY, message_id, number_of, split_id

factors = st.integers(1, MOST_KEY)
keys = st.tuples(factors, factors)
e164 = st.integers(1, 10**15 - 1).map(lambda n: f"+{n}")


@given(keys, e164)
def test_an_id_leads_back_to_its_campaign_and_its_number(key: tuple[int, int], number: str) -> None:
    id_ = message_id("c1abc", key, number)
    parts = split_id(id_)
    assert parts is not None
    assert parts[0] == "c1abc"
    assert number_of(key, parts[1]) == number


@given(keys, st.sets(e164, min_size=2, max_size=50))
def test_two_numbers_have_two_ids(key: tuple[int, int], numbers: set[str]) -> None:
    assert len({message_id("c1", key, one) for one in numbers}) == len(numbers)


@given(keys, st.integers(0, 10**15 - 1))
def test_any_digits_stand_for_a_number(key: tuple[int, int], digits: int) -> None:
    number = number_of(key, str(digits))
    assert message_id("c1", key, number) == f"c1_{digits}"


@pytest.mark.parametrize("key", [(1, 2), (4_711, 60_000_001), (MOST_KEY, MOST_KEY)])
def test_an_id_does_not_show_the_number(key: tuple[int, int]) -> None:
    """Neighbours are far apart, so that nobody counts on from their own."""
    ids = sorted(
        int(message_id("c1", key, f"+1202556{n:04}").removeprefix("c1_")) for n in range(10_000)
    )
    assert min(after - before for before, after in itertools.pairwise(ids)) > 1
    assert not any("202556" in str(one) for one in ids[::100])


@pytest.mark.parametrize("number", ["", "+", "+1234567890123456", "+12x", "+١٢"])
def test_what_is_no_number_has_no_id(number: str) -> None:
    with pytest.raises(ValueError, match=r"E\.164"):
        message_id("c1", (1, 1), number)


@pytest.mark.parametrize(
    "id_",
    ["", "1764250000000-0", "h1-0", "c1", "c1_", "c1_1234567890123456", "C1_1", "c1_1 ", "xc1_1"],
)
def test_other_ids_are_of_no_campaign(id_: str) -> None:
    assert split_id(id_) is None
