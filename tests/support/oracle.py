"""The judge. It compares what callers were told, what the provider took, and what Redis holds."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import redis

OVER = {"sent", "dead", "expired", "suppressed", "cancelled"}


@dataclass
class Judgement:
    """Faults by kind; all empty is a clean run."""

    lost: list[str] = field(default_factory=list)  # accepted, and in no known place
    twice: list[str] = field(default_factory=list)  # taken more than once
    unsent: list[str] = field(default_factory=list)  # called sent, and never taken
    unreported: list[str] = field(default_factory=list)  # taken, and neither sent nor in doubt
    states: Counter[str] = field(default_factory=Counter)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.twice or self.unsent or self.unreported)


def states(client: redis.Redis, prefix: str = "smsd:") -> dict[str, dict[str, str]]:
    """Status of every text that something happened to, by message id."""
    found = {}
    keys = cast("Iterable[bytes]", client.scan_iter(f"{prefix}message:*", count=1000))
    for key in keys:
        facts = cast("dict[bytes, bytes]", client.hgetall(key))
        name = key.decode().removeprefix(f"{prefix}message:")
        found[name] = {field.decode(): value.decode() for field, value in facts.items()}
    return found


def waiting(client: redis.Redis, prefix: str = "smsd:") -> int:
    """Texts that are accepted and not over."""
    return int(
        client.xlen(f"{prefix}queue")
        + client.xlen(f"{prefix}queue:high")
        + client.zcard(f"{prefix}deferred")
    )


def judge(
    accepted: Iterable[str],
    arrivals: Sequence[Mapping[str, Any]],
    known: Mapping[str, Mapping[str, str]],
    *,
    may_repeat: bool = False,
) -> Judgement:
    """Judge a run that has come to rest: nothing waits any more."""
    verdict = Judgement()
    taken = Counter(str(arrival["id"]) for arrival in arrivals if arrival["taken"])
    for message_id in accepted:
        state = known.get(message_id, {}).get("state", "unknown")
        verdict.states[state] += 1
        if state not in OVER:
            verdict.lost.append(message_id)
        if state == "sent" and not taken[message_id]:
            verdict.unsent.append(message_id)
    for message_id, times in taken.items():
        facts = known.get(message_id, {})
        if times > 1 and not may_repeat:
            verdict.twice.append(message_id)
        if facts.get("state") != "sent" and facts.get("reason") != "in_doubt":
            verdict.unreported.append(message_id)
    return verdict
