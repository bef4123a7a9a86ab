"""The route table at work. Rule: what a row says is done before its handler is called."""

import asyncio
from collections.abc import Mapping
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request
from pydantic import BaseModel

from smsd.web.edge.body_memory import HELD, BodyMemory
from smsd.web.errors import ApiError
from smsd.web.route import BODY, CSV, PARAMETERS, Access, Answer, Route, Streamed
from smsd.web.router import Router
from smsd.web.upload import UPLOAD, UploadLimits, Uploads

ANSWERS = {200: Answer("It is done.")}
JSON = {"Content-Type": "application/json"}


class Handlers:
    """Handlers that keep what they were called with."""

    def __init__(self) -> None:
        self.parameters: dict[str, str] = {}
        self.body: bytes | None = None
        self.pieces: list[bytes] = []

    def routes(self) -> list[Route]:
        return [
            Route("GET", "/open", self.handle, "Open.", ANSWERS, access=Access.OPEN),
            Route("GET", "/things/{id}", self.handle, "One thing.", ANSWERS),
            Route("DELETE", "/things/{id}", self.handle, "Remove it.", ANSWERS),
            Route("POST", "/things", self.handle, "A new thing.", ANSWERS, body=BaseModel),
            Route(
                "PUT", "/file", self.stream, "A file.", ANSWERS, body=Streamed((CSV,), BaseModel)
            ),
        ]

    async def stream(self, request: web.BaseRequest) -> web.Response:
        self.pieces = [piece async for piece in request[UPLOAD].pieces()]
        return web.Response()

    async def handle(self, request: web.BaseRequest) -> web.Response:
        self.parameters = request[PARAMETERS]
        self.body = request.get(BODY)
        return web.Response()


@pytest.fixture
def handlers() -> Handlers:
    return Handlers()


@pytest.fixture
async def router(handlers: Handlers) -> Router:
    limits = UploadLimits(max_octets=100, timeout_s=0.05, max_at_once=1)
    uploads = Uploads(limits, asyncio.get_running_loop().time)
    return Router(handlers.routes(), max_body=10, body_timeout_s=0.05, uploads=uploads)


def request(
    method: str, path: str, headers: Mapping[str, str] | None = None, *, body: bytes | None = b""
) -> web.BaseRequest:
    """A request; without a body, that is still on its way."""
    loop = asyncio.get_running_loop()
    protocol = BaseProtocol(loop)
    protocol.transport = asyncio.Transport()  # it is connected
    content = StreamReader(protocol, 2**16, loop=loop)
    if body is not None:
        content.feed_data(body)
        content.feed_eof()
    made = make_mocked_request(method, path, headers or {}, payload=content)
    made[HELD] = BodyMemory(10).body()
    return made


async def ask(router: Router, made: web.BaseRequest) -> web.StreamResponse:
    return await router.answer(made, await router.find(made))


@pytest.mark.parametrize(
    ("method", "path", "access"),
    [
        ("GET", "/open", Access.OPEN),
        ("HEAD", "/open", Access.OPEN),
        ("POST", "/open", Access.OPEN),  # anybody may learn that it is not allowed
        ("GET", "/open/", Access.TOKEN),
        ("GET", "//open", Access.TOKEN),
        ("GET", "/things/1", Access.TOKEN),
        ("PUT", "/things/1", Access.TOKEN),
        ("GET", "/nowhere", Access.TOKEN),
    ],
)
async def test_who_may_call_follows_from_the_row_or_where_there_is_none_from_the_path(
    router: Router, method: str, path: str, access: Access
) -> None:
    assert (await router.find(request(method, path))).access is access


async def test_a_handler_finds_the_parts_of_the_path(router: Router, handlers: Handlers) -> None:
    assert (await ask(router, request("DELETE", "/things/a%20b"))).status == 200
    assert handlers.parameters == {"id": "a b"}


async def test_a_body_is_read_where_the_row_has_one(router: Router, handlers: Handlers) -> None:
    await ask(router, request("POST", "/things", JSON, body=b"{}"))
    assert handlers.body == b"{}"

    await ask(router, request("GET", "/things/1", JSON, body=b"{}"))
    assert handlers.body is None


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({}, b"{}", 415),
        (JSON, b" " * 11, 413),
        (JSON, None, 408),
    ],
)
async def test_a_body_that_is_refused_never_comes_to_the_handler(
    router: Router, handlers: Handlers, headers: Mapping[str, str], body: bytes | None, status: int
) -> None:
    with pytest.raises(ApiError) as refused:
        await ask(router, request("POST", "/things", headers, body=body))
    assert refused.value.status == status
    assert handlers.body is None


async def test_what_is_not_in_the_table_is_refused_as_http_has_it(router: Router) -> None:
    with pytest.raises(web.HTTPNotFound):
        await ask(router, request("GET", "/nowhere"))
    with pytest.raises(web.HTTPMethodNotAllowed) as refused:
        await ask(router, request("PUT", "/things/1"))
    assert refused.value.allowed_methods == {"GET", "HEAD", "DELETE"}


async def test_a_caller_that_waits_for_100_continue_gets_it_before_the_body_is_read(
    router: Router,
) -> None:
    made = request("POST", "/things", JSON | {"Expect": "100-continue"}, body=b"{}")
    await ask(router, made)
    cast("Any", made.writer).write.assert_called_once_with(b"HTTP/1.1 100 Continue\r\n\r\n")


async def test_a_streamed_body_has_a_limit_of_its_own_and_is_read_by_its_handler(
    router: Router, handlers: Handlers
) -> None:
    for _ in range(2):  # each gives its place back
        await ask(router, request("PUT", "/file", body=b" " * 50))
        assert b"".join(handlers.pieces) == b" " * 50

    with pytest.raises(ApiError) as refused:
        await ask(router, request("PUT", "/file", body=b" " * 101))
    assert refused.value.status == 413


async def test_a_caller_is_not_asked_to_go_on_with_a_streamed_body_that_is_refused(
    router: Router,
) -> None:
    waits = {"Expect": "100-continue"}
    made = request("PUT", "/file", waits | {"Content-Length": "101"})
    with pytest.raises(ApiError):
        await ask(router, made)
    cast("Any", made.writer).write.assert_not_called()

    made = request("PUT", "/file", waits)
    await ask(router, made)
    cast("Any", made.writer).write.assert_called_once_with(b"HTTP/1.1 100 Continue\r\n\r\n")
