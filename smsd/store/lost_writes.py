"""Lost writes. Rule: what Redis acknowledged is compared with what each new connection knows.

Replication is asynchronous: a replica that takes over may lack the last writes, and so does a
server that crashed before they were on its disk. What is lost is always the end of a history. So
every new connection is asked, before it is used, for the last group of appends that its server
knows of this daemon. Settlements are remembered whole: `reconcile` repeats those that the data
lacks.
"""

import asyncio
import re
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple, cast

from smsd.redis.connection import ReadField
from smsd.redis.scripts import Call
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.settled import Settled

SETTLEMENTS = ("finish", "defer", "bury", "cancel", "take_key")
TURN = "campaign_turn"
REMEMBERED = 2048  # groups of appends: 45 seconds of them at 45/s
RECORD_LIFE_MS = 3_000_000  # the intake record lives an hour after the last append; less is sure

SLICE = 200  # ids that are looked at before anything else may run: some 0.2 ms

_ENTRY_ID = re.compile(r"(h?)(\d{1,20})-(\d{1,20})")
_Place = tuple[str, int, int]  # stream and the two numbers of an id


@dataclass(frozen=True, slots=True)
class Loss:
    """What a server has lost of the writes that it had acknowledged."""

    messages: int = 0  # that were answered as queued, and are gone unless they had been sent
    first: str = ""  # their ids, from this
    last: str = ""  # to that
    settlements: int = 0  # that were repeated: nothing of them is lost any more
    complete: bool = True  # False: more than is remembered


class _Run(NamedTuple):
    """Messages that one step put into a stream one after the other, or scheduled."""

    first: str  # id
    last: str
    messages: int


@dataclass(slots=True)
class _Group:
    number: int
    messages: int
    data: str  # id of the data that took it
    runs: list[_Run]  # of those whose ids are known: a long list's are when it is queued


class LostWrites:
    """Remembers what Redis acknowledged to one daemon, and finds out what a server lacks of it."""

    def __init__(
        self, keys: Keys, owner: str, *, report: Callable[[Loss], None], now_ms: Callable[[], int]
    ) -> None:
        """`report` is called with every loss."""
        self._fields = ((keys.intake(owner), "group"), (keys.store, "id"))
        self.report = report
        self.settled = Settled()
        self._now_ms = now_ms
        self._groups: deque[_Group] = deque(maxlen=REMEMBERED)
        self._lists: dict[str, _Group] = {}  # long ones of which some ids are not known yet
        self._turns: dict[str, Call] = {}  # by campaign: how its state was changed last
        self._appended_ms = 0

    def observe(self, calls: Sequence[Call], replies: Sequence[object], identity: Identity) -> None:
        """Remember what Redis acknowledged."""
        if calls[0].script == "append":  # they come by themselves
            self._appended(calls, replies, identity.seen)
            return
        if calls[0].script == "append_part":
            self._queued_part(calls[0], replies[0])
            return
        if calls[0].script == TURN:
            self._turned(calls[0], replies[0])
            return
        if replies.count(b"settled") != len(replies):  # nearly never
            calls = [
                _first_use(call) if reply == b"first" else call
                for call, reply in zip(calls, replies, strict=True)
                if call.script in SETTLEMENTS
                and _is_settled(call, reply, older=not identity.trusted)
            ]
        if calls:
            self.settled.add(calls, identity.known.settled)

    def _appended(self, calls: Sequence[Call], replies: Sequence[object], data: Data) -> None:
        number = int(str(calls[0].request["group"]))
        queued: list[bytes] = []
        for call, reply in zip(calls, replies, strict=True):
            match reply:
                case [b"queued", ids, _]:
                    queued.append(cast("bytes", ids))
                case [b"staged", name, _] if name == str(call.request.get("list")).encode():
                    many = cast("int", call.request["many"])
                    self._groups.append(_Group(number, many, data.id, []))
                    self._keep_list(name.decode(), self._groups[-1])
                    self._appended_ms = self._now_ms()
        if queued:
            runs = _runs(queued)
            messages = sum(run.messages for run in runs)
            self._groups.append(_Group(number, messages, data.id, runs))
            self._appended_ms = self._now_ms()

    def _keep_list(self, name: str, group: _Group) -> None:
        self._lists[name] = group
        if len(self._lists) > REMEMBERED:
            del self._lists[next(iter(self._lists))]

    def _queued_part(self, call: Call, reply: object) -> None:
        name = str(call.request["list"])
        group = self._lists.get(name)
        if group is None or not isinstance(reply, bytes) or not reply:
            return
        if (run := _runs([reply])[0]) not in group.runs:
            group.runs.append(run)
        if sum(run.messages for run in group.runs) >= group.messages:
            del self._lists[name]

    def _turned(self, call: Call, reply: object) -> None:
        if reply in (b"changed", b"same"):
            asked = {name: value for name, value in call.request.items() if name != "expect"}
            campaign = str(asked["campaign"])
            self._turns.pop(campaign, None)
            self._turns[campaign] = call._replace(request=asked)
            if len(self._turns) > REMEMBERED:
                del self._turns[next(iter(self._turns))]

    @property
    def turns(self) -> list[Call]:
        """What brings each campaign into the state that was asked for last, the latest last."""
        return list(self._turns.values())

    async def compare(self, read_field: ReadField) -> None:
        """Compare what Redis acknowledged with what the server of a connection knows."""
        if self._groups:
            newest = self._groups[-1].number  # before: the answer may be newer, never older
            known, data = [await read_field(key, name) for key, name in self._fields]
            self._found(known, data or b"", newest)

    def _found(self, known: bytes | None, data: bytes, newest: int) -> None:
        if not self._groups or self._groups[-1].data.encode() != data:
            return  # another connection has found out meanwhile, or it is other data: see `gone`
        if known is None and self._now_ms() - self._appended_ms > RECORD_LIFE_MS:
            return  # it has run out
        if known is not None and not known.isdigit():
            return  # other hands wrote it: nothing follows from it
        if (last_known := int(known or 0)) < newest:
            self._lose(last_known)

    def _lose(self, last_known: int) -> None:
        groups: list[_Group] = []
        while self._groups and self._groups[-1].number > last_known:
            groups.insert(0, self._groups.pop())
        if groups:
            whole = bool(self._groups) or groups[0].number == last_known + 1
            left = [(group, group.messages) for group in groups]
            self.report(_loss(left, complete=whole))

    def has_id(self, data: str) -> None:
        """Data that had no id when it took messages in, after a flush, has this one."""
        for group in self._groups:
            group.data = group.data or data

    def others(self, data: str) -> list[str]:
        """Ids of all data that took messages in, but for this one."""
        return [id_ for id_ in dict.fromkeys(one.data for one in self._groups) if id_ != data]

    async def gone(self, data: str, finished: Collection[str]) -> Loss:
        """What the data with this id had taken in and not `finished`."""
        groups = [group for group in self._groups if group.data == data]
        complete = len(self._groups) < REMEMBERED
        return _loss(await _unfinished(groups, finished), complete=complete)

    def forget_others(self, data: str) -> None:
        """Dispatch goes on with the data of this id."""
        self._groups = deque((one for one in self._groups if one.data == data), REMEMBERED)


def _runs(queued: Sequence[bytes]) -> list[_Run]:
    """What one script queued: of each stream, and of what is scheduled, one run."""
    firsts: dict[bytes, bytes] = {}
    lasts: dict[bytes, bytes] = {}
    counts: Counter[bytes] = Counter()
    for ids in queued:
        kind = ids[:1] if ids.startswith((b"h", b"s")) else b""
        firsts.setdefault(kind, ids)
        lasts[kind] = ids
        counts[kind] += ids.count(b",") + 1
    return [
        _Run(
            first.split(b",", 1)[0].decode(),
            lasts[kind].rsplit(b",", 1)[-1].decode(),
            counts[kind],
        )
        for kind, first in firsts.items()
    ]


def _loss(left: Sequence[tuple[_Group, int]], *, complete: bool) -> Loss:
    """What is lost of groups: how many of each."""
    runs = [run for group, _ in left for run in group.runs]
    messages = sum(many for _, many in left)
    first, last = (runs[0].first, runs[-1].last) if runs else ("", "")
    return Loss(messages, first, last, complete=complete)


async def _unfinished(
    groups: Sequence[_Group], finished: Collection[str]
) -> list[tuple[_Group, int]]:
    """Groups with messages that are not finished, and how many each has.

    Of a run only the first and the last id are known; ids are ordered, but for those of
    scheduled messages, of which only the number counts. In slices: there may be 100,000.
    """
    done = dict.fromkeys(range(len(groups)), 0)
    places: list[tuple[_Place, _Place, int]] = []
    scheduled = sum(id_.startswith("s") for id_ in finished)
    for at, group in enumerate(groups):
        for run in group.runs:
            if run.first.startswith("s"):
                done[at] += (some := min(scheduled, run.messages))
                scheduled -= some
            else:
                places.append((_place(run.first), _place(run.last), at))
        if at % SLICE == 0:
            await asyncio.sleep(0)
    places.sort()
    firsts = [first for first, _, _ in places]
    for number, id_ in enumerate(finished):
        place = _place(id_)
        found = bisect_right(firsts, place) - 1
        if found >= 0 and place <= places[found][1]:
            done[places[found][2]] += 1
        if number % SLICE == 0:
            await asyncio.sleep(0)
    return [
        (one, one.messages - done[at]) for at, one in enumerate(groups) if one.messages > done[at]
    ]


def _place(message_id: str) -> _Place:
    """Where an id stands among others; ("", 0, 0) for one that smsd did not give."""
    found = _ENTRY_ID.fullmatch(message_id)
    return (found[1], int(found[2]), int(found[3])) if found else ("", 0, 0)


def _is_settled(call: Call, reply: object, *, older: bool) -> bool:
    """Whether it is settled as the call says, or has to be.

    A repetition is answered `gone`, and so is what `older` data has never seen in that place.
    """
    if reply in (b"settled", b"cancelled", b"first", b"duplicate"):
        return True
    return reply == b"gone" and (older or call.request.get("state") == "sent")


def _first_use(call: Call) -> Call:
    """What is needed to record again who used a key first."""
    needed = {name: call.request[name] for name in ("name", "id", "fingerprint", "key_ttl")}
    return Call(call.script, needed, call.keys)
