"""What to do with older data. Rule: what was sent is settled again; where that is not known, hold.

A restored backup or a stale replica lacks the last settlements, and would send those messages
again. Whatever this daemon remembers of them is settled again before anything is handed out. Where
that is all that the data lacks, dispatch goes on. Where it is not, and where the data is gone or
is other data, an operator has to choose: dispatch is held until it is released.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from smsd.redis.connection import examine_again
from smsd.redis.errors import Away, RedisError
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.entry import first_entry, is_entry
from smsd.store.identity import Data, accept, is_as_new, is_same
from smsd.store.lost_writes import Loss, LostWrites
from smsd.store.operator_hold import OperatorHold
from smsd.store.settled import is_first_use

log = logging.getLogger("smsd.data")
PAUSE_S = 0.5  # between looks whether it is released, or is as new as known again
# Settled again though the data has seen them: another daemon may have counted on it meanwhile.
OVERLAP = 1000
CHOICES = (
    "bring the newer data back; or smsd release: dispatch goes on with what is there; a message"
    " that should not be sent can be cancelled before that"
)


class Reconciler:
    """Brings older data up to what this daemon knows, or holds dispatch."""

    def __init__(
        self,
        client: StoreClient,
        lost_writes: LostWrites,
        hold: OperatorHold,
        *,
        leads: Callable[[], bool],
        settle_all: Callable[[], Awaitable[None]],
        mark_again: Callable[[], Awaitable[None]],
        lists_again: Callable[[], Awaitable[int]],
    ) -> None:
        """`leads`: whether this daemon dispatches.

        `settle_all` returns when what stands in line to be settled is; `mark_again` writes the
        in-flight records of the rest into the data; `lists_again` queues long lists there that
        were queued before, and answers how many cannot be.
        """
        self._client = client
        self._identity = client.identity
        self._lost_writes = lost_writes
        self._hold = hold
        self._leads = leads
        self._settle_all = settle_all
        self._mark_again = mark_again
        self._lists_again = lists_again
        self._named: set[str] = set()  # ids of data whose loss is reported
        self._found: Data | None = None  # the data that was compared last
        self._token = ""  # in it
        self._process = ""  # of Redis, by then
        self._reason = ""  # to hold dispatch for it
        self._after = 0  # only a release with a higher number is one of this hold

    async def run(self) -> None:
        """Compare whenever other or older data is seen; ends only when cancelled."""
        while True:
            await self._identity.differs.wait()
            try:
                await self._reconcile()
            except Away:
                pass  # it is compared as soon as Redis is back
            except RedisError as error:  # until what is broken is mended, nothing is sent
                log.error("data not compared", extra={"reason": str(error)})  # noqa: TRY400
            if not self._identity.trusted:
                await asyncio.sleep(PAUSE_S)

    async def _reconcile(self) -> None:
        await self._settle_all()
        await self._client.ensure_groups()
        data, known = self._identity.seen, self._identity.known
        self._lost_writes.has_id(data.id)
        if is_as_new(data, known):
            await self._go_on(data)
            return
        if not await self._is_compared(data):
            await self._compare(data, known)
        if not self._token:  # it is not ours to decide, or Redis was started anew meanwhile
            return
        held = await self._hold.look()  # before: a release ends it, and is found then
        stands = held is not None and self._reason in held.reason
        if not self._reason or await self._is_released(known):
            if await self._client.ask(accept(known, self._token)) == b"accepted":
                await self._go_on(self._identity.seen)
        elif not (stands and self._after):
            after = await self._hold.hold_for(self._reason, known, self._token, self._after)
            self._after = max(self._after, after or 0)

    async def _is_released(self, known: Data) -> bool:
        """Whether our hold was, or one for this that an earlier process made in this very data."""
        if 0 < self._after < await self._hold.last_release():
            return True
        ids, settled = await self._hold.released_for()
        return known.id in ids and known.settled <= settled

    async def _go_on(self, data: Data) -> None:
        log.warning("data accepted", extra={"data": data.id, "settlements": data.settled})
        self._identity.accepted(data)
        self._lost_writes.settled.go_on_from(data.settled)
        self._found, self._token, self._reason, self._after = None, "", "", 0
        await self._name_gone(data)

    async def _name_gone(self, data: Data) -> None:
        """Log what other data than this had taken in, unless it was logged before."""
        self._named.discard(data.id)
        for other in self._lost_writes.others(data.id):
            named, loss = other in self._named, await self._loss_of(other)
            if loss.messages and not named:
                fields = {"messages": loss.messages, "first": loss.first, "last": loss.last}
                log.error("messages that other data took in are gone", extra=fields)
        self._lost_writes.forget_others(data.id)
        await self._compare_writes()

    async def _compare_writes(self) -> None:
        """Compare over a connection that was there before: a new one is compared at once."""
        compare = self._lost_writes.compare
        await self._client.read(lambda redis: examine_again(redis, compare))

    async def _loss_of(self, data: str) -> Loss:
        """What is gone with the data of this id; it is reported once."""
        loss = await self._lost_writes.gone(data, await self._finished())
        if data not in self._named:
            self._named.add(data)
            self._lost_writes.report(loss)
        return loss

    async def _is_compared(self, data: Data) -> bool:
        """Whether this is the data that was compared last, and not a backup or what a crash left.

        The token is written last of all: data that has it has also what was settled again.
        """
        if not self._leads():
            found = self._found
            return found is not None and found.id == data.id and found.settled <= data.settled
        if await self._answering() != self._process:
            return False
        store = self._client.keys.store
        token = await self._client.read(lambda redis: redis.hget(store, "compared"))
        return self._token != "" and token == self._token.encode()

    async def _compare(self, data: Data, known: Data) -> None:
        """Settle again what the data lacks, and find out what it lacks beside that."""
        process, self._token = await self._answering(), ""
        if is_same(data, known):
            await self._compare_writes()
            lists = await self._lists_again() if self._leads() else 0
            again = await self._settle_again(data.settled - OVERLAP)
            await self._turn_again()
            self._reason = self._of_older(data, known, again) or _of_lists(lists)
        else:
            await self._settle_again(-1)
            self._reason = await self._of_other(data, known)
        await self._mark_again()
        self._found = data
        if self._leads():
            token = secrets.token_hex(8)
            await self._client.ask(Call("compared", {"token": token}))
            if await self._answering() == process:  # another may have lost what was written first
                self._token, self._process = token, process

    async def _answering(self) -> str:
        """Which process of Redis answers."""
        found = await self._client.read(lambda redis: redis.info("server"))
        return str(found.get("run_id", ""))

    def _of_older(self, data: Data, known: Data, again: int) -> str:
        lost = known.settled - data.settled
        unknown = self._lost_writes.settled.unknown(data.settled, known.settled)
        self._lost_writes.report(Loss(settlements=again, complete=not unknown))
        if not unknown:
            return ""
        numbers = {"settlements_lost": lost, "settled_again": again, "not_remembered": unknown}
        log.error("redis holds older data", extra=numbers | {"choices": CHOICES})
        return (
            f"Redis holds older data: it lacks {lost} settlements, {unknown} are not remembered and"
            " may be sent again; restore newer data or smsd release"
        )

    async def _of_other(self, data: Data, known: Data) -> str:
        loss = await self._loss_of(known.id)
        numbers = {"was": known.id, "is": data.id, "messages_gone": loss.messages}
        ids = {"first": loss.first, "last": loss.last, "complete": loss.complete}
        log.error("redis holds other data", extra=numbers | ids | {"choices": CHOICES})
        which = f", {loss.first} to {loss.last}," if loss.first else ""
        return (
            f"Redis holds other data: {loss.messages} messages taken in{which} are gone; restore"
            " the data or smsd release"
        )

    # -- what is remembered -----------------------------------------------------------------------

    async def _settle_again(self, after: int) -> int:
        """Settle what has a higher number; how many were not settled."""
        final = await self._final(after)
        again = 0
        for remembered in self._lost_writes.settled.after(after):
            keyed, calls = _by_key(remembered)
            verdicts = [_of_entry(call, final.get(_id(call), call)) for call in calls]
            undone = _marks_of_cancelled(calls, verdicts)
            replies = await self._client.repeat(
                keyed + undone + _of_first_entries(verdicts) + verdicts
            )
            again += sum(reply == b"settled" for reply in replies)
        return again

    async def _turn_again(self) -> None:
        """Pause, resume or cancel campaigns as they were: older data may have them running."""
        for call in self._lost_writes.turns:
            await self._client.repeat([call])

    async def _final(self, after: int) -> Mapping[str, Call]:
        """The last settlement of each message that has had several."""
        final: dict[str, Call] = {}
        for remembered in self._lost_writes.settled.after(after):
            _, calls = _by_key(remembered)
            final.update(
                (_id(call), call) for call in calls if call.script != "finish" or _id(call) in final
            )
            await asyncio.sleep(0)
        return final

    async def _finished(self) -> Collection[str]:
        """Ids of all messages that are not waiting any more, as far as that is remembered."""
        finished: set[str] = set()
        for calls in self._lost_writes.settled.after(-1):
            for call in calls:
                waits = call.script == "defer" or is_first_use(call)
                change = finished.discard if waits else finished.add
                change(_id(call))
            await asyncio.sleep(0)
        return finished


def _id(call: Call) -> str:
    return str(call.request["id"])


def _of_lists(lists: int) -> str:
    if not lists:
        return ""
    log.error("long lists would be queued again", extra={"lists": lists, "choices": CHOICES})
    return (
        f"Redis holds older data: {lists} long lists that were queued wait there to be queued,"
        " and would be sent again; restore newer data or smsd release"
    )


def _by_key(calls: Sequence[Call]) -> tuple[list[Call], list[Call]]:
    """What compared the keys of entries, and what settled a message."""
    keyed = [call for call in calls if call.script == "take_key"]
    return keyed, [call for call in calls if call.script != "take_key"] if keyed else list(calls)


def _of_entry(settled: Call, verdict: Call) -> Call:
    """The last settlement of a message, of any of the entries that have held it."""
    for one in (settled, verdict):
        if one.script == "cancel":  # wherever it waits
            return one
    entry = settled.request
    request = {**verdict.request, "name": entry["name"], "mark": entry["mark"], "again": True}
    return Call(verdict.script, request, verdict.keys)


def _marks_of_cancelled(settled: Sequence[Call], verdicts: Sequence[Call]) -> list[Call]:
    """Releases of what was settled before it was cancelled: what is marked cannot be."""
    return [
        Call("release", {"name": call.request["name"], "mark": call.request["mark"]})
        for call, verdict in zip(settled, verdicts, strict=True)
        if verdict.script == "cancel" != call.script
    ]


def _of_first_entries(verdicts: Sequence[Call]) -> list[Call]:
    """The same of entries that messages had first: nobody may remember that they left those."""
    firsts = [first_entry(_id(call)) for call in verdicts]
    return [
        Call(call.script, {**call.request, "name": first}, call.keys)
        for call, first in zip(verdicts, firsts, strict=True)
        if call.request.get("name", first) != first and is_entry(first)
    ]
