"""The Lua scripts. Rule: sent once, called by SHA, and sent again to a server that forgot."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

Argument = str | bytes | int | float


@dataclass(frozen=True, slots=True)
class Call:
    """One run of a script. Every key it touches is in `keys`."""

    script: str
    keys: Sequence[str]
    args: Sequence[Argument]


@cache
def source(script: str) -> str:
    """The text of `lua/<script>.lua` behind the shared prelude."""
    folder = resources.files("smsd.store").joinpath("lua")
    return (
        folder.joinpath("_prelude.lua").read_text() + folder.joinpath(f"{script}.lua").read_text()
    )


@cache
def sha(script: str) -> str:
    """The name Redis gives the script."""
    return hashlib.sha1(source(script).encode(), usedforsecurity=False).hexdigest()


async def run(client: Redis, calls: Sequence[Call]) -> list[object]:
    """Run all calls in one round trip. A reply is what the script returned, or an Exception.

    Raises what the connection raises; then any of the calls may have run.
    """
    replies = await _round_trip(client, calls)
    forgotten = [at for at, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
    if forgotten:
        for script in {calls[at].script for at in forgotten}:
            await client.script_load(source(script))
        again = await _round_trip(client, [calls[at] for at in forgotten])
        for at, reply in zip(forgotten, again, strict=True):
            replies[at] = reply
    return replies


async def run_one(client: Redis, call: Call) -> object:
    """Run one call; raises its error."""
    [reply] = await run(client, [call])
    if isinstance(reply, Exception):
        raise reply
    return reply


async def _round_trip(client: Redis, calls: Sequence[Call]) -> list[object]:
    pipeline = client.pipeline(transaction=False)
    for call in calls:
        pipeline.execute_command(
            "EVALSHA", sha(call.script), len(call.keys), *call.keys, *call.args
        )
    return list(await pipeline.execute(raise_on_error=False))
