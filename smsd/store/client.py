"""The store's client of Redis. Rule: every script is given the same keys, and what is known.

What a caller is promised (`append`, `append_part`, a change of an audience) and what permits a send
(`begin`) counts only when enough replicas have it.
"""

import secrets
from collections.abc import Awaitable, Callable, Sequence
from importlib import resources
from typing import TypeVar

from redis.asyncio import Redis

from smsd.redis.availability import Availability
from smsd.redis.client import Policy, RedisClient
from smsd.redis.damage import Damage
from smsd.redis.errors import GroupMissing
from smsd.redis.scripts import Call, Common, Scripts
from smsd.store.identity import Data, Identity
from smsd.store.keys import Keys
from smsd.store.lost_writes import LostWrites

T = TypeVar("T")

SCRIPTS = Scripts(resources.files("smsd.store").joinpath("lua"))


def _undo(call: Call) -> Call | None:
    """A send that too few replicas know of is not permitted: its in-flight record goes again."""
    if call.script != "begin":
        return None
    return Call("release", {name: call.request[name] for name in ("name", "mark")})


CHANGES_OF_AUDIENCES = ("audience_commit", "audience_add", "audience_discard", "audience_remove")
OF_AUDIENCES = (
    *CHANGES_OF_AUDIENCES,
    *("audience_begin", "audience_stage", "audience_merge", "audience_touch", "audience_clean"),
    *("audience_look", "audience_page"),
)
CHANGES_OF_CAMPAIGNS = ("campaign_start", "campaign_turn", "campaign_edit", "campaign_remove")
OF_CAMPAIGNS = (
    *CHANGES_OF_CAMPAIGNS,
    *("campaign_copy", "campaign_add", "campaign_look", "campaign_page"),
)
CHANGES = frozenset((*CHANGES_OF_AUDIENCES, *CHANGES_OF_CAMPAIGNS))
POLICY = Policy(
    on_demand=frozenset({"cancel", "replay", "drop", "letters", *OF_AUDIENCES, *OF_CAMPAIGNS}),
    replicated=frozenset({"append", "append_part", "begin", *CHANGES}),
    writing=frozenset({"append", "begin", "claim", "groups"}),
    undo=_undo,
)


class StoreClient(RedisClient):
    """One Redis, one prefix, one daemon: what every script gets to know about them."""

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        *,
        owner: str,
        availability: Availability,
        damage: Damage,
        now_ms: Callable[[], int],
        keep_status_ms: int,
        max_events: int,
        lost_writes: LostWrites | None = None,
        identity: Identity | None = None,
        replicas_ack: int = 0,
    ) -> None:
        """`lost_writes` needs to greet the client's connections.

        `identity` is what all clients of one daemon know together.
        """
        super().__init__(
            redis,
            SCRIPTS,
            common=self._common_now,
            policy=POLICY,
            probe_key=keys.ack,
            availability=availability,
            damage=damage,
            observer=self._observe,
            replicas_ack=replicas_ack,
        )
        self.identity = identity or Identity()
        self.keys = keys
        self.owner = owner
        self.now_ms = now_ms
        self.lost_writes = lost_writes
        self._common_keys = [key.encode() for key in keys.common(owner)]
        self._kept = (str(keep_status_ms).encode(), str(max_events).encode())

    def _common_now(self) -> Common:
        known = self.identity.known
        return Common(
            self._common_keys,
            (self.owner, self.now_ms(), *self._kept, known.id, known.settled),
            saw=lambda found: self.identity.saw(Data.read(found), known),
        )

    def _observe(self, calls: Sequence[Call], replies: Sequence[object]) -> None:
        if self.lost_writes is not None:
            self.lost_writes.observe(calls, replies, self.identity)

    async def with_groups(self, operation: Callable[[], Awaitable[T]]) -> T:
        """Run an operation that needs the consumer groups, making them again if they are gone."""
        try:
            return await operation()
        except GroupMissing:
            pass
        await self.ensure_groups()
        return await operation()

    async def ensure_groups(self) -> None:
        """Create what is missing of streams and groups, and the id of the data."""
        await self.ask(Call("groups", {"store_id": secrets.token_hex(8)}))
