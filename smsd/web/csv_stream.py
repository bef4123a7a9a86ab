"""Answers as CSV, streamed. Rule: whoever gets less than all of it can see that.

The first rows are fetched before anything is answered, so that most failures have a status of
their own. After that the connection is cut, without the end that the encoding promises.
"""

import csv
import io
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from contextlib import aclosing

from aiohttp import HttpVersion11, web

from smsd.web.errors import drop_tracebacks

log = logging.getLogger("smsd.web")
BOM = "\ufeff"  # by which Excel knows that it is UTF-8


async def answer_csv(
    request: web.BaseRequest, pieces: AsyncGenerator[bytes, None], file_name: str
) -> web.StreamResponse:
    """Answer with all pieces, which browsers keep as a file of that name. Raises as they do."""
    async with aclosing(pieces):
        first = await anext(pieces, b"")
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": f'attachment; filename="{file_name}"',
            }
        )
        if request.version >= HttpVersion11:
            response.enable_chunked_encoding()  # else its end is that of the connection
        await response.prepare(request)
        if request.method != "HEAD":
            await _write(request, response, first, pieces)
    return response


async def _write(
    request: web.BaseRequest,
    response: web.StreamResponse,
    first: bytes,
    pieces: AsyncIterator[bytes],
) -> None:
    try:
        await response.write(first)
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
    except ConnectionError:
        pass  # the caller has had enough
    except Exception as error:  # noqa: BLE001 - the status is out already
        log.warning("export broken off", extra={"reason": str(error) or type(error).__name__})
        drop_tracebacks(error)
        if request.transport is not None:
            request.transport.abort()


def rows_as_csv(rows: Iterable[Sequence[str]], *, begin: str = "") -> bytes:
    """Rows as RFC 4180 writes them."""
    text = io.StringIO(begin)
    text.seek(0, io.SEEK_END)
    csv.writer(text).writerows(rows)
    return text.getvalue().encode("utf-8", "replace")


def for_excel(value: str) -> str:
    """A value that Excel shows as it is, and neither shortens, computes nor runs."""
    if value[:1] in ("+", "=", "-", "@", "\t", "\r") or value.isdecimal():
        return '="{}"'.format(value.replace('"', '""'))
    return value
