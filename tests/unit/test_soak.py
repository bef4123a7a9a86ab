"""What a soak says of its figures. Rule: growth is told, noise and warming up are not growth."""

import pytest

from tests.chaos.soak import Figures, growth

FLAT = [Figures(80.0, 20)] * 30


def test_flat_figures_are_flat() -> None:
    assert growth(FLAT) == []


def test_warming_up_is_no_growth() -> None:
    assert growth([Figures(40.0 + 4 * n, n) for n in range(10)] + FLAT[:20]) == []


def test_noise_and_a_peak_are_no_growth() -> None:
    noisy = [Figures(80.0 + n % 3, 20 + n % 4) for n in range(30)]
    noisy[25] = Figures(200.0, 300)
    assert growth(noisy) == []


def test_less_is_no_growth() -> None:
    assert growth([*FLAT[:20], *[Figures(60.0, 10)] * 10]) == []


@pytest.mark.parametrize(("last", "faults"), [(82.3, 0), (82.5, 1)])
def test_memory_may_grow_by_three_in_a_hundred(last: float, faults: int) -> None:
    assert len(growth([*FLAT[:20], *[Figures(last, 20)] * 10])) == faults


@pytest.mark.parametrize(("last", "faults"), [(24, 0), (25, 1)])
def test_descriptors_may_differ_by_a_few(last: int, faults: int) -> None:
    assert len(growth([*FLAT[:20], *[Figures(80.0, last)] * 10])) == faults


def test_a_slow_leak_of_both_is_told() -> None:
    leak = [Figures(80.0 + 0.5 * n, 20 + n) for n in range(30)]
    assert growth(leak) == [
        "memory grew from 87.2 to 92.2 MB",
        "descriptors grew from 34 to 44",
    ]


def test_a_short_soak_tells_nothing() -> None:
    assert growth(FLAT[:14]) == ["14 figures are too few to tell"]
    assert growth([]) != []
