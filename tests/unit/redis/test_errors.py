"""What Redis's errors mean. Rule: each means one thing, however the library spells it."""

from typing import Any

import pytest
from redis import exceptions
from redis._parsers.base import BaseParser

from smsd.redis.errors import (
    Away,
    GroupMissing,
    Loading,
    NoReply,
    OutOfMemory,
    RedisError,
    Refused,
    RefusesWrites,
    Unreachable,
    WrongType,
    mapped,
    meaning,
    response,
)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("LOADING Redis is loading the dataset in memory", Loading),
        ("MISCONF Errors writing to the AOF file", RefusesWrites),
        ("NOREPLICAS Not enough good replicas to write.", RefusesWrites),
        ("CLUSTERDOWN Hash slot not served", RefusesWrites),
        ("READONLY You can't write against a read only replica.", RefusesWrites),
        ("MASTERDOWN Link with MASTER is down", RefusesWrites),
        ("BUSY Redis is busy running a script.", Away),
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemory),
        ("NOGROUP No such key", GroupMissing),
        ("UNBLOCKED the stream key no longer exists", GroupMissing),
        ("BUSYGROUP Consumer Group name already exists", Refused),
        ("WRONGTYPE Operation against a key", WrongType),
        ("NOPERM this user has no permissions", Refused),
        ("ERR unknown command", Refused),
    ],
)
def test_a_reply_means_one_thing(message: str, expected: type[RedisError]) -> None:
    parsed: Any = BaseParser  # it takes the code off some errors and not off others
    assert type(meaning(parsed.parse_error(message))) is expected


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (exceptions.ConnectionError("Error 111 connecting to localhost:6379."), Unreachable),
        (exceptions.AuthenticationError("invalid username-password pair"), Away),
        (exceptions.TimeoutError("Timeout connecting to server"), Away),
        (OSError(111, "Connection refused"), Away),
        (TimeoutError(), NoReply),
        (exceptions.InvalidResponse("Protocol Error"), RedisError),
        (exceptions.DataError("Invalid input of type: 'object'"), RedisError),
    ],
)
def test_a_broken_connection_means_one_thing(error: Exception, expected: type[RedisError]) -> None:
    assert type(meaning(error)) is expected


def test_a_connection_that_breaks_because_the_server_loads_means_that_it_loads() -> None:
    error = exceptions.ConnectionError("it broke")
    error.__cause__ = exceptions.BusyLoadingError("Redis is loading the dataset in memory")
    assert type(meaning(error)) is Loading


def test_a_script_names_the_key_that_is_damaged() -> None:
    error = meaning(exceptions.ResponseError("DAMAGED smsd:dead: it is no stream"))
    assert isinstance(error, Refused)
    assert (error.key, error.reason) == ("smsd:dead", "it is no stream")
    assert str(error) == "smsd:dead it is no stream"


def test_a_long_reason_is_cut() -> None:
    error = meaning(exceptions.ResponseError("ERR " + "x" * 1000))
    assert len(str(error)) == 200


def test_the_reason_of_an_absence_begins_with_the_name_that_the_library_has_for_it() -> None:
    error = meaning(exceptions.ReadOnlyError("You can't write against a read only replica."))
    assert isinstance(error, Away)
    assert error.reason == "ReadOnlyError: You can't write against a read only replica."
    assert str(error) == "You can't write against a read only replica."


def test_errors_of_the_library_are_mapped_and_others_pass() -> None:
    with pytest.raises(Loading) as caught, mapped():
        raise exceptions.BusyLoadingError("LOADING")
    assert isinstance(caught.value.__cause__, exceptions.BusyLoadingError)
    with pytest.raises(KeyError), mapped():
        raise KeyError
    with pytest.raises(OutOfMemory), mapped():
        raise OutOfMemory


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("NOREPLICAS Not enough good replicas to write.", RefusesWrites),
        ("MISCONF Errors writing to the AOF file", RefusesWrites),
        ("READONLY You can't write against a read only replica.", RefusesWrites),
        ("BUSY Redis is busy running a script.", Away),
        ("OOM command not allowed when used memory > 'maxmemory'.", OutOfMemory),
        ("WRONGTYPE Operation against a key", WrongType),
    ],
)
def test_what_a_script_met_and_answers_in_words_means_the_same(
    message: str, expected: type[RedisError]
) -> None:
    assert type(response(message)) is expected
