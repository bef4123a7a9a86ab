"""How durable a server is. Rule: whatever a crash or a failover would lose is reported."""

import pytest

from smsd.core.life import DeadReason
from smsd.redis.connection import connect
from smsd.redis.durability import persistence
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, OpenStore
from tests.support.topologies import (
    Replicated,
)


async def _warnings(server: RedisServer, url: str = "", *, replicas_ack: int = 0) -> list[str]:
    async with connect(url or server.url, connections=1, timeout_s=3.0) as redis:
        found = await persistence(redis, prefix="smsd:", replicas_ack=replicas_ack)
    assert found.version[0] in "6789u"
    return list(found.warnings)


async def test_what_a_failover_may_lose_is_said_at_the_start(pair: Replicated) -> None:
    [said] = await _warnings(pair.master)
    assert "replicas_ack, and on Redis min-replicas-to-write" in said
    with pair.master.client() as client:
        client.config_set("min-replicas-to-write", 1)
    [said] = await _warnings(pair.master)
    assert "those of up to 10 s" in said
    assert await _warnings(pair.master, replicas_ack=1) == []
    [said] = await _warnings(pair.master, replicas_ack=2)
    assert "nothing is taken in or sent" in said
    assert "it is a replica and refuses writes" in (await _warnings(pair.replica))[0]


async def test_an_evicting_server_is_named_with_its_limit(own_server: RedisServer) -> None:
    with own_server.client() as client:
        client.config_set("maxmemory", 100_000_000)
        assert await _warnings(own_server) == []
        client.config_set("maxmemory-policy", "volatile-lru")
    [said] = await _warnings(own_server)
    assert "volatile-lru: above maxmemory (100000000 bytes)" in said


async def test_a_server_that_keeps_everything_is_not_warned_of(own_server: RedisServer) -> None:
    assert await _warnings(own_server) == []


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("appendonly", "no", "appendonly is no"),
        ("appendfsync", "everysec", "appendfsync is everysec"),
        ("appendfsync", "no", "appendfsync is no"),
        ("maxmemory-policy", "allkeys-lru", "maxmemory-policy is allkeys-lru"),
        ("maxmemory-policy", "volatile-ttl", "maxmemory-policy is volatile-ttl"),
    ],
)
async def test_what_a_server_may_lose_is_said(
    own_server: RedisServer, setting: str, value: str, said: str
) -> None:
    with own_server.client() as client:
        client.config_set(setting, value)
    [warning] = await _warnings(own_server)
    assert said in warning


async def test_everything_a_server_may_lose_is_said(own_server: RedisServer) -> None:
    with own_server.client() as client:
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-random")
    assert len(await _warnings(own_server)) == 2


@pytest.mark.parametrize("rules", ["-config", "-@dangerous", "-info"])
async def test_a_server_that_does_not_tell_its_settings_is_warned_of(
    own_server: RedisServer, rules: str
) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", "~*", "+@all", rules)
    warnings = await _warnings(own_server, own_server.url.replace("unix://", "unix://limited:pw@"))
    if rules == "-info":
        assert warnings == []
    else:
        assert len(warnings) == 1
        assert "cannot be read" in warnings[0]


async def test_a_daemon_with_few_rights_works(
    own_server: RedisServer, open_store: OpenStore, prefix: str
) -> None:
    """What smsd needs: its own keys, and no command that is dangerous."""
    with own_server.client() as client:
        rules = (f"~{prefix}*", "+@all", "-@dangerous", "-@admin", "+info")
        client.execute_command("ACL", "SETUSER", "limited", "on", ">pw", *rules)
    url = own_server.url.replace("unix://", "unix://limited:pw@")
    store = await open_store(url=url).lead()
    await store.append(ALICE, ALICE)
    assert await store.queue.ack(*await store.begin_next(), "p")
    life = await store.begin_next()
    assert await store.queue.bury(*life, reason=DeadReason.REJECTED)
    [(letter, _)] = await store.dead_letters.page("", 10)
    assert await store.queue.replay(letter, life[2].id)
    await store.arrivals.wait(normal_too=True)
    assert await store.difference() == 0
