"""Reading what `POST /send` is given, without Redis: how long a step of it may be."""

import asyncio
import json
from typing import cast
from unittest.mock import Mock

import pytest

from smsd.core.fields import FieldError
from smsd.core.message import Limits, parse_recipient
from smsd.redis.availability import Availability
from smsd.store.append import Appended
from smsd.store.queue import Queue
from smsd.web.body import _DECODER
from smsd.web.errors import ApiError
from smsd.web.send import Send, SendLimits, _answer
from smsd.web.slices import SLICE_S, STEP


def send() -> Send:
    return Send(
        cast("Queue", None),
        cast("Availability", None),
        limits=SendLimits(Limits(), 10_000),
        default_audience=(),
        rate=lambda: 45.0,
        now_ms=lambda: 1_700_000_000_000,
    )


@pytest.mark.parametrize("written", ["+1202555{:04d}", "+1 (202) 555-{:04d}", "+44{:04d}"])
async def test_a_slice_of_a_list_of_10_000_numbers_ends_as_soon_as_its_time_is_up(
    written: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two lists at once: their slices take turns, and do not add up to one long step."""
    read = 0

    def counted(raw: object, field: str) -> str:
        nonlocal read
        read += 1
        return parse_recipient(raw, field)

    monkeypatch.setattr("smsd.web.recipients.parse_recipient", counted)
    monkeypatch.setattr("smsd.web.slices.SLICE_S", 0.0)  # it is up at each look at the clock
    reader = send()
    numbers = [written.format(n) for n in range(10_000)]
    body = json.dumps({"to": numbers, "message": "Hi", "send_at": "2023-12-01T00:00:00Z"})
    work = asyncio.gather(*(reader._read(body.encode()) for _ in range(2)), return_exceptions=True)

    longest, before = 0, 0
    while not work.done():
        await asyncio.sleep(0)
        longest, before = max(longest, read - before), read

    assert 0 < longest <= STEP
    assert read == 20_000
    assert SLICE_S < 0.001  # as long as that is, the pacer waits
    for result in await work:
        if isinstance(result, ApiError):
            assert result.more["fault_count"] == 10_000
        else:
            _, about = cast("tuple[object, dict[str, object]]", result)
            assert about["messages"] == 10_000


async def test_when_a_message_leaves_follows_from_what_is_before_it() -> None:
    """45 segments/s: those of its own, and those ahead, which are like what came of late."""
    _, one = await send()._read(b'{"to": "+12025560101", "message": "Hi"}')
    assert answered(one, ahead=0) == "2023-11-14T22:13:20.022+00:00"
    assert answered(one, ahead=45) == "2023-11-14T22:13:21.022+00:00"
    long = json.dumps({"to": "+12025560101", "message": "a" * 300}).encode()
    reader = send()
    for _ in range(200):
        await reader._read(long)
    _, two = await reader._read(long)
    assert answered(two, ahead=450) == "2023-11-14T22:13:40.044+00:00"


async def test_a_message_for_later_leaves_then() -> None:
    body = {"to": "+12025560101", "message": "Hi", "send_at": "2023-12-01T00:00:00Z"}
    _, scheduled = await send()._read(json.dumps(body).encode())
    assert answered(scheduled, ahead=0) == "2023-12-01T00:00:00.022+00:00"


async def test_a_repetition_has_the_time_that_the_first_answer_had() -> None:
    _, summary = await send()._read(b'{"to": "+12025560101", "message": "Hi"}')
    stored = json.dumps(summary).encode()
    first = _answer(Appended(["1-0"], ahead=7), summary)
    again = _answer(Appended(["1-0"], stored, ahead=7), {})
    assert first.body == again.body
    old = _answer(Appended(["1-0"], b'{"status": "queued"}'), {})  # of an earlier version
    assert json.loads(cast("bytes", old.body)) == {"status": "queued", "id": "1-0"}


def answered(summary: dict[str, object], ahead: int) -> str:
    answer = _answer(Appended(["1-0"], ahead=ahead), dict(summary))
    return str(json.loads(cast("bytes", answer.body))["drains_at"])


BODIES = {  # whether their JSON is looked at
    "names": (b"{" + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}", False),
    "strings": (b'{"to":[' + b",".join([b'"1"'] * 50_000) + b"]}", False),
    "commas": (b'{"message":"' + b"," * 1_000_000 + b'"}', False),
    "numbers": (b'{"to":[' + b",".join([b"1" * 4_000] * 250) + b"]}", True),
    "one string": (b'{"message":"' + b"a" * 1_000_000 + b'"}', True),
    "characters": (b'{"message":"' + "я".encode() * 500_000 + b'"}', True),
}


@pytest.mark.parametrize(("body", "parsed"), BODIES.values(), ids=BODIES)
async def test_a_megabyte_that_would_take_long_to_parse_is_refused_unparsed(
    body: bytes, parsed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoder = Mock(wraps=_DECODER)
    monkeypatch.setattr("smsd.web.body._DECODER", decoder)

    with pytest.raises((ApiError, FieldError)):
        await send()._read(body)
    assert bool(decoder.decode.called) is parsed
