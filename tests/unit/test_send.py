"""Reading what `POST /send` is given, without Redis: how long a step of it may be."""

import asyncio
import json
import time
from typing import cast

import pytest

from smsd.core.message import Limits
from smsd.redis.availability import Availability
from smsd.store.queue import Queue
from smsd.web.errors import ApiError
from smsd.web.send import Send, SendLimits

# Far above what a step takes, far below what reading a list in one step takes; of this thread's
# own time, so that what else the machine does has no part in it.
LONGEST_STEP_S = 0.005


def send() -> Send:
    return Send(
        cast("Queue", None),
        cast("Availability", None),
        limits=SendLimits(Limits(), 1_048_576, 10_000, 1.0),
        default_audience=(),
        now_ms=lambda: 1_700_000_000_000,
    )


async def longest_step_s(work: "asyncio.Future[object]") -> float:
    longest, before = 0.0, time.thread_time()
    while not work.done():
        await asyncio.sleep(0)
        longest, before = max(longest, time.thread_time() - before), time.thread_time()
    return longest


@pytest.mark.parametrize("written", ["+1202555{:04d}", "+1 (202) 555-{:04d}", "+44{:04d}"])
async def test_lists_of_10_000_numbers_are_read_in_short_steps(written: str) -> None:
    reader = send()
    numbers = [written.format(n) for n in range(10_000)]
    body = json.dumps({"to": numbers, "message": "Hi", "send_at": "2023-12-01T00:00:00Z"})
    work = asyncio.gather(*(reader._read(body.encode()) for _ in range(2)), return_exceptions=True)

    assert await longest_step_s(cast("asyncio.Future[object]", work)) < LONGEST_STEP_S

    for result in await work:
        if isinstance(result, ApiError):
            assert result.more["fault_count"] == 10_000
        else:
            _, about = cast("tuple[object, dict[str, object]]", result)
            assert about["messages"] == 10_000


BODIES = {
    "names": b"{" + b",".join(b'"%d":1' % n for n in range(50_000)) + b"}",
    "strings": b'{"to":[' + b",".join([b'"1"'] * 50_000) + b"]}",
    "numbers": b'{"to":[' + b",".join([b"1" * 4_000] * 250) + b"]}",
    "one string": b'{"message":"' + b"a" * 1_000_000 + b'"}',
    "commas": b'{"message":"' + b"," * 1_000_000 + b'"}',
    "characters": b'{"message":"' + "я".encode() * 500_000 + b'"}',
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_a_megabyte_of_anything_is_refused_in_short_steps(body: bytes) -> None:
    work = asyncio.ensure_future(send()._read(body))

    assert await longest_step_s(cast("asyncio.Future[object]", work)) < LONGEST_STEP_S
    with pytest.raises((ApiError, ValueError)):
        await work
