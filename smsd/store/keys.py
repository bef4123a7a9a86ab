"""The names of everything in Redis. Rule: every key is spelled here and nowhere else."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

GROUP = "smsd"
CONSUMER = "smsd"  # stable: whoever holds the lease goes on with what its predecessor had claimed

Kind = Literal["stream", "zset", "hash", "set", "string"]  # as TYPE answers


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix; in a Redis Cluster the prefix carries a hash tag, `{smsd}:`."""

    prefix: str = "smsd:"

    @property
    def queue(self) -> str:
        """Stream of the messages to send."""
        return f"{self.prefix}queue"

    @property
    def high(self) -> str:
        """Stream of the messages that overtake those."""
        return f"{self.prefix}queue:high"

    @property
    def deferred(self) -> str:
        """Sorted set: message id by due time, Unix ms."""
        return f"{self.prefix}deferred"

    @property
    def deferred_messages(self) -> str:
        """Hash: message id to the fields that go back into the queue."""
        return f"{self.prefix}deferred:messages"

    @property
    def inflight(self) -> str:
        """Hash: the in-flight record of each entry that is being sent, written before the send."""
        return f"{self.prefix}inflight"

    @property
    def dead(self) -> str:
        """Stream of the dead letters."""
        return f"{self.prefix}dead"

    @property
    def events(self) -> str:
        """Capped stream: every change of a message's state."""
        return f"{self.prefix}events"

    @property
    def counters(self) -> str:
        """Hash: how many messages ended in each way."""
        return f"{self.prefix}counters"

    @property
    def optouts(self) -> str:
        """Set of the numbers that must not be texted."""
        return f"{self.prefix}optouts"

    @property
    def lease(self) -> str:
        """String: the daemon that may dispatch."""
        return f"{self.prefix}lease"

    @property
    def store(self) -> str:
        """Hash: which data this is, and who renewed the lease last, for how long."""
        return f"{self.prefix}store"

    @property
    def hold(self) -> str:
        """Hash: why that daemon holds dispatch, while it does; lives as long as the lease."""
        return f"{self.prefix}hold"

    @property
    def held(self) -> str:
        """Hash: who holds dispatch, why and since when, until somebody releases it."""
        return f"{self.prefix}held"

    @property
    def released(self) -> str:
        """String: a number that grows with each release."""
        return f"{self.prefix}released"

    @property
    def staged(self) -> str:
        """Hash: long lists that are accepted and not queued yet, in parts."""
        return f"{self.prefix}staged"

    @property
    def audiences(self) -> str:
        """Hash: name of an audience to its record, which names the version that readers see."""
        return f"{self.prefix}audiences"

    @property
    def audiences_unfinished(self) -> str:
        """Sorted set: versions that no reader sees, by when they were touched; 0: to be removed."""
        return f"{self.prefix}audience:unfinished"

    @property
    def campaigns(self) -> str:
        """Sorted set, all scores 0: ids of campaigns, which are in the order of their starts."""
        return f"{self.prefix}campaigns"

    @property
    def campaign_names(self) -> str:
        """Hash: name of a campaign to its id."""
        return f"{self.prefix}campaign_names"

    @property
    def campaigns_active(self) -> str:
        """Set: ids of the campaigns with something left to do."""
        return f"{self.prefix}campaigns:active"

    @property
    def ack(self) -> str:
        """String, short-lived: a write for the replicas to acknowledge."""
        return f"{self.prefix}ack"

    def common(self, owner: str) -> tuple[str, ...]:
        """Those that every script is given, in the order of `lua/_common.lua`."""
        return (
            self.queue,
            self.high,
            self.deferred,
            self.deferred_messages,
            self.inflight,
            self.dead,
            self.events,
            self.counters,
            self.optouts,
            self.lease,
            self.intake(owner),
            self.store,
        )

    @property
    def kinds(self) -> Mapping[str, Kind]:
        """The type of each key above."""
        return {
            self.queue: "stream",
            self.high: "stream",
            self.deferred: "zset",
            self.deferred_messages: "hash",
            self.inflight: "hash",
            self.dead: "stream",
            self.events: "stream",
            self.counters: "hash",
            self.optouts: "set",
            self.lease: "string",
            self.store: "hash",
            self.hold: "hash",
            self.held: "hash",
            self.released: "string",
            self.staged: "hash",
            self.audiences: "hash",
            self.audiences_unfinished: "zset",
            self.campaigns: "zset",
            self.campaign_names: "hash",
            self.campaigns_active: "set",
            self.ack: "string",
        }

    @property
    def for_intake(self) -> frozenset[str]:
        """Those without which some messages cannot be taken in."""
        places = {self.queue, self.high, self.deferred, self.deferred_messages}
        return frozenset(places | {self.staged})

    @property
    def for_dispatch(self) -> frozenset[str]:
        """Those without which some cannot be sent or settled. The others are statistics."""
        places = {self.inflight, self.dead, self.optouts, self.store, self.campaigns_active}
        return self.for_intake | places

    def message(self, message_id: str) -> str:
        """Hash: status of one message, until it is finished."""
        return f"{self.prefix}message:{message_id}"

    def finished(self, name: str) -> str:
        """Hash: what is kept of finished messages of one time and slot (store/finished.py)."""
        return f"{self.prefix}finished:{name}"

    def idempotency(self, digest: str) -> str:
        """Hash: the first answer to an Idempotency-Key."""
        return f"{self.prefix}idempotency:{digest}"

    def intake(self, owner: str) -> str:
        """Hash: what the last group commit of one daemon appended, until it knows."""
        return f"{self.prefix}intake:{owner}"

    def audience(self, version: str) -> str:
        """Hash: state of one version of an audience; its contacts are in hashes beside it.

        The name of each of those ends with the first hash value that it holds (lua/_audience.lua).
        """
        return f"{self.prefix}audience:{version}"

    def audience_rejects(self, import_id: str) -> str:
        """Hash, kept for a day: rows that an import rejected, in compressed parts."""
        return f"{self.prefix}audience_rejects:{import_id}"

    def campaign(self, id_: str) -> str:
        """Hash: record of one campaign (store/campaigns/record.py).

        Its recipients are a version of an audience with the same id.
        """
        return f"{self.prefix}campaign:{id_}"

    def campaign_held(self, id_: str) -> str:
        """Set: ids of its messages that were taken out of the queue, since it is paused."""
        return f"{self.prefix}campaign:{id_}:held"
