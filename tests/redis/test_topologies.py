"""Redis as others run it. Rule: every URL leads to the master; what a failover loses is said."""

import asyncio
import re
import shutil
import signal
import urllib.request
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.asyncio.sentinel import MasterNotFoundError

from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.redis import client as client_module
from smsd.redis import sentinel as pool_module
from smsd.redis.availability import persevere
from smsd.redis.connection import connect
from smsd.redis.durability import persistence
from smsd.redis.errors import Away, OutOfMemory, TooFewReplicas, Unreachable, meaning
from smsd.redis.group_commit import Full
from smsd.redis.sentinel import Sentinels as Sentinels_
from smsd.store.entry import Attempt, Entry
from smsd.store.lost_writes import Loss
from smsd.store.queue import Append
from tests.redis.opened import Opened, Tail
from tests.support.processes import Daemon, Recorder, eventually
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer, free_port
from tests.support.store import (
    ALICE,
    Store,
    content,
    load_scripts,
    sha,
    until,
)
from tests.support.topologies import (
    PASSWORD,
    QUOTED,
    USER,
    Certificates,
    Replicated,
    Sentinels,
    TlsFront,
    cluster_of_one,
    entries,
    has_openssl,
    role,
)

SOON_S = 40.0  # far more than a failover takes
Life = tuple[Entry, Attempt, Message]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Replicated]:
    pair = Replicated(tmp_path)
    try:
        yield pair.start()
    finally:
        pair.stop()


@pytest.fixture
def sentinels(tmp_path: Path, pair: Replicated) -> Iterator[Sentinels]:
    sentinels = Sentinels(tmp_path, pair)
    try:
        yield sentinels.start()
    finally:
        sentinels.stop()


async def whole_life(store: Store) -> None:
    """Every script a text can meet, each to its end."""
    await store.append(ALICE, ALICE, priority="high")
    entry, attempt, message = await store.begin_next()
    assert await store.queue.ack(entry, attempt, message, "p")
    entry, attempt, message = await store.begin_next()
    assert await store.queue.defer(entry, attempt, message, until=1, attempts=1, why="w")
    await store.schedule(-1)
    assert await store.queue.promote() == 2
    life = await store.begin_next()
    assert await store.queue.bury(*life, reason=DeadReason.REJECTED, suppress=True)
    assert (await store.lookup.message(message.id) or {})["state"] in ("dead", "queued")
    [letter, *_] = await store.dead_letters.page("", 10)
    assert await store.queue.replay(letter[0], letter[1]["id"])
    [id_] = await store.append()
    assert await store.queue.cancel(id_) == "cancelled"
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    assert (await store.queue.append(request)).answer is None
    assert (await store.queue.append(request)).answer == b"{}"
    claimed, _ = await store.claim_one()
    assert [entry.name for entry in await store.queue.reclaim([claimed.name])] == [claimed.name]
    assert await store.difference() == 0


# -- what a URL may say -------------------------------------------------------------------------


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
            assert "certificate verify failed" in str(await _refusal(refused))
        async with connect(f"{named}&ssl_check_hostname=no", connections=1, timeout_s=3.0) as any_:
            assert await any_.ping()
        plain = f"redis://127.0.0.1:{front.port}"
        assert isinstance(meaning(await _refusal(plain)), Away)
    finally:
        await front.stop()


async def _refusal(url: str) -> redis.RedisError:
    async with connect(url, connections=1, timeout_s=3.0) as client:
        with pytest.raises(redis.RedisError) as caught:
            await client.ping()
    assert isinstance(meaning(caught.value), Away)
    return caught.value


# -- a cluster ----------------------------------------------------------------------------------


def test_no_script_makes_up_a_key() -> None:
    """The first word after a command that has a key is a name, and never a string."""
    folder = resources.files("smsd.store").joinpath("lua")
    for script in folder.iterdir():
        text = script.read_text()
        text = re.sub(r"'(XINFO|XGROUP|SCAN)', '\w+', ", r"'\1', ", text)
        text = re.sub(r"'XREADGROUP'.*?'STREAMS', ", "'XREADGROUP', ", text)
        for command, first in re.findall(r"redis\.p?call\('(\w+)'(?:, ([^)]*))?", text):
            key = re.sub(r"\w+ == '\w+'", "it", (first or "").split(",")[0])
            key = key.replace("unpack(KEYS", "KEYS")
            assert re.fullmatch(r"[A-Za-z_]\w*( (and|or) [A-Z]+)*", key), (
                script.name,
                command,
                first,
            )


async def test_a_text_lives_its_life_in_a_cluster_under_one_hash_tag(tmp_path: Path) -> None:
    node = cluster_of_one(tmp_path / "c")
    try:
        async with Opened(node.url, prefix="{smsd}:") as opened:
            await whole_life(opened.store)
            assert (await persistence(opened.store.redis, prefix="{smsd}:")).fault == ""
            for untagged in ("smsd:", "{}smsd:", "s{msd:"):
                found = await persistence(opened.store.redis, prefix=untagged)
                assert "needs a hash tag" in found.fault
    finally:
        node.kill()


async def test_the_daemon_does_not_start_in_a_cluster_without_a_hash_tag(tmp_path: Path) -> None:
    node = cluster_of_one(tmp_path / "c")
    try:
        environment = {"SMSD_REDIS__URL": node.url}
        untagged = Daemon(tmp_path / "u", environment=environment)
        untagged.start(wait=False)
        assert untagged.wait() != 0
        assert 'prefix needs a hash tag, "{smsd}:" in place of "smsd:"' in untagged.log
        assert "Traceback" not in untagged.log
        tagged = Daemon(tmp_path / "t", environment=environment | {"SMSD_REDIS__PREFIX": "{smsd}:"})
        try:
            tagged.start()
            id_ = tagged.send(to=ALICE, message="Hi")["id"]
            eventually(lambda: tagged.call("GET", f"/messages/{id_}")[1]["state"] == "sent")
            assert tagged.stop() == 0
        finally:
            tagged.kill()
    finally:
        node.kill()


# -- what is said at the start --------------------------------------------------------------------


async def _warnings(server: RedisServer, replicas_ack: int = 0) -> list[str]:
    async with connect(server.url, connections=1, timeout_s=3.0) as client:
        found = await persistence(client, prefix="smsd:", replicas_ack=replicas_ack)
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


# -- replicas that must have it -------------------------------------------------------------------


async def test_without_its_replica_nothing_is_promised_and_nothing_permitted(
    pair: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ACK_MS", 300)
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append(ALICE, ALICE)
        entry, message = await store.claim_one()
        request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
        pair.replica.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TooFewReplicas):
                await store.queue.append(request)
            assert await store.length() == 3  # that one had been written before it was known
            with pytest.raises(TooFewReplicas):
                await store.queue.first_answer("k")
            for _ in range(2):
                with pytest.raises(TooFewReplicas):
                    await store.append()
            assert await store.length() == 3
            beginning = asyncio.create_task(store.begin(entry, store.attempt(), message.recipient))
            await asyncio.wait([beginning], timeout=1.0)
            assert not beginning.done()
            assert await store.queue.journal() == {}  # a stop now leaves nothing in doubt
            assert store.availability.up
        finally:
            pair.replica.send_signal(signal.SIGCONT)
        async with asyncio.timeout(SOON_S):
            assert await beginning == "begun"
        assert await store.queue.ack(entry, store.attempt(), message, "p")
        assert (await store.queue.append(request)).answer == b"{}"
        await store.append()
        assert await store.length() == 3
        assert await store.difference() == 0


async def test_a_begin_that_the_replica_did_not_hear_of_in_time_is_undone(
    pair: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ACK_MS", 300)
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append()
        entry, message = await store.claim_one()
        pair.replica.send_signal(signal.SIGSTOP)
        try:
            beginning = asyncio.create_task(store.begin(entry, store.attempt(), message.recipient))
            await until(lambda: not store.client._replicas.enough, "the replica is missed")
            await asyncio.wait([beginning], timeout=0.5)
            assert not beginning.done()
            assert await store.queue.journal() == {}
        finally:
            pair.replica.send_signal(signal.SIGCONT)
        async with asyncio.timeout(SOON_S):
            assert await beginning == "begun"


async def test_a_replica_that_is_back_is_found_to_be_while_redis_is_full(
    pair: Replicated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "ACK_MS", 300)
    async with Opened(pair.master.url, replicas_ack=1) as opened:
        store = opened.store
        await store.append(ALICE)
        entry, message = await store.claim_one()
        pair.replica.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(TooFewReplicas):
                await store.append()
            with pair.master.client() as client:
                client.config_set("maxmemory", 1)
        finally:
            pair.replica.send_signal(signal.SIGCONT)
        async with asyncio.timeout(SOON_S):
            assert await store.begin(entry, store.attempt(), message.recipient) == "begun"
        assert await store.queue.ack(entry, store.attempt(), message, "p")
        with pytest.raises(OutOfMemory):
            await store.client.try_to_write()


async def test_a_repeated_append_is_not_promised_because_it_wrote_nothing_more(
    pair: Replicated, tmp_path: Path
) -> None:
    """WAIT looks at what its own connection wrote: after a repetition, at nothing."""
    proxy = await Proxy(pair.master.socket, tmp_path / "p").start()
    async with Opened(proxy.url, replicas_ack=1) as opened:
        await opened.store.append()
        pair.replica.send_signal(signal.SIGSTOP)
        try:
            proxy.lose_reply(sha("append"))
            with pytest.raises(TooFewReplicas):
                await opened.store.append()
        finally:
            pair.replica.send_signal(signal.SIGCONT)
        assert proxy.lost == 1
        assert await opened.store.length() == 2
    await proxy.stop()


async def test_the_daemon_sends_nothing_while_its_replica_is_stopped_and_goes_on_after(
    pair: Replicated, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path).start()
    environment = {"SMSD_REDIS__URL": pair.master.url, "SMSD_REDIS__REPLICAS_ACK": "1"}
    daemon = Daemon(tmp_path / "d", recorder.settings(), environment)
    daemon.start()
    try:
        first = daemon.send(to=ALICE, message="first")["id"]
        eventually(lambda: len(recorder.arrivals()) == 1, what="the first arrives")
        pair.replica.send_signal(signal.SIGSTOP)
        try:
            with pair.master.client() as client:  # by a way that does not wait for the replica
                for _ in range(20):
                    client.xadd("smsd:queue", {"to": ALICE, "message": "by hand"})
            status, answer = daemon.call("POST", "/send", {"to": ALICE, "message": "second"})
            assert (status, answer["error"]["code"]) == (503, "outcome_unknown")
            status, _ = daemon.call("POST", "/send", {"to": ALICE, "message": "third"})
            assert status == 503
            assert len(recorder.arrivals()) == 1
        finally:
            pair.replica.send_signal(signal.SIGCONT)
        last = daemon.send(to=ALICE, message="last")["id"]
        eventually(
            lambda: daemon.call("GET", f"/messages/{last}")[1]["state"] == "sent",
            30,
            "the last is sent",
        )
        eventually(lambda: len(recorder.arrivals()) >= 22, what="all arrive")
        assert 22 <= len(recorder.arrivals()) <= 23  # of `second` nothing was known
        assert daemon.call("GET", f"/messages/{first}")[1]["state"] == "sent"
        assert daemon.stop() == 0
        assert "replicas enough=false" in daemon.log
        assert "replicas enough=true" in daemon.log
    finally:
        daemon.kill()
        recorder.stop()


# -- a server that knows less than it told ---------------------------------------------------------


async def test_a_server_that_came_back_whole_is_believed(own_server: RedisServer) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        lives = [await store.sending() for _ in range(3)]
        assert await store.queue.ack(*lives[0], "p")
        assert await store.queue.defer(*lives[1], until=1, attempts=1, why="w")
        assert await store.queue.promote() == 1
        for _ in range(3):
            own_server.kill()
            own_server.start()
            await store.append()
            assert await store.queue.ack(*lives[2], "p")
            lives[2] = await store.sending()
        assert opened.losses == []
        assert await store.difference() == 0


async def test_the_daemon_says_and_counts_what_a_restored_server_has_forgotten(
    own_server: RedisServer, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path / "d", environment={"SMSD_REDIS__URL": own_server.url})
    daemon.start()
    try:
        daemon.send(to=ALICE, message="kept")
        own_server.kill()
        shutil.copytree(own_server.directory / "appendonlydir", tmp_path / "backup")
        own_server.start()
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, what="it is back")
        ids = [daemon.send(to=ALICE, message="forgotten")["id"] for _ in range(3)]
        assert "its last writes" not in daemon.log
        own_server.kill()
        shutil.rmtree(own_server.directory / "appendonlydir")
        shutil.copytree(tmp_path / "backup", own_server.directory / "appendonlydir")
        own_server.start()
        # ("lost" alone is also what a broken connection is.)
        eventually(lambda: "its last writes" in daemon.log, what="it is noticed")
        said = f'"redis lost its last writes: texts" texts=3 first={ids[0]} last={ids[2]}'
        assert said in daemon.log
        with urllib.request.urlopen(f"{daemon.url}/metrics") as answer:
            assert b'smsd_redis_lost_total{what="text"} 3.0' in answer.read()
    finally:
        daemon.kill()


async def test_settlements_are_told_again_though_the_last_is_of_a_text_that_was_lost_too(
    own_server: RedisServer,
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        life = await store.sending()
        tail = Tail(own_server)
        await insist(store)
        lost = await store.begin_next()
        assert await store.queue.ack(*life, "p")
        assert await store.queue.ack(*lost, "p")
        tail.lose()
        await insist(store)
        await opened.reconciled()
        assert await store.state(life[2].id) == "sent"
        assert opened.settled_again == 1
        assert await store.queue.journal() == {}


@pytest.mark.parametrize("scheduled", [False, True])
async def test_a_text_whose_promotion_was_lost_as_well_is_not_sent_again(
    own_server: RedisServer, scheduled: bool
) -> None:
    async with Opened(own_server.url) as opened:
        store = opened.store
        if scheduled:
            await store.schedule(-1)
        else:
            life = await store.sending()
            assert await store.queue.defer(*life, until=1, attempts=1, why="w")
        tail = Tail(own_server)
        await reach(store)
        assert await store.queue.promote() == 1
        life = await store.begin_next()
        assert await store.queue.ack(*life, "p")
        tail.lose()
        await reach(store)
        await opened.reconciled()
        assert await store.queue.promote() == 0
        assert await store.state(life[2].id) == "sent"
        assert opened.settled_again == 1
        census = await store.census()
        assert (census.deferred, census.finished["sent"], census.difference) == (0, 1, 0)


async def test_a_server_that_has_the_last_settlement_is_told_none_of_them_again(
    redis_server: RedisServer, tmp_path: Path, prefix: str
) -> None:
    proxy = await Proxy(redis_server.socket, tmp_path / "p").start()
    async with Opened(proxy.url, prefix=prefix) as opened:
        store = opened.store
        await load_scripts(store.redis)
        for _ in range(3):
            assert await store.queue.ack(*await store.sending(), "p")
        proxy.commands.clear()
        proxy.lose_reply(sha("claim"))
        with pytest.raises(Unreachable):
            await store.queue.claim(0, 1)
        assert await store.queue.claim(0, 1) == []
        await store.append()
        assert sha("append") in b"".join(proxy.commands)
        assert sha("finish") not in b"".join(proxy.commands)
        assert opened.losses == []
    await proxy.stop()


# -- sentinels ----------------------------------------------------------------------------------


async def test_a_text_lives_its_life_over_sentinels_that_want_a_login(
    sentinels: Sentinels,
) -> None:
    async with Opened(sentinels.url) as opened:
        assert opened.store.redis.connection_pool.connection_kwargs["retry"]._retries == 0
        for sentinel in opened.store.redis.connection_pool.sentinel_manager.sentinels:
            assert sentinel.connection_pool.connection_kwargs["retry"]._retries == 0
        await whole_life(opened.store)
        assert PASSWORD not in repr(opened.store.redis)
        wrong = sentinels.url.replace(f"sentinel_password={QUOTED}", "sentinel_password=wrong")
        refusal = await _refusal(wrong)
        assert "AuthenticationError" in str(refusal)
        assert "wrong" not in str(refusal).replace("WRONGPASS", "")
        assert "does not know it" in str(await _refusal(sentinels.url.replace("/texts", "/other")))


async def test_a_sentinel_that_hangs_costs_no_time(sentinels: Sentinels) -> None:
    sentinels.send_signal(0, signal.SIGSTOP)
    try:
        async with connect(sentinels.url, connections=1, timeout_s=3.0) as client:
            async with asyncio.timeout(0.9):  # less than it would be waited for
                assert await client.ping()
    finally:
        sentinels.send_signal(0, signal.SIGCONT)


async def test_a_sentinel_that_has_not_heard_of_a_failover_does_not_lead_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sentinels = Sentinels_([("a", 1)])  # type: ignore[no-untyped-call]
    heard: list[dict[str, Any]] = []

    async def answers(_: object, __: str) -> tuple[list[dict[str, Any]], list[str]]:
        return heard, ["AuthenticationError: no"]

    monkeypatch.setattr(Sentinels_, "_answers", answers)
    with pytest.raises(MasterNotFoundError, match="AuthenticationError"):
        await sentinels.discover_master("texts")
    heard[:] = [_state("old", 6), _state("new", 7)]
    assert await sentinels.discover_master("texts") == ("new", 1)
    heard[:] = [_state("old", 6)]
    assert await sentinels.discover_master("texts") == ("new", 1)
    heard[:] = [_state("new", 7, is_odown=True)]
    with pytest.raises(MasterNotFoundError, match="it is down"):
        await sentinels.discover_master("texts")
    heard[:] = [_state("third", 0)]
    monkeypatch.setattr(pool_module, "BEHIND_S", -1.0)  # as if a long time had passed
    assert await sentinels.discover_master("texts") == ("third", 1)


def _state(ip: str, epoch: int, *, is_odown: bool = False) -> dict[str, Any]:
    flags = {"is_master": True, "is_sdown": False, "is_odown": is_odown, "num-other-sentinels": 2}
    return {"ip": ip, "port": 1, "config-epoch": epoch, **flags}


async def test_a_master_that_was_demoted_is_left_for_the_new_one(
    sentinels: Sentinels, pair: Replicated
) -> None:
    """Until it is demoted, the old master goes on taking what the new one will never have."""
    async with Opened(sentinels.url) as opened, asyncio.timeout(SOON_S):
        store = opened.store
        lives = [await store.sending() for _ in range(5)]
        pair.wait_until_they_follow()
        await asyncio.to_thread(sentinels.fail_over)
        told: list[str] = []
        while await asyncio.to_thread(role, pair.replica) != "master":
            told += await insist(store)
        told += await insist(store)
        while told[-1] not in await asyncio.to_thread(entries, pair.replica, [store.keys.queue]):
            told += await insist(store)
        assert await asyncio.to_thread(role, pair.master) == "master"  # nobody waited for that
        told += await insist(store)
        for life in lives:
            assert await store.queue.ack(*life, "p")
        assert (await store.census()).finished["sent"] == 5
        present = await asyncio.to_thread(entries, pair.replica, [store.keys.queue])
        assert told[-1] in present
        missing = [id_ for id_ in told if id_ not in present]
        assert len(missing) == opened.texts_lost
        if missing:
            assert _texts(opened.losses) == [(len(missing), missing[0], missing[-1], True)]


async def reach(store: Store) -> None:
    """Return when the server that was away has answered."""
    while True:
        try:
            await store.census()
        except Away:
            pass
        else:
            return


async def insist(store: Store) -> list[str]:
    """Ask until it is queued, as a caller would; their ids."""
    while True:
        try:
            return await store.append()
        except Away:
            pass


async def test_what_a_failover_lost_is_counted_said_and_never_sent_again(
    sentinels: Sentinels, pair: Replicated
) -> None:
    async with Opened(sentinels.url) as opened, asyncio.timeout(SOON_S):
        store = opened.store
        await store.append(*[ALICE] * 3)
        settled_before = await store.begin_next()
        assert await store.queue.ack(*settled_before, "p")
        lives = [await store.sending() for _ in range(8)]
        pair.wait_until_they_follow()
        await asyncio.to_thread(pair.part)
        lost = [id_ for _ in range(4) for id_ in await store.append(ALICE, ALICE)]
        for life in lives[:6]:
            assert await store.queue.ack(*life, "p")
        assert await store.queue.bury(*lives[6], reason=DeadReason.REJECTED)
        assert await store.queue.defer(*lives[7], until=9_000_000_000_000, attempts=1, why="w")
        pair.master.kill()
        [after] = await insist(store)
        await opened.reconciled()
        assert _texts(opened.losses) == [(8, lost[0], lost[-1], True)]
        census = await store.census()
        assert opened.settled_again == 8
        assert len(opened.losses) == 2
        assert census.finished["sent"] == 1 + 6
        assert (census.dead, census.deferred, census.in_flight) == (1, 1, 0)
        assert census.difference == 0
        present = await asyncio.to_thread(entries, pair.replica, [store.keys.queue])
        assert after in present
        assert not present & {*lost, *(entry.name[1:] for entry, _, _ in lives)}
        assert await store.queue.journal() == {}


def _texts(losses: list[Loss]) -> list[tuple[int, str, str, bool]]:
    return [(loss.texts, loss.first, loss.last, loss.complete) for loss in losses if loss.texts]


@pytest.mark.parametrize("replicas_ack", [0, 1])
async def test_a_master_killed_under_load_loses_nothing_that_is_not_said(
    tmp_path: Path, replicas_ack: int
) -> None:
    nodes = Replicated(tmp_path, replicas=2)
    sentinels = Sentinels(tmp_path, nodes)
    try:
        nodes.start()
        sentinels.start()
        async with Opened(sentinels.url, replicas_ack=replicas_ack) as opened:
            load = Load(opened)
            async with asyncio.timeout(SOON_S):
                await load.start()
                await until(lambda: len(load.acked) > 100, "it runs")
                nodes.master.kill()
                before = len(load.acked)
                while len(load.acked) < before + 100:
                    await asyncio.sleep(0.01)
                await load.stop()
                present = await _present(opened.store, sentinels)
        missing = load.told - present - load.acked
        assert len(missing) <= opened.texts_lost
        assert not present & load.acked  # they would be sent a second time
        assert load.sent_twice == set()
        if replicas_ack:
            assert not missing
            assert opened.texts_lost == 0
    finally:
        sentinels.stop()
        nodes.stop()


async def _present(store: Store, sentinels: Sentinels) -> set[str]:
    """Ids in the master's streams, when the store and the sentinels mean the same one."""
    while True:
        await insist(store)  # finds out what a new server lacks, and whatever comes next tells it
        [last] = await insist(store)
        master = await asyncio.to_thread(sentinels.master)
        present = await asyncio.to_thread(entries, master, [store.keys.high, store.keys.queue])
        if last in present:
            return present


async def test_the_daemon_goes_on_with_the_new_master(
    sentinels: Sentinels, pair: Replicated, tmp_path: Path
) -> None:
    recorder = Recorder(tmp_path).start()
    daemon = Daemon(tmp_path / "d", recorder.settings(), {"SMSD_REDIS__URL": sentinels.url})
    daemon.start()
    try:
        ids = [daemon.send(to=ALICE, message="before")["id"] for _ in range(30)]
        eventually(lambda: len(recorder.arrivals()) > 5, what="it sends")
        pair.wait_until_they_follow()
        pair.master.kill()
        eventually(lambda: daemon.call("POST", "/send", {"to": ALICE, "message": "x"})[0] == 503)
        await asyncio.to_thread(pair.promoted)
        eventually(lambda: daemon.call("GET", "/readyz")[0] == 200, 30, "it has found it")
        ids.append(daemon.send(to=ALICE, message="after")["id"])

        def all_sent() -> bool:
            answers = [daemon.call("GET", f"/messages/{id_}")[1] for id_ in ids]
            return all(answer["state"] == "sent" for answer in answers)

        eventually(all_sent, 30, "all are sent")
        arrived = [arrival["id"] for arrival in recorder.arrivals()]
        assert all(arrived.count(id_) == 1 for id_ in ids)
        assert daemon.stop() == 0
        for secret in (PASSWORD, QUOTED):
            assert secret not in daemon.log
    finally:
        daemon.kill()
        recorder.stop()


class Load:
    """Appends, and a dispatch that does all but send."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.told: set[str] = set()
        self.acked: set[str] = set()
        self.sent: set[str] = set()
        self.sent_twice: set[str] = set()
        self._stop = asyncio.Event()
        self._parts: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        self._parts = [asyncio.create_task(self._append()) for _ in range(4)]
        self._parts.append(asyncio.create_task(self._dispatch()))

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._parts)

    async def _append(self) -> None:
        while not self._stop.is_set():
            try:
                self.told.update(await self.opened.store.append())
            except Full:
                pass  # in line for too long, and so not made: a failover takes longer at times
            except Away:
                pass
            await asyncio.sleep(0.002)

    async def _dispatch(self) -> None:
        store: Any = self.opened.store
        while not self._stop.is_set():
            try:
                claimed = await store.queue.claim(0, 8)
            except Away:
                await asyncio.sleep(0.05)
                claimed = await self._recovered()
            await asyncio.gather(*(self._deliver(entry) for entry in claimed))
            await asyncio.sleep(0.002)

    async def _recovered(self) -> list[Entry]:
        store = self.opened.store

        async def recover() -> list[Entry]:
            pending = await store.queue.pending()
            return await store.queue.reclaim(pending)

        return await persevere(recover)

    async def _deliver(self, entry: Entry) -> None:
        store, id_ = self.opened.store, entry.first_message_id
        attempt = store.attempt()
        begun = await store.begin(entry, attempt, ALICE)
        if begun == "fenced":  # the lease was lost with the master
            await store.lead()
            begun = await store.begin(entry, attempt, ALICE)
        if begun != "begun":
            return
        self.sent_twice |= {id_} & self.sent
        self.sent.add(id_)
        message = Message(id_, ALICE, content(), 0)
        await store.queue.ack(entry, attempt, message, "p")
        self.acked.add(id_)
