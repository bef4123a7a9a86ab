"""Which daemon may dispatch. Rule: stop before the lease can have run out, by our own clock.

The lease is renewed at a third of its life, and every half second at least. It counts from before
the request that renewed it, and less a margin, so however late the reply is or however long this
process was stopped, `held` turns false before another daemon can take over.

Should the key get lost while we live (deleted, a failover, a clock that jumped), another may take
over at once. A daemon that learns of it stops at once, and it learns of it at the next renewal at
the latest, while the other is still silent: see `Term`.

A holder whose process is gone from this machine need not be waited for, once it has not renewed the
lease for `GONE_S`: a machine that was cloned with its memory shows the same processes, and a holder
that lives on there renews. Whatever other hands leave at the key runs out as a lease does.

Each renewal also records why dispatch is held, or that it is not, in a key that lives as long as
the lease: so it is there again with the first renewal after Redis was away, and ends with its
daemon. A renewal also reads what an operator holds or has released, before the lease counts as
held.
"""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple, cast

from smsd.core.pacer import SECOND
from smsd.redis import owner
from smsd.redis.client import decode_fields, text
from smsd.redis.errors import Away, Refused, WrongType
from smsd.redis.scripts import Call
from smsd.store.client import StoreClient
from smsd.store.keys import Keys
from smsd.store.operator_hold import HeldBy, Operator

log = logging.getLogger("smsd.lease")
MARGIN = 0.2  # part of the lease's life that is never used
RENEW_S = 0.5  # between renewals at most: a new holder is silent for longer, a hold acts by then
STANDBY_S = 0.5  # how often a standby looks whether the lease is free
GONE_S = 2 * RENEW_S  # without a renewal, before a holder that has died here is believed to have
GONE_LOOK_S = 0.1  # how often that is looked at
SILENT_S = 3.0  # without a renewal, a holder is not known to dispatch
LONGEST_HELD = 15  # digits of the seconds that a hold is reported to last


class Lease:
    """This daemon's claim to be the one that dispatches."""

    def __init__(
        self,
        client: StoreClient,
        *,
        life_s: float,
        clock: Callable[[], int],
        operator: Callable[[Operator], HeldBy | None],
    ) -> None:
        """`clock`: nanoseconds, monotonic, counting on while the machine is suspended.

        `operator` is called with what each renewal, and each look of a standby, finds; it answers
        with a hold that got lost, to be made again.
        """
        self._client = client
        self._life_s = life_s
        self._clock = clock
        self._operator = operator
        self._valid_until = 0
        self._another_until = 0  # as long as another may be taken to dispatch
        self._another = ("", 0)  # who else holds it, and since when it is seen
        self.holder = ""
        self.taken = asyncio.Event()  # set while the last answer said that it is ours
        self._fenced = asyncio.Event()
        self._hold = ""
        self._hold_since = 0
        self._lost: HeldBy | None = None  # an operator's hold that nobody has released
        self._release = 0  # highest number of a release that was seen

    @property
    def held(self) -> bool:
        """Whether we may send at this instant."""
        return self._clock() < self._valid_until

    @property
    def has_holder(self) -> bool:
        """Whether a daemon, this one or another, may dispatch, as far as we know."""
        return self.held or self._clock() < self._another_until

    async def run(self) -> None:
        """Take the lease when it is free and keep it; ends only when cancelled."""
        dead = ""
        while True:
            self._fenced.clear()
            holder = await self._acquire(dead)
            if holder in ("", self._client.owner):
                dead = ""
            elif holder != dead and owner.is_dead(holder):
                log.warning("lease of a dead daemon", extra={"holder": holder})
                dead = holder
                continue
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s(dead)):
                    await self._fenced.wait()

    def _pause_s(self, dead: str) -> float:
        if dead:
            return GONE_LOOK_S
        return min(self._life_s / 3, RENEW_S) if self.held else STANDBY_S

    def fenced(self) -> None:
        """Redis refused us, since another daemon holds the lease: stop, and ask at once."""
        self._lose()
        self._fenced.set()

    def report_hold(self, reason: str) -> None:
        """Record why dispatch is held, "" when it goes on; the next renewal writes it to Redis."""
        if not self._hold:
            self._hold_since = self._clock()
        self._hold = reason

    def _lose(self) -> None:
        self._valid_until = 0
        self.taken.clear()

    async def _acquire(self, dead: str) -> str:
        asked_at = self._clock()
        request: dict[str, object] = {
            "life_ms": round(self._life_s * 1000),
            "dead": dead,
            "unrenewed_ms": round(GONE_S * 1000),
        }
        if self._hold:
            held_s = (asked_at - self._hold_since) // SECOND
            request |= {"hold": self._hold, "held_s": held_s}
        if lost := self._lost:
            hold = {"reason": lost.reason, "by": lost.by, "since": lost.since_ms}
            request["lost"] = {**hold, "release": self._release}
        call = Call("acquire", request, lease_keys(self._client.keys))
        try:
            reply = cast("list[Any]", await self._client.ask(call))
        except (Away, Refused):
            return ""
        holder = text(reply[0])
        found = Operator.read(reply[2:])
        self._release = max(self._release, found.release)
        self._lost = self._operator(found)
        ours = holder == self._client.owner
        if holder != self.holder:
            log.info("lease", extra={"holder": holder, "ours": ours})
        self.holder = holder
        self._another_until = 0 if ours else self._dispatches_until(holder, reply[1], asked_at)
        if not ours or self._fenced.is_set():  # or it was ours, before another was seen to hold it
            self._lose()
        else:
            self._valid_until = asked_at + round(self._life_s * (1 - MARGIN) * 1e9)
            self.taken.set()
        return holder

    def _dispatches_until(self, holder: str, unrenewed_ms: int, seen_at: int) -> int:
        """How long another may be taken to dispatch: a little longer than it goes on renewing."""
        if holder != self._another[0]:
            self._another = (holder, seen_at)
        # One that does not say how long its lease lives is not known to have renewed it at all.
        renewed_at = (
            self._another[1] if unrenewed_ms < 0 else seen_at - unrenewed_ms * SECOND // 1000
        )
        return renewed_at + round(SILENT_S * SECOND)

    async def give_up(self) -> None:
        """Hand over at once; nothing may be sent any more."""
        self._valid_until = 0
        await self._client.ask(Call("yield", keys=[self._client.keys.hold]))


class ReportedHold(NamedTuple):
    """That dispatch is held, as the daemon that holds the lease reported at its last renewal."""

    reason: str
    seconds: int  # for how long by then


async def lease_holder(client: StoreClient) -> str | None:
    """The daemon that holds the lease, or None; what is no string is no daemon."""
    key = client.keys.lease
    try:
        found = await client.read(lambda redis: redis.get(key))
    except WrongType:
        return None
    return text(found) if found else None


async def reported_hold(client: StoreClient, holder: str) -> ReportedHold | None:
    """Why `holder` holds dispatch, or None while it does not."""
    key = client.keys.hold
    fields = decode_fields(await client.read(lambda redis: redis.hgetall(key)))
    if fields.get("by") != holder:  # its lease went over to another meanwhile
        return None
    seconds = fields.get("seconds", "")
    is_number = seconds.isascii() and seconds.isdigit() and len(seconds) <= LONGEST_HELD
    return ReportedHold(fields.get("reason", ""), int(seconds) if is_number else 0)


def lease_keys(keys: Keys) -> list[str]:
    """What the script `acquire` touches beside the lease."""
    return [keys.hold, keys.held, keys.released]
