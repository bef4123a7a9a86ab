"""Foreign hands: somebody writes into a key of ours, and after a while an operator repairs it.

What is overwritten is moved aside first, so that it is known to the message what the foreign hand
deleted: smsd is not blamed for that.
"""

from collections.abc import Callable
from typing import cast

import redis

from smsd.store.keys import Keys
from tests.chaos.stage import Stage
from tests.support.excuses import Excuses

KEYS = Keys()
NAMED = [
    name
    for name, value in vars(Keys).items()
    if isinstance(value, property) and isinstance(getattr(KEYS, name), str)
]
LARGEST_ID = "18446744073709551615-18446744073709551615"
ASIDE = "chaos:aside"


def wrong_type(stage: Stage) -> None:
    """One of our keys is of another type."""
    with stage.server.client() as client:
        key = _any_key(stage, client)
        stage.note(key)
        with client.pipeline(transaction=True) as replacing:
            replacing.rename(key, ASIDE).rpush(key, "junk")
            replacing.execute(raise_on_error=False)  # a key that is not there cannot be moved
        _excuse(client, key, stage.excuses)
        stage.pause(2.5)
        if key == KEYS.optouts:  # nobody but a backup knows what was in it
            client.rename(ASIDE, key)
        client.delete(ASIDE)
    _repair(stage, key)


def junk_value(stage: Stage) -> None:
    """One of our keys gets a value that smsd did not write."""
    with stage.server.client() as client:
        name, write = stage.chance.choice(JUNK)
        key = str(getattr(KEYS, name))
        stage.note(f"{write.__name__.strip('_')} in {key}")
        write(client, key)
    stage.excuses.unfiled |= {"", "  "}  # a dead letter of a foreign hand's is no message's
    stage.pause(2.5)
    _repair(stage, key)


def _any_key(stage: Stage, client: redis.Redis) -> str:
    """One of those that there is one of, or one of a message's, or of a daemon's."""
    name = stage.chance.choice([*NAMED, "message", "intake"])
    if name == "message":
        accepted = [id_ for caller in stage.callers for id_ in caller.accepted[-200:]]
        return KEYS.message(stage.chance.choice(accepted or ["1-1"]))
    if name == "intake":
        found = cast("list[bytes]", list(client.scan_iter(KEYS.intake("*"))))
        return found[0].decode() if found else KEYS.intake("nobody")
    return str(getattr(KEYS, name))


def _excuse(client: redis.Redis, key: str, excuses: Excuses) -> None:
    """What was moved aside is deleted for smsd."""
    if key in (KEYS.queue, KEYS.high):
        lane = b"h" if key == KEYS.high else b""
        excuses.lost.update(
            fields.get(b"id", lane + entry).decode() for entry, fields in _aside(client)
        )
    elif key == KEYS.dead:
        buried = {fields.get(b"id", b"").decode() for _, fields in _aside(client)}
        excuses.unfiled |= buried
        excuses.lost |= buried
    elif key == KEYS.inflight:
        excuses.unmarked = True
    elif key == KEYS.deferred_messages:
        names = cast("list[bytes]", client.hkeys(ASIDE))
        excuses.lost.update(name.decode() for name in names)
    elif key.startswith(KEYS.message("")):
        message_id = key.removeprefix(KEYS.message(""))
        excuses.lost.add(message_id)
        excuses.unfiled.add(message_id)


def _aside(client: redis.Redis) -> list[tuple[bytes, dict[bytes, bytes]]]:
    if not client.exists(ASIDE):
        return []
    return cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(ASIDE))


def _repair(stage: Stage, key: str) -> None:
    """What an operator does. Whether it was enough, the last `smsd fsck` of a run says."""
    stage.operate("fsck", "--repair")
    if key in (KEYS.held, KEYS.released):
        stage.release()


def _largest_entry(client: redis.Redis, key: str) -> None:
    client.xadd(key, {"x": "y"}, id=LARGEST_ID)


def _no_entry_of_ours(client: redis.Redis, key: str) -> None:
    client.xadd(key, {"x": "y", "id": "  ", "message": b"\xff"})


def _note(client: redis.Redis, key: str) -> None:
    client.hset(key, mapping={"note": "x", "since": "x"})


def _fraction(client: redis.Redis, key: str) -> None:
    client.hincrbyfloat(key, "sent", 0.5)


def _members(client: redis.Redis, key: str) -> None:
    client.zadd(key, {"no such": 0, "\x00": float("-inf"), "never": float("inf")})


def _member(client: redis.Redis, key: str) -> None:
    client.sadd(key, "junk")


def _value(client: redis.Redis, key: str) -> None:
    client.set(key, "x")  # and no time to live


JUNK: list[tuple[str, Callable[[redis.Redis, str], None]]] = [
    ("queue", _largest_entry),
    ("queue", _no_entry_of_ours),
    ("high", _largest_entry),
    ("high", _no_entry_of_ours),
    ("deferred", _members),
    ("deferred_messages", _note),
    ("inflight", _note),
    ("dead", _largest_entry),
    ("dead", _no_entry_of_ours),
    ("events", _largest_entry),
    ("counters", _note),
    ("counters", _fraction),
    ("optouts", _member),
    ("lease", _value),
    ("hold", _note),
    ("held", _note),
    ("released", _value),
    ("ack", _value),
]
