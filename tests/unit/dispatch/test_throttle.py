"""Who is too fast. Rule: outcomes go in, and out comes whether everybody is to wait."""

from smsd.core.outcome import Accepted, Throttled, Unavailable
from smsd.dispatch.throttle import REMEMBERED, Throttle

TAKEN, TOO_FAST = Accepted("p"), Throttled()


def test_whoever_is_throttled_first_stands_for_all() -> None:
    throttle = Throttle()
    assert not throttle.learn("a", "a", TAKEN)
    assert throttle.learn("b", "b", TOO_FAST)
    assert throttle.learn("c", "c", TOO_FAST)


def test_who_is_throttled_again_stands_for_all_only_if_nobody_was_taken_meanwhile() -> None:
    throttle = Throttle()
    assert throttle.learn("a", "a", TOO_FAST)
    assert throttle.learn("a", "a", TOO_FAST)
    throttle.learn("b", "b", TAKEN)
    assert not throttle.learn("a", "a", TOO_FAST)
    assert throttle.learn("a", "a", TOO_FAST)


def test_a_sender_of_its_own_is_known_by_its_other_messages_until_one_is_taken() -> None:
    throttle = Throttle()
    assert throttle.learn("BUSY", "1", TOO_FAST)
    throttle.learn("else", "2", TAKEN)
    assert not throttle.learn("BUSY", "3", TOO_FAST)
    throttle.learn("BUSY", "4", TAKEN)
    assert throttle.learn("BUSY", "5", TOO_FAST)


def test_times_are_counted_in_a_row() -> None:
    throttle = Throttle()
    assert throttle.times("1") == 0
    for times in range(1, 4):
        throttle.learn("BUSY", "1", TOO_FAST)
        assert throttle.times("1") == times
    throttle.learn("BUSY", "2", TAKEN)
    assert throttle.times("1") == 3
    throttle.learn("BUSY", "1", Unavailable("no connection"))
    assert throttle.times("1") == 0


def test_the_oldest_are_forgotten() -> None:
    throttle = Throttle()
    for number in range(REMEMBERED + 1):
        throttle.learn(f"s{number}", f"{number}", TOO_FAST)
    throttle.learn("else", "else", TAKEN)
    assert (throttle.times("0"), throttle.times("1")) == (0, 1)
    assert throttle.learn("s0", "0", TOO_FAST)
    assert not throttle.learn(f"s{REMEMBERED}", "another", TOO_FAST)
