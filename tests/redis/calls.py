"""Calls of scripts, held against what the scripts say of themselves at their tops."""

from collections.abc import Sequence

from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.keys import Keys
from tests.support import lua

OF_ONE = {
    "message": "status",
    "idempotency": "idempotency",
    "finished": "finished",
    "intake": "intake",
}


def kind_of(key: str, keys: Keys) -> str:
    """Which key it is, by the names of `Keys`."""
    names = {
        getattr(keys, name): name
        for name in vars(Keys)
        if isinstance(getattr(Keys, name), property) and isinstance(getattr(keys, name), str)
    }
    if key in names:
        return names[key]
    first, *rest = key.removeprefix(keys.prefix).split(":")
    if first == "audience":
        return "audience" if len(rest) == 1 else "contacts"
    if first == "campaign":
        return "campaign" if len(rest) == 1 else "campaign_held"
    return OF_ONE[first] if rest and first in OF_ONE else key


def wrong(call: Call, reply: object, queue: bytes | str) -> list[str]:
    """What of a call is not as its script says; `queue` is the key of the stream."""
    header, sent = lua.header(call.script), set(call.request)
    required = set(header.takes) - set(header.optional)
    kinds = [kind_of(key, Keys(text(queue).removesuffix("queue"))) for key in call.keys]
    faults = []
    if extra := sent - set(header.takes):
        faults.append(f"{call.script} does not take {extra}")
    if missing := required - sent:
        faults.append(f"{call.script} is not given {missing}")
    if not header.fits(kinds):
        faults.append(f"{call.script} has keys {header.keys}, and is given {kinds}")
    if not isinstance(reply, Exception) and not header.answers_so(reply):
        faults.append(f"{call.script} answers {header.answers}, and answered {reply!r}")
    return faults


class Watched:
    """Every call that was made, and what was wrong with it."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.faults: list[str] = []

    def note(self, calls: Sequence[Call], replies: Sequence[object], queue: bytes | str) -> None:
        """Note calls that were answered."""
        self.calls += calls
        for call, reply in zip(calls, replies, strict=True):
            self.faults += wrong(call, reply, queue)
