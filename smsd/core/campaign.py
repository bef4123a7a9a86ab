"""Campaigns: one body, many recipients. Rule: what is fixed at the start and what may change later.

A message of a campaign has an id from which campaign and recipient can be found (`message_id`), by
whoever has the campaign's key. So a recipient can never be given two messages, whatever is
repeated, and a finished message need not be remembered by its id.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, NamedTuple

from smsd.core.fields import Priority

Kind = Literal["marketing", "service"]
Key = tuple[int, int]  # each from 1 to MOST_KEY

PRIME = 67_108_859  # the largest below 2**26
MOST_KEY = PRIME - 1
_HIGH, _LOW = 10**7, 10**8  # how many values the two halves of a number have
_LONGEST = 15  # digits of a number
_ID = re.compile(r"(c[0-9a-z]{1,13})_([0-9]{1,15})")


class CampaignState(StrEnum):
    """Where a campaign is."""

    SCHEDULED = "scheduled"  # its `send_at` lies ahead
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"  # each recipient is settled
    NEEDS_ATTENTION = "needs_attention"  # each is settled or dead
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class CampaignRequest:
    """What a caller asks for with `POST /campaigns`, once it is validated."""

    name: str  # "": its id
    message: str  # the body, with its placeholders
    audience: str = ""
    recipients: tuple[str, ...] = ()  # beside the audience, E.164
    sender: str = ""
    priority: Priority = "normal"
    kind: Kind = "marketing"
    send_at: int | None = None  # Unix ms
    expires_at: int | None = None  # Unix ms
    weight: int = 1  # its share of the rate beside other campaigns: 1 to 1000
    ref: str = ""
    transliterate: bool = False


class Counts(NamedTuple):
    """Recipients by where their messages are. `recipients` is the sum of the others."""

    recipients: int = 0
    waiting: int = 0  # not in line yet, or in line
    held: int = 0
    deferred: int = 0
    in_flight: int = 0
    sent: int = 0
    dead: int = 0
    suppressed: int = 0
    expired: int = 0
    cancelled: int = 0
    dropped: int = 0  # dead letters that a person threw away
    lost: int = 0  # `smsd fsck` found the message nowhere


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign, as it was when it was looked up."""

    id: str
    request: CampaignRequest
    state: CampaignState
    created: int  # Unix ms
    columns: tuple[str, ...]  # of its recipients' values, in their order
    key: Key  # of its messages' ids
    reason: str = ""  # why it is paused or cancelled
    by: str = ""  # who changed its state last
    since: int = 0  # when, Unix ms
    counts: Counts = field(default_factory=Counts)
    dead: Mapping[str, int] = field(default_factory=dict)  # by reason
    unexpanded: int = 0  # recipients without a message yet: a part of `waiting`
    segments_sent: int = 0
    segments_expanded: int = 0  # of the messages that have been made
    segments_each: float = 1.0  # of those that have not: an estimate, where values differ


# -- ids of messages: one recipient, one id. It shows no number where it is logged. ---------------


def message_id(campaign_id: str, key: Key, number: str) -> str:
    """The id of the message to a number in E.164: the campaign's, `_`, and the number scrambled.

    lua/_recipients.lua undoes it, in numbers that are exact up to 2**53: no product exceeds that.
    """
    digits = number.removeprefix("+")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= _LONGEST):
        raise ValueError("must be a number in E.164")
    high, low = divmod(int(digits), _LOW)
    for first, second in (key, key[::-1]):
        low = (low + _mixed(high, first)) % _LOW
        high = (high + _mixed(low, second)) % _HIGH
    return f"{campaign_id}_{high * _LOW + low}"


def number_of(key: Key, digits: str) -> str:
    """The number in E.164 for which the digits of a message's id stand."""
    high, low = divmod(int(digits), _LOW)
    for first, second in (key, key[::-1]):
        high = (high - _mixed(low, first)) % _HIGH
        low = (low - _mixed(high, second)) % _LOW
    return f"+{high * _LOW + low}"


def split_id(id_: str) -> tuple[str, str] | None:
    """The campaign and the digits of a message's id; None for a message of no campaign."""
    found = _ID.fullmatch(id_)
    return (found[1], found[2]) if found else None


def _mixed(half: int, key: int) -> int:
    product = (half + 1) * key % PRIME
    return product * product % PRIME
