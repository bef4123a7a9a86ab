"""What Redis told us. Rule: a server that knows less than that has lost it, and it is said.

Replication is asynchronous: a replica that takes over may lack the last writes, and so does a
server that crashed before they were on its disk. What is lost is always the end of a history. So
every new connection is asked, before it is used, for the last group of appends it knows of this
daemon. Settlements are remembered whole: data that lost them is brought up to them again, see
`reconcile`.
"""

import re
from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.scripts import Call
from smsd.store.settled import Settled

SETTLEMENTS = ("finish", "defer", "bury", "cancel", "take_key")
REMEMBERED = 2048  # groups of appends: 45 seconds of them at 45/s
RECORD_LIFE_MS = 3_000_000  # the intake record lives an hour after the last append; less is sure

_ENTRY_ID = re.compile(r"h?(\d{1,20})-(\d{1,20})")


@dataclass(frozen=True, slots=True)
class Loss:
    """What a server has lost, as far as we were told it."""

    texts: int = 0  # that were answered as queued, and are gone unless they had been sent
    first: str = ""  # their ids, from this
    last: str = ""  # to that
    settlements: int = 0  # told it again: nothing of them is lost any more
    complete: bool = True  # False: more than we remember


@dataclass(frozen=True, slots=True)
class _Group:
    number: int
    ids: tuple[str, str]  # first and last
    texts: int
    data: str  # id of the data that took it


class Witness:
    """Remembers what one daemon was told over one client, and asks new servers for it."""

    def __init__(
        self, keys: Keys, owner: str, *, lost: Callable[[Loss], None], now_ms: Callable[[], int]
    ) -> None:
        """`lost` is called with every loss."""
        self._asks = ((keys.intake(owner), "group"), (keys.store, "id"))
        self.lost = lost
        self.settled = Settled()
        self._now_ms = now_ms
        self._groups: deque[_Group] = deque(maxlen=REMEMBERED)
        self._appended_ms = 0

    def told(self, calls: Sequence[Call], replies: Sequence[object], identity: Identity) -> None:
        """Remember what calls were answered."""
        if calls[0].script == "append":  # they come by themselves
            self._appended(calls, replies, identity.seen)
            return
        if replies.count(b"settled") != len(replies):  # nearly never
            calls = [
                _first_use(call) if reply == b"first" else call
                for call, reply in zip(calls, replies, strict=True)
                if call.script in SETTLEMENTS and _is_fact(call, reply, older=not identity.trusted)
            ]
        if calls:
            self.settled.add(calls, identity.known.settled)

    def _appended(self, calls: Sequence[Call], replies: Sequence[object], data: Data) -> None:
        queued = [
            reply[1] for reply in replies if isinstance(reply, list) and reply[0] == b"queued"
        ]
        if queued:
            number = int(str(calls[0].request["group"]))
            first, last = queued[0].split(b",")[0], queued[-1].split(b",")[-1]
            texts = sum(ids.count(b",") + 1 for ids in queued)
            self._groups.append(_Group(number, (first.decode(), last.decode()), texts, data.id))
            self._appended_ms = self._now_ms()

    async def greet(self, connection: AbstractConnection) -> None:
        """Make a new connection ready, and look at what its server knows."""
        await connection.on_connect()
        await self._ask(connection)

    async def ask(self, client: Redis) -> None:
        """Look at what the server knows over a connection that has been there before."""
        async with client.client() as one:
            if one.connection is not None:
                await self._ask(one.connection)

    async def _ask(self, connection: AbstractConnection) -> None:
        if self._groups:
            asked_after = self._groups[-1].number  # before: the answer may be newer, never older
            known, data = [await _read(connection, *what) for what in self._asks]
            self._compare(known, data or b"", asked_after)

    def _compare(self, known: bytes | None, data: bytes, asked_after: int) -> None:
        if not self._groups or self._groups[-1].data.encode() != data:
            return  # another connection has found out meanwhile, or it is other data: see `gone`
        if known is None and self._now_ms() - self._appended_ms > RECORD_LIFE_MS:
            return  # it has run out
        if known is not None and not known.isdigit():
            return  # other hands wrote it: it tells nothing
        if (last_known := int(known or 0)) < asked_after:
            self._miss(last_known)

    def _miss(self, last_known: int) -> None:
        groups: list[_Group] = []
        while self._groups and self._groups[-1].number > last_known:
            groups.insert(0, self._groups.pop())
        if groups:
            texts = sum(group.texts for group in groups)
            whole = bool(self._groups) or groups[0].number == last_known + 1
            loss = Loss(texts, groups[0].ids[0], groups[-1].ids[1], complete=whole)
            self.lost(loss)

    def gone(self, data: str, finished: Collection[str]) -> Loss:
        """What the data with this id had taken in and not `finished`; it is forgotten."""
        groups = [group for group in self._groups if group.data == data]
        complete = len(self._groups) < REMEMBERED
        self._groups = deque((one for one in self._groups if one.data != data), REMEMBERED)
        left = _unfinished(groups, finished)
        if not left:
            return Loss(complete=complete)
        texts, first, last = sum(many for _, many in left), left[0][0], left[-1][0]
        return Loss(texts, first.ids[0], last.ids[1], complete=complete)


def _unfinished(groups: Sequence[_Group], finished: Collection[str]) -> list[tuple[_Group, int]]:
    """Groups with messages that are not finished, and how many each has.

    Of a group only the first and the last id are known; ids are ordered, but for those of
    scheduled messages, which are told by their number alone.
    """
    ordered = sorted(_place(id_) for id_ in finished if not id_.startswith("s"))
    scheduled = len(finished) - len(ordered)
    left: list[tuple[_Group, int]] = []
    for group in groups:
        first, last = group.ids
        if first.startswith("s"):
            done = min(scheduled, group.texts)
            scheduled -= done
        else:
            low, high = sorted((_place(first), _place(last)))
            done = bisect_right(ordered, high) - bisect_left(ordered, low)
        if group.texts > done:
            left.append((group, group.texts - done))
    return left


def _place(message_id: str) -> tuple[int, int]:
    """Where an id stands among others; (0, 0) for one that smsd did not give."""
    found = _ENTRY_ID.fullmatch(message_id)
    return (int(found[1]), int(found[2])) if found else (0, 0)


async def _read(connection: AbstractConnection, key: str, name: str) -> bytes | None:
    """A field of a hash, None where there is none, and b"" where the key is no hash."""
    await connection.send_command("HGET", key, name)
    try:
        return cast("bytes | None", await connection.read_response())
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return b""


def _is_fact(call: Call, reply: object, *, older: bool) -> bool:
    """Whether it is settled as the call says, or has to be.

    A repetition is answered `gone`, and so is what `older` data has never seen in that place.
    """
    if reply in (b"settled", b"cancelled", b"first", b"duplicate"):
        return True
    return reply == b"gone" and (older or call.request.get("state") == "sent")


def _first_use(call: Call) -> Call:
    """What is needed to record again who used a key first."""
    needed = {name: call.request[name] for name in ("name", "id", "fingerprint", "key_ttl")}
    return Call(call.script, {**needed, "first": True}, call.keys)
