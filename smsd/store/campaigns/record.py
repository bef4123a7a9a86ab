"""The record of a campaign. Rule: what was asked for is written once; the rest are fields.

The hash has these fields:

    request           JSON: what was asked for, and what was found of its recipients then
    key               two numbers: those of its messages' ids (core/campaign.py)
    created           Unix ms
    state             paused, finished, needs_attention, cancelled or running; a campaign whose
                      `send_at` lies ahead is scheduled
    reason, by, since why it is in that state, who brought it there, and when
    turn              how often a person has changed it
    weight            its share; and, where it has one,
    expires_at        Unix ms
    n:STATE           recipients by state: unexpanded (no message has been made), queued, held,
                      deferred, dead, sent, expired, suppressed, cancelled, dropped, lost
    n:dead:REASON     the dead by reason
    segments_expanded, segments_sent
    at                the lowest hash value that a recipient without a message can have
    rest              what became of all those at once, where they are not expanded any more
    gone              1 where `smsd fsck` found that its recipients are
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import NamedTuple, cast

import orjson

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState, Counts
from smsd.redis.client import text
from smsd.redis.errors import Refused
from smsd.store.keys import Keys

UNEXPANDED = "unexpanded"
COUNT = "n:"  # before a state
DEAD = "n:dead:"  # before a reason
WAITING = (UNEXPANDED, "queued")
OTHERS = (
    *("held", "deferred", "sent", "dead", "suppressed", "expired"),
    *("cancelled", "dropped", "lost"),
)
_REQUEST = frozenset(one.name for one in fields(CampaignRequest)) - {"recipients"}


class Start(NamedTuple):
    """What a record begins with."""

    request: CampaignRequest
    columns: Sequence[str]
    segments_each: float
    recipients: int
    key: tuple[int, int]
    by: str
    now: int  # Unix ms


def pack(start: Start) -> list[str]:
    """The fields of a record, flat."""
    asked = {name: value for name, value in asdict(start.request).items() if name in _REQUEST}
    asked |= {"columns": start.columns, "segments_each": start.segments_each}
    flat = {
        "request": orjson.dumps(asked).decode(),
        "key": "{} {}".format(*start.key),
        "created": start.now,
        "state": CampaignState.RUNNING,
        "reason": "",
        "by": start.by,
        "since": start.now,
        "weight": start.request.weight,
        f"{COUNT}{UNEXPANDED}": start.recipients,
        "at": 0,
    }
    if start.request.expires_at is not None:
        flat["expires_at"] = start.request.expires_at
    return [str(one) for pair in flat.items() for one in pair]


def unpack(id_: str, raw: Sequence[bytes], in_flight: int, now: int, keys: Keys) -> Campaign:
    """A campaign as the fields of its record describe it. Raises `Refused` if they do not."""
    key = keys.campaign(id_)
    if len(raw) % 2:
        raise Refused("is no hash", key)
    record = dict(zip(raw[::2], raw[1::2], strict=True))
    try:
        return _unpacked(id_, record, in_flight, now)
    except (ValueError, TypeError, KeyError) as error:
        raise Refused("holds no record of a campaign", key) from error


def _unpacked(id_: str, record: Mapping[bytes, bytes], in_flight: int, now: int) -> Campaign:
    asked = orjson.loads(record[b"request"])
    columns, segments_each = asked.pop("columns"), asked.pop("segments_each")
    expires_at = record.get(b"expires_at")
    asked |= {
        "weight": int(record[b"weight"]),
        "expires_at": None if expires_at is None else int(expires_at),
    }
    request = CampaignRequest(**asked)
    first, second = map(int, record[b"key"].split())
    return Campaign(
        id=id_,
        request=request,
        state=_state(CampaignState(text(record[b"state"])), request, now),
        created=int(record[b"created"]),
        columns=tuple(columns),
        key=(first, second),
        reason=text(record[b"reason"]),
        by=text(record[b"by"]),
        since=int(record[b"since"]),
        counts=_counts(record, in_flight),
        dead=_dead(record),
        unexpanded=_count(record, UNEXPANDED),
        segments_sent=int(record.get(b"segments_sent", 0)),
        segments_expanded=int(record.get(b"segments_expanded", 0)),
        segments_each=float(segments_each),
    )


def _state(state: CampaignState, request: CampaignRequest, now: int) -> CampaignState:
    is_early = request.send_at is not None and request.send_at > now
    return CampaignState.SCHEDULED if is_early and state == CampaignState.RUNNING else state


def _counts(record: Mapping[bytes, bytes], in_flight: int) -> Counts:
    others = {state: _count(record, state) for state in OTHERS}
    waiting = sum(_count(record, state) for state in WAITING)
    in_flight = min(in_flight, _count(record, "queued"))
    recipients = waiting + sum(others.values())
    return Counts(recipients=recipients, waiting=waiting - in_flight, in_flight=in_flight, **others)


def _count(record: Mapping[bytes, bytes], state: str) -> int:
    return int(record.get(f"{COUNT}{state}".encode(), 0))


def _dead(record: Mapping[bytes, bytes]) -> Mapping[str, int]:
    prefix = DEAD.encode()
    return {
        text(name.removeprefix(prefix)): int(many)
        for name, many in record.items()
        if name.startswith(prefix) and int(many)
    }


def in_flight_of(counts: object) -> Mapping[str, int]:
    """How many messages of each campaign are in flight, as campaign_look answers."""
    flat = cast("Sequence[bytes | int]", counts)
    return {text(id_): int(many) for id_, many in zip(flat[::2], flat[1::2], strict=True)}
