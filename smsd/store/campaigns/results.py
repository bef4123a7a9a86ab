"""What became of a recipient's message. Rule: their value in Redis says it, in a few octets.

lua/_recipients.lua writes it: a control character for the state, the seconds since the campaign was
made, and the provider's id or why it is dead. A contact's values hold no control character.
"""

from typing import NamedTuple

from smsd.redis.client import text

UNEXPANDED = "unexpanded"  # no message yet
# Codes as in the script; of those after them, the provider's id is packed.
_STATES = (
    *("queued", "held", "deferred", "dead", "sent"),
    *("expired", "suppressed", "cancelled", "dropped", "lost"),
)
_SENT_HEX, _SENT_SM, _SENT_PREFIXED = 11, 12, 13
_LATE = 16  # added where the time takes four octets, not three
_INITIALS = 2  # characters before the digits of some providers' ids


class Result(NamedTuple):
    """One recipient's, as it is kept."""

    state: str  # a state of core/life.py, or `held`
    at: int | None = None  # Unix ms, to the second
    provider_id: str = ""
    reason: str = ""  # why it is dead, and the provider's code if there is one


def unpack(value: bytes, created: int, rest: str = "") -> Result:
    """What a value says. `created`: when the campaign was, Unix ms.

    `rest`: the state of all without a message, once they are to get none.
    """
    code = value[0] if value else 0
    end = 5 if code > _LATE else 4
    code -= _LATE * (code > _LATE)
    if not 0 < code <= _SENT_PREFIXED:
        return Result(rest or UNEXPANDED)
    state = _STATES[code - 1] if code <= len(_STATES) else "sent"
    at, more = created + int.from_bytes(value[1:end]) * 1000, value[end:]
    if state == "sent":
        return Result(state, at, provider_id=_provider_id(code, more))
    return Result(state, at, reason=text(more).strip())


def _provider_id(code: int, packed: bytes) -> str:
    if code == _SENT_HEX:
        return packed.hex()
    if code == _SENT_SM:
        return f"SM{packed.hex()}"
    if code == _SENT_PREFIXED:
        return text(packed[:_INITIALS]) + packed[_INITIALS:].hex()
    return text(packed)
