"""A server that becomes a replica. Rule: it is away, and what is repeated comes back with it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import redis

from smsd.core.life import DeadReason
from smsd.redis.errors import (
    Away,
    RefusesWrites,
)
from tests.support.redis_server import RedisServer
from tests.support.store import (
    ALICE,
    OpenStore,
    soon,
    until,
)


@contextmanager
def _demoted(server: RedisServer) -> Iterator["redis.Redis"]:
    """A failover: the server is a replica of one that nobody reaches, until told otherwise."""
    with server.client() as client:
        client.replicaof("127.0.0.1", "1")
        yield client


async def test_a_replica_is_away_and_insisting_comes_back_with_it(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    life = await store.sending()
    await store.append()
    entry, message = await store.claim_one()
    with _demoted(own_server) as client:
        for operation in (store.queue.claim(1, 1), store.queue.cancel(message.id)):
            with pytest.raises(RefusesWrites):
                await operation
        ack = store.queue.ack(*life, "p")
        begin = asyncio.create_task(store.begin(entry, store.attempt(), ALICE))
        await until(lambda: not store.availability.up, "it is noticed")
        assert "ReadOnlyError" in store.availability.reason
        assert not ack.done()
        client.replicaof("NO", "ONE")
        assert await soon(ack)
        assert await soon(begin) == "begun"
        assert store.availability.up
    assert await store.queue.bury(entry, store.attempt(), message, reason=DeadReason.REJECTED)
    assert await store.difference() == 0


async def test_groups_are_not_made_on_a_replica_which_is_away(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = open_store(url=own_server.url)
    with _demoted(own_server) as client:
        for _ in range(2):  # by a script that it does not know yet, or does
            with pytest.raises(RefusesWrites):
                await store.client.ensure_groups()
            assert not store.availability.up
        client.replicaof("NO", "ONE")
    await store.client.ensure_groups()
    assert store.availability.up
    assert await store.queue.claim(1, 1) == []


@pytest.mark.usefixtures("impatient")
async def test_an_append_to_a_replica_is_told_that_redis_is_away(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    with _demoted(own_server):
        with pytest.raises(RefusesWrites):
            await soon(store.append())
        assert not store.availability.up
    assert await store.length() == 0


async def test_an_append_waits_out_a_short_failover(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    with _demoted(own_server) as client:
        append = asyncio.create_task(store.append(ALICE, ALICE))
        await until(lambda: not store.availability.up, "it is noticed")
        client.replicaof("NO", "ONE")
        await soon(append)
    assert await store.length() == 2


async def test_who_waits_for_arrivals_survives_a_failover(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    await asyncio.sleep(0.05)
    with _demoted(own_server):
        [result] = await soon(asyncio.gather(waiting, return_exceptions=True))
    assert result is None or isinstance(result, Away), result


async def test_a_waiting_read_that_is_unblocked_by_hand_is_no_fault(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    waiting = asyncio.create_task(store.arrivals.wait(normal_too=True))
    with own_server.client() as client:

        def blocked() -> list[Any]:
            return [one for one in client.client_list() if "b" in one["flags"]]

        await until(lambda: bool(blocked()), "it waits")
        client.client_unblock(blocked()[0]["id"], error=True)
    await soon(waiting)
