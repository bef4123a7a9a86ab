"""Every finished message that a server keeps: ids and fields are read back from their places."""

from collections.abc import Iterable, Iterator
from typing import cast

import redis

from smsd.store.finished import place_of, unpack


def finished(client: redis.Redis, prefix: str = "smsd:") -> Iterator[tuple[str, dict[str, str]]]:
    """Id and fields of each."""
    for key in cast("Iterable[bytes]", client.scan_iter(f"{prefix}finished:*", count=1000)):
        name = key.decode().removeprefix(f"{prefix}finished:")
        for field, value in cast("dict[bytes, bytes]", client.hgetall(key)).items():
            id_ = _id_at(name, field)
            place = place_of(id_)
            assert place is not None
            assert (place.name, place.field) == (name, field)
            fields = unpack(value, place.time)
            assert fields is not None, value
            yield id_, fields


def _id_at(name: str, field: bytes) -> str:
    before, _, _ = name.partition(":")
    if before.startswith("s"):
        return before + field.hex()
    initial = "h" if field.startswith(b"h") else ""
    return initial + before + field.decode().removeprefix("h")
