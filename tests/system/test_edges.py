"""Callers at the edge. Rule: a stranger costs next to nothing, a slow caller holds up nobody."""

import gzip
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import Daemon, eventually

TOKEN = "token-0123456789-abc"
AUTHORIZED = f"Authorization: Bearer {TOKEN}"
JSON = "Content-Type: application/json"
TEXT = b'{"to":"+12025560100","message":"Hi"}'
SIZE = f"Content-Length: {len(TEXT)}"
BOMB = gzip.compress(b"\0" * 10_000_000) * 90  # 875 KB that unpack to 900 MB


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon that asks for a token, and would wait for a body for longer than any test does."""
    settings = f'[http]\ntokens = ["{TOKEN}"]\nbody_timeout = 300.0\n'
    daemon = Daemon(tmp_path_factory.mktemp("guarded"), settings).start()
    eventually(lambda: "ours=true" in daemon.log, what="it has begun all its work")
    yield daemon
    daemon.kill()


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """A daemon without tokens."""
    settings = '[http]\nhosts = ["sms.example"]\n'
    daemon = Daemon(tmp_path_factory.mktemp("local"), settings).start()
    yield daemon
    daemon.kill()


def connect(daemon: Daemon) -> socket.socket:
    port = int(daemon.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=20)


def head(*headers: str, line: str = "POST /send HTTP/1.1", host: str | None = "localhost") -> bytes:
    named = () if host is None else (f"Host: {host}",)
    return "\r\n".join((line, *named, *headers, "", "")).encode()


def read(caller: socket.socket) -> tuple[int, Any]:
    """One answer: its status and content."""
    octets = b""
    while b"\r\n\r\n" not in octets or not octets.endswith(b"\n"):
        piece = caller.recv(65_536)
        assert piece, octets
        octets += piece
    return int(octets[9:12]), json.loads(octets.partition(b"\r\n\r\n")[2])


def asked(daemon: Daemon, octets: bytes) -> tuple[int, str]:
    """Status, and the code of the error, of one request on a connection of its own."""
    with closing(connect(daemon)) as caller:
        caller.sendall(octets)
        status, content = read(caller)
        return status, content.get("error", {}).get("code", "")


def cpu_s(daemon: Daemon) -> float:
    fields = Path(f"/proc/{daemon.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("path", ["/send", "/healthz"])
def test_a_compressed_body_that_nobody_asked_for_costs_next_to_nothing(
    guarded: Daemon, path: str
) -> None:
    packed = head(JSON, "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}")
    before = cpu_s(guarded)
    for _ in range(5):
        with closing(connect(guarded)) as caller:
            caller.sendall(packed.replace(b"/send", path.encode()) + BOMB)
            assert read(caller)[0] in (401, 405)
    assert cpu_s(guarded) - before < 1  # to unpack them takes 8 s


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "gzip, identity"])
def test_no_content_encoding_is_decoded(guarded: Daemon, coding: str) -> None:
    packed = head(JSON, AUTHORIZED, f"Content-Encoding: {coding}", f"Content-Length: {len(BOMB)}")
    before = cpu_s(guarded)
    assert asked(guarded, packed + BOMB) == (415, "unsupported_content_encoding")
    assert cpu_s(guarded) - before < 0.5  # to unpack it takes 1.6 s


def test_identity_is_no_encoding(guarded: Daemon) -> None:
    assert (
        asked(guarded, head(JSON, AUTHORIZED, SIZE, "Content-Encoding: identity") + TEXT)[0] == 200
    )


@pytest.mark.parametrize("framing", ["Content-Length: 1000000", "Transfer-Encoding: chunked"])
@pytest.mark.parametrize("more", [(), ("Expect: 100-continue",), ("Content-Encoding: gzip",)])
def test_a_stranger_is_refused_before_any_of_a_body_has_come(
    guarded: Daemon, framing: str, more: tuple[str, ...]
) -> None:
    assert asked(guarded, head(JSON, framing, *more)) == (401, "unauthorized")


def test_what_a_refused_caller_still_sends_is_not_looked_at(guarded: Daemon) -> None:
    pieces = b"1\r\nx\r\n" * 160_000
    before = cpu_s(guarded)
    for _ in range(40):
        with closing(connect(guarded)) as caller:
            caller.sendall(head(JSON, "Transfer-Encoding: chunked") + pieces)
            assert read(caller)[0] == 401
            time.sleep(0.1)
    assert cpu_s(guarded) - before < 0.7  # to parse what comes takes 2 s


def test_a_refused_caller_that_goes_on_sending_is_cut_off(guarded: Daemon) -> None:
    with closing(connect(guarded)) as caller:
        caller.sendall(head(JSON, "Content-Length: 1000000"))
        assert read(caller)[0] == 401
        for _ in range(1000):
            try:
                caller.sendall(b"x")
            except ConnectionError:
                return
            time.sleep(0.02)
    raise AssertionError("it goes on")


def test_slow_bodies_hold_no_place_that_a_quick_one_needs(guarded: Daemon) -> None:
    slow = head(JSON, AUTHORIZED, "Content-Length: 1048576")
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(connect(guarded))) for _ in range(70)]
        for caller in callers:
            caller.sendall(slow + b" ")
        time.sleep(0.2)
        for caller in callers:
            caller.sendall(b" ")
        assert asked(guarded, head(JSON, AUTHORIZED, SIZE) + TEXT)[0] == 200


def test_bodies_that_stop_in_the_middle_give_way_to_a_quick_one(guarded: Daemon) -> None:
    stopped = head(JSON, AUTHORIZED, "Content-Length: 1000000") + b" " * 999_999
    with ExitStack() as stack:
        callers = [stack.enter_context(closing(connect(guarded))) for _ in range(70)]
        for caller in callers:
            caller.sendall(stopped)
        assert asked(guarded, head(JSON, AUTHORIZED, SIZE) + TEXT)[0] == 200
        assert read(callers[0])[1]["error"]["code"] == "busy"


OURS = ["localhost", "LOCALHOST:8080", "127.0.0.1:8080", "127.0.0.2", "[::1]:8080", "sms.example"]
FOREIGN = [
    "evil.example:8080",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil@localhost",
    "192.0.2.1",
    "2130706433",
    "::1",
    "[::1",
    "localhost:",
    "",
]


@pytest.mark.parametrize("host", OURS)
def test_without_a_token_programs_on_this_machine_call_us_by_our_names(
    local: Daemon, host: str
) -> None:
    assert asked(local, head(JSON, SIZE, host=host) + TEXT)[0] == 200
    own_page = (f"Origin: http://{host}", "Sec-Fetch-Site: same-origin")
    assert asked(local, head(JSON, SIZE, *own_page, host=host) + TEXT)[0] == 200


@pytest.mark.parametrize("host", FOREIGN)
def test_without_a_token_another_name_is_refused(local: Daemon, host: str) -> None:
    refused = (403, "foreign_host")
    origin = f"Origin: http://{host}"
    assert asked(local, head(JSON, SIZE, origin, host=host) + TEXT) == refused
    for path in ("/dead-letters?message=true", "/readyz", "/metrics", "/openapi.json"):
        assert asked(local, head(line=f"GET {path} HTTP/1.1", host=host)) == refused


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: http://evil.example",),
        ("Origin: http://localhost:3000",),
        ("Origin: null",),
        ("Origin: http://[",),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"),
    ],
)
def test_without_a_token_no_page_of_another_site_may_call(
    local: Daemon, headers: tuple[str, ...]
) -> None:
    assert asked(local, head(JSON, SIZE, *headers) + TEXT) == (403, "foreign_origin")


def test_a_link_can_be_followed_but_is_not_shown_in_a_frame(local: Daemon) -> None:
    link = ("Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate")
    healthz = "GET /healthz HTTP/1.1"
    assert asked(local, head(*link, "Sec-Fetch-Dest: document", line=healthz))[0] == 200
    framed = head(*link, "Sec-Fetch-Dest: iframe", line=healthz)
    assert asked(local, framed) == (403, "foreign_origin")


def test_one_that_names_no_host_is_no_browser(local: Daemon) -> None:
    assert asked(local, head(line="GET /healthz HTTP/1.0", host=None))[0] == 200


def test_with_tokens_a_proxy_may_call_us_anything(guarded: Daemon) -> None:
    proxied = ("Origin: https://shop.example", "Sec-Fetch-Site: cross-site")
    request = head(JSON, SIZE, AUTHORIZED, *proxied, host="sms.shop.example") + TEXT
    assert asked(guarded, request)[0] == 200
