"""Forecasts. Rule: campaigns share the rate by weight, those of high priority go first."""

import pytest

from smsd.core.forecast import Backlog, forecast, moment


def ends(*backlogs: Backlog, rate: float = 10.0) -> dict[str, float]:
    return forecast(backlogs, rate).finished


def test_one_takes_its_segments_at_the_rate() -> None:
    assert ends(Backlog("a", 45_000), rate=45) == {"a": 1000.0}


def test_nothing_left_is_finished_at_once() -> None:
    assert ends(Backlog("a", 0)) == {"a": 0.0}
    assert ends() == {}


def test_two_of_one_weight_share_alike_and_the_longer_one_goes_on_alone() -> None:
    assert ends(Backlog("short", 100), Backlog("long", 300)) == {"short": 20.0, "long": 40.0}


def test_weights_are_shares() -> None:
    made = ends(Backlog("three", 300, weight=3), Backlog("one", 300))
    assert made["three"] == 40.0  # 7.5 segments/s
    assert made["one"] == 60.0


def test_high_priority_goes_first_whatever_the_weights() -> None:
    made = ends(Backlog("normal", 100, weight=1000), Backlog("high", 100, goes_first=True))
    assert made == {"high": 10.0, "normal": 20.0}


def test_one_that_starts_later_takes_nothing_until_then() -> None:
    made = ends(Backlog("now", 100), Backlog("later", 100, starts_at=5.0))
    assert made == {"now": 15.0, "later": 20.0}
    assert ends(Backlog("alone", 10, starts_at=100.0)) == {"alone": 101.0}


def test_high_priority_that_starts_later_interrupts_the_others() -> None:
    made = ends(Backlog("a", 100), Backlog("high", 50, goes_first=True, starts_at=2.0))
    assert made == {"high": 7.0, "a": 15.0}


def test_what_is_left_after_a_time_and_what_has_ended_make_up_the_whole() -> None:
    backlogs = [Backlog("a", 100), Backlog("b", 300, weight=2), Backlog("c", 50, starts_at=60.0)]
    made = forecast(backlogs, 10.0, until=10.0)
    assert made.finished == {}
    assert made.left == {
        "a": pytest.approx(66.667, abs=0.01),
        "b": pytest.approx(233.33, abs=0.01),
        "c": 50,
    }
    assert sum(made.left.values()) == pytest.approx(450 - 100)


def test_a_time_in_a_gap_leaves_what_starts_behind_it() -> None:
    made = forecast([Backlog("a", 10), Backlog("b", 7, starts_at=5.0)], 10.0, until=2.0)
    assert (made.finished, made.left) == ({"a": 1.0}, {"b": 7})


def test_nothing_moves_when_the_forecast_ends_at_once() -> None:
    assert forecast([Backlog("a", 10)], 10.0, until=0.0).left == {"a": 10}


def test_all_segments_are_served_by_the_end() -> None:
    """The rate is never idle while there is work: the last end is the sum over the rate."""
    backlogs = [Backlog(f"c{n}", 7 * n % 13, 1 + n % 5, goes_first=n % 4 == 0) for n in range(100)]
    made = ends(*backlogs)
    assert len(made) == 100
    assert max(made.values()) == pytest.approx(sum(one.segments for one in backlogs) / 10)


def test_a_time_behind_all_calendars_is_the_last_one() -> None:
    assert moment(1_795_788_000_123.4) == "2026-11-27T14:00:00.123+00:00"
    assert moment(1e30) == moment(float("inf")) == "9999-12-31T23:59:59.999+00:00"
