"""The durable queue. Rule: a message is in exactly one state of `core/life.py`, whatever fails.

Every transition stands here, in the order of a life: append, claim, begin; then ack, expire,
suppress, defer, bury, or release; promote brings a deferred message back; cancel, replay and drop
are what a person may ask for. Each is one Lua script (`lua/`), safe to repeat after a lost reply.
"""

import asyncio
import itertools
import logging
import secrets
from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Literal, cast, get_args

from smsd.core.fields import ENTRY_IN_LOOK_UP, NOT_DEFERRED, NOT_REPLAYED
from smsd.core.life import DeadReason, State
from smsd.core.message import Message
from smsd.redis.availability import within
from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.redis.group_commit import GroupCommit
from smsd.redis.scripts import Call
from smsd.store.append import Append, Appended, KeyConflict, QueueFull
from smsd.store.client import StoreClient
from smsd.store.entry import LARGEST_ENTRY, Attempt, Entry, campaign_of
from smsd.store.handed_out import handed_out
from smsd.store.history import history_line
from smsd.store.identity import OlderData
from smsd.store.keyed import KEYED, Keyed, key_call, shown_fields
from smsd.store.long_lists import LongLists, Unfinished
from smsd.store.under_way import UnderWay

log = logging.getLogger("smsd.queue")
Begun = Literal["begun", "fenced", "older", "marked", "gone", "paused", "cancelled", "suppressed"]
_BEGUN: Mapping[object, Begun] = {reply.encode(): reply for reply in get_args(Begun)}
Settlement = asyncio.Future[bool]  # False: it had been settled before
# What an append may take: in line, when its group leaves, and then with its group; and for how long
# of that an absent Redis is asked again. Nobody waits for longer than 8 s.
APPEND_LINE_S, APPEND_S, APPEND_PATIENCE_S = 2.0, 6.0, 3.0


class Queue:
    """All transitions of messages."""

    def __init__(self, client: StoreClient, *, max_length: int, keep_idempotency_ms: int) -> None:
        self._client = client
        self._max_length = max_length
        self._keep_idempotency_ms = keep_idempotency_ms
        self.long_lists = LongLists(client)
        self._under_way = UnderWay(client.keys)
        self._groups = itertools.count(1)
        self._passed_over = 0  # due messages that cannot be promoted and are in front of others
        self._appends = GroupCommit(
            self._append_group,
            most_together=128,  # messages
            most_waiting=4096,
            longest_wait_s=APPEND_LINE_S,
            weigh=lambda request: len(request.recipients),
        )
        # What the data numbers is asked for one at a time: then it is known whose each number is.
        self._numbering = asyncio.Lock()
        # Made though their callers have gone: what was sent and is not settled would be sent again.
        self._settle_together = GroupCommit(
            self._settle_group, most_together=128, most_waiting=100_000, outlives_caller=True
        )

    # -- intake ---------------------------------------------------------------------------------

    async def append(self, request: Append) -> Appended:
        """Queue messages; they are durable when this returns.

        Raises `QueueFull`, `KeyConflict`, `commit.Full`, `Refused` (nothing is queued),
        `Unfinished` (accepted, and queued soon), or another `RedisError`: if that is
        `Away`, the messages may be queued or not.
        """
        reply = cast("list[bytes]", await self._appends(request))
        match reply:
            case [b"queued", ids, ahead]:
                return Appended(text(ids).split(","), ahead=int(ahead))
            case [b"repeated", ids, answer, ahead]:
                return Appended(text(ids).split(","), answer, int(ahead))
            case [b"staged", name, ahead]:
                return Appended(await self._finish_long_list(text(name)), ahead=int(ahead))
            case [b"conflict"]:
                raise KeyConflict
            case _:
                raise QueueFull

    async def _finish_long_list(self, name: str) -> list[str]:
        try:
            async with within(APPEND_S):
                return await self.long_lists.finish(name)
        except Refused as error:  # it is accepted all the same
            raise Unfinished from error

    async def _append_group(self, requests: Sequence[Append]) -> list[object]:
        group = next(self._groups)
        calls = [self._append_call(group, place, one) for place, one in enumerate(requests)]
        async with within(APPEND_S):
            replies = await self._client.insist_all(calls, patience_s=APPEND_PATIENCE_S)
            if [b"late"] in replies:  # groups follow each other: other hands wrote the record
                intake = self._client.keys.intake(self._client.owner)
                await self._client.read(lambda redis: redis.delete(intake), wrote=True)
                return [Refused(LATE) if reply == [b"late"] else reply for reply in replies]
        return replies

    def _append_call(self, group: int, place: int, one: Append) -> Call:
        request, own_keys = one.for_script(self._client.keys, self.long_lists)
        request |= {"group": str(group), "place": str(place), "most_waiting": self._max_length}
        if one.idempotency_key:
            request["key_ttl"] = self._keep_idempotency_ms
        return Call("append", request, own_keys)

    async def first_answer(self, idempotency_key: str) -> tuple[str, Appended] | None:
        """Fingerprint and result of the request that first used this key, if one did."""
        key = self._client.keys.idempotency(idempotency_key)
        found = await self._client.read(
            lambda redis: redis.hmget(key, ["fingerprint", "ids", "answer", "ahead"])
        )
        fingerprint, ids, answer, ahead = cast("list[bytes | None]", found)
        if fingerprint is None or ids is None or answer is None:
            return None
        await self._client.confirm()
        return text(fingerprint), Appended(text(ids).split(","), answer, int(ahead or 0))

    # -- claim ----------------------------------------------------------------------------------

    async def claim(self, high_room: int, normal_room: int) -> list[Entry]:
        """Entries nobody has read, high priority first; an empty list at once if there are none.

        Raises `Fenced`.
        """
        rooms = {"high_room": high_room, "normal_room": normal_room}
        claim = partial(self._client.ask, Call("claim", {"most_octets": LARGEST_ENTRY} | rooms))
        return await handed_out(self._client, await self._client.with_groups(claim))

    async def reclaim(self, names: Sequence[str]) -> list[Entry]:
        """Claimed entries again, in the order given; those deleted meanwhile are left out.

        Raises `Fenced`.
        """
        entries: list[Entry] = []
        for at in range(0, len(names), PAGE):
            request = {"most_octets": LARGEST_ENTRY, "names": names[at : at + PAGE]}
            reclaim = partial(self._client.insist, Call("reclaim", request))
            entries += await handed_out(self._client, await self._client.with_groups(reclaim))
        return entries

    async def take_keys(self, keyed: Sequence[tuple[Entry, Message]]) -> list[Keyed | Exception]:
        """For each message with a key, whether it is the first that brings it.

        A `duplicate` has been taken out of the queue. A `conflict` has not: its key came with
        another message.
        """
        now_ms, keys, ttl = self._client.now_ms(), self._client.keys, self._keep_idempotency_ms
        calls = [key_call(entry, message, now_ms, keys, ttl) for entry, message in keyed]
        async with self._numbering:
            replies = await self._client.insist_all(calls) if calls else []
        return [reply if isinstance(reply, Exception) else KEYED[reply] for reply in replies]

    # -- begin, and its undoing -----------------------------------------------------------------

    async def begin(self, sends: Sequence[tuple[Entry, Attempt, str]]) -> list[Begun | Exception]:
        """Write the in-flight record of each entry, with the attempt and the recipient it is for.

        Where the answer is another than `begun`, do not send. An error is that of its entry alone.
        """
        # Of a message that is being sent from another entry, that attempt's: it is not sent again.
        ids = [entry.message_id for entry, _, _ in sends]
        names = [entry.name for entry, _, _ in sends]
        elsewhere = list(map(self._under_way.elsewhere, names, ids))
        marks = [mark or send[1].mark for send, mark in zip(sends, elsewhere, strict=True)]
        calls = [
            Call("begin", {"name": name, "mark": mark, "recipient": recipient} | campaign_of(id_))
            for name, mark, (_, _, recipient), id_ in zip(names, marks, sends, ids, strict=True)
        ]
        replies = await self._client.insist_all(calls) if calls else []
        for at, reply in enumerate(replies):
            if reply == b"begun" and elsewhere[at]:
                replies[at] = b"marked"
            elif reply == b"begun":
                self._under_way.add(names[at], ids[at], marks[at])
        return [reply if isinstance(reply, Exception) else _BEGUN[reply] for reply in replies]

    async def release(self, name: str, attempt: Attempt) -> None:
        """Remove our in-flight record: nothing was sent, or there is no such entry."""
        await self._settle_together(Call("release", {"name": name, "mark": attempt.mark}))

    # -- settlements ----------------------------------------------------------------------------

    def ack(self, entry: Entry, attempt: Attempt, message: Message, provider_id: str) -> Settlement:
        """The provider took it: a fact, whoever holds the lease by now."""
        outcome = ["provider_id", provider_id, "attempts", str(attempt.number)]
        return self._finish(entry, attempt, message, State.SENT, outcome)

    def expire(self, entry: Entry, attempt: Attempt | None, message: Message) -> Settlement:
        """`expires_at` has passed before it could be sent."""
        return self._finish(entry, attempt, message, State.EXPIRED, [])

    def suppress(self, entry: Entry, message: Message) -> Settlement:
        """The recipient has opted out."""
        outcome = ["reason", "opted_out", "detail", "the recipient has opted out"]
        return self._finish(entry, None, message, State.SUPPRESSED, outcome)

    def take_back(self, entry: Entry, message: Message) -> Settlement:
        """Its campaign is cancelled: it is not sent."""
        return self._finish(entry, None, message, State.CANCELLED, [])

    def hold(self, entry: Entry, message: Message) -> Settlement:
        """Its campaign is paused: out of the stream until that is resumed."""
        request: dict[str, object] = {
            **self._deferral(message, None, "its campaign is paused"),
            **campaign_of(message.id),
        }
        if message.attempts:
            request["attempts"] = message.attempts
        return self._settle("defer", entry, None, message.id, request)

    def _finish(
        self, entry: Entry, attempt: Attempt | None, message: Message, state: State, more: list[str]
    ) -> Settlement:
        line = history_line(self._client.now_ms(), attempt if state is State.SENT else None, state)
        look_up = shown_fields(message) + more
        request: dict[str, object] = {"state": state, "line": line, "look_up": look_up}
        return self._settle("finish", entry, attempt, message.id, request)

    def defer(
        self,
        entry: Entry,
        attempt: Attempt | None,
        message: Message,
        *,
        until: int,
        attempts: int,
        why: str,
    ) -> Settlement:
        """Out of the stream until `until` (Unix ms), with `attempts` spent.

        Without an `attempt` it has never been in line: its `send_at` lies ahead.
        """
        request = {"due": until, **self._deferral(message, attempt, why)}
        if attempt:
            request["attempts"] = attempts
            request["look_up"] = [*shown_fields(message), "attempts", str(attempts)]
        return self._settle("defer", entry, attempt, message.id, request)

    def _deferral(self, message: Message, attempt: Attempt | None, why: str) -> dict[str, object]:
        return {
            "priority": message.content.priority,
            "dropped": NOT_DEFERRED,
            "line": history_line(self._client.now_ms(), attempt, State.DEFERRED, why),
            "detail": why,
            "look_up": shown_fields(message),
        }

    def bury(
        self,
        entry: Entry,
        attempt: Attempt | None,
        message: Message | None,
        *,
        reason: DeadReason,
        code: str = "",
        detail: str = "",
        opted_out: bool = False,
    ) -> Settlement:
        """Set aside as a dead letter. `message` is None for an entry that cannot be parsed."""
        request: dict[str, object] = {
            "reason": reason,
            "code": code,
            "detail": detail,
            "attempts": attempt.number if attempt else 0,
            "line": history_line(self._client.now_ms(), attempt, State.DEAD, reason, code, detail),
        }
        if message is None:
            request["look_up_names"] = ENTRY_IN_LOOK_UP
        else:
            request["look_up"] = shown_fields(message)
        if message and opted_out:
            request["opted_out"] = message.recipient
        id_ = message.id if message else entry.message_id
        return self._settle("bury", entry, attempt, id_, request)

    def _settle(
        self,
        script: str,
        entry: Entry,
        attempt: Attempt | None,
        message_id: str,
        request: dict[str, object],
    ) -> Settlement:
        mark = attempt.mark if attempt else ""
        request |= {"name": entry.name, "mark": mark, "id": message_id}
        statuses = [self._client.keys.message(message_id)]
        if script == "defer":
            statuses.append(self._client.keys.message(entry.first_message_id))
        if campaign := request.get("campaign"):
            statuses.append(self._client.keys.campaign_held(str(campaign)))
        return self._settle_together(Call(script, request, statuses))

    async def _settle_group(self, calls: Sequence[Call]) -> list[bool | Exception]:
        async with self._numbering:
            replies = await self._client.insist_all(calls)
        names = [str(call.request["name"]) for call in calls]
        self._under_way.settled(names, replies, trusted=self._client.identity.trusted)
        return [reply if isinstance(reply, Exception) else reply == b"settled" for reply in replies]

    # -- deferred messages ----------------------------------------------------------------------

    async def next_due(self) -> int | None:
        """When the first deferred message is due, Unix ms (by hand perhaps never, or always)."""
        key = self._client.keys.deferred
        first = await self._client.read(
            lambda redis: redis.zrangebyscore(key, "-inf", "(+inf", start=0, num=1, withscores=True)
        )
        return int(max(first[0][1], 0)) if first else None

    async def promote(self, most: int = 200) -> int:
        """Put up to `most` due messages back into the queue; how many.

        Raises `Refused` where some cannot be; the next call passes over them, if there are many.
        """
        keys, now_ms, start = self._client.keys, self._client.now_ms(), self._passed_over
        found = await self._client.read(
            lambda redis: redis.zrangebyscore(keys.deferred, "-inf", now_ms, start=start, num=most)
        )
        due = cast("list[bytes]", found)
        if not due:
            self._passed_over = 0
            return 0
        # Other hands may have deferred under anything: what stands there dies under a new id.
        foreign = {f"s{secrets.token_hex(12)}": raw.hex() for raw in due if not _is_utf8(raw)}
        if foreign:
            first = next(iter(foreign.values()))[:64]
            log.error("deferred under no id", extra={"entries": len(foreign), "first": first})
        ids = [text(raw) for raw in due if _is_utf8(raw)] + list(foreign)
        request = {"ids": ids, "foreign": foreign}
        call = Call("promote", request, [keys.message(id_) for id_ in ids])
        reply = await self._client.insist(call)
        if reply == b"older":
            raise OlderData
        promoted, refused, why = cast("tuple[int, int, bytes]", reply)
        self._passed_over = start + refused if len(due) == most else 0
        if refused:
            raise self._client.error_of(text(why))
        return promoted

    # -- what a person may ask for --------------------------------------------------------------

    async def cancel(self, message_id: str) -> str:
        """Take a waiting message back: `cancelled`, `sending`, `unknown`, or its state."""
        request = {"id": message_id, "look_up_names": ENTRY_IN_LOOK_UP}
        statuses = [self._client.keys.message(message_id)]
        reply = await self._client.ask(Call("cancel", request, statuses))
        if isinstance(reply, list):  # its entry says another id
            statuses.append(self._client.keys.message(text(reply[0])))
            reply = await self._client.ask(Call("cancel", request, statuses))
        return text(reply)

    async def replay(self, dead_letter: str, message_id: str) -> bool:
        """Put a dead letter back into the queue. False: it is gone."""
        request = {"letter": dead_letter, "dropped": NOT_REPLAYED}
        return await self._of_dead_letter("replay", request, message_id)

    async def drop(self, dead_letter: str, message_id: str) -> bool:
        """Throw a dead letter away. False: it is gone."""
        return await self._of_dead_letter("drop", {"letter": dead_letter}, message_id)

    async def _of_dead_letter(self, script: str, request: Mapping[str, object], id_: str) -> bool:
        status = self._client.keys.message(id_)
        return await self._client.ask(Call(script, request, [status])) == b"done"

    # -- what recovery and the repair of lost writes ask for -------------------------------------

    async def settle_all(self) -> None:
        """Return when all that stands in line to be settled by now is."""
        await self._settle_together(Call("release", {"name": "", "mark": ""}))  # the line's end

    def begin_term(self, in_flight: Collection[str]) -> None:
        """Forget what is under way but for these entries: another daemon has settled the rest."""
        if self._client.identity.trusted:  # else the data may only lack its records
            self._under_way.keep(in_flight)

    async def mark_again(self) -> None:
        """Write what is under way, or left in doubt, into data that has forgotten it."""
        for call in self._under_way.calls():
            await self._client.repeat([call])
        self._under_way.discard_answered()


LATE = "its record of the last group held another number; try again"
PAGE = 100  # entries that are reclaimed at a time


def _is_utf8(raw: bytes) -> bool:
    return text(raw).encode() == raw
