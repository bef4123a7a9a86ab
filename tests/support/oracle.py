"""The judge. It compares what callers got, what the provider took, and what Redis holds."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from math import inf
from typing import Any, cast

import redis

from smsd.core.campaign import split_id
from tests.support.excuses import Excuses
from tests.support.finished import finished

OVER = {"sent", "dead", "expired", "suppressed", "cancelled"}
WISHED = {"expired", "suppressed", "cancelled"}  # nobody but a caller ends a message so
GROUP = "smsd"
# What a provider answers to a message that it does not take, as far as anybody can tell from that:
# it may be sent again. ("taken 503" is one that takes it all the same.)
REFUSALS = {"429", "503", "taken 503", "unreached 503"}


@dataclass(frozen=True)
class Asked:
    """What a caller asked for: a message, and the ways in which it may end unsent."""

    to: str
    text: str
    ends: frozenset[str] = frozenset()  # of WISHED
    never: bool = False  # it may not be taken: opted out, or the caller was answered "cancelled"


@dataclass(frozen=True)
class Terms:
    """What was agreed on before the run."""

    absent_is_refused: bool = False  # a message that the look-up does not find is sent again
    max_attempts: float = inf


@dataclass
class Judgement:
    """Faults by kind; all empty is a clean run, if anything was sent in it."""

    lost: list[str] = field(default_factory=list)  # accepted, and in no known place
    twice: list[str] = field(default_factory=list)  # taken more than once
    resent: list[str] = field(default_factory=list)  # after an answer that leaves it in doubt
    too_often: list[str] = field(default_factory=list)  # written more often than may be
    unsent: list[str] = field(default_factory=list)  # called sent, and never taken
    unreported: list[str] = field(default_factory=list)  # taken, and neither sent nor in doubt
    answered_twice: list[str] = field(default_factory=list)  # one id for two messages
    misdirected: list[str] = field(default_factory=list)  # arrived at another number
    misfiled: list[str] = field(default_factory=list)  # dead and no letter like it, or the reverse
    unrefused: list[str] = field(default_factory=list)  # called rejected, and nobody rejected it
    unasked: list[str] = field(default_factory=list)  # ended as nobody asked for
    defied: list[str] = field(
        default_factory=list
    )  # taken, or finished in another way, against an order
    while_held: list[str] = field(default_factory=list)  # it arrived though dispatch was held
    states: Counter[str] = field(default_factory=Counter)
    taken: int = 0  # accepted ones, with an answer; what older data forgot since is in no state

    @property
    def faults(self) -> dict[str, list[str]]:
        lists = {each.name: getattr(self, each.name) for each in fields(self)}
        del lists["states"], lists["taken"]
        return {name: found for name, found in lists.items() if found}

    @property
    def clean(self) -> bool:
        return not self.faults and self.taken > 0


def states(client: redis.Redis, prefix: str = "smsd:") -> dict[str, dict[str, str]]:
    """Status of every message that something happened to, by message id."""
    found = {}
    keys = cast("Iterable[bytes]", client.scan_iter(f"{prefix}message:*", count=1000))
    for key in keys:
        facts = cast("dict[bytes, bytes]", client.hgetall(key))
        name = key.decode().removeprefix(f"{prefix}message:")
        found[name] = _lines(facts)
    return found | dict(finished(client, prefix))


def letters(client: redis.Redis, prefix: str = "smsd:") -> list[dict[str, str]]:
    """Every dead letter."""
    found = cast("list[tuple[bytes, dict[bytes, bytes]]]", client.xrange(f"{prefix}dead"))
    return [_lines(letter) for _, letter in found]


def waiting(client: redis.Redis, prefix: str = "smsd:") -> int:
    """Messages that are accepted and not over, all counted at one instant: they move meanwhile."""
    with client.pipeline(transaction=True) as counting:
        counting.xlen(f"{prefix}queue")
        counting.xlen(f"{prefix}queue:high")
        counting.zcard(f"{prefix}deferred")
        return sum(map(int, counting.execute()))


def leftovers(client: redis.Redis, prefix: str = "smsd:") -> dict[str, int]:
    """What must be gone when nothing waits any more, and is not."""
    streams = (f"{prefix}queue", f"{prefix}queue:high")
    left = {
        "pending entries": sum(client.xpending(stream, GROUP)["pending"] for stream in streams),
        "marks": client.hlen(f"{prefix}inflight"),
        "deferred messages": client.hlen(f"{prefix}deferred:messages"),
    }
    return {what: count for what, count in left.items() if count}


def judge(
    accepted: Iterable[str],
    arrivals: Sequence[Mapping[str, Any]],
    known: Mapping[str, Mapping[str, str]],
    *,
    asked: Mapping[str, Asked] | None = None,
    dead: Sequence[Mapping[str, str]] | None = None,
    held: Sequence[tuple[int, int]] = (),
    terms: Terms | None = None,
    excuses: Excuses | None = None,
) -> Judgement:
    """Judge a run that has come to rest: nothing waits any more.

    `asked`: by id, what the callers wanted; without it nobody wanted an end such as `cancelled`.
    `dead`: the dead letters; without them it is not checked that each dead message has one.
    `held`: from when to when nothing may arrive, Unix ns.
    """
    verdict, excuses = Judgement(), excuses or Excuses()
    answered = Counter(accepted)
    verdict.answered_twice += [message_id for message_id, times in answered.items() if times > 1]
    _judge_ends(verdict, answered, arrivals, known, excuses)
    _judge_repeats(verdict, arrivals, terms or Terms(), excuses)
    _judge_rejections(verdict, arrivals, known, set(answered))
    _judge_wishes(verdict, arrivals, known, asked or {}, excuses)
    if dead is not None:
        _judge_letters(verdict, dead, known, asked or {}, excuses)
    for arrival in arrivals:
        if any(start <= arrival["at"] < end for start, end in held):
            verdict.while_held.append(str(arrival["id"]))
    return verdict


def _judge_ends(
    verdict: Judgement,
    answered: Iterable[str],
    arrivals: Sequence[Mapping[str, Any]],
    known: Mapping[str, Mapping[str, str]],
    excuses: Excuses,
) -> None:
    taken = {str(arrival["id"]) for arrival in arrivals if arrival["taken"]}
    answers = {str(arrival["id"]) for arrival in arrivals if arrival["reply"] == "ok"}
    verdict.taken = len(answers.intersection(answered))
    for message_id in answered:
        state = known.get(message_id, {}).get("state", "unknown")
        verdict.states[state] += 1
        if state not in OVER and not excuses.loss(message_id):
            verdict.lost.append(message_id)
        if state == "sent" and message_id not in taken:
            verdict.unsent.append(message_id)
    for message_id in _openly_taken(arrivals, excuses):
        facts = known.get(message_id, {})
        reported = facts.get("state") == "sent" or facts.get("reason") == "in_doubt"
        if not reported and not excuses.loss(message_id):
            verdict.unreported.append(message_id)


def _openly_taken(arrivals: Sequence[Mapping[str, Any]], excuses: Excuses) -> set[str]:
    """What was taken without being called refused, as far as anybody can know."""
    return {
        str(arrival["id"])
        for arrival in arrivals
        if arrival["taken"] and arrival["reply"] not in REFUSALS and not excuses.sending(arrival)
    }


def _judge_repeats(
    verdict: Judgement, arrivals: Sequence[Mapping[str, Any]], terms: Terms, excuses: Excuses
) -> None:
    by_message = defaultdict(list)
    for arrival in sorted(arrivals, key=lambda arrival: arrival["at"]):
        by_message[str(arrival["id"])].append(arrival)
    for message_id, arrived in by_message.items():
        for earlier, later in pairwise(arrived):
            if _may_follow(earlier, terms) or excuses.repeat(earlier, later):
                continue
            again = any(each["taken"] for each in arrived if each["at"] >= later["at"])
            (verdict.twice if earlier["taken"] and again else verdict.resent).append(message_id)
            break
        times = sum(_counts(each, excuses) for each in arrived)
        if times > terms.max_attempts and not excuses.replay(arrived[0]):
            verdict.too_often.append(message_id)


def _may_follow(earlier: Mapping[str, Any], terms: Terms) -> bool:
    """Whether a message may be sent again after this."""
    absent = terms.absent_is_refused and not earlier["taken"]
    return earlier["reply"] in REFUSALS or absent


def _counts(arrival: Mapping[str, Any], excuses: Excuses) -> bool:
    """Whether it is one of a message's `max_attempts`: throttling never exhausts it."""
    return arrival["reply"] != "429" and not excuses.sending(arrival)


def _judge_rejections(
    verdict: Judgement,
    arrivals: Sequence[Mapping[str, Any]],
    known: Mapping[str, Mapping[str, str]],
    answered: set[str],
) -> None:
    refused = {str(arrival["id"]) for arrival in arrivals if arrival["reply"] == "400"}
    for message_id in known.keys() | answered:
        facts = known.get(message_id, {})
        rejected = facts.get("state") == "dead" and facts.get("reason") == "rejected"
        if rejected and message_id not in refused:
            verdict.unrefused.append(message_id)


def _judge_wishes(
    verdict: Judgement,
    arrivals: Sequence[Mapping[str, Any]],
    known: Mapping[str, Mapping[str, str]],
    asked: Mapping[str, Asked],
    excuses: Excuses,
) -> None:
    taken = _openly_taken(arrivals, excuses)
    for message_id, facts in known.items():
        wish = asked.get(message_id)
        if facts["state"] in WISHED and facts["state"] not in (wish.ends if wish else ()):
            verdict.unasked.append(message_id)
    for message_id, wish in asked.items():
        facts = known.get(message_id, {})
        ended = facts.get("state") in wish.ends or excuses.loss(message_id)
        ended |= excuses.unmarked and facts.get("reason") == "in_doubt"
        if wish.never and (message_id in taken or not ended):
            verdict.defied.append(message_id)
    for arrival in arrivals:
        wish = asked.get(str(arrival["id"]))
        if wish and arrival["to"] != wish.to:
            verdict.misdirected.append(str(arrival["id"]))


def _judge_letters(
    verdict: Judgement,
    dead: Sequence[Mapping[str, str]],
    known: Mapping[str, Mapping[str, str]],
    asked: Mapping[str, Asked],
    excuses: Excuses,
) -> None:
    found = Counter(letter.get("id", "") for letter in dead)
    buried = {message_id for message_id, facts in known.items() if facts["state"] == "dead"}
    verdict.misfiled += [
        each
        for each in buried | found.keys()
        if found[each] != (each in buried) and each not in excuses.unfiled
    ]
    for letter in dead:
        message_id = letter.get("id", "")
        wish, facts = asked.get(message_id), known.get(message_id, {})
        held = {"reason": facts["reason"]} if "reason" in facts else {}
        held |= {"to": wish.to, "message": wish.text} if wish else {}
        if "values" in letter:  # of a campaign, in older data: its text is made anew of those
            held.pop("message", None)
        if excuses.restored and "message" not in letter and split_id(message_id):
            held.pop("message", None)  # older data lacks the entry that a campaign had made
        if any(letter.get(name) != value for name, value in held.items()):
            verdict.misfiled.append(message_id)


def _lines(fields_: Mapping[bytes, bytes]) -> dict[str, str]:
    """As text, whatever other hands wrote."""
    return {
        name.decode(errors="replace"): value.decode(errors="replace")
        for name, value in fields_.items()
    }
