"""The bounded memory. Rule: the oldest is forgotten first."""

from smsd.core.recent import Recent


def test_the_oldest_is_forgotten_first() -> None:
    memory: Recent[int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        memory.remember(key, value)
    assert [memory.get(key) for key in "abc"] == [3, None, 4]
