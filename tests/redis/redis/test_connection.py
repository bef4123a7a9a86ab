"""Connections. Rule: every URL leads to the server, and each connection goes back to its pool."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
import redis

from smsd.redis.connection import connect, single_connection
from smsd.redis.durability import persistence
from smsd.redis.errors import (
    Away,
    meaning,
)
from tests.redis.opened import Opened
from tests.redis.reaching import refusal_of, whole_life
from tests.support.processes import Daemon
from tests.support.redis_server import RedisServer, free_port
from tests.support.store import soon
from tests.support.topologies import (
    PASSWORD,
    QUOTED,
    USER,
    Certificates,
    TlsFront,
    has_openssl,
)


async def test_idle_connections_are_closed_under_nobody_who_takes_one(
    redis_server: RedisServer,
) -> None:
    """One command that finds Redis away has all idle connections closed, beside other commands."""
    async with connect(redis_server.url, connections=16, timeout_s=3.0) as client:
        await asyncio.gather(*(client.ping() for _ in range(8)))

        async def close_idle() -> None:
            for _ in range(300):
                await client.connection_pool.disconnect(inuse_connections=False)
                await asyncio.sleep(0)

        async def ask(closing: "asyncio.Task[None]") -> None:
            while not closing.done():
                await client.ping()

        closing = asyncio.create_task(close_idle())
        await asyncio.gather(closing, *(ask(closing) for _ in range(8)))


async def test_a_text_lives_its_life_over_tcp_as_a_user_that_may_touch_its_own_keys_only(
    tmp_path: Path,
) -> None:
    server = RedisServer(tmp_path / "r", port=free_port()).start()
    with server.client() as client:
        rules = ("~smsd:*", "resetchannels", "+@all", "-@admin", "-@dangerous")
        client.execute_command("ACL", "SETUSER", USER, "on", f">{PASSWORD}", *rules)
    try:
        async with Opened(f"redis://{USER}:{QUOTED}@127.0.0.1:{server.port}/0") as opened:
            await whole_life(opened.store)
            found = await persistence(opened.store.redis, prefix="smsd:")
            assert found.warnings == ("its persistence settings cannot be read (CONFIG refused)",)
            with pytest.raises(redis.ResponseError):
                await opened.store.redis.get("another's")
    finally:
        server.kill()


async def test_a_wrong_password_is_told_as_such_and_never_shown(
    own_server: RedisServer, tmp_path: Path
) -> None:
    with own_server.client() as client:
        client.execute_command("ACL", "SETUSER", USER, "on", ">another", "~*", "+@all")
    url = f"unix://{USER}:{QUOTED}@{own_server.socket}"
    async with connect(url, connections=1, timeout_s=3.0) as client_:
        with pytest.raises(redis.RedisError) as caught:
            await client_.ping()
        assert isinstance(meaning(caught.value), Away)
        pool: Any = client_.connection_pool
        shown = f"{caught.value!r} {client_!r} {pool.make_connection()!r}"
        assert PASSWORD not in shown
        assert QUOTED not in shown
    daemon = Daemon(
        tmp_path / "d", environment={"SMSD_REDIS__URL": url, "SMSD_LOG__LEVEL": "debug"}
    )
    daemon.start()
    try:
        status, readiness = daemon.call("GET", "/readyz")
        assert status == 503
        assert "invalid username-password pair" in readiness["redis"]["reason"]
        assert daemon.call("POST", "/send", {"message": "Hi"})[0] == 503
    finally:
        daemon.stop()
    assert "invalid username-password pair" in daemon.log
    for secret in (PASSWORD, QUOTED):
        assert secret not in daemon.log + str(readiness)


@pytest.mark.skipif(not has_openssl(), reason="no openssl on PATH to make certificates with")
async def test_tls_is_spoken_with_whom_the_authority_vouches_for_and_nobody_else(
    own_server: RedisServer, tmp_path: Path
) -> None:
    ours, theirs = Certificates(tmp_path / "ours"), Certificates(tmp_path / "theirs")
    front = await TlsFront(own_server, ours).start()
    try:
        at = f"rediss://127.0.0.1:{front.port}"
        async with Opened(f"{at}?ssl_ca_certs={ours.authority}") as opened:
            await whole_life(opened.store)
        named = f"rediss://localhost:{front.port}?ssl_ca_certs={ours.authority}"
        for refused in (at, f"{at}?ssl_ca_certs={theirs.authority}", named):
            assert "certificate verify failed" in str(await refusal_of(refused))
        async with connect(f"{named}&ssl_check_hostname=no", connections=1, timeout_s=3.0) as any_:
            assert await any_.ping()
        plain = f"redis://127.0.0.1:{front.port}"
        assert isinstance(meaning(await refusal_of(plain)), Away)
    finally:
        await front.stop()


# -- a client with one connection of its own -------------------------------------------------------


async def test_one_that_is_cancelled_while_it_ends_gives_its_connection_back(
    redis_server: RedisServer,
) -> None:
    async with connect(redis_server.url, connections=1, timeout_s=3.0) as redis:
        for turns in range(5):
            ended = asyncio.Event()

            async def use(ended: asyncio.Event = ended) -> None:
                async with single_connection(redis) as single:
                    await single.ping()
                    ended.set()

            task = asyncio.create_task(use())
            await ended.wait()
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

            await soon(redis.ping())  # there is only one
