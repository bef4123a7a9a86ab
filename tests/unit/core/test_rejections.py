"""A campaign that fails by itself."""

import pytest

from smsd.core.rejections import LOOKED_AT, Failing, Rejections


def reject(rejections: Rejections, times: int, *, code: str = "30007") -> list[Failing]:
    found = [rejections.rejected("c1", f"c1_{n}", code) for n in range(times)]
    return [one for one in found if one]


def test_it_fails_when_more_are_rejected_than_may_be() -> None:
    rejections = Rejections(20)
    assert reject(rejections, 20) == []
    [failing] = reject(rejections, 1)
    assert failing.reason == "21 of the last 21 were rejected: 30007"
    assert len(failing.rejected) == 21


def test_what_was_found_does_not_count_again() -> None:
    rejections = Rejections(3)
    assert len(reject(rejections, 4)) == 1
    assert reject(rejections, 3) == []
    assert len(reject(rejections, 1)) == 1


def test_only_the_latest_count() -> None:
    rejections = Rejections(20)
    for _ in range(100):
        assert reject(rejections, 1) == []
        for _ in range(LOOKED_AT // 20):
            rejections.sent("c1")
    assert reject(rejections, 5) != [] or reject(rejections, 15) != []


def test_those_that_were_sent_are_among_the_latest() -> None:
    rejections = Rejections(2)
    reject(rejections, 1)
    for _ in range(10):
        rejections.sent("c1")
    [failing] = reject(rejections, 2)
    assert failing.reason == "3 of the last 13 were rejected: 30007"


def test_campaigns_count_each_by_itself() -> None:
    rejections = Rejections(2)
    reject(rejections, 2)
    assert rejections.rejected("c2", "c2_1", "1") is None


def test_the_codes_are_named_the_most_frequent_first() -> None:
    rejections = Rejections(5)
    for code, times in (("a", 1), ("b", 3), ("", 1)):
        assert reject(rejections, times, code=code) == []
    [failing] = reject(rejections, 1, code="b")
    assert failing.reason == "6 of the last 6 were rejected: b, a"


@pytest.mark.parametrize("times", [1000])
def test_without_a_bound_none_fails(times: int) -> None:
    assert reject(Rejections(0), times) == []


def test_a_reason_without_codes_names_none() -> None:
    [failing] = reject(Rejections(1), 2, code="")
    assert failing.reason == "2 of the last 2 were rejected"
