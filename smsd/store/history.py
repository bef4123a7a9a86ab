"""The history of a message. Rule: one line a change: when (Unix ms), to which state, and why.

Scripts write lines as well; what is in none that smsd writes is passed over.
"""

import re

from smsd.core.life import State
from smsd.store.entry import Attempt

_LINE = re.compile(r"[0-9]{1,20} .")
_ENTRY_ID = re.compile(r"h?([0-9]{1,20})-[0-9]{1,20}")


def history_line(now_ms: int, attempt: Attempt | None, state: State, *details: str) -> str:
    """The line of a change; the start of the attempt, if there was one, is a line before it."""
    line = f"{now_ms} {state}"
    if details:
        line = " ".join([line, *" ".join(details).split()])
    if not attempt or not attempt.started_ms:
        return line
    return f"{attempt.started_ms} {State.SENDING} {attempt.number}\n{line}"


def read_history(message_id: str, lines: str) -> list[dict[str, object]]:
    """The changes of a message (`state`, `at` in Unix ms, `detail`), oldest first."""
    changes = [_change(line) for line in lines.split("\n") if _LINE.match(line)]
    if first := _ENTRY_ID.fullmatch(message_id):
        # Named after its first entry, whose id is the time at which it was queued.
        queued: dict[str, object] = {"state": State.QUEUED, "at": int(first[1])}
        if changes[:1] != [queued]:
            changes.insert(0, queued)
    return changes


def _change(line: str) -> dict[str, object]:
    at, state, *detail = line.split(" ", 2)
    change: dict[str, object] = {"state": state, "at": int(at)}
    if detail:
        change["detail"] = detail[0]
    return change
