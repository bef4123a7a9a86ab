"""Files of contacts on their way to a daemon: as a caller sends them, piece by piece."""

from collections.abc import Iterator
from contextlib import closing, contextmanager

from tests.support.hostile import TOKEN, connect, read_all
from tests.support.processes import Daemon


def head(name: str, *headers: str, method: str = "PUT", query: str = "") -> bytes:
    """The head of a request that imports; `headers` say how long its body is."""
    lines = (
        f"{method} /audiences/{name}{query} HTTP/1.1",
        "Host: a",
        f"Authorization: Bearer {TOKEN}",
        *headers,
    )
    return "\r\n".join((*lines, "", "")).encode()


def rows(numbers: range, value: str = "x") -> bytes:
    """Contacts as CSV, without a header."""
    return b"".join(b"+1202556%04d,%s\n" % (n, value.encode()) for n in numbers)


class Caller:
    """A caller in the midst of sending a file."""

    def __init__(self, daemon: Daemon, name: str, *, method: str = "PUT") -> None:
        chunked = head(name, "Content-Type: text/csv", "Transfer-Encoding: chunked", method=method)
        self._socket = connect(daemon, chunked)
        self.send(b"phone,value\n")

    def send(self, octets: bytes) -> None:
        self._socket.sendall(b"%x\r\n%b\r\n" % (len(octets), octets))

    def finish(self) -> bytes:
        """Send the end; the answer."""
        self._socket.sendall(b"0\r\n\r\n")
        return self.answer()

    def answer(self) -> bytes:
        received = b""
        while b"\r\n\r\n" not in received or not received.endswith(b"}\n"):
            if not (octets := self._socket.recv(65_536)):
                break
            received += octets
        return received

    def rest(self) -> bytes:
        """All that comes until the daemon closes."""
        return read_all(self._socket)

    def close(self) -> None:
        self._socket.close()


@contextmanager
def calling(daemon: Daemon, name: str, *, method: str = "PUT") -> Iterator[Caller]:
    with closing(Caller(daemon, name, method=method)) as caller:
        yield caller
