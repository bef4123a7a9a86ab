"""From the streams into the prefetch. Rule: no entry, whatever is in it, delays the next one."""

import asyncio
import logging
from collections.abc import Awaitable, Sequence

from smsd.core.fields import ENTRY_FIELDS, FieldError
from smsd.core.life import DeadReason
from smsd.core.message import Limits, Message, from_fields
from smsd.dispatch.context import Context
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.redis.errors import Away, Refused
from smsd.store.arrivals import Arrivals
from smsd.store.entry import LARGEST_ENTRY, MOST_FIELDS, Entry
from smsd.store.handed_out import Fenced

log = logging.getLogger("smsd.claim")
KNOWN_FIELDS = ENTRY_FIELDS | {"entry"}
AT_ONCE = 256  # entries a claim: parsing them is one turn of the loop
PAUSE_S = 0.5  # before the next claim after Redis was away
Read = tuple[Entry, Message | FieldError]  # an entry, and what was found in it


class Claimer:
    """Claims entries as far as there is room; what cannot be parsed becomes a dead letter."""

    def __init__(self, context: Context, arrivals: Arrivals, prefetch: Prefetch) -> None:
        self._queue = context.queue
        self._limits = context.limits
        self._on_fenced = context.on_fenced
        self._clock = context.clock
        self._now_ms = context.now_ms
        self._arrivals = arrivals
        self._prefetch = prefetch
        self.alive_at = self._clock()
        self.reply_lost = asyncio.Event()  # it may have claimed entries that nobody has seen

    async def run(self) -> None:
        """Claim until cancelled."""
        while True:
            self.alive_at = self._clock()
            try:
                await self._claim()
            except Fenced:
                self._on_fenced()
                await asyncio.sleep(PAUSE_S)
            except Refused:  # of the other stream there was nothing to claim
                await asyncio.sleep(PAUSE_S)
            except Away:
                self.reply_lost.set()
                await asyncio.sleep(PAUSE_S)

    async def _claim(self) -> None:
        high_room, normal_room = (min(room, AT_ONCE) for room in self._prefetch.room)
        if not (high_room or normal_room):  # a claim of nothing does not show whether Redis answers
            await self._rest()
            return
        entries = await self._queue.claim(high_room, normal_room)
        if entries:
            await self.admit(entries)
        elif high_room and normal_room:
            await self._arrivals.wait(normal_too=True)
        elif high_room:
            await self._arrivals.wait(normal_too=False, patience_s=self._prefetch.half_s)
        else:  # entries in the full high stream would end each wait at once
            await self._rest()

    async def _rest(self) -> None:
        await asyncio.sleep(min(PAUSE_S, self._prefetch.half_s))

    async def admit(self, entries: Sequence[Entry]) -> None:
        """Put entries into the prefetch, or where they belong instead."""
        now_ms = self._now_ms()
        read = [(entry, self._read(entry, now_ms)) for entry in entries]
        settlements = [
            settlement
            for entry, found in await self._without_duplicates(read)
            if not self._prefetch.knows(entry.name)
            and (settlement := self._admit(entry, found, now_ms)) is not None
        ]
        await asyncio.gather(*settlements)

    def _read(self, entry: Entry, now_ms: int) -> Message | FieldError:
        try:
            return parse_entry(entry, self._limits, now_ms)
        except FieldError as error:
            return error

    async def _without_duplicates(self, read: Sequence[Read]) -> Sequence[Read]:
        """Entries without a key, or the first with theirs; a key of another message is an error."""
        keyed = [
            (entry, found) for entry, found in read if isinstance(found, Message) and found.key
        ]
        if not keyed:
            return read
        answers = await self._queue.take_keys(keyed)
        by_name = {entry.name: answer for (entry, _), answer in zip(keyed, answers, strict=True)}
        kept: list[Read] = []
        for entry, found in read:
            match by_name.get(entry.name):
                case "duplicate":
                    log.info("duplicate", extra={"id": entry.message_id})
                case "conflict":
                    kept.append((entry, FieldError("key", "was used for another message")))
                case Exception() as error:  # somebody else wrote the record
                    log.error(
                        "the key cannot be compared",
                        extra={"id": entry.message_id, "reason": str(error)},
                    )
                    kept.append((entry, found))
                case _:
                    kept.append((entry, found))
        return kept

    def _admit(
        self, entry: Entry, found: Message | FieldError, now_ms: int
    ) -> Awaitable[bool] | None:
        if isinstance(found, FieldError):
            fields = {"reason": DeadReason.INVALID, "field": _loggable(found.field)}
            log.warning("dead-lettered", extra={"id": entry.message_id, **fields})
            return self._queue.bury(
                entry, None, None, reason=DeadReason.INVALID, code=found.field, detail=str(found)
            )
        send_at = found.content.send_at
        if send_at is not None and send_at > now_ms:
            return self._queue.defer(entry, None, found, until=send_at, attempts=0, why="scheduled")
        self._prefetch.put(Claimed(entry, found))
        return None


def parse_entry(entry: Entry, limits: Limits, now_ms: int) -> Message:
    """The message in an entry. Raises `FieldError`."""
    if entry.fields is None and entry.octets > LARGEST_ENTRY:
        raise FieldError("entry", f"of {entry.octets} octets; at most {LARGEST_ENTRY} are read")
    if entry.fields is None:
        raise FieldError("entry", f"of more than {MOST_FIELDS} fields; no more are read")
    return from_fields(
        entry.fields,
        entry.first_message_id,
        limits,
        now_ms,
        default_priority=entry.default_priority,
        ours=entry.ours,
    )


def _loggable(field: str) -> str:
    """The name of a field as the log may show it: an unknown one may hold private text."""
    return field if field in KNOWN_FIELDS else "unknown"
