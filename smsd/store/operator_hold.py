"""The hold that an operator makes. Rule: it outlives every daemon, and ends by a release alone.

Nothing is sent while it stands. The daemon makes one in the operator's name where going on could
send messages twice. A release also ends what the daemon holds for the provider's sake.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from smsd.core.fields import FieldError
from smsd.redis.client import text
from smsd.redis.errors import Refused, WrongType
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.identity import Data
from smsd.store.keys import Keys

OURS = "smsd"  # by whom, where no person did it
LONGEST_REASON = 200  # characters
LONGEST_NUMBER = 15  # digits of a time in ms, as in lua/_operator.lua
FIELDS = (b"reason", b"by", b"since")


class HeldBy(NamedTuple):
    """Who holds dispatch and why."""

    reason: str
    by: str
    since_ms: int  # 0: not known


class Operator(NamedTuple):
    """What stands of an operator's doing, as one read of the store found it."""

    held: HeldBy | None
    release: int  # number of the last release, which grows with each; 0 before the first

    @classmethod
    def read(cls, reply: Sequence[bytes]) -> "Operator":
        """What the script `acquire` answers behind the holder."""
        release, *held = map(text, reply)
        return cls(_held_by(*held) if held else None, _number(release))


class OperatorHold:
    """Makes the hold, ends it, and looks at it."""

    def __init__(self, client: StoreClient) -> None:
        self._client = client

    async def hold(self, reason: str, by: str) -> None:
        """Hold dispatch. Raises `FieldError` where the reason is none."""
        await self._hold({"reason": _checked(reason), "by": by})

    async def hold_for(self, reason: str, known: Data, token: str, after: int) -> int | None:
        """Hold dispatch until this data may count as what was known.

        The number that a release of it exceeds. None where it is not the data with this token, or
        the hold of which that number was `after` has been released.
        """
        standing = {"ids": known.ids, "settled": known.settled}
        request = {"reason": reason, "by": OURS, "known": standing, "token": token}
        reply = await self._hold(request | ({"after": after} if after else {}))
        return reply if isinstance(reply, int) else None

    async def _hold(self, request: Mapping[str, object]) -> object:
        return await self._client.ask(Call("operator_hold", request, self._own_keys))

    async def release(self, by: str) -> None:
        """End every hold, this one and those for the provider's sake."""
        await self._client.ask(Call("operator_release", {"by": by}, self._own_keys))

    async def last_release(self) -> int:
        """Its number; 0 before the first."""
        key = self._keys.released
        try:
            return _number(text(await self._client.read(lambda redis: redis.get(key)) or b""))
        except Refused:
            return 0

    async def released_for(self) -> tuple[Sequence[str], int]:
        """Ids, and the number of settlements, of the data for which the last hold was released."""
        store, names = self._keys.store, ["released_ids", "released_settled"]
        found = await self._client.read(lambda redis: redis.hmget(store, names))
        ids, settled = (text(value or b"") for value in found)
        return ids.split(","), _number(settled)

    async def look(self) -> HeldBy | None:
        """The hold that stands, or None."""
        key = self._keys.held
        try:
            found = await self._client.read(lambda redis: redis.hgetall(key))
        except WrongType:
            return HeldBy(f"the key {key} is no hash", "", 0)
        return _held_by(*(text(found.get(name, b"")) for name in FIELDS)) if found else None

    @property
    def _keys(self) -> Keys:
        return self._client.keys

    @property
    def _own_keys(self) -> list[str]:
        return [self._keys.held, self._keys.released]


def _held_by(reason: str, by: str, since: str) -> HeldBy:
    """It holds, whatever other hands wrote into its fields."""
    return HeldBy(reason or "no reason is given", by or "nobody named", _number(since))


def _number(value: str) -> int:
    """A time in ms; 0 for what is none."""
    return int(value) if value.isascii() and value.isdigit() and len(value) <= LONGEST_NUMBER else 0


def _checked(reason: str) -> str:
    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise FieldError("reason", f"must be 1 to {LONGEST_REASON} printable characters")
    return reason.strip()
