"""What the daemon answers as CSV, saved. Rule: a file of ours is whole, or it is not there."""

import sys
from contextlib import suppress
from pathlib import Path

from aiohttp import ClientError

from smsd.cli.http import Api

CSV = "text/csv"


class NotWrittenError(Exception):
    """A file of ours could not be written."""


async def save(
    api: Api, path: str, output: Path | None, *, query: dict[str, str] | None = None
) -> None:
    """Write what is answered as CSV; to a file only when all of it has come."""
    async with api.open("GET", path, query=query, headers={"Accept": CSV}) as answer:
        if output is None:
            async for piece in answer.content.iter_any():
                sys.stdout.buffer.write(piece)
            return
        partial = output.with_name(f".{output.name}.part")
        try:
            with partial.open("wb") as file:
                async for piece in answer.content.iter_any():
                    file.write(piece)
            partial.replace(output)
        except (ClientError, TimeoutError):  # some of them are OSErrors, too
            raise
        except OSError as error:
            raise NotWrittenError(f"{output}: {error.strerror}") from None
        finally:
            with suppress(OSError):
                partial.unlink()
