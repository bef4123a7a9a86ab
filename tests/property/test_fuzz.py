"""Both intakes, fuzzed. Rule: whatever comes is taken or refused with a reason; nothing is stuck.

Requests go over real sockets to the daemon's own listener and handler, entries through a real
Redis to the claimer; only the clock of the store is a test's.
"""

import asyncio
import itertools
import json
import logging
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from typing import Any, TypeVar, cast

import pytest
from aiohttp import web
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsd.core.fields import ENTRY_FIELDS, SEND_FIELDS, FieldError
from smsd.core.message import Limits, Message, from_fields, parse, parse_recipient
from smsd.store.entry import Entry
from smsd.web.auth import Callers
from smsd.web.body import read_object
from smsd.web.edge.body_memory import BodyMemory
from smsd.web.edge.guard import Guard
from smsd.web.edge.listener import Listener
from smsd.web.edge.turns import Turns
from smsd.web.errors import ApiError
from smsd.web.router import Router
from smsd.web.send import Send, SendLimits
from tests.support.redis_server import RedisServer
from tests.support.store import Store, Ticks, Wall

# Tracing makes it much slower; the unit tests and tests/redis reach the same lines.
pytestmark = pytest.mark.no_cover

T = TypeVar("T")
LIMITS = Limits()
MAX_BODY = 65_536
FUZZED = settings(
    max_examples=100, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
LONG = settings(FUZZED, max_examples=400)

# -- what comes ---------------------------------------------------------------------------------

surrogates = st.characters(categories=["Cs"])
any_text = st.text() | st.text(st.characters() | surrogates, max_size=20)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**30, max_value=10**40)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text
)
any_json = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)
numbers = st.from_regex(r"\+?[0-9 .()\-]{0,20}", fullmatch=True) | st.just("+12025560100")
instants = st.from_regex(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]"
    r"[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})",
    fullmatch=True,
) | st.sampled_from(["2026-11-24T12:00:00Z", "2026-11-25T00:00:00+01:00", "2000-01-01T00:00:00Z"])
likely: dict[str, st.SearchStrategy[Any]] = {
    "to": numbers | st.lists(numbers, max_size=5),
    "message": any_text,
    "from": any_text | numbers,
    "priority": st.sampled_from(["high", "normal", "HIGH"]),
    "send_at": instants,
    "expires_at": instants,
    "campaign": any_text,
    "ref": any_text,
}
requests = st.fixed_dictionaries(
    {}, optional={name: likely[name] | any_json for name in likely}
) | st.dictionaries(st.sampled_from(sorted(SEND_FIELDS)) | any_text, any_json, max_size=6)
entry_names = st.sampled_from([*sorted(ENTRY_FIELDS), "reason"])
entry_values = (
    any_text.map(lambda text: text.encode("utf-8", "surrogatepass"))
    | st.binary(max_size=40)
    | numbers.map(str.encode)
    | instants.map(str.encode)
    | st.sampled_from([b"+12025560100", b"Hi", b"high", b"1", b"x" * 70_000])
)
pairs = st.tuples(entry_names.map(str.encode) | st.binary(max_size=20), entry_values)
entries = st.lists(pairs, min_size=1, max_size=8).map(
    lambda some: [part for pair in some for part in pair]
) | st.fixed_dictionaries(
    {"to": numbers.map(str.encode), "message": entry_values},
    optional=dict.fromkeys(("from", "ref", "priority", "send_at", "key"), entry_values),
).map(lambda fields: [part for name in fields for part in (name.encode(), fields[name])])


# -- parsing ------------------------------------------------------------------------------------


@LONG
@given(requests, st.integers(0, 2**42))
def test_any_object_is_a_message_or_at_fault_in_a_field(
    fields: dict[str, object], now_ms: int
) -> None:
    with suppress(FieldError):
        parse_recipient(fields.pop("to", None))
    with suppress(FieldError):
        content = parse(fields, LIMITS, now_ms)
        assert 1 <= content.segments.segments <= LIMITS.max_segments


@LONG
@given(entries, st.integers(0, 2**42))
def test_any_fields_of_an_entry_are_a_message_or_at_fault(raw: list[bytes], now_ms: int) -> None:
    with suppress(FieldError):
        message = from_fields(raw, "1-0", LIMITS, now_ms)
        assert re.fullmatch(r"\+[0-9]{6,15}", message.recipient)


@LONG
@given(entries, st.integers(0, 2**42))
def test_an_entry_is_the_same_message_wherever_its_number_stands(
    raw: list[bytes], now_ms: int
) -> None:
    """(One that begins with its number may be read from memory.)"""

    def read(flat: list[bytes]) -> Message | None:
        try:
            return from_fields(flat, "1-0", LIMITS, now_ms)
        except FieldError:
            return None

    pairs = list(zip(raw[::2], raw[1::2], strict=True))
    first = sorted(pairs, key=lambda pair: pair[0] != b"to")
    last = sorted(pairs, key=lambda pair: pair[0] == b"to")
    found = [read([part for pair in order for part in pair]) for order in (first, first, last)]
    assert found[0] == found[1] == found[2]


mangled = st.builds(
    lambda text, at, octets: text[:at] + octets + text[at:],
    requests.map(lambda fields: json.dumps(fields).encode()),
    st.integers(0, 60),
    st.binary(max_size=3) | st.sampled_from([b"[", b"{", b'"', b"\\u", b"1e", b","]),
)


@LONG
@given(st.binary() | mangled | any_json.map(lambda value: json.dumps(value).encode()))
def test_any_octets_are_an_object_or_refused(body: bytes) -> None:
    with suppress(ApiError):
        assert isinstance(read_object(body), dict)


# -- by HTTP ------------------------------------------------------------------------------------


_prefixes = itertools.count(1)


class Intake:
    """The daemon's listener and handler, on a loop in a thread of its own."""

    def __init__(self, server: RedisServer, patience_s: float) -> None:
        """`patience_s`: how long a caller may take to send the rest."""
        self._server = server
        self._patience_s = patience_s
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.address: tuple[str, int]

    def do(self, what: Callable[[], Awaitable[T]]) -> T:
        async def run() -> T:
            return await what()

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(30)

    def start(self) -> "Intake":
        self._thread.start()
        self.do(self._open)
        return self

    def stop(self) -> None:
        self.do(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def store(self) -> Store:
        prefix = f"f{next(_prefixes)}:"
        return Store(self._server.url, prefix, owner="a", wall=Wall(), ticks=Ticks())

    async def _open(self) -> None:
        self._store = await self.store().lead()
        send = Send(
            self._store.queue,
            self._store.availability,
            limits=SendLimits(LIMITS, 1000),
            rate=lambda: 45.0,
            default_audience=["+12025560101"],
            now_ms=self._store.wall,
        )
        turns = Turns(self._loop.time)
        guard = Guard(
            Router(send.routes(), max_body=MAX_BODY, body_timeout_s=self._patience_s),
            callers=Callers([], hosts=["a"]),
            memory=BodyMemory(MAX_BODY),
            turns=turns,
        )
        server = web.Server(guard)
        self._runner = web.ServerRunner(server)
        await self._runner.setup()
        self._listener = Listener(
            server,
            turns=turns,
            max_connections=100,
            header_timeout_s=self._patience_s,
            answer_timeout_s=1.0,
        )
        await self._listener.listen("127.0.0.1", 0)
        [address] = self._listener.addresses
        self.address = cast("tuple[str, int]", address)

    async def _close(self) -> None:
        self._listener.close()
        await self._runner.cleanup()
        self._listener.stop()
        await self._store.aclose()


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("r")).start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def intake(redis_server: RedisServer) -> Iterator[Intake]:
    """For callers that send all of a request: this process may stand still in between."""
    intake = Intake(redis_server, patience_s=20.0).start()
    yield intake
    intake.stop()


@pytest.fixture(scope="module")
def hasty(redis_server: RedisServer) -> Iterator[Intake]:
    """For callers that may never send the rest."""
    intake = Intake(redis_server, patience_s=0.2).start()
    yield intake
    intake.stop()


@pytest.fixture(autouse=True)
def nothing_is_logged_as_a_bug(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def sent(intake: Intake, octets: bytes) -> bytes:
    """Send `octets` and nothing more; all that is answered."""
    heard = b""
    caller = socket.create_connection(intake.address, timeout=20)
    with closing(caller), suppress(ConnectionError):
        caller.sendall(octets)
        with suppress(OSError):  # it may have been let go already
            caller.shutdown(socket.SHUT_WR)
        while chunk := caller.recv(65_536):
            heard += chunk
    return heard


def judged(answer: bytes) -> int:
    """The status of an answer that is in order: none of ours, and in JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ", 2)[1])
    assert status == 200 or 400 <= status < 500 or status == 503, answer
    assert json.loads(body)
    return status


def posted(body: bytes, headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    lines = [
        b"POST /send HTTP/1.1",
        b"Host: a",
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        *(b"%b: %b" % header for header in headers),
    ]
    return b"\r\n".join([*lines, b"", body])


@FUZZED
@given(requests)
def test_any_object_that_is_posted_is_queued_or_refused(
    intake: Intake, fields: dict[str, object]
) -> None:
    assert judged(sent(intake, posted(json.dumps(fields).encode()))) in (200, 400)


@FUZZED
@given(st.binary() | mangled)
def test_any_octets_that_are_posted_are_queued_or_refused(intake: Intake, body: bytes) -> None:
    assert judged(sent(intake, posted(body))) in (200, 400)


header_names = st.sampled_from(
    [b"Content-Type", b"Content-Encoding", b"Transfer-Encoding", b"Idempotency-Key", b"Expect",
     b"Connection", b"Upgrade", b"Authorization", b"Cookie", b"Range", b"Content-Length", b"Host"]
) | st.from_regex(rb"[A-Za-z0-9-]{1,20}", fullmatch=True)  # fmt: skip
header_values = st.sampled_from(
    [b"gzip", b"br", b"zstd", b"deflate", b"chunked", b"100-continue", b"upgrade", b"websocket",
     b"h2c", b"close", b"application/json; charset=\xff", b"multipart/form-data; boundary=a"]
) | st.from_regex(rb"[\x20-\x7e\x80-\xff]{0,40}", fullmatch=True)  # fmt: skip


@FUZZED
@given(st.lists(st.tuples(header_names, header_values), max_size=5))
def test_any_headers_are_served_or_refused(
    hasty: Intake, headers: list[tuple[bytes, bytes]]
) -> None:
    answer = sent(hasty, posted(b'{"message": "Hi"}', headers))
    if answer and not answer.startswith(b"HTTP/1.1 100"):
        judged(answer)


methods = st.sampled_from([b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT", b"PRI", b"*"])
starts = st.builds(
    lambda method, path, rest: method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n" + rest,
    methods,
    st.just(b"/send") | st.binary(max_size=20),
    st.binary(max_size=40),
)


@settings(FUZZED, max_examples=40)
@given(st.binary(max_size=200) | starts)
def test_any_octets_on_a_connection_are_answered_in_order_or_not_at_all(
    hasty: Intake, octets: bytes
) -> None:
    answer = sent(hasty, octets)
    if answer and not octets.startswith(b"HEAD"):
        judged(answer)


# -- by stream ----------------------------------------------------------------------------------


@FUZZED
@given(st.lists(st.tuples(st.sampled_from(["h", "n"]), entries), min_size=1, max_size=5))
def test_any_entry_waits_for_its_slot_or_its_time_or_is_a_dead_letter(
    intake: Intake, made: list[tuple[str, list[bytes]]]
) -> None:
    intake.do(lambda: _taken_in(intake.store(), made))


async def _dead_letters(store: Store) -> dict[str, dict[str, str]]:
    """All of them; a page holds fewer where they are large."""
    dead: dict[str, dict[str, str]] = {}
    while page := await store.dead_letters.page(next(reversed(dead), ""), 100):
        dead.update((one.id, one.fields) for one in page)
    return dead


async def _taken_in(store: Store, made: Sequence[tuple[str, Sequence[bytes]]]) -> None:
    try:
        await store.lead()
        for lane, parts in made:
            stream = store.keys.high if lane == "h" else store.keys.queue
            await store.redis.execute_command("XADD", stream, "*", *parts)
        claimed = await store.queue.claim(10, 10)
        assert len(claimed) == len(made)
        await store.claimer.admit(claimed)
        in_window = {entry.name for entry in claimed if store.prefetch.knows(entry.name)}
        assert set(await store.unsettled.pending()) == in_window
        assert await store.queue.claim(10, 10) == []
        dead = await _dead_letters(store)
        due = int(await store.redis.zcard(store.keys.deferred))
        assert len(in_window) + len(dead) + due == len(made)
        assert await store.difference() == 0
        await _can_be_looked_up(store, claimed, dead)
    finally:
        await store.aclose()


async def _can_be_looked_up(
    store: Store, claimed: Sequence[Entry], dead: Mapping[str, Mapping[str, str]]
) -> None:
    for entry in claimed:
        shown = await store.lookup.message(entry.first_message_id)
        assert shown is None or shown["state"] in ("queued", "dead", "deferred")
    for dead_letter in dead.values():
        assert dead_letter["reason"] == "invalid"
        assert dead_letter["detail"]
