"""What Redis's errors mean. Rule: each is one of these by the time it leaves this package.

`mapped` turns what the library raises into the types below, where a reply is read. So handlers
elsewhere name a type, and know nothing of the library.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

# The library takes the code off some errors, and knows those by their type; off others it does not.
_REFUSES_WRITES = (exceptions.ReadOnlyError, exceptions.ClusterDownError)
_REFUSES_WRITES_CODES = ("MISCONF", "NOREPLICAS", "READONLY")
_FULL_CODE = "OOM "
_BUSY_CODE = "BUSY "  # (BUSYGROUP is another)
_GROUP_MISSING_CODES = ("NOGROUP", "no such key", "UNBLOCKED")
_WRONG_TYPE_CODE = "WRONGTYPE"

_NAMED = re.compile(r"DAMAGED (.+?): (.+)", re.DOTALL)  # as in lua/_damage.lua
_LONGEST_REASON = 200


class RedisError(Exception):
    """Redis did not do what it was asked to."""


class Away(RedisError):  # noqa: N818 - a state, named as users see it
    """Redis cannot serve now, but may soon."""

    def __init__(self, message: str = "", *, kind: str = "") -> None:
        """`kind`: the library's name of it."""
        super().__init__(message)
        self.reason = ": ".join(filter(None, (kind, message)))


class Unreachable(Away):
    """Nobody accepts a connection, or the connection broke."""


class NoReply(Away):
    """Redis did not answer in time. What it was asked may have been done, or may be yet."""

    def __init__(self) -> None:
        super().__init__("not in time")


class Loading(Away):
    """The server still reads what it has on disk."""


class RefusesWrites(Away):
    """Redis takes no writes now, whatever it answers to reads."""


class TooFewReplicas(Away):
    """Fewer replicas have it than `replicas_ack`: it is not durable yet."""


class OutOfMemory(RedisError):  # noqa: N818 - a state, named as users see it
    """Redis refuses writes that need memory (`maxmemory` reached, `noeviction`)."""


class GroupMissing(RedisError):  # noqa: N818 - a state, named as users see it
    """The stream or its group is gone: somebody flushed, or a failover lost it."""


class Refused(RedisError):  # noqa: N818 - a state, named as users see it
    """Redis refuses a command and will refuse it again, until somebody mends the cause."""

    def __init__(self, reason: str, key: str = "") -> None:
        """`key`: the one at fault, "" where that is not known."""
        super().__init__(f"{key} {reason}" if key else reason)
        self.key = key
        self.reason = reason


class WrongType(Refused):
    """The key that a command names holds a value of another type."""


@contextmanager
def mapped() -> Iterator[None]:
    """Raise one of these for what the library raises."""
    try:
        yield
    except (exceptions.RedisError, OSError) as error:
        raise meaning(error) from error


def meaning(error: Exception) -> RedisError:
    """What an error of the library or of the connection means."""
    if isinstance(error, TimeoutError):  # our own limit; the library has a type for its own
        return NoReply()
    message, kind = str(error), type(error).__name__
    if isinstance(error, exceptions.OutOfMemoryError):
        return OutOfMemory(message)
    if away := _away(error):
        return away(message, kind=kind)
    if isinstance(error, exceptions.ResponseError):
        return response(message, kind=kind)
    return RedisError(message)


def _away(error: Exception) -> type[Away] | None:
    loading = exceptions.BusyLoadingError
    # The greeting of a connection may say so, and then the connection "broke" for that.
    if isinstance(error, loading) or isinstance(error.__cause__, loading):
        return Loading
    if type(error) is exceptions.ConnectionError:  # (an AuthenticationError is one, too)
        return Unreachable
    if isinstance(error, _REFUSES_WRITES):
        return RefusesWrites
    passes = (
        exceptions.ConnectionError,
        exceptions.TimeoutError,
        OSError,
    )
    return Away if isinstance(error, passes) else None


def response(message: str, *, kind: str = "") -> RedisError:
    """The error that a message of the server stands for. `kind`: as in `Away`."""
    if message.startswith(_GROUP_MISSING_CODES):
        return GroupMissing(message)
    if message.startswith(_REFUSES_WRITES_CODES):
        return RefusesWrites(message, kind=kind)
    if message.startswith(_BUSY_CODE):
        return Away(message, kind=kind)
    if message.startswith(_FULL_CODE):
        return OutOfMemory(message)
    reason = message[:_LONGEST_REASON]
    if named := _NAMED.match(reason):
        return Refused(named[2], named[1])
    return (WrongType if reason.startswith(_WRONG_TYPE_CODE) else Refused)(reason)
