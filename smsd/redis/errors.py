"""What Redis's errors mean. Rule: each says whether it passes by itself."""

import re

from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    OSError,
    BusyLoadingError,
    ClusterDownError,
    MasterDownError,
    ReadOnlyError,
)
# Plain ResponseErrors that pass by themselves: no writes while a disk fills or a replica is lost.
_AWAY_PREFIXES = ("MISCONF", "NOREPLICAS", "BUSY ")
_REFUSES_WRITES = (ReadOnlyError, ClusterDownError)  # and may answer reads all the same
_REFUSES_WRITES_PREFIXES = ("MISCONF", "NOREPLICAS")
_MISSING_PREFIXES = ("NOGROUP", "no such key", "UNBLOCKED")

_NAMED = re.compile(r"DAMAGED (.+?): (.+)", re.DOTALL)  # as in lua/_prelude.lua
_LONGEST_REASON = 200


class TooFewReplicas(RedisConnectionError):  # noqa: N818 - a state, named as users see it
    """Fewer replicas have it than `replicas_ack`: it is not durable yet."""


class OlderData(RedisConnectionError):  # noqa: N818 - a state, named as users see it
    """Newer or other data was known: nothing is handed out of this until that is dealt with."""


def is_away(error: BaseException) -> bool:
    """Whether Redis cannot serve now, but may soon."""
    if isinstance(error, _AWAY):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_AWAY_PREFIXES)


def is_loading(error: BaseException) -> bool:
    """Whether the server reads what it has on disk; the greeting of a connection may say so."""
    return isinstance(error, BusyLoadingError) or isinstance(error.__cause__, BusyLoadingError)


def is_refusal_to_write(error: BaseException) -> bool:
    """Whether Redis takes no writes now, whatever it answers to reads."""
    if isinstance(error, _REFUSES_WRITES):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_REFUSES_WRITES_PREFIXES)


def is_out_of_memory(error: BaseException) -> bool:
    """Redis refuses writes that need memory (`maxmemory` reached, `noeviction`)."""
    return isinstance(error, OutOfMemoryError)


def is_group_missing(error: BaseException) -> bool:
    """The stream or its group is gone: somebody flushed, or a failover lost it."""
    return isinstance(error, ResponseError) and str(error).startswith(_MISSING_PREFIXES)


class Refused(ResponseError):  # noqa: N818 - a state, named as users see it
    """Redis refuses a command and will refuse it again, until somebody mends the cause."""

    def __init__(self, reason: str, key: str = "") -> None:
        """`key`: the one at fault, "" where that is not known."""
        super().__init__(f"{key} {reason}" if key else reason)
        self.key = key
        self.reason = reason


def refusal(error: Exception) -> Refused | None:
    """The error as `Refused`, if it is one that repeating does not end."""
    if isinstance(error, Refused):
        return error
    passes = is_away(error) or is_out_of_memory(error) or is_group_missing(error)
    if passes or not isinstance(error, ResponseError):
        return None
    reason = str(error)[:_LONGEST_REASON]
    if named := _NAMED.match(reason):
        return Refused(named[2], named[1])
    return Refused(reason)
