"""Reading what `POST /send` is given, without Redis: how long a step of it may be."""

import asyncio
import json
from typing import cast
from unittest.mock import Mock

import pytest

from smsd.core.fields import FieldError
from smsd.core.message import Limits, parse_recipient
from smsd.redis.availability import Availability
from smsd.store.queue import Queue
from smsd.web.body import _DECODER
from smsd.web.errors import ApiError
from smsd.web.send import Send, SendLimits
from smsd.web.slices import SLICE_S, STEP


def send() -> Send:
    return Send(
        cast("Queue", None),
        cast("Availability", None),
        limits=SendLimits(Limits(), 10_000),
        default_audience=(),
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
