"""Versions of servers. Rule: one that is too old is refused by name, and none reads what it cannot.

Redis 7.0 is the oldest that smsd runs on: `entries-added` of XINFO STREAM, which the count of all
messages rests on, and append-only files that come in parts, which are mended after a crash.
"""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

Family = Literal["redis", "valkey"]

OLDEST = (7, 0)
# Valkey began as Redis 7.2 and reads what Redis wrote until then. Of what came later on either
# side, the other knows nothing.
LAST_COMMON = (7, 2)

# As a binary prints it, and as one begins the dump that an append-only file starts with.
_PRINTED = re.compile(r"(Redis|Valkey) server v=([0-9]+)\.([0-9]+)(?:\.[0-9]+)?")
_DUMPED = re.compile(
    rb"(?:REDIS|VALKEY)[0-9]+\xfa.(redis|valkey)-ver.([0-9]+)\.([0-9]+)", re.DOTALL
)
_RECORDED = re.compile(r"(redis|valkey) ([0-9]+)\.([0-9]+)")


class Version(NamedTuple):
    """Family and version of a server; the format of its files is one within a minor version."""

    family: Family
    number: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.family.capitalize()} {self.number[0]}.{self.number[1]}"

    @property
    def record(self) -> str:
        """How it stands in a file; `recorded` reads it."""
        return str(self).lower()

    def reads(self, writer: "Version") -> bool:
        """Whether it can load every file that `writer` wrote."""
        if self.family == writer.family:
            return self.number >= writer.number
        return self.family == "valkey" and writer.number <= LAST_COMMON


def printed(output: str) -> Version | None:
    """The version in the output of `--version`."""
    return _version(*found.groups()) if (found := _PRINTED.search(output)) else None


def dumped(head: bytes) -> Version | None:
    """The version of what wrote a dump that begins with `head`."""
    found = _DUMPED.match(head)
    return _version(*(part.decode() for part in found.groups())) if found else None


def recorded(line: str) -> Version | None:
    """The version that `Version.record` put into a file."""
    return _version(*found.groups()) if (found := _RECORDED.match(line)) else None


def too_old(info: Mapping[str, str]) -> str:
    """Why a server, by its answer to INFO, cannot be used; "" if it can, or does not answer."""
    number = info.get("redis_version", "")  # of Valkey the Redis that it is compatible with
    found = re.match(r"([0-9]+)\.([0-9]+)", number)
    if not found or tuple(map(int, found.groups())) >= OLDEST:
        return ""
    return (
        f"Redis is version {number}, and smsd needs {OLDEST[0]}.{OLDEST[1]} or newer,"
        ' or any Valkey: upgrade it, or use [redis] url = "embedded"'
    )


def _version(family: str, major: str, minor: str) -> Version:
    return Version("valkey" if family.lower() == "valkey" else "redis", (int(major), int(minor)))
