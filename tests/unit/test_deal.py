"""Which faults a run begins with. Rule: `MEET_ALL` runs in a row meet every kind."""

import pytest

from tests.chaos.run import FAULTS, MEET_ALL, dealt


@pytest.mark.parametrize("seed", [0, 1, 2, 7, 999_999])
def test_runs_in_a_row_meet_every_kind_of_fault(seed: int) -> None:
    met = {fault for number in range(seed, seed + MEET_ALL) for fault in dealt(number)}
    assert met == set(FAULTS)


def test_a_seed_says_which() -> None:
    assert dealt(3) == dealt(3) != dealt(4)
