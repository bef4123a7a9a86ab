"""Scripts. Rule: a server that has forgotten one is sent it again."""

import asyncio
import re
from importlib import resources

import pytest
from redis.asyncio import Redis

from smsd.core.life import DeadReason
from smsd.redis import scripts
from smsd.redis.connection import command
from tests.support.store import (
    ALICE,
    Store,
    Wall,
)


async def test_scripts_are_sent_again_to_a_server_that_forgot_them(
    store: Store, wall: Wall
) -> None:
    async def forget() -> None:
        await store.redis.script_flush()

    await store.schedule(1)
    await forget()
    wall.advance(2)
    assert await store.queue.promote() == 1
    await forget()
    entry, message = await store.claim_one()
    await forget()
    attempt = store.attempt()
    assert await store.begin(entry, attempt, message.recipient) == "begun"
    await forget()
    assert await store.queue.ack(entry, attempt, message, "p")
    await forget()
    assert await store.difference() == 0


async def test_a_whole_group_survives_forgotten_scripts(store: Store) -> None:
    await store.redis.script_flush()
    made = await asyncio.gather(*(store.append() for _ in range(150)))
    assert len({id_ for [id_] in made}) == await store.length() == 150
    lives = [await store.begin_next() for _ in range(100)]
    await store.redis.script_flush()
    halves = zip(lives[:50], lives[50:], strict=True)
    settled = await asyncio.gather(
        *(
            one
            for first, second in halves
            for one in (
                store.queue.ack(*first, "p"),
                store.queue.bury(*second, reason=DeadReason.REJECTED),
            )
        )
    )
    assert settled == [True] * 100
    assert await store.difference() == 0


async def test_a_script_that_is_forgotten_all_the_time_still_runs(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgetful(client: Redis, words: tuple[str | bytes | int, ...]) -> object:
        await store.redis.script_flush()
        return await command(client, words)

    monkeypatch.setattr(scripts, "command", forgetful)
    [id_] = await store.append(ALICE)
    assert await store.queue.ack(*await store.begin_next(), "p")
    assert await store.state(id_) == "sent"


def test_no_script_makes_up_a_key() -> None:
    """The first word after a command that has a key is a name, and never a string.

    But for the buckets of an audience, and for campaigns: only the script knows which there are.
    The keys of buckets are that of their version, which is given, and a number; the ids of messages
    say which campaign they are of.
    """
    folder = resources.files("smsd.store").joinpath("lua")
    for script in folder.iterdir():
        text = script.read_text()
        text = re.sub(r"'(XINFO|XGROUP|SCAN|OBJECT|MEMORY)', '\w+', ", r"'\1', ", text)
        text = re.sub(r"'XREADGROUP'.*?'STREAMS', ", "'XREADGROUP', ", text)
        text = re.sub(r"\bkeys\[[^\]]+\]", "keys", text)  # those that it is given
        text = re.sub(r"bucket_(?:from|of)\((?:version|base), [^()]+\)", "bucket", text)
        text = re.sub(r"\bcampaign\.key\b", "campaign", text)
        for name, first in re.findall(r"redis\.p?call\('(\w+)'(?:, ([^)]*))?", text):
            key = re.sub(r"\w+ == '\w+'", "it", (first or "").split(",")[0])
            key = key.replace("unpack(KEYS", "KEYS")
            assert re.fullmatch(r"[A-Za-z_]\w*( (and|or) [A-Z]+)*", key), (
                script.name,
                name,
                first,
            )
