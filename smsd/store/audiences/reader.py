"""Finding an audience. Rule: what a reader gets is one version, whole."""

from dataclasses import replace
from typing import NamedTuple, cast

from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.scripts import Call
from smsd.store.audiences.record import Audience, unpack
from smsd.store.client import StoreClient

PATIENCE_S = 10.0  # for a Redis that is away; no caller waits for ever
MOST_FACTOR = (1 << 26) - 1  # see `hash_of` in lua/_audience.lua
MOST_BUCKETS = 1 << 24  # as there
TRIES = 5  # while an audience is replaced again and again


class Found(NamedTuple):
    """An audience, and what a change of it is compared with."""

    audience: Audience
    record: str
    buckets: int
    factors: tuple[int, int]  # of hash values; all its versions have the same


async def find(client: StoreClient, name: str) -> Found | None:
    """The audience of this name. Raises `Refused` where other hands have spoiled it."""
    version = ""
    for _ in range(TRIES):
        raw = await client.read(lambda redis: redis.hget(client.keys.audiences, name))
        if raw is None:
            return None
        audience = unpack(name, cast("bytes", raw), client.keys.audiences)
        version = audience.version
        if (found := await _with_state(client, audience, text(raw))) is not None:
            return found
    raise Refused("is gone, and its contacts with it", client.keys.audience(version))


async def _with_state(client: StoreClient, audience: Audience, record: str) -> Found | None:
    """None where the version has been removed since its record was read."""
    key = client.keys.audience(audience.version)
    names = ["contacts", "revision", "buckets", "high", "low"]
    values = await client.read(lambda redis: redis.hmget(key, names))
    if values[0] is None:
        return None
    numbers = [_number(value) for value in values]
    if -1 in numbers or max(numbers[3:]) > MOST_FACTOR or not 0 < numbers[2] <= MOST_BUCKETS:
        raise Refused("holds no state of an audience", key)
    contacts, revision, buckets, high, low = numbers
    return Found(
        replace(audience, contacts=contacts, revision=revision), record, buckets, (high, low)
    )


def _number(value: object) -> int:
    """What a field of a state holds; -1 for what other hands have written."""
    return int(value) if isinstance(value, bytes) and value.isdigit() else -1


async def insist(client: StoreClient, call: Call) -> object:
    """Run an idempotent script, again if Redis is away; raise its error, or that Redis is away."""
    [reply] = await client.insist_all([call], patience_s=PATIENCE_S)
    if isinstance(reply, Exception):
        raise reply
    return reply
