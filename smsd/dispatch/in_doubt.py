"""Messages in doubt. Rule: ask the provider before the policy decides; believe an absence last.

The answer to a submission was lost, so a provider that can be asked is asked what became of it. It
may list a message late: so it is asked again, after growing pauses, and "not found" counts only if
five asks in a row, over half a minute, end so. After one without an answer the gateway may be
catching up with what it was sent, and they are counted anew. So a gateway that is restarted costs
no message, and none goes out twice.

Only the gateway that a message was written to is asked: any other finds nothing, which proves
nothing. The in-flight record names it. A daemon that stops meanwhile leaves the message and its
record to the next one, if the provider allows that (`stop_leaves_in_doubt`).
"""

import asyncio
import hashlib
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from contextlib import suppress
from itertools import chain, repeat

from smsd.core.message import Message
from smsd.core.outcome import Accepted, InDoubt, Outcome, Rejected, Unavailable
from smsd.provider.base import FindSettled, Provider, SupportsLookUp
from smsd.redis.errors import Away
from smsd.store.entry import Attempt

log = logging.getLogger("smsd.in_doubt")

PAUSES_S = (1.0, 2.0, 4.0, 8.0, 10.0)  # before each ask, the last before any more
WITHIN_S = 30.0  # for all questions about a message that was just submitted
MOST_ASKED = 1000  # messages asked about at a time; more are left to recovery
RECOVERY_WITHIN_S = 600.0  # the same in recovery: nothing waits for it, and there may be many
AWAY_S = 0.5  # before Redis is asked again after it was away
AT_ONCE = 8  # look-ups; more would not help a provider in trouble


class Unanswered(Exception):  # noqa: N818 - a state: nobody knows more than before
    """Asking was cut short, and may be repeated."""


async def _none_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
    return {}


def _patient(find_settled: FindSettled, sleep: Callable[[float], Awaitable[object]]) -> FindSettled:
    """The same, but it waits while Redis is away: a limit bounds all the asking."""

    async def find(
        provider_ids: Collection[str], since_ms: int, until_ms: int
    ) -> Mapping[str, str]:
        while True:
            try:
                return await find_settled(provider_ids, since_ms, until_ms)
            except Away:
                await sleep(AWAY_S)

    return find


class InDoubtAsker:
    """Asks the provider."""

    def __init__(
        self,
        provider: Provider,
        *,
        find_settled: FindSettled = _none_settled,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`find_settled`: asks Redis; it is asked again for as long as that is away."""
        self._provider = provider if isinstance(provider, SupportsLookUp) else None
        self.gateway = _digest(self._provider.gateway if self._provider else "cannot be asked")
        self._find_settled = _patient(find_settled, sleep)
        self._sleep = sleep
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._limits: set[asyncio.Timeout] = set()
        self._closed = asyncio.Event()

    def may_ask(self, attempt: Attempt) -> bool:
        """Whether an attempt of this or another process, with whatever settings, is asked about.

        Records of earlier versions name no gateway: there an absence must prove nothing.
        """
        if self._provider is None or not attempt.started_ms:
            return False
        if attempt.gateway:
            return attempt.gateway == self.gateway
        return self._provider.stop_leaves_in_doubt

    async def resolve(
        self, message: Message, started_ms: int, outcome: InDoubt, *, in_recovery: bool = False
    ) -> Outcome:
        """What became of a submission begun at `started_ms`; `outcome` where nobody can tell.

        Raises `Unanswered` when closed before that is known, if the next daemon may ask; and when
        time is up or too many are asked about: recovery asks on, with `in_recovery`.
        """
        if self._provider is None:
            return outcome
        if self._closed.is_set():
            return self._left(self._provider, message, outcome)
        if not in_recovery and len(self._limits) >= MOST_ASKED:
            raise Unanswered
        log.warning("in doubt, asking", extra={"id": message.id, "reason": outcome.reason})
        found = None
        limit = asyncio.timeout(RECOVERY_WITHIN_S if in_recovery else WITHIN_S)
        try:
            with suppress(TimeoutError):
                async with limit:
                    self._limits.add(limit)
                    found = await self._ask(self._provider, message, started_ms)
        finally:
            self._limits.discard(limit)
        if found is None and self._closed.is_set():
            return self._left(self._provider, message, outcome)
        if found is None and limit.expired() and not in_recovery:
            raise Unanswered
        log.info("asked", extra={"id": message.id, **_found_fields(found)})
        return found or outcome

    def _left(self, provider: SupportsLookUp, message: Message, outcome: InDoubt) -> InDoubt:
        if not provider.stop_leaves_in_doubt:
            return outcome
        log.info("left in doubt", extra={"id": message.id})
        raise Unanswered

    def close(self) -> None:
        """Ask no more, and end all questions that are under way."""
        self._closed.set()
        for limit in self._limits:
            if not limit.expired():
                limit.reschedule(0.0)

    async def _ask(
        self, provider: SupportsLookUp, message: Message, started_ms: int
    ) -> Outcome | None:
        absences = unknown = 0  # in a row
        pauses = chain(PAUSES_S, repeat(PAUSES_S[-1]))
        while True:
            await self._sleep(next(pauses))
            async with self._turns:
                try:
                    found = await provider.look_up(message, started_ms, self._find_settled)
                except Exception:  # a bug in a provider leaves the message in doubt, no worse
                    log.exception("provider broke", extra={"id": message.id})
                    return None
            if found is None or isinstance(found, Accepted | Rejected):
                return found
            if isinstance(found, Unavailable):
                absences, unknown = absences + 1, 0
            else:
                absences, unknown = 0, unknown + 1
            if len(PAUSES_S) in (absences, unknown):
                return found if absences else None


def _digest(gateway: str) -> str:
    return hashlib.sha256(gateway.encode()).hexdigest()[:16]


def _found_fields(found: Outcome | None) -> dict[str, str]:
    match found:
        case Accepted(provider_id):
            return {"found": "taken", "provider_id": provider_id}
        case Rejected(code, reason):
            return {"found": "refused", "code": code, "reason": reason}
        case Unavailable(reason):
            return {"found": "not taken", "reason": reason}
        case _:
            return {"found": "nothing"}
