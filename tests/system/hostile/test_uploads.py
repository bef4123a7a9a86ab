"""Files that are none, too large, or never end. Rule: bounded memory, and nothing half-imported."""

import io
import socket
import zipfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from tests.support.hostile import (
    BEARER,
    IMPATIENT,
    MIB,
    Sending,
    connect,
    embedded,
    error_in,
    is_well,
    memory,
    read_all,
    running,
)
from tests.support.processes import Daemon, eventually
from tests.support.uploads import calling, head, rows

CSV = "Content-Type: text/csv"
MOST = 100_000_000
SETTINGS = f"[upload]\nmax_octets = {MOST}\ntimeout = 1.0\n{IMPATIENT}"


@pytest.fixture(scope="module")
def smsd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with running(tmp_path_factory.mktemp("uploads"), SETTINGS) as daemon:
        yield daemon


@pytest.fixture(autouse=True)
def unchanged(smsd: Daemon) -> Iterator[None]:
    """An audience that none of these files changes, and that can still be replaced afterwards."""
    body = b"phone,value\n" + rows(range(100))
    status, _ = smsd.call("PUT", "/audiences/kept", body, {**BEARER, "Content-Type": "text/csv"})
    assert status == 200
    before = smsd.call("GET", "/audiences/kept", headers=BEARER)
    yield
    assert smsd.call("GET", "/audiences/kept", headers=BEARER) == before
    eventually(lambda: children(smsd) <= 1, what="no parser is left")
    assert is_well(smsd)


def children(daemon: Daemon) -> int:
    """Its processes; one of them is the embedded server."""
    tasks = Path(f"/proc/{daemon.pid}/task").glob("*/children")
    return sum(len(task.read_text().split()) for task in tasks)


def refused(daemon: Daemon, body: bytes, query: str = "") -> tuple[int, str]:
    """What a whole file is refused with, however much of it is read."""
    with closing(connect(daemon)) as caller:
        with suppress(ConnectionError):
            caller.sendall(head("kept", CSV, f"Content-Length: {len(body)}", query=query) + body)
        return error_in(read_until_error(caller))


def read_until_error(caller: socket.socket) -> bytes:
    received = b""
    with suppress(ConnectionResetError):
        while not received.endswith(b"}}\n") and (octets := caller.recv(65_536)):
            received += octets
    return received


def test_five_gigabytes_are_refused_before_an_octet_is_sent(smsd: Daemon) -> None:
    announced = ("Content-Length: 5000000000", "Expect: 100-continue")
    with closing(connect(smsd, head("kept", CSV, *announced))) as caller:
        answer = read_all(caller)
    assert not answer.startswith(b"HTTP/1.1 100")
    assert error_in(answer) == (413, "body_too_large")


def test_what_grows_too_large_without_saying_so_is_refused(tmp_path: Path) -> None:
    settings = SETTINGS.replace(str(MOST), "200000")
    with running(tmp_path, settings) as daemon, calling(daemon, "big") as caller:
        with suppress(ConnectionError):
            for start in range(0, 10_000, 1000):
                caller.send(rows(range(start, start + 1000), "y" * 200))
        assert error_in(caller.rest()) == (413, "body_too_large")
        assert daemon.call("GET", "/audiences/big", headers=BEARER)[0] == 404


def office(name: str) -> bytes:
    octets = io.BytesIO()
    with zipfile.ZipFile(octets, "w") as file:
        file.writestr(name, b"<sheet/>" * 1000)
    return octets.getvalue()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(office("contacts.csv"), id="zip"),
        pytest.param(office("xl/workbook.xml"), id="xlsx"),
        pytest.param(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(5000), id="xls"),
        pytest.param(b"\x1f\x8b\x08\0" + bytes(5000), id="gzip"),
        pytest.param(b"%PDF-1.7\n" + b"\xff" * 5000, id="pdf"),
        pytest.param(bytes(range(256)) * 1000, id="octets"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\n" * 1_000_000, id="blank lines"),
        pytest.param(b"one,two\n1,2\n", id="no numbers"),
        pytest.param(b"a," * MIB, id="a million columns"),
        pytest.param(b"phone," * MIB + b"\n" + rows(range(10)), id="a million numbers"),
        pytest.param(b"a" * 8 * MIB, id="one endless name"),
        pytest.param(b'"' + b"a" * 8 * MIB, id="a header whose quote never ends"),
        pytest.param(b'{"contacts": []}', id="JSON"),
    ],
)
def test_a_file_that_is_no_list_of_contacts_is_refused_as_a_whole(
    smsd: Daemon, body: bytes
) -> None:
    before = memory(smsd.pid)
    status, code = refused(smsd, body)
    assert status == 400
    assert code not in ("invalid_body", "internal")
    assert memory(smsd.pid) - before < 16 * MIB


@pytest.mark.parametrize(
    ("spoil", "most_rejected"),
    [
        pytest.param(b'"+12025560102' + b"a" * 8 * MIB + b"\n", 3, id="a quote that never ends"),
        pytest.param(b"+12025560102," * MIB + b"\n", 3, id="a row of a million columns"),
        pytest.param(b"x" * 8 * MIB + b"\n", 3, id="a row of eight megabytes"),
        pytest.param(b"nobody,x\n" * 40_000, 40_000, id="nothing but bad rows"),
        pytest.param(b"\xff\xfe,x\n" * 20_000, 20_000, id="octets of no encoding"),
        pytest.param(b"\n" * MIB, 0, id="blank lines"),
    ],
)
def test_whatever_a_row_holds_memory_is_bounded_and_the_rows_before_it_count(
    smsd: Daemon, spoil: bytes, most_rejected: int
) -> None:
    before = memory(smsd.pid)
    body = b"phone,value\n" + rows(range(1000)) + spoil
    headers = {**BEARER, "Content-Type": "text/csv"}
    status, answer = smsd.call("PUT", "/audiences/spoilt", body, headers, timeout=60)
    assert status == 200, answer
    assert answer["contacts"] == 1000
    assert min(1, most_rejected) <= answer["rejected"]["count"] <= most_rejected
    assert memory(smsd.pid) - before < 32 * MIB


def test_a_caller_that_stops_sending_is_given_up_and_changes_nothing(smsd: Daemon) -> None:
    with calling(smsd, "kept") as caller:
        caller.send(rows(range(1000, 3000)))
        assert error_in(caller.rest()) == (408, "body_timeout")


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_caller_that_hangs_up_changes_nothing(smsd: Daemon, method: str) -> None:
    with calling(smsd, "kept", method=method) as caller:
        caller.send(rows(range(1000, 3000)))
        eventually(lambda: children(smsd) == 2, what="the parser runs")
    length = head("kept", CSV, "Content-Length: 50000", method=method)
    with closing(connect(smsd, length + b"phone,value\n" + rows(range(1000)))):
        eventually(lambda: children(smsd) == 2, what="the parser runs")


def test_more_imports_than_may_be_at_once_are_asked_to_come_later(smsd: Daemon) -> None:
    with calling(smsd, "one"), calling(smsd, "two"):
        eventually(lambda: children(smsd) == 3, what="both are read")
        third = head("kept", CSV, "Content-Length: 9", "Expect: 100-continue")
        with closing(connect(smsd, third)) as caller:
            answer = read_all(caller)
        assert error_in(answer) == (503, "busy")
        assert b"\r\nRetry-After: " in answer
        # What is small is not held up by what is large.
        assert smsd.call("POST", "/send", {"message": "x", "to": "+12025560100"}, BEARER)[0] == 200
    eventually(lambda: children(smsd) <= 1, what="the places are free again")


def test_what_was_given_up_is_removed_from_redis(smsd: Daemon) -> None:
    with calling(smsd, "lost") as caller:
        caller.send(rows(range(5000)))
        with embedded(smsd) as client:
            eventually(lambda: client.zcard("smsd:audience:unfinished"), what="it is staged")
            assert error_in(caller.rest()) == (408, "body_timeout")
            assert smsd.call("GET", "/audiences/lost", headers=BEARER)[0] == 404


def test_an_import_leaves_messages_their_pace(sending: Sending) -> None:
    sending.start(200)
    body = b"phone,value\n" + b"".join(
        b"+1415555%04d,x\nnobody,y\n" % (n % 10_000) for n in range(40_000)
    )
    headers = {**BEARER, "Content-Type": "text/csv"}
    status, answer = sending.daemon.call("PUT", "/audiences/big", body, headers, timeout=60)
    assert status == 200
    assert (answer["contacts"], answer["rejected"]["count"]) == (10_000, 40_000)
    sending.finish()
