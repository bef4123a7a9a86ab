"""The only sender. Rule: mark, wait for the slot, submit once, settle; always in that order.

`run` takes messages shortly before their slots and marks them; `_deliver` is the journey of each
from there. It is a task of its own, so that a provider that answers in two seconds still gets the
full rate.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from smsd.core.message import Message
from smsd.core.outcome import (
    InDoubt,
    Outcome,
    Release,
    RetryPolicy,
    Throttled,
    Verdict,
    decide,
)
from smsd.core.pacer import SECOND
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker, Unanswered, is_high
from smsd.dispatch.in_flight import InFlight, Permit
from smsd.dispatch.pace import Pace, PacedSlot
from smsd.dispatch.prefetch import Claimed, Prefetch
from smsd.dispatch.settler import settle, settle_refused, tell
from smsd.dispatch.throttle import Throttle
from smsd.metrics import Metrics
from smsd.provider.base import Provider, SlotWithdrawn, SubmitsSegments
from smsd.redis.errors import Refused
from smsd.store.entry import Attempt, Entry
from smsd.store.queue import Queue

log = logging.getLogger("smsd.dispatch")
THROTTLE_PAUSE_S = 1.0  # when the provider does not say for how long
DECIDED_PAUSE_S = 0.01  # until who decided that nothing is begun any more has stopped us
BROKEN_PAUSE_S = 1.0  # after a mark that Redis refuses, so that what breaks breaks slowly
MOST_UNSETTLED = 1000  # that Redis refuses to settle, beside those in flight
TOGETHER = 128  # messages marked at once, at most: nothing else runs in Redis meanwhile


class Delivery(NamedTuple):
    """One submission of a message, from shortly before its slot."""

    entry: Entry
    message: Message
    attempt: Attempt
    slot: PacedSlot
    permit: Permit
    probe: bool


class Dispatcher:
    """Takes messages from the prefetch to the provider and their outcomes to the queue."""

    def __init__(
        self,
        queue: Queue,
        provider: Provider,
        prefetch: Prefetch,
        pace: Pace,
        hold: Hold,
        *,
        owner: str,
        default_sender: str,
        may_send: Callable[[], bool],
        on_fenced: Callable[[], None],
        policy: RetryPolicy,
        max_in_flight: int,
        clock: Callable[[], int],
        now_ms: Callable[[], int],
        chance: Callable[[], float],
        metrics: Metrics,
        asker: InDoubtAsker,
    ) -> None:
        """`may_send`: whether the lease is held at this instant; `on_fenced` is told it is not."""
        self._queue = queue
        self._provider = provider
        self._per_segment = isinstance(provider, SubmitsSegments)
        self._prefetch = prefetch
        self._pace = pace
        self._hold = hold
        self._throttle = Throttle()
        self._owner = owner
        self._default_sender = default_sender
        self._may_send = may_send
        self._on_fenced = on_fenced
        self._policy = policy
        self._clock = clock
        self._now_ms = now_ms
        self._chance = chance
        self._metrics = metrics
        self._asker = asker
        self._deliveries: dict[str, asyncio.Task[None]] = {}  # by entry
        self._probes: set[str] = set()  # entries of those that have come to no outcome yet
        self._in_flight = InFlight(max_in_flight, clock=clock, rate=lambda: pace.pacer.rate)
        self._moved()
        self._marking: asyncio.Task[None] | None = None
        self._draining = False

    async def run(self) -> None:
        """Start deliveries, each shortly before its slot, until cancelled."""
        self._hold.probe_not_sent()  # whatever probed for a predecessor
        while True:
            probes = await self._hold.wait_until_permitted()
            due = await self._due(most=probes or TOGETHER, probe=probes > 0)
            # Shielded: who cancels us must not leave marks behind that nobody knows of.
            self._marking = asyncio.create_task(self._mark(due))
            await asyncio.shield(self._marking)

    async def drain(self, seconds: float) -> bool:
        """Start nothing more and wait for what is under way; whether all of it was settled."""
        self._draining = True
        self._asker.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while under_way := self._under_way():
                    await asyncio.wait(under_way)
        unfinished = self._under_way()
        for task in unfinished:
            task.cancel()  # what it has no answer for keeps its mark, and recovery finds it
        return not unfinished

    def _under_way(self) -> list["asyncio.Task[None]"]:
        marking = [self._marking] if self._marking and not self._marking.done() else []
        return [*marking, *self._deliveries.values()]

    @property
    def marking(self) -> bool:
        """Whether marks are being written: for that it waits as long as Redis takes."""
        return self._marking is not None and not self._marking.done()

    # -- before the slot ------------------------------------------------------------------------

    async def _due(self, *, most: int, probe: bool) -> list[Delivery]:
        """Messages whose time to be prepared has come, and for which there is room in flight."""
        segments = await self._pace.near()
        await self._in_flight.wait(work=len(self._prefetch) > 0)
        await self._prefetch.arrival()
        most = min(most, len(self._prefetch), self._in_flight.free)
        due: list[Delivery] = []
        while segments > 0 and len(due) < most:
            due.append(self._next(probe=probe))
            segments -= due[-1].slot.segments
        self._moved()
        return due

    def _next(self, *, probe: bool) -> Delivery:
        entry, message = self._prefetch.take()
        if probe:
            self._probes.add(entry.name)
        attempt = Attempt(message.attempts + 1, self._now_ms(), self._owner)
        segments = message.content.segments.segments
        slot = self._pace.slot(
            segments,
            # A message that has left in part is sent to its end, whatever is held or drained.
            wanted=lambda: self._may_send() if slot.used else self._wanted(message, probe),
            per_segment=self._per_segment,
        )
        return Delivery(entry, message, attempt, slot, self._in_flight.take(), probe)

    async def _mark(self, due: Sequence[Delivery]) -> None:
        """Mark messages in flight, all at once; each goes its own way from there."""
        if not self._may_begin(probe=due[0].probe):
            for one in reversed(due):  # it was decided while they waited for their time
                self._prefetch.put_back(Claimed(one.entry, one.message))
                self._end(one)
            await asyncio.sleep(DECIDED_PAUSE_S)
            return
        begun = await self._begin(due)
        unmarked: list[tuple[Delivery, Exception]] = []
        start = asyncio.get_running_loop().create_task  # (named: asyncio need not make up a name)
        for one, word in zip(due, begun, strict=True):
            if isinstance(word, Exception):
                unmarked.append((one, word))
            else:
                self._deliveries[one.entry.name] = start(self._deliver(one, word), name="delivery")
        for one, error in reversed(unmarked):
            self._cannot_be_marked(one, error)
        if unmarked:
            await asyncio.sleep(BROKEN_PAUSE_S)

    def _cannot_be_marked(self, one: Delivery, error: Exception) -> None:
        if isinstance(error, Refused) and error.key:  # no entry can be, until it is mended
            self._prefetch.put_back(Claimed(one.entry, one.message))
        else:
            self._broke(one, error)
        self._end(one)

    async def _begin(self, due: Sequence[Delivery]) -> list[str | Verdict | Exception]:
        """For each `begun`, or why or with which verdict it is not to be sent, or what broke."""
        kept = [self._kept(one.message) for one in due]
        sends = [
            (one.entry, one.attempt, one.message.recipient)
            for one, why in zip(due, kept, strict=True)
            if why is None
        ]
        try:
            answers = await self._queue.begin(sends)
        except Exception as error:  # noqa: BLE001 - logged, one by one
            answers = [error] * len(sends)
        begun = iter(answers)
        return [next(begun) if why is None else why for why in kept]

    def _kept(self, message: Message) -> str | Verdict | None:
        """What keeps a message from being written once more, if anything does."""
        if self._expired(message):
            return "expired"
        return self._hold.decide_before_attempt(message.attempts, self._policy, self._now_ms())

    # -- the slot, and after ----------------------------------------------------------------------

    async def _deliver(self, one: Delivery, begun: str | Verdict) -> None:
        try:
            if begun == "begun":
                await self._send(one)
            elif isinstance(begun, str):
                await self._end_unsent(one, begun)
            else:
                attempt = Attempt(one.message.attempts, 0, self._owner)
                await self._perform(one._replace(attempt=attempt), None, begun)
        except Exception as error:  # noqa: BLE001 - logged
            self._broke(one, error)
        finally:
            # (A callback would cost another turn of the loop.)
            del self._deliveries[one.entry.name]
            self._end(one)

    async def _send(self, one: Delivery) -> None:
        asked_at = self._clock()
        try:
            outcome = await self._provider.submit(one.message, one.slot)
        except SlotWithdrawn:
            if not one.slot.used:
                return await self._not_sent(one)
            outcome = InDoubt("the lease was lost between its segments")
        except Exception as error:  # a bug in a provider must not lose the text or stop the rest
            log.exception("provider broke", extra={"id": one.message.id})
            outcome = InDoubt(f"the provider's code failed: {type(error).__name__}")
        finally:
            one.slot.close()
        self._metrics.submit_seconds.observe((self._clock() - asked_at) / SECOND)
        try:
            await self._settle(one, outcome)
        except Unanswered:  # its mark stays, and recovery asks again
            self._prefetch.forget(one.entry.name)
        return None

    async def _settle(self, one: Delivery, outcome: Outcome) -> None:
        message = one.message
        own_sender = bool(self._own_sender(message))
        outcome = self._hold.blame(message.id, outcome, own_sender=own_sender)
        caused_hold = self._learn(one, outcome)
        if isinstance(outcome, InDoubt):
            one.permit.release()  # to ask may take long: nothing of it is in flight
            self._moved()
            outcome = await self._asker.resolve(message, one.attempt.started_ms, outcome)
        verdict = decide(
            outcome,
            high=is_high(one.entry, message),
            attempt=one.attempt.number,
            now_ms=self._now_ms(),
            policy=self._policy,
            rest_s=self._hold.rest_s(caused_hold=caused_hold),
            chance=self._chance(),
            throttled=self._throttle.times(message.id),
        )
        await self._perform(one, outcome, verdict, last=caused_hold)

    async def _perform(
        self, one: Delivery, outcome: Outcome | None, verdict: Verdict, *, last: bool = False
    ) -> None:
        tell(self._metrics, one.message, one.attempt, outcome, verdict)
        if isinstance(verdict, Release):
            return await self._put_back(one, last=last)
        what = (self._queue, verdict, one.entry, one.attempt, one.message)
        try:
            settled = await settle(*what)
        except Refused:
            settled = await settle_refused(*what, refused=lambda: self._cannot_be_settled(one))
        self._prefetch.forget(one.entry.name)
        if not settled:
            log.warning("was settled elsewhere", extra={"id": one.message.id})
        return None

    def _cannot_be_settled(self, one: Delivery) -> None:
        """Redis refuses it, perhaps for long: up to a bound, others may be sent meanwhile."""
        if len(self._deliveries) - self._in_flight.taken < MOST_UNSETTLED:
            one.permit.release()
            self._moved()

    async def _not_sent(self, one: Delivery) -> None:
        """The slot was refused: nothing was written."""
        if self._expired(one.message):
            await self._queue.expire(one.entry, one.attempt, one.message)
            return self._over(one, "expired")
        return await self._put_back(one)

    async def _put_back(self, one: Delivery, *, last: bool = False) -> None:
        await self._queue.release(one.entry.name, one.attempt)
        put = self._prefetch.put_last if last else self._prefetch.put_back
        put(Claimed(one.entry, one.message))

    async def _end_unsent(self, one: Delivery, why: str) -> None:
        """It was not marked: it has ended, or ends here, or another daemon is to send it."""
        if why in ("fenced", "older"):
            self._prefetch.put_back(Claimed(one.entry, one.message))
            return self._on_fenced() if why == "fenced" else None
        if why == "expired":
            await self._queue.expire(one.entry, None, one.message)
        elif why == "suppressed":
            await self._queue.suppress(one.entry, one.message)
        return self._over(one, why)

    def _over(self, one: Delivery, how: str) -> None:
        """It ended, or was found settled, without a submission."""
        log.info("not sent", extra={"id": one.message.id, "because": how})
        self._metrics.settled[how] += 1
        self._prefetch.forget(one.entry.name)

    def _broke(self, one: Delivery, error: Exception) -> None:
        # Recovery will find it, marked or not, and settle it by that.
        self._prefetch.forget(one.entry.name)
        if isinstance(error, Refused):
            log.error("not settled", extra={"id": one.message.id, "because": str(error)})
        else:
            log.critical("delivery broke", extra={"id": one.message.id}, exc_info=error)

    def _end(self, one: Delivery) -> None:
        one.slot.close()
        if one.entry.name in self._probes:
            self._probes.discard(one.entry.name)
            self._hold.probe_not_sent()
        one.permit.release()
        self._moved()

    def _moved(self) -> None:
        """Messages were taken, or one needs its place no more."""
        self._metrics.in_flight = self._in_flight.taken
        self.last_progress_at = self._clock()

    # -- judging ----------------------------------------------------------------------------------

    def _may_begin(self, *, probe: bool) -> bool:
        return self._may_send() and not self._draining and self._hold.permits(probe=probe)

    def _wanted(self, message: Message, probe: bool) -> bool:  # noqa: FBT001 - asked each turn
        return self._may_begin(probe=probe) and not self._expired(message)

    def _expired(self, message: Message) -> bool:
        expires_at = message.content.expires_at
        return expires_at is not None and expires_at <= self._now_ms()

    def _own_sender(self, message: Message) -> str:
        """The sender that it brought itself; "" for the usual one."""
        sender = message.content.sender
        return "" if sender == self._default_sender else sender

    def _learn(self, one: Delivery, outcome: Outcome) -> bool:
        """Whether dispatch is held for it."""
        message = one.message
        self._probes.discard(one.entry.name)
        caused_hold = self._hold.learn(
            message.id, outcome, probe=one.probe, waiting=len(self._prefetch) > 0
        )
        too_fast = self._throttle.learn(
            self._own_sender(message) or message.id, message.id, outcome
        )
        self._metrics.outcomes[type(outcome).__name__] += 1
        if isinstance(outcome, Throttled) and too_fast:
            pause = THROTTLE_PAUSE_S if outcome.retry_after is None else outcome.retry_after
            self._pace.pause(min(max(pause, 0.0), self._policy.max_delay))
        return caused_hold
