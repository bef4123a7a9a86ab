"""A server older than smsd runs on: a real one if there is one, else as much as smsd asks it.

`SMSD_TEST_OLD_SERVER` names the binary of a real one.
"""

import os
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import hiredis

from tests.support.redis_server import RedisServer

REAL = os.environ.get("SMSD_TEST_OLD_SERVER", "")
ANSWERS = {
    b"HELLO": b"%2\r\n$7\r\nversion\r\n$6\r\n6.2.14\r\n$5\r\nproto\r\n:3\r\n",
    b"CLIENT": b"+OK\r\n",
    b"PING": b"+PONG\r\n",
    b"INFO": b"$22\r\nredis_version:6.2.14\r\n\r\n",
    b"CONFIG": b"-ERR Unknown subcommand or wrong number of arguments for 'GET'\r\n",
}


@contextmanager
def old_server(directory: Path) -> Iterator[str]:
    """A Redis 6.2; its URL."""
    if REAL:
        server = RedisServer(directory, binary=REAL).start()
        try:
            yield server.url
        finally:
            server.kill()
        return
    path = directory / "s"
    directory.mkdir(exist_ok=True)
    with socketserver.ThreadingUnixStreamServer(str(path), _Answering) as fake:
        fake.daemon_threads = True
        thread = threading.Thread(target=fake.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"unix://{path}"
        finally:
            fake.shutdown()
            thread.join()


class _Answering(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        reader = hiredis.Reader()
        while octets := self.request.recv(65_536):
            reader.feed(octets)
            while command := reader.gets():
                unknown = b"-ERR unknown command\r\n"
                self.request.sendall(ANSWERS.get(command[0].upper(), unknown))
