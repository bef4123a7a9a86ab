"""What is kept of a finished message. Rule: read as lua/_finished.lua writes it; nothing else is.

It stands in one hash with others of its time, at a place that its id alone says. A value is a
state, then fields of which each is a code, its length and its octets; what most have is one octet.
"""

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple
from uuid import UUID

from smsd.redis.client import text

_STATES = ("sent", "expired", "suppressed", "cancelled", "duplicate", "dropped")
_NAMES = (
    *("to", "from", "expires_at", "campaign", "ref", "segments", "encoding", "provider_id"),
    *("reason", "code", "detail", "attempts", "history"),
)
_LINES = (
    *("queued", "sending", "deferred", "dead", "sent", "expired", "suppressed", "cancelled"),
    *("duplicate", "dropped", "lost"),
)
_USUAL = {
    64: ("segments", "1"),
    65: ("segments", "2"),
    66: ("encoding", "gsm7"),
    67: ("encoding", "ucs2"),
    68: ("attempts", "1"),
    69: ("reason", "opted_out"),
    70: ("detail", "the recipient has opted out"),
}
_NUMBER, _LINES_CODE, _HEX_ID, _PREFIXED_ID, _UUID, _OTHER, _ONCE = range(32, 39)
_WITHOUT_DETAIL = 32  # added to the state of a line
_SLOTS = 128
_ENTRY_ID = re.compile(r"(h?)([1-9][0-9]{7})([0-9]{5})-([0-9]{1,9})")
_SCHEDULED_ID = re.compile(r"s([0-9a-f]{11})([0-9a-f]{16})")


class Place(NamedTuple):
    """Where a message is kept once it is finished."""

    name: str  # of its hash: see `Keys.finished`
    field: bytes
    time: int  # Unix ms


def place_of(message_id: str) -> Place | None:
    """The place of a message, by its id; None where that says no time."""
    if found := _ENTRY_ID.fullmatch(message_id):
        initial, before, last, number = found.groups()
        slot = (int(last) + int(number)) % _SLOTS
        field = f"{initial}{last}-{number}".encode()
        return Place(f"{before}:{slot}", field, int(before + last))
    if found := _SCHEDULED_ID.fullmatch(message_id):
        time, rest = found.groups()
        slot = (int(time[-2:], 16) + int(rest[-2:], 16)) % _SLOTS
        return Place(f"s{time[:7]}:{slot}", bytes.fromhex(time[7:] + rest), int(time, 16))
    return None


def unpack(value: bytes, time: int) -> dict[str, str] | None:
    """The fields of a message's status, `state` and `history` among them; None if it is none."""
    try:
        state = _STATES[value[0] - 1] if value[0] else ""
        return {"state": state, **dict(_fields(value, time))} if state else None
    except (IndexError, KeyError, ValueError, struct.error):  # other hands wrote it
        return None


def _fields(value: bytes, time: int) -> Iterator[tuple[str, str]]:
    at = 1
    while at < len(value):
        code = value[at]
        at += 1
        if code in _USUAL:
            yield _USUAL[code]
            continue
        octets, at = _octets(value, at)
        if code == _OTHER:
            name = text(octets)
            octets, at = _octets(value, at)
            yield name, text(octets)
        else:
            yield _field(code, octets, time)


def _field(code: int, octets: bytes, time: int) -> tuple[str, str]:
    if code == _NUMBER:
        [number] = struct.unpack(">d", octets)
        return "to", f"+{number:.0f}"
    if code == _LINES_CODE:
        return "history", "\n".join(_lines(octets, time))
    if code == _ONCE:
        return "history", _once(octets, time)
    if code in (_HEX_ID, _PREFIXED_ID, _UUID):
        return "provider_id", _provider_id(code, octets)
    if not 0 < code <= len(_NAMES):
        raise ValueError(code)
    return _NAMES[code - 1], text(octets)


def _provider_id(code: int, octets: bytes) -> str:
    if code == _PREFIXED_ID:
        return text(octets[:2]) + octets[2:].hex()
    return str(UUID(bytes=octets)) if code == _UUID else octets.hex()


def _once(octets: bytes, time: int) -> str:
    """The history of what was sent at once: when an attempt began, its number, when it ended."""
    before, at = _number(octets, 0)
    after, _ = _number(octets, at + 1)
    number = chr(octets[at])
    return f"{time + before} sending {number}\n{time + before + after} sent"


def _lines(octets: bytes, time: int) -> Iterator[str]:
    """Each line has its time from that of the one before it."""
    at = 0
    while at < len(octets):
        passed, at = _number(octets, at)
        time += passed
        code = octets[at]
        at += 1
        line = f"{time} {_LINES[(code % _WITHOUT_DETAIL) - 1]}"
        if code < _WITHOUT_DETAIL:
            detail, at = _octets(octets, at)
            line += f" {text(detail)}"
        yield line


def _number(octets: bytes, at: int) -> tuple[int, int]:
    """A whole number, seven bits an octet, the lowest first; and where it ends."""
    number = shift = 0
    while octets[at] >= 128:  # noqa: PLR2004 - the highest bit: more follows
        number |= (octets[at] & 127) << shift
        shift += 7
        at += 1
    return number | octets[at] << shift, at + 1


def _octets(octets: bytes, at: int) -> tuple[bytes, int]:
    length, at = _number(octets, at)
    if at + length > len(octets):
        raise ValueError(length)
    return octets[at : at + length], at + length
