"""Posts to `/send` over kept connections: `load.py URL SECONDS PER_SECOND [CALLERS [NUMBERS]]`.

PER_SECOND 0 is flat out; NUMBERS above 1 posts lists of so many, each of other numbers.
"""

import asyncio
import json
import sys
import time
from itertools import cycle
from urllib.parse import urlsplit

BODY = b'{"to":"+12025550123","message":"Hello, this is a test message."}'
CALLERS = 32
LISTS = 8  # different ones of each caller


class Poster(asyncio.Protocol):
    """One connection: a request, its answer, the next request when it is due."""

    def __init__(
        self, requests: list[bytes], gap_s: float, took: list[float], refused: list[bytes]
    ) -> None:
        self._requests = cycle(requests)
        self._gap_s = gap_s
        self._took = took
        self._refused = refused
        self._started = 0.0
        self._due = time.perf_counter()
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not is_whole(self._answer):
            return
        now = time.perf_counter()
        if not self._answer.startswith(b"HTTP/1.1 200"):
            self._refused.append(self._answer)
        self._took.append(now - self._started)
        self._due += self._gap_s
        if self._due <= now:
            self._post()
        else:
            asyncio.get_running_loop().call_later(self._due - now, self._post)

    def _post(self) -> None:
        self._started = time.perf_counter()
        self._answer = b""
        if not self._transport.is_closing():
            self._transport.write(next(self._requests))


def is_whole(answer: bytes) -> bool:
    head, blank, body = answer.partition(b"\r\n\r\n")
    length = head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]
    return bool(blank) and len(body) >= int(length)


def bodies(caller: int, numbers: int) -> list[bytes]:
    if numbers == 1:
        return [BODY]
    lists = [[f"+1{200 + caller}5{n}{k:05}" for k in range(numbers)] for n in range(LISTS)]
    return [json.dumps({"to": one, "message": "Hello"}).encode() for one in lists]


async def main(
    url: str, seconds: float, per_second: float, callers: int = CALLERS, numbers: int = 1
) -> None:
    at = urlsplit(url)
    assert at.hostname
    assert at.port
    head = f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
    gap_s = callers / per_second if per_second else 0.0
    took: list[float] = []
    refused: list[bytes] = []
    loop = asyncio.get_running_loop()
    for caller in range(callers):
        requests = [
            f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
            for body in bodies(caller, numbers)
        ]
        poster = Poster(requests, gap_s, took, refused)
        await loop.create_connection(lambda poster=poster: poster, at.hostname, at.port)  # type: ignore[misc]
    await asyncio.sleep(seconds)
    took.sort()
    if refused:
        print(f"Non-2xx: {len(refused)}, the first {refused[0]!r}")
    print(f"Requests/sec: {len(took) / seconds:.2f}")
    print(f" 99% {took[len(took) * 99 // 100] * 1000:.2f}ms")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), *map(int, sys.argv[4:])))
