"""The store as the daemon opens it, over clocks that are moved by hand."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any, Protocol

from redis.asyncio import Redis

from smsd.core.life import DeadReason
from smsd.core.message import Content, Limits, Message, parse
from smsd.core.outcome import RetryPolicy
from smsd.dispatch.claimer import Claimer, parse_entry
from smsd.dispatch.context import Context
from smsd.dispatch.prefetch import Prefetch
from smsd.metrics import Metrics
from smsd.redis.availability import Availability
from smsd.redis.client import text
from smsd.redis.damage import Damage
from smsd.redis.scripts import Call
from smsd.store import Bounds, DaemonStore
from smsd.store.append import Append
from smsd.store.client import SCRIPTS
from smsd.store.entry import Attempt, Entry
from smsd.store.finished import place_of
from smsd.store.identity import Identity
from smsd.store.keys import GROUP
from smsd.store.lease import lease_keys
from smsd.store.lost_writes import Loss
from smsd.store.operator_hold import Operator
from smsd.store.queue import Begun

SECOND = 1_000_000_000
LIMITS = Limits()
ALICE, BOB = "+12025550101", "+12025550102"
SOON_S = 30.0  # far more than anything here takes


class Wall:
    """Unix milliseconds. Starts at the present, so that the ids Redis makes lie beside it."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def advance(self, seconds: float) -> None:
        self.ms += round(seconds * 1000)


class Ticks:
    """Monotonic nanoseconds."""

    def __init__(self) -> None:
        self.ns = SECOND

    def __call__(self) -> int:
        return self.ns

    def advance(self, seconds: float) -> None:
        self.ns += round(seconds * SECOND)


class Store(DaemonStore):
    """The store as the daemon opens it, with the steps of a message's life as short methods."""

    def __init__(
        self,
        url: str,
        prefix: str,
        *,
        owner: str,
        wall: Wall,
        ticks: Ticks,
        max_length: int = 5_000_000,
        lease_s: float = 10.0,
        replicas_ack: int = 0,
    ) -> None:
        self.wall = wall
        self.ticks = ticks
        self.found: list[Operator] = []  # what the lease reported of an operator's hold
        self.losses: list[Loss] = []
        super().__init__(
            url,
            prefix,
            owner=owner,
            now_ms=wall,
            clock=ticks,
            bounds=Bounds(max_length, 100_000, 86_400_000, 86_400_000, replicas_ack),
            availability=Availability(),
            damage=Damage(ticks),
            identity=Identity(),
            lease_s=lease_s,
            on_operator=self.found.append,
            on_loss=self.losses.append,
        )
        # `Any`: redis-py's types speak of the replies of every protocol at once.
        self.redis: Any = self.client.redis
        self.prefetch = Prefetch(45)
        self.context = Context(
            queue=self.queue,
            limits=LIMITS,
            policy=RetryPolicy(),
            metrics=Metrics(),
            owner=owner,
            clock=ticks,
            now_ms=wall,
            chance=lambda: 0.5,
            may_send=lambda: True,
            on_fenced=self.lease.fenced,
        )
        self.claimer = Claimer(self.context, self.arrivals, self.prefetch)

    async def lead(self) -> "Store":
        """Make the groups and take the lease, whoever holds it."""
        await self.client.ensure_groups()
        holder = await self.redis.get(self.keys.lease)
        dead = text(holder) if holder else ""
        request = {"life_ms": 3_600_000, "dead": dead, "unrenewed_ms": -1}
        await self.client.ask(Call("acquire", request, lease_keys(self.keys)))
        return self

    # -- steps of a life, as short as they can be said ------------------------------------------

    async def append(self, *recipients: str, **fields: object) -> list[str]:
        """Queue one message to each; their ids."""
        request = Append(content(**fields), recipients or (ALICE,))
        return (await self.queue.append(request)).ids

    async def schedule(self, due_in_s: float, id_: str = "s1", **fields: object) -> str:
        """Queue a message for later; its id."""
        request = Append(at(self.wall.ms + round(due_in_s * 1000), **fields), [ALICE], [id_])
        [made] = (await self.queue.append(request)).ids
        return made

    async def claim_one(self) -> tuple[Entry, Message]:
        """Claim one entry that can be parsed."""
        entries = await self.queue.claim(1, 0) or await self.queue.claim(0, 1)
        [entry] = entries
        return entry, parse_entry(entry, LIMITS, self.wall())

    async def sending(self, **fields: object) -> tuple[Entry, Attempt, Message]:
        """A message that has been queued, claimed and begun."""
        await self.append(**fields)
        return await self.begin_next()

    async def begin_next(self) -> tuple[Entry, Attempt, Message]:
        entry, message = await self.claim_one()
        attempt = self.attempt(message.attempts + 1)
        assert await self.begin(entry, attempt, message.recipient) == "begun"
        return entry, attempt, message

    async def begin(self, entry: Entry, attempt: Attempt, recipient: str) -> Begun:
        """Mark one entry in flight."""
        [begun] = await self.queue.begin([(entry, attempt, recipient)])
        if isinstance(begun, Exception):
            raise begun
        return begun

    def attempt(self, number: int = 1) -> Attempt:
        return Attempt(number, self.wall(), self.owner)

    async def dead_letter(
        self, reason: DeadReason = DeadReason.EXHAUSTED, **fields: object
    ) -> tuple[str, str]:
        """A dead letter and its message's id."""
        entry, attempt, message = await self.sending(**fields)
        assert await self.queue.bury(entry, attempt, message, reason=reason)
        dead_letters = await self.dead_letters.page("", 10_000)
        return dead_letters[-1].id, message.id

    async def difference(self) -> int:
        return (await self.census()).difference

    async def state(self, message_id: str) -> object:
        shown = await self.lookup.message(message_id)
        return shown and shown["state"]

    async def kept_ms(self, message_id: str) -> int:
        """How long is kept what became of a finished message; negative where nothing is."""
        place = place_of(message_id)
        key = self.keys.finished(place.name) if place else self.keys.message(message_id)
        if place and not await self.redis.hexists(key, place.field):
            return -2
        return int(await self.redis.pttl(key))

    async def length(self) -> int:
        """Entries in both streams."""
        high, normal = self.keys.high, self.keys.queue
        return int(await self.redis.xlen(high) + await self.redis.xlen(normal))


class OpenStore(Protocol):
    """The fixture: one more daemon over the same keys."""

    def __call__(
        self,
        owner: str = ...,
        *,
        url: str = ...,
        max_length: int = ...,
        lease_s: float = ...,
    ) -> Store: ...


def content(**fields: object) -> Content:
    """A message, its fields named as in `POST /send` (`sender` for `from`)."""
    if "sender" in fields:
        fields["from"] = fields.pop("sender")
    return parse({"message": "Hi", **fields}, LIMITS, 0)


def at(due_ms: int, **fields: object) -> Content:
    """A message that waits until `due_ms`."""
    return content(**fields)._replace(send_at=due_ms)


def sha(script: str) -> bytes:
    """What a command that runs this script holds."""
    return SCRIPTS.sha(script).encode()


def all_scripts() -> list[str]:
    folder = resources.files("smsd.store").joinpath("lua")
    names = (path.name.removesuffix(".lua") for path in folder.iterdir())
    return sorted(name for name in names if not name.startswith("_"))


async def load_scripts(client: Redis) -> None:
    """So that the first call of a script is answered by it, and not by NOSCRIPT."""
    for script in all_scripts():
        await client.script_load(SCRIPTS.source(script))


async def dump(client: Redis, prefix: str) -> dict[str, object]:
    """Everything there is under a prefix, comparable."""
    keys = sorted([key async for key in client.scan_iter(match=f"{prefix}*", count=1000)])
    return {key.decode(): await _contents(client, key) for key in keys}


async def _contents(client: Any, key: bytes) -> object:
    kind = (await client.type(key)).decode()
    expires = await client.pttl(key) >= 0
    reads: dict[str, Callable[[], Awaitable[object]]] = {
        "string": lambda: client.get(key),
        "hash": lambda: client.hgetall(key),
        "set": lambda: client.smembers(key),
        "zset": lambda: client.zrange(key, 0, -1, withscores=True),
        "stream": lambda: _stream(client, key),
    }
    return kind, expires, await reads[kind]()


async def _stream(client: Any, key: bytes) -> object:
    entries = await client.xrange(key)
    groups = [
        (group["name"], group["last-delivered-id"]) for group in await client.xinfo_groups(key)
    ]
    pending = []
    if groups:
        rows = await client.xpending_range(key, GROUP, min="-", max="+", count=100_000)
        pending = [(row["message_id"], row["consumer"]) for row in rows]
    return entries, groups, pending


async def soon(awaitable: Awaitable[Any]) -> Any:
    """What must come, and does not hang when it does not."""
    async with asyncio.timeout(SOON_S):
        return await awaitable


async def until(condition: Callable[[], bool | Awaitable[bool]], what: str) -> None:
    """Wait for a condition to come true; fails with `what` when it does not."""

    async def is_true() -> bool:
        found = condition()
        return found if isinstance(found, bool) else await found

    try:
        async with asyncio.timeout(SOON_S):
            while not await is_true():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {SOON_S} s: {what}") from None
