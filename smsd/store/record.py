"""What a daemon knew of the data, for the next one. Rule: it is small, and may be missing or old.

Data that was restored while no daemon ran is older than this record, and shows as that.
"""

import os
from pathlib import Path

import orjson

from smsd.redis import endpoint
from smsd.store.identity import Data

NAME = "known-data.json"


class Record:
    """The file of one daemon, for one Redis and prefix."""

    def __init__(self, directory: Path, url: str, prefix: str) -> None:
        self._path = directory / NAME
        self._place = _place(url, prefix)

    def read(self) -> Data | None:
        """What was known last; None where nothing can be read, or it is of another Redis."""
        try:
            found = orjson.loads(self._path.read_bytes())
            place, id_, settled = found["redis"], found["id"], found["settled"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        if place != self._place or type(id_) is not str or type(settled) is not int:
            return None
        return Data(id_, max(settled, 0))

    def write(self, data: Data) -> None:
        """Replace it. Raises `OSError`."""
        content = {"redis": self._place, "id": data.id, "settled": data.settled}
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = self._path.with_suffix(f".{os.getpid()}")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(file, "wb") as written:
            written.write(orjson.dumps(content))
        beside.replace(self._path)


def _place(url: str, prefix: str) -> str:
    """Where the data is, without a login."""
    if url == "embedded":
        return f"{url}/{prefix}"
    where = endpoint.parse(url)
    at = where.path or where.service or ",".join(f"{host}:{port}" for host, port in where.nodes)
    return f"{at}/{where.db}/{prefix}"
