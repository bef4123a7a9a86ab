"""The only sender. Rule: mark, wait for the slot, submit once, settle; always in that order.

`run` takes messages from the prefetch shortly before their slots and has them marked in flight.
From there each has a delivery: a task of its own, so that a provider that answers after two seconds
still gets the full rate. Every delivery ends in `_end`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from smsd.core.message import Message
from smsd.core.outcome import Expire, InDoubt, Outcome, PutBack, Verdict
from smsd.core.pacer import SECOND
from smsd.dispatch.context import Context
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import Unanswered
from smsd.dispatch.in_flight import InFlight, Permit
from smsd.dispatch.marker import NOT_MARKED, Answer, Marker
from smsd.dispatch.pace import Pace, PacedSlot
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.dispatch.settler import Settler, Submission, log_failure
from smsd.provider.base import Provider, SlotWithdrawn, SubmitsSegments
from smsd.store.entry import Attempt

log = logging.getLogger("smsd.dispatch")
FORBIDDEN_PAUSE_S = 0.01  # until whatever forbids to send has stopped `run`, too
FAILED_PAUSE_S = 1.0  # after marks that Redis refuses, so that errors do not come in a flood
MOST_UNSETTLED = 1000  # that Redis refuses to settle, beside those in flight
MOST_TOGETHER = 128  # messages marked at once: nothing else runs in Redis meanwhile
WITHDRAWN = PutBack("its slot was withdrawn")


@dataclass(slots=True, eq=False)
class Delivery:
    """One message, from shortly before its slot to its settlement."""

    submission: Submission
    slot: PacedSlot
    permit: Permit
    probe: bool  # the hold waits for its outcome


@dataclass(frozen=True, slots=True)
class Parts:
    """What a dispatcher works with."""

    provider: Provider
    prefetch: Prefetch
    pace: Pace
    hold: Hold
    in_flight: InFlight
    settler: Settler


class Dispatcher:
    """Takes messages from the prefetch to the provider and their outcomes to the queue."""

    def __init__(self, context: Context, parts: Parts) -> None:
        self._context = context
        self._parts = parts
        self._prefetch = parts.prefetch
        self._settler = parts.settler
        self._marker = Marker(context, parts.settler)
        self._per_segment = isinstance(parts.provider, SubmitsSegments)
        self._deliveries: dict[str, asyncio.Task[None]] = {}  # by entry
        self._marking: asyncio.Task[None] | None = None
        self._draining = False
        self._record_progress()

    async def run(self) -> None:
        """Start deliveries, each shortly before its slot, until cancelled."""
        self._parts.hold.probe_not_sent()  # whatever probed in an earlier term
        while True:
            probes = await self._parts.hold.wait_until_permitted()
            due = await self._take_due(most=probes or MOST_TOGETHER, probe=probes > 0)
            # Shielded: a cancellation must not leave records behind that nobody knows of.
            self._marking = asyncio.create_task(self._mark(due))
            await asyncio.shield(self._marking)

    async def drain(self, seconds: float) -> bool:
        """Start nothing more and wait for what is under way; whether all of it was settled."""
        self._draining = True
        self._settler.asker.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while under_way := self._under_way():
                    await asyncio.wait(under_way)
        unfinished = self._under_way()
        for task in unfinished:
            task.cancel()  # what has no answer keeps its in-flight record, and recovery finds it
        return not unfinished

    def _under_way(self) -> list["asyncio.Task[None]"]:
        marking = [self._marking] if self._marking and not self._marking.done() else []
        return [*marking, *self._deliveries.values()]

    @property
    def marking(self) -> bool:
        """Whether in-flight records are being written, which takes as long as Redis does."""
        return self._marking is not None and not self._marking.done()

    # -- before the slot ------------------------------------------------------------------------

    async def _take_due(self, *, most: int, probe: bool) -> list[Delivery]:
        """The messages whose time to be prepared has come, as far as there are permits."""
        segments = await self._parts.pace.near()
        await self._parts.in_flight.wait(work=len(self._prefetch) > 0)
        await self._prefetch.arrival()
        most = min(most, len(self._prefetch), self._parts.in_flight.free)
        now_ms, gateway = self._context.now_ms(), self._settler.asker.gateway
        due: list[Delivery] = []
        while segments > 0 and len(due) < most:
            due.append(self._take_next(now_ms, gateway, probe=probe))
            segments -= due[-1].slot.segments
        self._record_progress()
        return due

    def _take_next(self, now_ms: int, gateway: str, *, probe: bool) -> Delivery:
        entry, message = self._prefetch.take()
        attempt = Attempt(message.attempts + 1, now_ms, self._context.owner, gateway)
        segments = message.content.segments.segments
        slot = self._parts.pace.slot(
            segments,
            wanted=lambda: self._is_wanted(message, slot, probe),
            per_segment=self._per_segment,
        )
        permit = self._parts.in_flight.take()
        return Delivery(Submission(entry, attempt, message), slot, permit, probe)

    async def _mark(self, due: Sequence[Delivery]) -> None:
        """Have all of them marked at once, and start the delivery of each."""
        if not self._may_begin(probe=due[0].probe):
            for one in reversed(due):
                self._end(one, NOT_MARKED)
            await asyncio.sleep(FORBIDDEN_PAUSE_S)
            return
        marking = await self._marker.mark([one.submission for one in due])
        ended: list[tuple[Delivery, PutBack | None]] = []
        start = asyncio.get_running_loop().create_task  # (named: asyncio need not make up a name)
        for one, answer in zip(due, marking.answers, strict=True):
            if answer is None or isinstance(answer, PutBack):
                ended.append((one, answer))
            else:
                name = one.submission.entry.name
                self._deliveries[name] = start(self._deliver(one, answer), name="delivery")
        for one, verdict in reversed(ended):
            self._end(one, verdict)
        if marking.failed:
            await asyncio.sleep(FAILED_PAUSE_S)

    # -- the slot, and after --------------------------------------------------------------------

    async def _deliver(self, one: Delivery, answer: Answer) -> None:
        """Submit a message once and settle it, or carry out the verdict on it unsent."""
        verdict: Verdict | None = None
        try:
            if answer == "begun":
                verdict = await self._submit(one)
            elif answer is not None:
                one.submission = one.submission.unsent()
                verdict = await self._perform(one, None, answer)
        except Exception as error:  # noqa: BLE001 - logged
            log_failure(one.submission.message, error)
        finally:
            self._end(one, verdict)  # (a callback would cost another turn of the loop)

    async def _submit(self, one: Delivery) -> Verdict | None:
        message, began = one.submission.message, self._context.clock()
        try:
            outcome = await self._parts.provider.submit(message, one.slot)
        except SlotWithdrawn:
            if not one.slot.used:  # nothing was written
                expired = message.has_expired(self._context.now_ms())
                return await self._perform(one, None, Expire() if expired else WITHDRAWN)
            outcome = InDoubt("the lease was lost between its segments")
        except Exception as error:  # a bug in a provider must not lose the message or stop the rest
            log.exception("provider broke", extra={"id": message.id})
            outcome = InDoubt(f"the provider's code failed: {type(error).__name__}")
        finally:
            one.slot.close()
        self._context.metrics.submit_seconds.observe((self._context.clock() - began) / SECOND)
        return await self._settle(one, outcome)

    # (What only hands an awaitable on is not `async` itself: each such layer costs every message.)

    def _settle(self, one: Delivery, outcome: Outcome) -> Awaitable[Verdict | None]:
        """Learn, resolve, decide, perform. None: it is still in doubt, and recovery asks on."""
        waiting = len(self._prefetch) > 0
        outcome, caused_hold = self._settler.learn(
            one.submission.message, outcome, probe=one.probe, waiting=waiting
        )
        one.probe = False
        if isinstance(outcome, InDoubt):
            return self._resolve(one, outcome, caused_hold=caused_hold)
        return self._decide(one, outcome, caused_hold=caused_hold)

    async def _resolve(
        self, one: Delivery, outcome: InDoubt, *, caused_hold: bool
    ) -> Verdict | None:
        self._free_permit(one)  # to ask may take long, and nothing of it is in flight
        try:
            resolved = await self._settler.resolve(one.submission, outcome)
        except Unanswered:
            return None
        return await self._decide(one, resolved, caused_hold=caused_hold)

    def _decide(self, one: Delivery, outcome: Outcome, *, caused_hold: bool) -> Awaitable[Verdict]:
        rest_s = self._parts.hold.rest_s(caused_hold=caused_hold)
        verdict = self._settler.decide(one.submission, outcome, rest_s=rest_s)
        return self._perform(one, outcome, verdict)

    def _perform(
        self, one: Delivery, outcome: Outcome | None, verdict: Verdict
    ) -> Awaitable[Verdict]:
        on_refused = partial(self._on_refused, one)
        return self._settler.perform(one.submission, outcome, verdict, on_refused=on_refused)

    def _on_refused(self, one: Delivery) -> None:
        """Its settlement waits, perhaps for long: up to a bound, others may be sent meanwhile."""
        self._free_slot(one)
        if len(self._deliveries) - self._parts.in_flight.taken < MOST_UNSETTLED:
            self._free_permit(one)

    def _end(self, one: Delivery, verdict: Verdict | None) -> None:
        """End a delivery: its message is back in line or forgotten, and what it held is free.

        Without a verdict its entry is left to recovery, which settles it by its in-flight record.
        """
        entry, _, message = one.submission
        if isinstance(verdict, PutBack):
            put = self._prefetch.put_last if verdict.last else self._prefetch.put_back
            put(Claimed(entry, message))
        else:
            self._prefetch.forget(entry.name)
        self._deliveries.pop(entry.name, None)
        self._free_slot(one)
        self._free_permit(one)

    def _free_slot(self, one: Delivery) -> None:
        one.slot.close()
        if one.probe:
            one.probe = False
            self._parts.hold.probe_not_sent()

    def _free_permit(self, one: Delivery) -> None:
        one.permit.release()
        self._record_progress()

    def _record_progress(self) -> None:
        self._context.metrics.in_flight = self._parts.in_flight.taken
        self.last_progress_at = self._context.clock()

    # -- what may leave -------------------------------------------------------------------------

    def _may_begin(self, *, probe: bool) -> bool:
        may_send = self._context.may_send() and not self._draining
        return may_send and self._parts.hold.permits(probe=probe)

    def _is_wanted(self, message: Message, slot: PacedSlot, probe: bool) -> bool:  # noqa: FBT001
        if slot.used:  # it has left in part: it is sent to its end, whatever is held or drained
            return self._context.may_send()
        return self._may_begin(probe=probe) and not message.has_expired(self._context.now_ms())
