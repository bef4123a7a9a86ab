"""The pictures of docs/journey.md. Rule: they show what smsd/core/life.py permits.

    python -m tests.checks.journey     # write them anew

A part between `<!-- made: NAME -->` and `<!-- end -->` is made here. `make check` fails if one is
stale, or if a journey takes a step that the table of transitions does not have.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from smsd.core.life import EFFECTS, TRANSITIONS, Event, State

DOCUMENT = Path(__file__).parents[2] / "docs/journey.md"
_PART = re.compile(r"(<!-- made: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Step(NamedTuple):
    """One event in the life of a message."""

    event: Event
    by: str  # which part makes it
    what: str


APPENDED = Step(Event.APPEND, "a producer", "`XADD smsd:queue '*' to … message …` adds an entry")
BEGUN = "the in-flight record is written, with the attempt and its time; then the request leaves"
REPLAYED_IN_DOUBT = "`smsd dead-letters replay --in-doubt`: may go out twice"
JOURNEYS: Mapping[str, Iterable[Step]] = {
    "dead-letter": (
        APPENDED,
        Step(Event.BEGIN, "dispatcher", f"first attempt: {BEGUN}"),
        Step(Event.DEFER, "settler", "the provider was `Unavailable`: `decide` gives a later time"),
        Step(Event.PROMOTE, "promoter", "the time has come: the message is in a stream again"),
        Step(Event.BEGIN, "dispatcher", "second attempt, the last one"),
        Step(Event.BURY, "settler", "`Unavailable` again: a dead letter, `exhausted`"),
        Step(Event.REPLAY, "a person", "`smsd dead-letters replay`: attempts count from 1 again"),
        Step(Event.BEGIN, "dispatcher", "first attempt of its second life"),
        Step(Event.ACK, "settler", "the provider took it; the status keeps the same message id"),
    ),
    "campaign": (
        Step(Event.APPEND, "expander", "a recipient's turn has come: `campaign_expand.lua`"),
        Step(Event.DEFER, "marker", "its campaign is paused: it is held, and never due"),
        Step(Event.PROMOTE, "promoter", "`campaign_release.lua` let it be due after the resume"),
        Step(Event.BEGIN, "dispatcher", BEGUN),
        Step(Event.ACK, "settler", "the provider took it: its recipient says so, and no status"),
    ),
    "takeover": (
        Step(Event.APPEND, "intake", "`POST /send`, at either daemon"),
        Step(Event.BEGIN, "dispatcher of A", BEGUN),
        Step(Event.ACK, "recovery of B", "the provider has a record of it that says: taken"),
    ),
    "killed": (
        Step(Event.APPEND, "intake", "`POST /send`"),
        Step(Event.BEGIN, "dispatcher", f"{BEGUN}, and the daemon is killed"),
        Step(
            Event.BURY,
            "recovery of the next daemon",
            "nobody can be asked: a dead letter, `in_doubt`",
        ),
        Step(Event.REPLAY, "a person", REPLAYED_IN_DOUBT),
        Step(Event.BEGIN, "dispatcher", "first attempt of its second life"),
        Step(Event.ACK, "settler", "the provider took it"),
    ),
    "in-doubt": (
        Step(Event.APPEND, "intake", "`POST /send`"),
        Step(Event.BEGIN, "dispatcher", BEGUN),
        Step(Event.BURY, "settler", "no answer, and no record: a dead letter, `in_doubt`"),
        Step(Event.REPLAY, "a person", REPLAYED_IN_DOUBT),
        Step(Event.BEGIN, "dispatcher", "first attempt of its second life"),
        Step(Event.ACK, "settler", "the provider took it"),
    ),
}


def faults() -> list[str]:
    """A line if the document is not what would be written."""
    text = DOCUMENT.read_text("utf-8")
    stale = " is stale: run python -m tests.checks.journey"
    return [] if text == made(text) else [f"docs/journey.md{stale}"]


def made(text: str) -> str:
    """The document with every made part as it has to be."""
    return _PART.sub(lambda part: part[1] + _part(part[2]) + part[3], text)


def _part(name: str) -> str:
    if name == "states":
        return _picture_of_states()
    return _table() if name == "transitions" else _journey(JOURNEYS[name])


def _picture_of_states() -> str:
    """All transitions; those between the same two states share an arrow."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for state, events in TRANSITIONS.items():
        for event, after in events.items():
            arrows.setdefault((_node(state), _node(after)), []).append(event.value)
    lines = [f"    {a} --> {b}: {', '.join(events)}" for (a, b), events in arrows.items()]
    ended = [f"    {_node(state)} --> [*]" for state in State if state not in TRANSITIONS]
    return _mermaid("stateDiagram-v2", [*lines, *ended])


def _node(state: State | None) -> str:
    return "[*]" if state is None else state.value


def _table() -> str:
    rows = [
        f"| {state.value if state else 'none'} | {event.value} | {after.value} | {_effect(event)} |"
        for state, events in TRANSITIONS.items()
        for event, after in events.items()
    ]
    head = "| state | event | state after | made by | counter |\n|---|---|---|---|---|"
    return "\n".join([head, *rows, ""])


def _effect(event: Event) -> str:
    scripts = ", ".join(f"`{script}.lua`" for script in EFFECTS[event].scripts)
    counter = EFFECTS[event].counter
    return f"{scripts} | {f'`{counter}`' if counter else ''}"


def _journey(steps: Iterable[Step]) -> str:
    """A picture of the states that the steps lead through, and what happens in each."""
    state: State | None = None
    arrows, rows = [], ["| | event | by | what happens | script |", "|---|---|---|---|---|"]
    for number, step in enumerate(steps, 1):
        after = TRANSITIONS[state][step.event]  # a journey that cannot be fails here
        label = f"{number} {step.event.value}"
        arrows.append(f'    s{number - 1} -->|"{label}"| s{number}["{after.value}"]')
        script = "" if step is APPENDED else f"`{EFFECTS[step.event].scripts[0]}.lua`"
        rows.append(f"| {number} | {step.event.value} | {step.by} | {step.what} | {script} |")
        state = after
    return _mermaid("flowchart LR", ["    s0((·))", *arrows]) + "\n" + "\n".join([*rows, ""])


def _mermaid(kind: str, lines: Iterable[str]) -> str:
    return "\n".join(["```mermaid", kind, *lines, "```", ""])


if __name__ == "__main__":
    DOCUMENT.write_text(made(DOCUMENT.read_text("utf-8")), "utf-8")
