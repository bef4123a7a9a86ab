"""Bodies that are streamed. Rule: each is bounded in size and patience, and few come at once."""

import asyncio
from collections.abc import Mapping

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from pydantic import BaseModel

from smsd.web.errors import ApiError
from smsd.web.route import CSV, JSON, Streamed
from smsd.web.upload import PATIENCE_S, SLOW, Upload, UploadLimits, Uploads

BODY = Streamed((CSV, JSON), BaseModel)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(clock: Clock) -> Uploads:
    return Uploads(UploadLimits(max_octets=500_000, timeout_s=0.05, max_at_once=1), clock)


def request(headers: Mapping[str, str] | None = None, body: bytes = b"") -> web.BaseRequest:
    """A request of whose body these octets have come."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = asyncio.Transport()
    content = StreamReader(protocol, 2**20, loop=loop)
    content.feed_data(body)
    return make_mocked_request("PUT", "/things", headers or {}, payload=content)


async def read(upload: Upload) -> bytes:
    return b"".join([piece async for piece in upload.pieces()])


def refused(uploads: Uploads, made: web.BaseRequest) -> tuple[int, str]:
    with pytest.raises(ApiError) as error, uploads.begin(made, BODY):
        pass
    return error.value.status, error.value.code


async def test_all_of_a_body_is_read(uploads: Uploads) -> None:
    made = request(body=b"one,two\n")
    made.content.feed_data(b"1,2\n")
    made.content.feed_eof()
    with uploads.begin(made, BODY) as upload:
        assert await read(upload) == b"one,two\n1,2\n"
        assert upload.octets == 12


@pytest.mark.parametrize(
    ("headers", "media_type", "charset"),
    [
        ({}, CSV, ""),
        ({"Content-Type": "text/csv"}, CSV, ""),
        ({"Content-Type": "application/json"}, JSON, ""),
        ({"Content-Type": "Text/CSV; charset=UTF-16"}, CSV, "UTF-16"),
    ],
)
async def test_its_media_type_is_what_its_header_names_or_the_first(
    uploads: Uploads, headers: Mapping[str, str], media_type: str, charset: str
) -> None:
    with uploads.begin(request(headers), BODY) as upload:
        assert (upload.media_type, upload.charset) == (media_type, charset)


@pytest.mark.parametrize(
    ("headers", "answer"),
    [
        ({"Content-Type": "application/zip"}, (415, "unsupported_media_type")),
        ({"Content-Encoding": "gzip"}, (415, "unsupported_content_encoding")),
        ({"Content-Length": "5000000000"}, (413, "body_too_large")),
    ],
)
async def test_what_is_refused_is_refused_before_an_octet_is_read(
    uploads: Uploads, headers: Mapping[str, str], answer: tuple[int, str]
) -> None:
    assert refused(uploads, request(headers)) == answer


async def test_a_body_that_grows_beyond_its_limit_is_refused(uploads: Uploads) -> None:
    begin = uploads.begin(request(body=b" " * 500_001), BODY)
    with begin as upload, pytest.raises(ApiError) as error:
        await read(upload)
    assert error.value.status == 413


async def test_a_body_of_which_nothing_comes_for_too_long_is_given_up(uploads: Uploads) -> None:
    begin = uploads.begin(request(body=b"number\n"), BODY)
    with begin as upload, pytest.raises(ApiError) as error:
        await read(upload)
    assert (error.value.status, error.value.code) == (408, "body_timeout")


@pytest.mark.parametrize("fault", [web.RequestPayloadError("short"), ConnectionResetError()])
async def test_a_body_that_ends_early_is_no_whole_one(uploads: Uploads, fault: Exception) -> None:
    made = request(body=b"number\n")
    with uploads.begin(made, BODY) as upload:
        made.content.set_exception(fault)
        with pytest.raises(ApiError) as error:
            await read(upload)
    assert (error.value.status, error.value.code) == (400, "invalid_body")


async def test_only_so_many_are_read_at_once(uploads: Uploads) -> None:
    with uploads.begin(request(), BODY):
        assert refused(uploads, request()) == (503, "busy")
    with uploads.begin(request(), BODY):
        pass


async def test_a_slow_body_gives_way_to_another(uploads: Uploads, clock: Clock) -> None:
    made = request()
    with uploads.begin(made, BODY) as slow:
        reading = asyncio.create_task(read(slow))
        await asyncio.sleep(0)
        clock.now += PATIENCE_S + 1
        with uploads.begin(request(), BODY), pytest.raises(ApiError) as error:
            await reading
    assert (error.value.status, error.value.code) == (503, "busy")


async def test_a_slow_body_that_is_not_waited_for_just_now_gives_way_at_its_next_piece(
    uploads: Uploads,
) -> None:
    with uploads.begin(request(body=b"number\n"), BODY) as upload:
        upload.give_up("others wait")
        with pytest.raises(ApiError) as error:
            await read(upload)
    assert error.value.status == 503


async def test_a_body_that_drips_is_slow_and_one_that_comes_fast_enough_is_not(
    uploads: Uploads, clock: Clock
) -> None:
    for octets, is_slow in ((1, True), (2 * SLOW, False)):
        made = request()
        with uploads.begin(made, BODY) as upload:
            reading = asyncio.create_task(read(upload))
            for _ in range(round(PATIENCE_S) // 2 + 1):
                await asyncio.sleep(0)
                clock.now += 2
                made.content.feed_data(b" " * octets * 2)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
            assert not reading.done()
            assert upload.is_slow() is is_slow
            reading.cancel()


async def test_time_that_we_take_ourselves_makes_nobody_slow(
    uploads: Uploads, clock: Clock
) -> None:
    with uploads.begin(request(body=b"number\n"), BODY) as upload:
        async for _ in upload.pieces():
            clock.now += 100 * PATIENCE_S
            break
        assert not upload.is_slow()


async def test_a_stop_gives_up_what_is_on_its_way_and_lets_what_has_come_go_on(
    uploads: Uploads,
) -> None:
    whole = request(body=b"number\n")
    whole.content.feed_eof()
    with uploads.begin(whole, BODY) as upload:
        assert await read(upload) == b"number\n"
        uploads.stop()
    assert refused(uploads, request()) == (503, "busy")


async def test_a_stop_ends_the_wait_for_a_body(uploads: Uploads) -> None:
    with uploads.begin(request(), BODY) as upload:
        reading = asyncio.create_task(read(upload))
        await asyncio.sleep(0)
        uploads.stop()
        with pytest.raises(ApiError, match="smsd is stopping") as error:
            await reading
    assert error.value.status == 503
