"""Which dead letters a person asks for. Rule: a slip that would choose none is refused, with why.

HTTP and the command line ask with the same fields.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from smsd.core.fields import FieldError, read_id
from smsd.core.life import DeadReason
from smsd.store.entry import LAST_ID

# What dead letters are chosen by, in requests: id is the message's, letter the dead letter's own.
SELECTORS = ("id", "letter", "reason", "campaign")

_DEAD_LETTER_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}|" + LAST_ID)


@dataclass(frozen=True, slots=True)
class Choice:
    """Which dead letters: those of which all that is given here is true."""

    message_id: str = ""
    dead_letter_id: str = ""
    reason: str = ""
    campaign: str = ""  # as its message names it
    id_begins: str = ""  # the message's, as those of one campaign do


@dataclass(frozen=True, slots=True)
class Order:
    """What to sweep. `after` and `until`, ids of dead letters, continue an earlier sweep."""

    choice: Choice
    after: str = ""
    until: str = ""
    in_doubt: bool = False  # replay those too that may have been sent


def read_choice(fields: Mapping[str, object]) -> Choice:
    """The selectors among `fields`. Raises `FieldError`."""
    given = {name: _not_empty(name, fields[name]) for name in SELECTORS if name in fields}
    if "letter" in given:
        _dead_letter_id("letter", given["letter"])
    if "reason" in given and given["reason"] not in set(DeadReason):
        raise FieldError("reason", f"must be one of {', '.join(DeadReason)}")
    if "id" in given:
        read_id("id", given["id"])
    return Choice(*(given.get(name, "") for name in SELECTORS))


def read_order(fields: Mapping[str, object], *, replay: bool) -> Order:
    """What a person asks for: selectors or `all`. Raises `FieldError`."""
    known = (*SELECTORS, "all", "after", "until", *(("in_doubt",) if replay else ()))
    for name in fields:
        if name not in known:
            raise FieldError(name, f"is no known field; known are {', '.join(known)}")
    chosen, everything = read_choice(fields), _flag("all", fields)
    if everything and chosen != Choice():
        raise FieldError("all", f"does not go together with {', '.join(SELECTORS)}")
    if not everything and chosen == Choice():
        raise FieldError("all", f"must be true where none of {', '.join(SELECTORS)} is given")
    after, until = read_places(fields)
    return Order(chosen, after, until, _flag("in_doubt", fields))


def read_places(fields: Mapping[str, object]) -> tuple[str, str]:
    """`after` and `until`, which continue an earlier sweep. Raises `FieldError`."""
    return (
        _dead_letter_id("after", fields.get("after", "")),
        _dead_letter_id("until", fields.get("until", "")),
    )


def read_after(fields: Mapping[str, object]) -> str:
    """Behind which dead letter to go on, "" for the first. Raises `FieldError`."""
    return _dead_letter_id("after", fields.get("after", ""))


def _not_empty(name: str, raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise FieldError(name, "must be a string that is not empty")
    return raw


def _flag(name: str, fields: Mapping[str, object]) -> bool:
    raw = fields.get(name, False)
    if not isinstance(raw, bool):
        raise FieldError(name, "must be true or false")
    return raw


def _dead_letter_id(name: str, raw: object) -> str:
    if raw != "" and not (isinstance(raw, str) and _DEAD_LETTER_ID.fullmatch(raw)):
        raise FieldError(name, 'must be the id of a dead letter, like "1767225600000-0"')
    return str(raw)
