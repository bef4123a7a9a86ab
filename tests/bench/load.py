"""Posts texts over 32 kept connections: `load.py URL SECONDS PER_SECOND`, 0 for flat out."""

import asyncio
import sys
import time
from urllib.parse import urlsplit

BODY = b'{"to":"+12025550123","message":"Hello, this is a test message."}'
CONNECTIONS = 32


class Poster(asyncio.Protocol):
    """One connection: a request, its answer, the next request when it is due."""

    def __init__(
        self, request: bytes, gap_s: float, took: list[float], refused: list[bytes]
    ) -> None:
        self._request = request
        self._gap_s = gap_s
        self._took = took
        self._refused = refused
        self._started = 0.0
        self._due = time.perf_counter()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._post()

    def data_received(self, answer: bytes) -> None:
        now = time.perf_counter()
        if not answer.startswith(b"HTTP/1.1 200"):
            self._refused.append(answer)
        self._took.append(now - self._started)
        self._due += self._gap_s
        if self._due <= now:
            self._post()
        else:
            asyncio.get_running_loop().call_later(self._due - now, self._post)

    def _post(self) -> None:
        self._started = time.perf_counter()
        if not self._transport.is_closing():
            self._transport.write(self._request)


async def main(url: str, seconds: float, per_second: float) -> None:
    at = urlsplit(url)
    assert at.hostname
    assert at.port
    head = f"POST {at.path} HTTP/1.1\r\nHost: {at.netloc}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(BODY)}\r\n\r\n".encode() + BODY
    gap_s = CONNECTIONS / per_second if per_second else 0.0
    took: list[float] = []
    refused: list[bytes] = []
    loop = asyncio.get_running_loop()
    for _ in range(CONNECTIONS):
        await loop.create_connection(
            lambda: Poster(request, gap_s, took, refused), at.hostname, at.port
        )
    await asyncio.sleep(seconds)
    took.sort()
    if refused:
        print(f"Non-2xx: {len(refused)}, the first {refused[0]!r}")
    print(f"Requests/sec: {len(took) / seconds:.2f}")
    print(f" 99% {took[len(took) * 99 // 100] * 1000:.2f}ms")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3])))
