"""A recording gateway: a real HTTP server in a process of its own that says what arrived, and when.

The time of an arrival is the kernel's (SO_TIMESTAMPING), so a busy recorder does not blur it. One
JSON line an arrival goes to a file: at (ns), to, id, segments, reply, taken, and the recorder's own
id of it. Replies follow `--plan`, a JSON object of reply kind to weight, drawn from `--seed`; each
is given after `--latency` seconds; `--replies`, of recipient to kind, wins over the plan. Kinds: ok
429 503 500 400 403 garbage half reset hang drop (takes it, then closes without an answer) refuse
(resets the connection with the request unread: the message never arrived, and has no line),
"taken 503" (takes it, and answers as 503 does),
"forwarded 503" and "unreached 503" (what Envoy answers when its connection to the service ended
after the request, or never came about). Half of those answered with 500, reset or forwarded 503
are taken.

`GET /lookup?id=…` tells at once what became of a message: 200 and the recorder's own id if it was
taken, else 404; no plan but refuse touches that. `PUT /behaviour` changes the plan, from the next
request on, and how idle connections end: a JSON object of `plan`, `keep_alive` (seconds until an
idle connection is closed; 0: never), `announced` (whether answers say so, in whole seconds) and
`close_takes` (seconds that the close is on its way: what is written meanwhile is never read).
"""

import argparse
import asyncio
import json
import random
import signal
import socket
import struct
import time
from dataclasses import dataclass
from pathlib import Path

SO_TIMESTAMPING = 37
SOFTWARE_RX = 1 << 3 | 1 << 4  # SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE
DOWN = b"HTTP/1.1 503 Down\r\nContent-Length: 2\r\n\r\n{}"


def envoy(reason: str) -> bytes:
    """Envoy's answer in place of a service's."""
    body = f"upstream connect error or disconnect/reset before headers. reset reason: {reason}"
    head = "HTTP/1.1 503 Service Unavailable\r\nServer: envoy\r\nContent-Type: text/plain"
    return f"{head}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


SENDS = {
    "ok": b"HTTP/1.1 200 OK\r\nContent-Length: 16\r\n\r\n",
    "429": b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 2\r\n\r\n{}",
    "503": DOWN,
    "taken 503": DOWN,
    "forwarded 503": envoy("connection termination"),
    "unreached 503": envoy("connection failure"),
    "500": b"HTTP/1.1 500 Oops\r\nContent-Length: 2\r\n\r\n{}",
    "400": b"HTTP/1.1 400 Bad\r\nContent-Length: 2\r\n\r\n{}",
    "403": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n{}",
    "garbage": b"\x00\xff not http at all\r\n\r\n",
    "half": b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"id": "',
}
UNKNOWN = b"HTTP/1.1 404 Unknown\r\nContent-Length: 2\r\n\r\n{}"
DONE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
TAKES = {
    "ok",
    "drop",
    "half",
    "garbage",
    "hang",
    "taken 503",
}  # the text is on its way, whatever is answered
MAY_TAKE = {
    "500",
    "reset",
    "forwarded 503",
}  # nobody can tell from the answer; drawn for each message
LINGER_NOT = struct.pack("ii", 1, 0)  # a close is a reset


@dataclass
class Behaviour:
    """What `PUT /behaviour` changes."""

    plan: dict[str, float]
    keep_alive: float = 0.0
    announced: bool = False
    close_takes: float = 0.0

    @property
    def header(self) -> bytes:
        """What an answer says of it."""
        announced = b"Keep-Alive: timeout=%d\r\n" % int(self.keep_alive)
        return announced if self.announced and self.keep_alive else b""


class Recorder:
    def __init__(
        self,
        record: Path,
        plan: dict[str, float],
        seed: int,
        latency: float,
        replies: dict[str, str],
    ) -> None:
        self._record = record.open("a", buffering=1)
        before = [json.loads(line) for line in record.read_text().splitlines()]
        self._taken = {each["id"]: each["own_id"] for each in before if each["taken"]}
        self._behaviour = Behaviour(plan)
        self._random = random.Random(seed)
        self._latency = latency
        self._replies = replies
        self._count = len(before)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(listener)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            task = asyncio.create_task(self._connection(sock))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connection(self, sock: socket.socket) -> None:
        with sock:
            plan, kind = self._draw()
            served = False
            while True:
                if kind == "refuse":
                    await self._refuse(sock, at_once=not served and self._random.random() < 0.5)
                    return
                if served and not await self._comes(sock):
                    return
                request = await self._request(sock)
                if request is None:
                    return
                head, body, at = request
                served = True
                if await self._managed(sock, head, body):
                    continue
                if plan is not self._behaviour.plan:
                    plan, kind = self._draw()
                if not await self._answer(sock, kind, body, at):
                    return
                plan, kind = self._draw()

    async def _refuse(self, sock: socket.socket, *, at_once: bool) -> None:
        """Reset the connection, with a request unread or before one is there."""
        if not at_once:
            await self._readable(sock)
        _reset(sock)

    async def _comes(self, sock: socket.socket) -> bool:
        """Whether another request comes before the connection has been idle for too long."""
        try:
            await asyncio.wait_for(self._readable(sock), self._behaviour.keep_alive or None)
        except TimeoutError:
            await asyncio.sleep(self._behaviour.close_takes)
            return False
        return True

    async def _request(self, sock: socket.socket) -> tuple[bytes, bytes, int] | None:
        """Head and body of the next request, and when the end of it came; None at the end."""
        received = b""
        while True:
            chunk, at = await self._receive(sock)
            if not chunk:
                return None
            received += chunk
            if (request := _whole(received)) is not None:
                return *request, at

    async def _managed(self, sock: socket.socket, head: bytes, body: bytes) -> bool:
        """Whether the request was one to the recorder itself, and is answered."""
        if head.startswith(b"GET /lookup?id="):
            await self._answer_look_up(sock, head[15:].split(b" ")[0].decode())
        elif head.startswith(b"PUT /behaviour "):
            self._behaviour = Behaviour(**{"plan": self._behaviour.plan} | json.loads(body))
            await asyncio.get_running_loop().sock_sendall(sock, DONE)
        else:
            return False
        return True

    def _draw(self) -> tuple[dict[str, float], str]:
        """The reply to the next text that comes, and the plan that it is drawn from."""
        plan = self._behaviour.plan
        [kind] = self._random.choices(list(plan), list(plan.values()))
        return plan, kind

    def _takes(self, kind: str) -> bool:
        return kind in TAKES or (kind in MAY_TAKE and self._random.random() < 0.5)

    async def _readable(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        ready = loop.create_future()
        loop.add_reader(sock, _once, ready)
        try:
            await ready
        finally:
            loop.remove_reader(sock)

    async def _receive(self, sock: socket.socket) -> tuple[bytes, int]:
        while True:
            try:
                chunk, ancillary, *_ = sock.recvmsg(65_536, 512)
            except BlockingIOError:
                await self._readable(sock)
            except OSError:
                return b"", 0
            else:
                return chunk, _timestamp(ancillary)

    async def _answer(self, sock: socket.socket, kind: str, body: bytes, at: int) -> bool:
        if kind == "refuse":  # drawn anew, though it has been read
            _reset(sock)
            return False
        text = json.loads(body)
        kind = self._replies.get(text.get("to", ""), kind)
        taken = self._takes(kind)
        self._count += 1
        own_id = f"{self._count:07d}"
        line = {"at": at, "reply": kind, "taken": taken, "own_id": own_id, **text}
        line.pop("text", None)
        self._record.write(json.dumps(line) + "\n")
        if taken:
            self._taken[text["id"]] = own_id
        if kind == "hang":
            await asyncio.sleep(3600)
        await asyncio.sleep(self._latency)
        if kind in ("reset", "drop"):
            _reset(sock)
            return False
        reply = SENDS[kind] + (b'{"id":"%s"}' % own_id.encode() if kind == "ok" else b"")
        if kind not in ("garbage", "half"):
            reply = reply.replace(b"\r\n", b"\r\n" + self._behaviour.header, 1)
        await asyncio.get_running_loop().sock_sendall(sock, reply)
        return kind not in ("garbage", "half")

    async def _answer_look_up(self, sock: socket.socket, message_id: str) -> None:
        own_id = self._taken.get(message_id)
        reply = UNKNOWN if own_id is None else SENDS["ok"] + b'{"id":"%s"}' % own_id.encode()
        await asyncio.get_running_loop().sock_sendall(sock, reply)


def _reset(sock: socket.socket) -> None:
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_NOT)
    sock.close()


def _once(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def _whole(received: bytes) -> tuple[bytes, bytes] | None:
    """Head and body of a request; None while it is incomplete. (Nobody sends another behind it.)"""
    head, blank, rest = received.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    return (head, rest) if blank and len(rest) >= length else None


def _timestamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPING:
            seconds, nanoseconds = struct.unpack_from("qq", data)
            return int(seconds * 1_000_000_000 + nanoseconds)
    return time.time_ns()


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--plan", type=json.loads, default={"ok": 1})
    parser.add_argument("--replies", type=json.loads, default={})
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    given = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", given.port), backlog=1024)
    listener.setblocking(False)
    # Here, for what is accepted to inherit: the kernel takes a while to begin with it, and stamps a
    # packet when it is read until then.
    listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, SOFTWARE_RX)
    print(listener.getsockname()[1], flush=True)
    recorder = Recorder(given.record, given.plan, given.seed, given.latency, given.replies)
    serving = asyncio.create_task(recorder.serve(listener))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    try:
        await serving
    except asyncio.CancelledError:
        listener.close()


if __name__ == "__main__":
    asyncio.run(main())
