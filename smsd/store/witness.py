"""What Redis told us. Rule: a server that knows less than that has lost it, and it is said.

Replication is asynchronous: a replica that takes over may lack the last writes, and so does a
server that crashed before they were on its disk. What is lost is always the end of a history. So
every new connection is asked, before it is used, for the last group of appends it knows of this
daemon, and for the line of history that the last settlement wrote. (That its entry is gone would
prove nothing: it may never have been there.) One that has no such line is told every settlement we
remember again: they are facts, and a text whose settlement was lost would be sent twice.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from smsd.store.scripts import Call

SETTLEMENTS = ("finish", "defer", "bury")
REMEMBERED = 2048  # settlements, and groups of appends: 45 seconds of them at 45/s
TOGETHER = 128  # settled again at once
RECORD_LIFE_MS = 3_000_000  # the intake record lives an hour after the last append; less is sure


Run = Callable[[Sequence[Call]], Awaitable[Sequence[object]]]


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of its history that a server has lost, as far as we were told it."""

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


class Witness:
    """Remembers what one daemon was told over one client, and asks new servers for it."""

    def __init__(
        self, intake: str, *, lost: Callable[[Loss], None], now_ms: Callable[[], int]
    ) -> None:
        """`intake`: the key of this daemon's intake record. `lost` is told every loss."""
        self._intake = intake
        self._lost = lost
        self._now_ms = now_ms
        self._groups: deque[_Group] = deque(maxlen=REMEMBERED)
        self._appended_ms = 0
        self._settled: deque[Call] = deque(maxlen=REMEMBERED)
        self._doubt = False
        self._asking = asyncio.Lock()
        self._again = 0  # of those a server lacked, as long as it has not been told all

    def told(self, calls: Sequence[Call], replies: Sequence[object]) -> None:
        """Remember what calls were answered."""
        if calls[0].script == "append":  # they come by themselves
            self._appended(calls, replies)
            return
        if replies.count(b"settled") == len(replies):  # nearly always
            self._settled.extend(calls)
            return
        self._settled.extend(
            call
            for call, reply in zip(calls, replies, strict=True)
            if call.script in SETTLEMENTS and _is_fact(call, reply)
        )

    def _appended(self, calls: Sequence[Call], replies: Sequence[object]) -> None:
        queued = [
            reply[1] for reply in replies if isinstance(reply, list) and reply[0] == b"queued"
        ]
        if queued:
            number = int(str(calls[0].request["group"]))
            first, last = queued[0].split(b",")[0], queued[-1].split(b",")[-1]
            texts = sum(ids.count(b",") + 1 for ids in queued)
            self._groups.append(_Group(number, (first.decode(), last.decode()), texts))
            self._appended_ms = self._now_ms()

    async def greet(self, connection: AbstractConnection) -> None:
        """Make a new connection ready, and look at what its server knows."""
        await connection.on_connect()
        await self._ask_for_settlements(connection)
        await self._ask_for_appends(connection)

    async def _ask_for_settlements(self, connection: AbstractConnection) -> None:
        if not self._settled:
            return
        last = self._settled[-1]
        known = await _read(connection, last.keys[0], "history")
        line = str(last.request["line"]).encode(errors="replace")  # as `scripts` packs it
        if line not in (known or b""):
            self._doubt = True  # or its status has run out, which no harm comes of

    async def _ask_for_appends(self, connection: AbstractConnection) -> None:
        if not self._groups:
            return
        told = self._groups[-1].number  # before the question: its answer may be newer, never older
        known = await _read(connection, self._intake, "group")
        if known is None and self._now_ms() - self._appended_ms > RECORD_LIFE_MS:
            return  # it has run out
        if known is not None and not known.isdigit():
            return  # other hands wrote it: it tells nothing
        if (last_known := int(known or 0)) < told:
            self._miss(last_known)

    def _miss(self, last_known: int) -> None:
        groups: list[_Group] = []
        while self._groups and self._groups[-1].number > last_known:
            groups.insert(0, self._groups.pop())
        if groups:
            texts = sum(group.texts for group in groups)
            whole = bool(self._groups) or groups[0].number == last_known + 1
            loss = Loss(texts, groups[0].ids[0], groups[-1].ids[1], complete=whole)
            self._lost(loss)

    async def settle_again(self, run: Run) -> None:
        """Before anything is asked of a new server: tell it what it has lost of settlements."""
        if not self._doubt and not self._asking.locked():
            return
        async with self._asking:
            if not self._doubt:
                return
            self._doubt = False
            try:
                await self._settle_again(run)
            except BaseException:
                self._doubt = True
                raise

    async def _settle_again(self, run: Run) -> None:
        remembered = list(self._settled)
        final = {call.request["id"]: call for call in remembered}  # of a text that came twice
        calls = [_of_entry(call.request, final[call.request["id"]]) for call in remembered]
        for at in range(0, len(calls), TOGETHER):
            replies = await run(calls[at : at + TOGETHER])
            self._again += sum(reply == b"settled" for reply in replies)
        again, self._again = self._again, 0
        if again:
            complete = again < len(calls) or len(calls) < REMEMBERED
            self._lost(Loss(settlements=again, complete=complete))


async def _read(connection: AbstractConnection, key: str, name: str) -> bytes | None:
    """A field of a hash, None where there is none, and b"" where the key is no hash."""
    await connection.send_command("HGET", key, name)
    try:
        return cast("bytes | None", await connection.read_response())
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        return b""


def _is_fact(call: Call, reply: object) -> bool:
    """Whether it is settled as the call says. (A repetition is answered `gone`.)"""
    return reply == b"settled" or (reply == b"gone" and call.request.get("state") == "sent")


def _of_entry(entry: Mapping[str, object], verdict: Call) -> Call:
    """The last settlement of a text, of any of the entries that have held it."""
    request = {**verdict.request, "name": entry["name"], "mark": entry["mark"]}
    return Call(verdict.script, request, verdict.keys)
