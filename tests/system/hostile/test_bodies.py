"""Bodies. Rule: what is too large, too slow or no JSON is refused before it costs much."""

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest

from smsd.web.body import MOST_VALUES, read_object
from smsd.web.edge.body_memory import BODIES
from smsd.web.errors import ApiError
from tests.support.hostile import (
    AUTHORIZED,
    BEARER,
    MIB,
    TOKEN,
    connect,
    error_in,
    is_well,
    memory,
    read_all,
    running,
)
from tests.support.processes import Daemon


def filled(unit: str) -> bytes:
    """`unit` as often as a body may hold it."""
    return b'{"to":[' + b",".join([unit.encode()] * ((MIB - 10) // (len(unit) + 1))) + b"]}"


BODIES_OF_A_MEGABYTE = {
    "numbers": filled("1"),
    "numbers of 4,299 digits": filled("9" * 4_299),
    "a number of a million digits": b'{"to":' + b"9" * (MIB - 10) + b"}",
    "exponents": filled("1e999"),
    "empty strings": filled('""'),
    "good recipients": filled('"+12025560100"'),
    "bad recipients": filled('"nobody"'),
    "lists": filled("[]"),
    "objects": filled("{}"),
    "nested lists": b'{"to":' + b"[" * (MIB - 10),
    "nested objects": b'{"to":' * (MIB // 6),
    "keys": b"{" + b",".join(b'"%x":1' % n for n in range(100_000)) + b"}",
    "one key": b'{"' + b"Zebra" * 200_000 + b'":1}',
    "a key twice": b'{"' + b"Zebra" * 100_000 + b'":1,"' + b"Zebra" * 100_000 + b'":1}',
    "a text": b'{"to":"+12025560100","message":"' + b"Zebra" * 200_000 + b'"}',
    "a text of emoji": b'{"to":"+12025560100","message":"' + "😀".encode() * 250_000 + b'"}',
    "escapes": b'{"message":"' + b"\\u005a" * 170_000 + b'"}',
    "half a pair": b'{"message":"' + b"\\ud83d" * 170_000 + b'"}',
    "white space": b" " * MIB,
    "a colon": b":" * MIB,
    "no UTF-8": b'{"message":"' + b"\xff" * (MIB - 20) + b'"}',
}  # fmt: skip


@pytest.mark.parametrize("body", BODIES_OF_A_MEGABYTE.values(), ids=BODIES_OF_A_MEGABYTE)
def test_a_megabyte_of_anything_is_refused_at_once(smsd: Daemon, body: bytes) -> None:
    assert len(body) <= MIB
    started = time.monotonic()
    for _ in range(5):
        status, answer = smsd.call("POST", "/send", body, BEARER)
        assert status == 400, answer
    assert time.monotonic() - started < 10


def test_megabytes_of_bad_bodies_leave_no_memory_behind(smsd: Daemon) -> None:
    bodies = list(BODIES_OF_A_MEGABYTE.values())
    for body in bodies * 2:
        smsd.call("POST", "/send", body, BEARER)
    before = memory(smsd.pid)
    with ThreadPoolExecutor(8) as pool:
        refusals = pool.map(lambda body: smsd.call("POST", "/send", body, BEARER)[0], bodies * 10)
        assert set(refusals) == {400}
    assert memory(smsd.pid) - before < 64 * MIB


def test_as_many_values_as_a_request_can_use_are_parsed_and_more_are_not() -> None:
    assert len(read_object(b'{"a":[' + b"1," * MOST_VALUES + b"1]}")) == 1
    with pytest.raises(ApiError, match="more than 500 values"):
        read_object(b'{"a":[' + b"1," * MOST_VALUES + b"1,1]}")


def colliding(rounds: int) -> list[str]:
    """Names of one hash under the classic 33-times function: a quadratic trap where it is used."""
    names = [""]
    for _ in range(rounds):
        names = [name + pair for name in names for pair in ("Ez", "FY")]
    return names


def test_names_made_to_collide_are_as_good_as_any_since_our_hash_has_a_seed() -> None:
    names = colliding(15)
    body = json.dumps(dict.fromkeys(names, 1)).encode()
    assert sys.flags.hash_randomization
    assert len({hash(name) for name in names}) > len(names) * 0.99
    started = time.process_time()
    assert len(read_object(body, most_values=2**16, most_names=2**16)) == 2**15
    assert time.process_time() - started < 20  # 2**30 comparisons would take minutes


@pytest.mark.timeout(120)
def test_bodies_under_way_share_a_bound_and_those_beyond_it_are_refused(tmp_path: Path) -> None:
    settings = f'[http]\ntokens = ["{TOKEN}"]\nbody_timeout = 15.0\n'
    with running(tmp_path, settings) as daemon:
        before = memory(daemon.pid)
        piece = b"%x\r\n" % 900_000 + b" " * 900_000 + b"\r\n"
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(connect(daemon))) for _ in range(3 * BODIES)]
            for caller in callers:
                caller.sendall(AUTHORIZED + b"Transfer-Encoding: chunked\r\n\r\n")
            for caller in callers:
                with suppress(ConnectionError):  # it was refused before all of it was sent
                    caller.sendall(piece)
            assert memory(daemon.pid) - before < 3 * BODIES * MIB
            answers = [read_all(caller) for caller in callers]
        refusals = [error_in(answer) for answer in answers if answer]
        assert BODIES <= refusals.count((408, "body_timeout")) <= BODIES * MIB // 900_000
        assert set(refusals) == {(408, "body_timeout"), (503, "busy")}
        assert daemon.call("POST", "/send", {"message": "x"}, BEARER)[0] == 200
        assert memory(daemon.pid) - before < 3 * BODIES * MIB


def test_a_thousand_bodies_that_drip_cost_little(tmp_path: Path) -> None:
    settings = f'[http]\ntokens = ["{TOKEN}"]\nbody_timeout = 10.0\n'
    with running(tmp_path, settings) as daemon:
        before = memory(daemon.pid)
        head = AUTHORIZED + b"Content-Length: 60000\r\n\r\n{"
        with ExitStack() as stack:
            callers = [stack.enter_context(closing(connect(daemon, head))) for _ in range(900)]
            for caller in callers:
                with suppress(ConnectionError):
                    caller.sendall(b" " * 1_000)
            assert memory(daemon.pid) - before < 64 * MIB
            assert is_well(daemon)
            for caller in callers:
                assert error_in(read_all(caller)) == (408, "body_timeout")
