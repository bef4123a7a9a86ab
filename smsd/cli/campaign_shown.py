"""Campaigns in a terminal. Rule: each number is named, and what needs a person comes first."""

from collections.abc import Iterator
from typing import Any

OTHERS = ("held", "deferred", "in_flight", "dead", "suppressed", "expired", "cancelled")
RARE = ("dropped", "lost")
SHOWN = 5  # examples


def row_of(shown: Any) -> str:
    """A campaign in one line."""
    state = shown["state"]
    counts = shown.get("counts")
    parts = [f"{shown['name']:<24}", f"{state:<15}"]
    if counts:
        parts.append(f"{counts['sent']:>9,} of {shown['recipients']:>9,} sent")
    else:
        parts.append(f"{_counted(shown['recipients'], 'recipient')}")
    parts.append(f"{_counted(shown['segments'], 'segment')}")
    if "drains_at" in shown:
        parts.append(f"finished about {_moment(shown['drains_at'])}")
    return "  ".join(parts).rstrip()


def lines_of(shown: Any) -> Iterator[str]:
    """A campaign, and how far it is."""
    counts = shown["counts"]
    yield f"{shown['name']} ({shown['id']}): {_state(shown)}"
    reason = f": {shown['reason']}" if shown.get("reason") else ""
    yield f"{'since':<12}{_moment(shown['since'])}, by {shown['by']}{reason}"
    yield f"{'recipients':<12}{counts['recipients']:,}"
    yield from _counts(counts, shown["dead"])
    rate = f", {shown['rate']:g} a second now" if shown["rate"] else ""
    yield f"{'segments':<12}{shown['segments_sent']:,} of {shown['segments']:,} sent{rate}"
    if "cost" in shown:
        cost = shown["cost"]
        money = f" {cost['currency']}" if "currency" in cost else ""
        yield f"{'cost':<12}{cost['sent']:,.2f} of {cost['expected']:,.2f}{money}"
    if "drains_at" in shown:
        yield f"{'finished':<12}about {_moment(shown['drains_at'])}"
    yield from _asked(shown)


def _state(shown: Any) -> str:
    dead = shown["counts"]["dead"]
    if shown["state"] == "needs_attention":
        return f"needs attention ({dead:,} dead)"
    return str(shown["state"])


def _counts(counts: Any, dead: Any) -> Iterator[str]:
    for state in ("sent", "waiting", *OTHERS, *RARE):
        many = counts[state]
        if many or state in ("sent", "waiting", "dead"):
            reasons = ", ".join(f"{reason} {of:,}" for reason, of in sorted(dead.items()))
            behind = f"  ({reasons})" if state == "dead" and reasons else ""
            yield f"  {state:<10}{many:>11,}{behind}"


def _asked(shown: Any) -> Iterator[str]:
    for name in ("audience", "from", "kind", "priority", "weight", "send_at", "expires_at", "ref"):
        if name in shown:
            yield f"{name:<12}{shown[name]}"
    if "message" in shown:
        yield f"{'message':<12}{shown['message']}"


# -- plans ----------------------------------------------------------------------------------------


def plan_lines(plan: Any) -> Iterator[str]:
    """What a campaign would be."""
    yield _counted(plan["recipients"], "recipient") + _apart(plan)
    sizes = ", ".join(
        f"{many:,} of {_counted(int(segments), 'segment')}"
        for segments, many in plan["by_segments"].items()
    )
    of = f": {sizes}" if sizes else ""
    yield f"{_counted(plan['messages'], 'message')}, {_counted(plan['segments'], 'segment')}{of}"
    yield from _ucs2(plan["ucs2"])
    yield from _replaced(plan.get("replaced"))
    yield from _faulty(plan["missing"], "without a value; the campaign would be refused")
    yield from _faulty(plan["unusable"], "with a value that cannot be sent; they would get none")
    yield from _faulty(plan["too_long"], "with too long a message; they would get none")
    if plan["would_expire"]:
        yield f"{_counted(plan['would_expire'], 'message')} would expire before they are sent"
    if "cost" in plan:
        money = plan["cost"].get("currency", "")
        yield f"cost {plan['cost']['expected']:,.2f} {money}".rstrip()
    yield f"finished about {_moment(plan['drains_at'])}"


def _apart(plan: Any) -> str:
    apart = [
        f"{_counted(plan[name], what)}"
        for name, what in (("duplicates", "duplicate"), ("opted_out", "opt-out"))
        if plan[name]
    ]
    return f" ({', '.join(apart)})" if apart else ""


def _ucs2(ucs2: Any) -> Iterator[str]:
    if not ucs2["messages"]:
        return
    extra = f"{_counted(ucs2['extra_segments'], 'segment')} more"
    yield f"{_counted(ucs2['messages'], 'message')} in UCS-2, which takes {extra}:"
    for one in ucs2["because"][:SHOWN]:
        where = f"column {one['column']}" if one["column"] else "the message"
        extra = _counted(one["extra_segments"], "segment")
        many = f"{_counted(one['messages'], 'message')}, {extra} more"
        yield f"  {one['character']} ({one['name']}) in {where}: {many}"


def _replaced(replaced: Any) -> Iterator[str]:
    if not replaced:
        return
    yield "replaced, as --transliterate asks for:"
    for one in replaced:
        many = _counted(one["messages"], "message")
        yield f"  {one['character']} by {one['replacement'] or 'nothing'} in {many}"


def _faulty(fault: Any, what: str) -> Iterator[str]:
    if not fault["recipients"]:
        return
    yield f"{_counted(fault['recipients'], 'recipient')} {what}:"
    for column, many in fault["columns"].items():
        yield f"  column {column}: {many:,}"
    numbers = ", ".join(one["number"] for one in fault["first"][:SHOWN])
    yield f"  for example {numbers}"


def _moment(written: str) -> str:
    """A time of an answer, which is in UTC, without its milliseconds."""
    return f"{written[:19]}Z"


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'' if count == 1 else 's'}"
