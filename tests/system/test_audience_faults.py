"""Imports that break off. Rule: readers see the old audience or the new one, whole."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.support.hostile import BEARER, TOKEN, error_in
from tests.support.processes import Daemon, eventually
from tests.support.redis_server import RedisServer
from tests.support.uploads import Caller, calling, rows

SETTINGS = f'[http]\ntokens = ["{TOKEN}"]\n[rate]\nsegments_per_second = 0.001\n'
OLD, NEW = range(100), range(50, 5000)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis").start()
    yield server
    server.kill()


@pytest.fixture
def smsd(tmp_path: Path, server: RedisServer) -> Iterator[Daemon]:
    """A daemon that knows an audience."""
    daemon = Daemon(tmp_path / "smsd", f'{SETTINGS}[redis]\nurl = "{server.url}"\n').start()
    assert put(daemon, OLD) == 200
    yield daemon
    daemon.kill()


def put(daemon: Daemon, numbers: range, value: str = "old") -> int:
    body, headers = b"phone,value\n" + rows(numbers, value), {**BEARER, "Content-Type": "text/csv"}
    return daemon.call("PUT", "/audiences/kept", body, headers)[0]


def held(daemon: Daemon) -> dict[str, str]:
    """All contacts, as pages show them."""
    contacts: dict[str, str] = {}
    query = "?count=500"
    while query:
        status, page = daemon.call("GET", f"/audiences/kept/contacts{query}", headers=BEARER)
        assert status == 200, page
        contacts |= {one["number"]: one["fields"]["value"] for one in page["contacts"]}
        query = f"?count=500&after={page['after']}" if page["more"] else ""
    assert daemon.call("GET", "/audiences/kept", headers=BEARER)[1]["contacts"] == len(contacts)
    return contacts


def expected(numbers: range, value: str = "old") -> dict[str, str]:
    return {f"+1202556{n:04}": value for n in numbers}


def staged(server: RedisServer) -> Any:
    with server.client() as client:
        return client.zrangebyscore("smsd:audience:unfinished", 1, "+inf")


@pytest.fixture
def importing(smsd: Daemon, server: RedisServer) -> Iterator[Caller]:
    """An import of which some contacts are staged."""
    with calling(smsd, "kept") as caller:
        caller.send(rows(NEW, "new"))
        eventually(lambda: staged(server), what="contacts are staged")
        assert held(smsd) == expected(OLD)
        yield caller


def test_a_killed_daemon_leaves_the_old_audience(smsd: Daemon, importing: Caller) -> None:
    smsd.kill()
    smsd.start()
    assert held(smsd) == expected(OLD)
    assert put(smsd, NEW, "new") == 200
    assert held(smsd) == expected(NEW, "new")


def test_a_stopping_daemon_gives_the_import_up(
    smsd: Daemon, server: RedisServer, importing: Caller
) -> None:
    assert smsd.stop() == 0
    assert error_in(importing.answer()) == (503, "busy")
    assert not staged(server)
    smsd.start()
    assert held(smsd) == expected(OLD)


def test_an_import_goes_on_when_redis_comes_back_at_once(
    smsd: Daemon, server: RedisServer, importing: Caller
) -> None:
    server.kill()
    server.start()
    importing.send(rows(range(5000, 6000), "new"))
    assert b'"contacts":5950' in importing.finish()
    assert held(smsd) == expected(range(50, 6000), "new")


def test_redis_that_is_away_breaks_an_import_off(
    smsd: Daemon, server: RedisServer, importing: Caller
) -> None:
    server.kill()
    importing.send(rows(range(5000, 9000), "new"))
    assert error_in(importing.answer()) == (503, "redis_away")
    server.start()
    eventually(lambda: smsd.call("GET", "/readyz", headers=BEARER)[0] == 200)
    assert held(smsd) == expected(OLD)


def test_redis_that_is_full_breaks_an_import_off(
    smsd: Daemon, server: RedisServer, importing: Caller
) -> None:
    with server.client() as client:
        client.config_set("maxmemory", 1)
        with suppress(ConnectionError):
            importing.send(rows(range(5000, 9000), "new"))
        assert error_in(importing.answer()) == (503, "redis_full")
        client.config_set("maxmemory", 0)
    assert held(smsd) == expected(OLD)
    eventually(lambda: put(smsd, NEW, "new") == 200, what="it takes imports again")


def test_of_two_that_replace_at_once_the_last_to_end_is_seen(
    smsd: Daemon, importing: Caller
) -> None:
    with calling(smsd, "kept") as other:
        other.send(rows(range(100), "other"))
        assert b'"contacts":100' in other.finish()
        assert held(smsd) == expected(range(100), "other")
        assert b'"contacts":4950' in importing.finish()
    assert held(smsd) == expected(NEW, "new")


def test_two_that_add_at_once_are_both_in_it_or_one_is_refused(smsd: Daemon) -> None:
    with (
        calling(smsd, "kept", method="POST") as one,
        calling(smsd, "kept", method="POST") as other,
    ):
        one.send(rows(range(1000, 3000), "one"))
        other.send(rows(range(2000, 4000), "other"))
        answers = [one.finish(), other.finish()]
    assert answers[0].startswith(b"HTTP/1.1 200")
    if answers[1].startswith(b"HTTP/1.1 200"):
        last = {**expected(range(1000, 3000), "one"), **expected(range(2000, 4000), "other")}
        assert held(smsd) == expected(OLD) | last
    else:
        assert error_in(answers[1]) == (409, "audience_changed")
        assert held(smsd) == expected(OLD) | expected(range(1000, 3000), "one")


def test_an_audience_that_is_removed_meanwhile_is_there_again_after_its_import(
    smsd: Daemon, importing: Caller
) -> None:
    assert smsd.call("DELETE", "/audiences/kept", headers=BEARER)[0] == 200
    assert b'"contacts":4950' in importing.finish()
    assert held(smsd) == expected(NEW, "new")
