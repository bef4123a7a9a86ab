"""The only sender. Rule: mark, wait for the slot, submit once, settle; always in that order.

`_deliver` is the journey of one message. It runs as a task of its own from shortly before its
slot, so that a provider that answers in two seconds still gets the full rate.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from smsd.core.message import Message
from smsd.core.outcome import (
    Accepted,
    Ack,
    Bury,
    Defer,
    InDoubt,
    Outcome,
    RetryPolicy,
    Throttled,
    Verdict,
    blame,
    decide,
)
from smsd.core.outcome import Hold as HoldVerdict
from smsd.core.pacer import SECOND
from smsd.dispatch.doubt import Doubt, is_high
from smsd.dispatch.hold import Hold
from smsd.dispatch.pace import Pace, PacedSlot
from smsd.dispatch.settle import settle
from smsd.dispatch.window import Held, Window
from smsd.metrics import Metrics
from smsd.provider.base import NotNow, Provider
from smsd.store.queue import Attempt, Queue

log = logging.getLogger("smsd.dispatch")
THROTTLE_PAUSE_S = 1.0  # when the provider does not say for how long


class Dispatcher:
    """Takes messages from the window to the provider and their outcomes to the queue."""

    def __init__(
        self,
        queue: Queue,
        provider: Provider,
        window: Window,
        pace: Pace,
        hold: Hold,
        *,
        owner: str,
        default_sender: str,
        may_send: Callable[[], bool],
        policy: RetryPolicy,
        max_in_flight: int,
        clock: Callable[[], int],
        now_ms: Callable[[], int],
        chance: Callable[[], float],
        metrics: Metrics,
        doubt: Doubt,
    ) -> None:
        """`may_send` tells whether the lease is held at this instant."""
        self._queue = queue
        self._provider = provider
        self._window = window
        self._pace = pace
        self._hold = hold
        self._owner = owner
        self._default_sender = default_sender
        self._may_send = may_send
        self._policy = policy
        self._free = asyncio.Semaphore(max_in_flight)
        self._clock = clock
        self._now_ms = now_ms
        self._chance = chance
        self._metrics = metrics
        self._doubt = doubt
        self._deliveries: set[asyncio.Task[None]] = set()
        self._draining = False

    async def run(self) -> None:
        """Start deliveries, each shortly before its slot, until cancelled."""
        while True:
            probe = await self._hold.passage()
            try:
                held = await self._next()
            except asyncio.CancelledError:
                if probe:
                    self._hold.void()
                raise
            self._start(held, probe=probe)

    async def _next(self) -> Held:
        """The next message, when it is time to prepare it and there is room in flight."""
        await self._pace.near()
        await self._free.acquire()
        try:
            return await self._window.take()
        except asyncio.CancelledError:
            self._free.release()
            raise

    async def drain(self, seconds: float) -> bool:
        """Start nothing more and wait for what is under way; whether all of it was settled."""
        self._draining = True
        self._doubt.close()
        if self._deliveries:
            _, unfinished = await asyncio.wait(self._deliveries, timeout=seconds)
            for delivery in unfinished:
                delivery.cancel()  # its mark stays: it is in doubt, and recovery finds it
            return not unfinished
        return True

    def _start(self, held: Held, *, probe: bool) -> None:
        slot = self._pace.slot(
            held.message.content.segments.segments, wanted=lambda: self._wanted(held.message)
        )
        delivery = asyncio.create_task(self._deliver(held, slot, probe=probe))
        self._deliveries.add(delivery)
        delivery.add_done_callback(partial(self._delivered, held))

    def _delivered(self, held: Held, delivery: "asyncio.Task[None]") -> None:
        self._deliveries.discard(delivery)
        self._free.release()
        if not delivery.cancelled() and (error := delivery.exception()) is not None:
            # Recovery will find it, marked or not, and settle it by that.
            self._window.forget(held.entry.name)
            log.critical("delivery broke", extra={"id": held.message.id}, exc_info=error)

    async def _deliver(self, held: Held, slot: PacedSlot, *, probe: bool) -> None:
        attempt = Attempt(held.message.attempts + 1, self._now_ms(), self._owner)
        try:
            if why_not := await self._begin(held, attempt):
                return self._over(held, why_not, probe=probe)
            outcome = await self._submit(held.message, slot)
        except NotNow:
            return await self._not_sent(held, attempt, probe=probe)
        finally:
            slot.close()
        await self._settle(held, attempt, outcome, probe=probe)
        return None

    async def _begin(self, held: Held, attempt: Attempt) -> str:
        """Mark it in flight; or a word for why it is not to be sent."""
        if self._expired(held.message):
            await self._queue.expire(held.entry, None, held.message)
            return "expired"
        begun = await self._queue.begin(held.entry, attempt, held.message.recipient)
        if begun == "suppressed":
            await self._queue.suppress(held.entry, held.message)
        return "" if begun == "begun" else begun

    async def _submit(self, message: Message, slot: PacedSlot) -> Outcome:
        asked_at = self._clock()
        try:
            return await self._provider.submit(message, slot)
        except NotNow:
            raise
        except Exception as error:  # a bug in a provider must not lose the text or stop the rest
            log.exception("provider broke", extra={"id": message.id})
            return InDoubt(f"the provider's code failed: {type(error).__name__}")
        finally:
            self._metrics.submit_seconds.observe((self._clock() - asked_at) / SECOND)

    async def _settle(self, held: Held, attempt: Attempt, outcome: Outcome, *, probe: bool) -> None:
        sender = held.message.content.sender
        outcome = blame(outcome, own_sender=sender not in ("", self._default_sender))
        self._learn(held.message, outcome, probe=probe)
        if isinstance(outcome, InDoubt):
            outcome = await self._doubt.resolve(held.message, attempt.started_ms, outcome)
        verdict = decide(
            outcome,
            high=is_high(held.entry, held.message),
            attempt=attempt.number,
            now_ms=self._now_ms(),
            policy=self._policy,
            provider_down=self._hold.engaged,
            chance=self._chance(),
        )
        self._log(held.message, attempt, outcome, verdict)
        settled = await self._perform(verdict, held, attempt)
        if not settled:
            log.warning("was settled elsewhere", extra={"id": held.message.id})

    async def _perform(self, verdict: Verdict, held: Held, attempt: Attempt) -> bool:
        if isinstance(verdict, HoldVerdict):
            await self._queue.release(held.entry.name, attempt)
            self._window.put_back(held)
            return True
        settled = await settle(self._queue, verdict, held.entry, attempt, held.message)
        self._window.forget(held.entry.name)
        return settled

    async def _not_sent(self, held: Held, attempt: Attempt, *, probe: bool) -> None:
        """The slot was refused: nothing was written."""
        if self._expired(held.message):
            await self._queue.expire(held.entry, attempt, held.message)
            return self._over(held, "expired", probe=probe)
        await self._queue.release(held.entry.name, attempt)
        self._window.put_back(held)
        if probe:
            self._hold.void()
        return None

    def _over(self, held: Held, how: str, *, probe: bool) -> None:
        """It ended, or was found settled, without a submission."""
        log.info("not sent", extra={"id": held.message.id, "because": how})
        self._metrics.settled(how).inc()
        self._window.forget(held.entry.name)
        if probe:
            self._hold.void()

    def _wanted(self, message: Message) -> bool:
        return self._may_send() and not self._draining and not self._expired(message)

    def _expired(self, message: Message) -> bool:
        expires_at = message.content.expires_at
        return expires_at is not None and expires_at <= self._now_ms()

    def _learn(self, message: Message, outcome: Outcome, *, probe: bool) -> None:
        self._hold.saw(outcome, probe=probe)
        self._metrics.outcome(type(outcome).__name__).inc()
        if isinstance(outcome, Throttled):
            pause = THROTTLE_PAUSE_S if outcome.retry_after is None else outcome.retry_after
            self._pace.pause(min(max(pause, 0.0), self._policy.max_delay))
        if isinstance(outcome, Accepted):
            ours, theirs = message.content.segments.segments, outcome.segments
            if theirs is not None and theirs != ours:
                self._metrics.segments_differ.inc()
                log.warning(
                    "segments differ", extra={"id": message.id, "ours": ours, "theirs": theirs}
                )

    def _log(self, message: Message, attempt: Attempt, outcome: Outcome, verdict: Verdict) -> None:
        self._metrics.settled(type(verdict).__name__.lower()).inc()
        facts: dict[str, object] = {
            "id": message.id,
            "to": message.recipient,
            "attempt": attempt.number,
            "segments": message.content.segments.segments,
        }
        if isinstance(verdict, Ack):
            log.info("sent", extra=facts | {"provider_id": verdict.provider_id})
            return
        word = {Defer: "deferred", Bury: "buried", HoldVerdict: "put back"}[type(verdict)]
        facts |= {"outcome": type(outcome).__name__, "reason": getattr(outcome, "reason", "")}
        log.warning(word, extra=facts)
