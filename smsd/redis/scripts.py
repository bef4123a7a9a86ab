"""The Lua scripts. Rule: sent once, called by SHA, and sent again to a server that forgot.

Calls of one script share one EVALSHA: they are a JSON array in its arguments, which costs a
fraction of as many commands, and Redis parses it on its own core.
"""

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources.abc import Traversable
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import NoScriptError, ResponseError

from smsd.redis.connection import command
from smsd.redis.errors import meaning

_BEFORE, _AFTER = "_common", "_run"  # the parts that stand around every script
_INCLUDE = re.compile(r"^-- include: (.+)$", re.MULTILINE)


class Call(NamedTuple):
    """One request to a script; `keys` are those it touches beside the common ones."""

    script: str
    request: Mapping[str, object] = {}  # never changed
    keys: Sequence[str] = ()


class Common(NamedTuple):
    """What every script is given: the keys and arguments of `_common.lua`, in its order."""

    keys: Sequence[bytes]
    args: Sequence[bytes | str | int]
    saw: Callable[[object], None]  # is called with which data it ran on


class Scripts:
    """The scripts of a folder of Lua files; a file that begins with `_` is a part of others."""

    def __init__(self, folder: Traversable) -> None:
        self._folder = folder
        self._sources: dict[str, str] = {}
        self._shas: dict[str, str] = {}

    async def run(self, redis: Redis, common: Common, calls: Sequence[Call]) -> list[object]:
        """Run calls in order; the reply to each, or the `RedisError` it met.

        Raises what the connection raises; then any of the calls may have run.
        """
        replies: list[object] = []
        for script, group in groupby(calls, key=attrgetter("script")):
            together = list(group)
            try:
                *answers, data = await self._evaluate(redis, common, script, together)
            except ResponseError as error:  # of the script as a whole
                replies += [meaning(error)] * len(together)
            else:
                replies += [meaning(one) if isinstance(one, Exception) else one for one in answers]
                common.saw(data)
        return replies

    async def _evaluate(
        self, redis: Redis, common: Common, script: str, calls: list[Call]
    ) -> Sequence[object]:
        keys: list[bytes | str] = [*common.keys, *(key for call in calls for key in call.keys)]
        arguments = (len(keys), *keys, *common.args, _packed(calls))
        try:
            replies = await command(redis, ("EVALSHA", self.sha(script), *arguments))
        except NoScriptError:
            # Loading it first would leave a moment in which it can be forgotten again.
            replies = await command(redis, ("EVAL", self.source(script), *arguments))
        return cast("Sequence[object]", replies)

    def load(self) -> None:
        """Read every script now: later there may be no file descriptor left to do it with."""
        for file in self._folder.iterdir():
            if file.name.endswith(".lua") and not file.name.startswith("_"):
                self.sha(file.name.removesuffix(".lua"))

    def sha(self, script: str) -> str:
        """The name Redis gives the script."""
        if script not in self._shas:
            digest = hashlib.sha1(self.source(script).encode(), usedforsecurity=False)
            self._shas[script] = digest.hexdigest()
        return self._shas[script]

    def source(self, script: str) -> str:
        """The text of a script, behind the parts that it includes: each stands once."""
        if script not in self._sources:
            parts: dict[str, str] = {}
            for name in (_BEFORE, script, _AFTER):
                self._add(name, parts)
            self._sources[script] = "\n".join(parts.values())
        return self._sources[script]

    def _add(self, name: str, parts: dict[str, str]) -> None:
        """Add a file to `parts`, behind those that it includes: `-- include: fields, status`."""
        if name in parts:
            return
        source = self._folder.joinpath(f"{name}.lua").read_text()
        if included := _INCLUDE.search(source):
            for part in included[1].split(", "):
                self._add(f"_{part}", parts)
        parts[name] = source


def _packed(calls: list[Call]) -> bytes:
    """Of each call how many keys are its own, and its request."""
    return as_json([(len(call.keys), call.request) for call in calls])


def as_json(value: object) -> bytes:
    """JSON of what is made of calls."""
    try:
        return orjson.dumps(value)
    except TypeError:  # a provider's JSON said half a surrogate pair; the rest of it must not fail
        return json.dumps(value, ensure_ascii=False).encode(errors="replace")
