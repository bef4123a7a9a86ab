"""Answers as CSV. Rule: whoever gets less than all of it can see that."""

from collections.abc import AsyncGenerator
from typing import Any, cast
from unittest.mock import Mock

import pytest
from aiohttp import HttpVersion10, HttpVersion11, web
from aiohttp.test_utils import make_mocked_request

from smsd.web.csv_stream import answer_csv, for_excel, rows_as_csv


class Pieces:
    """Some pieces, then perhaps an error; whether anybody closed them."""

    def __init__(self, *pieces: bytes, error: Exception | None = None) -> None:
        self._pieces = pieces
        self._error = error
        self.closed = False

    async def all(self) -> AsyncGenerator[bytes, None]:
        try:
            for piece in self._pieces:
                yield piece
            if self._error:
                raise self._error
        finally:
            self.closed = True


def written(request: web.BaseRequest) -> list[bytes]:
    return [call.args[0] for call in cast("Any", request)._payload_writer.write.mock_calls]


def asked(method: str = "GET", **more: Any) -> web.BaseRequest:
    return make_mocked_request(method, "/things", transport=Mock(), **more)


async def test_all_pieces_are_written_and_then_the_end() -> None:
    request, pieces = asked(), Pieces(b"a\r\n", b"b\r\n")
    response = await answer_csv(request, pieces.all(), "things.csv")
    assert written(request) == [b"a\r\n", b"b\r\n"]
    assert response.chunked
    assert response.headers["Content-Disposition"] == 'attachment; filename="things.csv"'
    cast("Any", request)._payload_writer.write_eof.assert_called_once()


async def test_what_fails_before_the_first_piece_is_raised() -> None:
    with pytest.raises(LookupError):
        await answer_csv(asked(), Pieces(error=LookupError()).all(), "things.csv")


async def test_what_fails_later_cuts_the_connection() -> None:
    request, pieces = asked(), Pieces(b"a\r\n", error=LookupError("gone"))
    await answer_csv(request, pieces.all(), "things.csv")
    cast("Any", request)._payload_writer.write_eof.assert_not_called()
    cast("Any", request.transport).abort.assert_called_once()


async def test_the_head_has_no_pieces_and_leaves_none_open() -> None:
    request, pieces = asked("HEAD"), Pieces(b"a\r\n", b"b\r\n")
    await answer_csv(request, pieces.all(), "things.csv")
    assert written(request) == []
    assert pieces.closed


@pytest.mark.parametrize(("version", "chunked"), [(HttpVersion10, False), (HttpVersion11, True)])
async def test_an_older_client_is_sent_no_chunks(version: Any, chunked: bool) -> None:
    response = await answer_csv(asked(version=version), Pieces(b"a").all(), "things.csv")
    assert bool(response.chunked) is chunked


def test_rows_are_quoted_where_they_must_be() -> None:
    rows = [["number", "a,b"], ['say "x"', "two\nlines"]]
    assert rows_as_csv(rows) == b'number,"a,b"\r\n"say ""x""","two\nlines"\r\n'
    assert rows_as_csv([["é\ud83d"]], begin="\ufeff") == "\ufeffé?\r\n".encode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("+12025550101", '="+12025550101"'),
        ("01234", '="01234"'),
        ("=1+1", '="=1+1"'),
        ('-"x"', '="-""x"""'),
        ("@x", '="@x"'),
        ("Anna", "Anna"),
        ("3 cats", "3 cats"),
        ("", ""),
    ],
)
def test_excel_is_kept_from_changing_and_running_what_it_is_given(value: str, shown: str) -> None:
    assert for_excel(value) == shown
