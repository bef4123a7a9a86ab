"""The life of a message. Rule: every state, reason and transition stands in these tables.

The Lua scripts make the transitions; tests/redis/store/test_life.py runs each of them against this.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple


class State(StrEnum):
    """Where a message is; those that have ended come last."""

    QUEUED = "queued"  # in the stream, claimed or not
    SENDING = "sending"  # the same, with an in-flight record
    DEFERRED = "deferred"  # waits until it is due
    DEAD = "dead"  # a dead letter: a person decides
    SENT = "sent"  # the provider took it
    EXPIRED = "expired"  # `expires_at` had passed before it was sent
    SUPPRESSED = "suppressed"  # its recipient has opted out
    CANCELLED = "cancelled"  # taken back before it was sent
    DUPLICATE = "duplicate"  # an earlier message has its key
    DROPPED = "dropped"  # a dead letter that a person threw away
    LOST = "lost"  # `smsd fsck` found it nowhere


class DeadReason(StrEnum):
    """Why a message became a dead letter."""

    INVALID = "invalid"  # it cannot be read, or has a field that is refused
    REJECTED = "rejected"  # the provider will never take it
    EXHAUSTED = "exhausted"  # the provider was unavailable for all its attempts
    IN_DOUBT = "in_doubt"  # it may have been sent


class Event(StrEnum):
    """What can happen to a message."""

    APPEND = "append"
    SCHEDULE = "schedule"
    BEGIN = "begin"
    RELEASE = "release"
    ACK = "ack"
    EXPIRE = "expire"
    SUPPRESS = "suppress"
    DEFER = "defer"
    BURY = "bury"
    BURY_DEFERRED = "bury deferred"  # it cannot be read, or may have been sent
    PROMOTE = "promote"
    CANCEL = "cancel"
    REPEAT = "repeat"  # its producer's key is that of an earlier message
    REPLAY = "replay"
    DROP = "drop"
    MOVE = "move"  # to a stream made anew, since its entry's id was the last there can be
    LOSE = "lose"


class Effect(NamedTuple):
    """How an event is made, whatever the state."""

    scripts: tuple[str, ...]  # of smsd/store/lua: each of them makes it
    counter: str = ""  # of the hash `counters`, which it moves by one


# What is not here does not change a message's state.
TRANSITIONS: Mapping[State | None, Mapping[Event, State]] = {
    None: {  # not taken in yet; an XADD by other hands is an append, too
        Event.APPEND: State.QUEUED,
        Event.SCHEDULE: State.DEFERRED,
    },
    State.QUEUED: {
        Event.BEGIN: State.SENDING,
        Event.ACK: State.SENT,  # a fact that arrives late: its record is gone
        Event.EXPIRE: State.EXPIRED,
        Event.SUPPRESS: State.SUPPRESSED,
        Event.DEFER: State.DEFERRED,
        Event.BURY: State.DEAD,
        Event.CANCEL: State.CANCELLED,
        Event.REPEAT: State.DUPLICATE,
        Event.MOVE: State.QUEUED,
        Event.LOSE: State.LOST,
    },
    State.SENDING: {
        Event.RELEASE: State.QUEUED,
        Event.ACK: State.SENT,
        Event.EXPIRE: State.EXPIRED,
        Event.DEFER: State.DEFERRED,
        Event.BURY: State.DEAD,
        Event.LOSE: State.LOST,
    },
    State.DEFERRED: {
        Event.PROMOTE: State.QUEUED,
        Event.ACK: State.SENT,  # late
        Event.EXPIRE: State.EXPIRED,  # with its campaign, which was paused
        Event.BURY_DEFERRED: State.DEAD,
        Event.CANCEL: State.CANCELLED,
        Event.LOSE: State.LOST,
    },
    State.DEAD: {
        Event.REPLAY: State.QUEUED,
        Event.DROP: State.DROPPED,
        Event.ACK: State.SENT,  # late, of one in doubt
        Event.LOSE: State.LOST,
    },
}

# Redis came back with older data, which lacks the settlement of a message; it is made again.
SETTLED_AGAIN: Mapping[State, Mapping[Event, State]] = {
    State.DEFERRED: {
        Event.EXPIRE: State.EXPIRED,
        Event.SUPPRESS: State.SUPPRESSED,
        Event.DEFER: State.DEFERRED,
        Event.BURY: State.DEAD,
    },
    State.DEAD: {
        Event.ACK: State.SENT,  # it was replayed, and sent then
    },
}

EFFECTS: Mapping[Event, Effect] = {
    Event.APPEND: Effect(("append", "append_part", "campaign_expand")),
    Event.SCHEDULE: Effect(("append", "append_part"), "scheduled"),
    Event.BEGIN: Effect(("begin", "mark_again", "fsck_set_aside")),
    Event.RELEASE: Effect(("release",)),
    Event.ACK: Effect(("finish",), "sent"),
    Event.EXPIRE: Effect(("finish", "campaign_release"), "expired"),
    Event.SUPPRESS: Effect(("finish",), "suppressed"),
    Event.DEFER: Effect(("defer",)),
    Event.BURY: Effect(("bury",), "buried"),
    Event.BURY_DEFERRED: Effect(("promote", "mark_again", "fsck_deferred"), "buried"),
    Event.PROMOTE: Effect(("promote",), "promoted"),
    Event.CANCEL: Effect(("cancel", "finish", "campaign_release"), "cancelled"),
    Event.REPEAT: Effect(("take_key",), "duplicate"),
    Event.REPLAY: Effect(("replay",), "replayed"),
    Event.DROP: Effect(("drop",), "dropped"),
    Event.MOVE: Effect(("fsck_renew",)),
    Event.LOSE: Effect(("fsck_deferred", "fsck_statuses")),
}

ADJUSTED = "adjusted"  # counts differences that were found and booked, not messages
COUNTERS = (*dict.fromkeys(one.counter for one in EFFECTS.values() if one.counter), ADJUSTED)
# Over, and counted each under its own name. What is lost is counted as adjusted.
FINISHED = tuple(state for state in State if state not in TRANSITIONS and state is not State.LOST)
