"""Opt-outs. Rule: who has opted out is known for many numbers in one step."""

from tests.redis.audiences import numbers
from tests.support.store import Store


async def test_those_that_opted_out_are_found_among_others(store: Store) -> None:
    some = numbers(300)
    await store.redis.sadd(store.keys.optouts, *some[::7], "+12025569999")
    assert await store.opt_outs.among(some) == set(some[::7])


async def test_nobody_is_asked_for_nothing(store: Store) -> None:
    assert await store.opt_outs.among([]) == frozenset()
    assert await store.opt_outs.among(numbers(3)) == frozenset()
