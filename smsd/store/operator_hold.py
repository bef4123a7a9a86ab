"""The hold that an operator makes. Rule: it outlives every daemon, and ends by a release alone.

Nothing is sent while it stands. The daemon makes one in the operator's name where going on could
send messages twice. A release also ends what the daemon holds for the provider's sake.
"""

from collections.abc import Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from smsd.core.message import FieldError
from smsd.store.keys import Keys
from smsd.store.scripts import Call
from smsd.store.server import Server, text

LONGEST_REASON = 200  # characters
LONGEST_NUMBER = 15  # digits of a time in ms
FIELDS = (b"reason", b"by", b"since")


class HeldBy(NamedTuple):
    """Who holds dispatch and why."""

    reason: str
    by: str
    since_ms: int  # 0: not known


class Operator(NamedTuple):
    """What stands of an operator's doing, as one read of the store found it."""

    held: HeldBy | None
    release: str  # number of the last release, "" before the first

    @classmethod
    def read(cls, reply: Sequence[bytes]) -> "Operator":
        """What the script `acquire` answers behind the holder."""
        release, *held = map(text, reply)
        return cls(_held_by(*held) if held else None, release)


class OperatorHold:
    """Makes the hold, ends it, and looks at it."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def hold(self, reason: str, by: str) -> None:
        """Hold dispatch. Raises `FieldError` where the reason is none."""
        call = Call("operator_hold", {"reason": _checked(reason), "by": by}, [self._keys.held])
        await self._server.ask(call)

    async def release(self, by: str) -> None:
        """End every hold, this one and those for the provider's sake."""
        keys = [self._keys.held, self._keys.released]
        await self._server.ask(Call("operator_release", {"by": by}, keys))

    async def look(self) -> HeldBy | None:
        """The hold that stands, or None."""
        key = self._keys.held
        try:
            found = await self._server.read(lambda client: client.hgetall(key))
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return HeldBy(f"the key {key} is no hash", "", 0)
        return _held_by(*(text(found.get(name, b"")) for name in FIELDS)) if found else None

    @property
    def _keys(self) -> Keys:
        return self._server.keys


def _held_by(reason: str, by: str, since: str) -> HeldBy:
    """It holds, whatever other hands wrote into its fields."""
    known = since.isascii() and since.isdigit() and len(since) <= LONGEST_NUMBER
    return HeldBy(reason or "no reason is given", by or "nobody named", int(since) if known else 0)


def _checked(reason: str) -> str:
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise FieldError("reason", f"must be 1 to {LONGEST_REASON} printable characters")
    return reason.strip()
