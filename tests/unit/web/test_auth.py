"""Who may call. Rule: every request is judged alike, whatever it brings, and refused alike."""

import asyncio
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import Handler

from smsd.web.auth import Callers
from smsd.web.router import Router
from tests.support.answers import errors_as_json
from tests.support.contract import table

TOKENS = ["first-token-0123456789", "second-token-0123456789", "third-token-0123456789"]

Client = TestClient[web.Request, web.Application]


@asynccontextmanager
async def serving(tokens: list[str]) -> AsyncIterator[Client]:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(text="in")

    callers = Callers(tokens)
    router = Router(table(), max_body=1, body_timeout_s=1.0)

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        callers.check(request, (await router.find(request)).access)
        return await handler(request)

    app = web.Application(middlewares=[errors_as_json, check])
    for path in ("/send", "/healthz", "/readyz", "/readyz/dispatch", "/metrics"):
        app.router.add_get(path, handle)
    async with TestClient(TestServer(app)) as client:
        yield client


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with serving(TOKENS) as opened:
        yield opened


async def call(client: Client, path: str = "/send", authorization: str | None = None) -> int:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with client.get(path, headers=headers) as answer:
        return answer.status


@pytest.mark.parametrize("token", TOKENS)
async def test_each_token_lets_its_bearer_in(client: Client, token: str) -> None:
    assert await call(client, authorization=f"Bearer {token}") == 200


@pytest.mark.parametrize("scheme", ["bearer", "BEARER", "bEaReR"])
async def test_the_scheme_is_read_in_any_case(client: Client, scheme: str) -> None:
    assert await call(client, authorization=f"{scheme} {TOKENS[0]}") == 200


async def test_spaces_around_the_token_do_not_matter(client: Client) -> None:
    assert await call(client, authorization=f"Bearer   {TOKENS[0]} ") == 200


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "",
        "Bearer",
        "Bearer ",
        TOKENS[0],
        f"Basic {TOKENS[0]}",
        f"Token {TOKENS[0]}",
        f"Bearer:{TOKENS[0]}",
        f"Bearer {TOKENS[0]}x",
        f"Bearer {TOKENS[0][:-1]}",
        f"Bearer {TOKENS[0].upper()}",
        f"Bearer {TOKENS[0]} {TOKENS[1]}",
        f"Bearer {','.join(TOKENS)}",
        'Bearer "' + TOKENS[0] + '"',
        "Bearer " + "x" * 5_000,
        "Bearer grüß",
        "Bearer \u20ac\u4e2d",
    ],
)
async def test_anything_else_is_refused(client: Client, authorization: str | None) -> None:
    assert await call(client, authorization=authorization) == 401


async def test_a_header_that_is_no_text_at_all_is_refused() -> None:
    async with serving(TOKENS) as client:
        connection = await open_raw(client, b"Authorization: Bearer \xff\xfe\x80\r\n")

    assert connection.startswith(b"HTTP/1.1 401 ")


async def test_a_path_that_only_means_the_same_is_not_open() -> None:
    async with serving(TOKENS) as client:
        connection = await open_raw(client, b"", path=b"//healthz")

    assert connection.startswith(b"HTTP/1.1 401 ")


async def open_raw(client: Client, header: bytes, path: bytes = b"/send") -> bytes:
    reader, writer = await asyncio.open_connection(client.host, client.port)
    head = b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    writer.write(head + header + b"\r\n")
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def test_a_refusal_is_always_the_same_and_repeats_nothing(client: Client) -> None:
    refusals = set()
    for authorization in (None, "Bearer wrong-token-0123456789", f"Basic {TOKENS[1]}", "Bearer é"):
        headers = {} if authorization is None else {"Authorization": authorization}
        async with client.get("/send", headers=headers) as answer:
            refusals.add((answer.status, await answer.text(), answer.headers["WWW-Authenticate"]))

    [(status, text, challenge)] = refusals
    assert status == 401
    assert "unauthorized" in text
    assert challenge == 'Bearer realm="smsd"'
    assert not any(token in text for token in TOKENS)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/readyz/dispatch"])
async def test_load_balancers_need_no_token(client: Client, path: str) -> None:
    assert await call(client, path) == 200
    assert await call(client, path, "Bearer wrong") == 200


@pytest.mark.parametrize(
    "path", ["/metrics", "/nowhere", "/healthz/", "/healthz/x", "/HEALTHZ", "/"]
)
async def test_everything_else_needs_one_even_to_learn_what_there_is(
    client: Client, path: str
) -> None:
    assert await call(client, path) == 401


Compare = Callable[[Any, Any], bool]


@pytest.mark.parametrize(
    "authorization", [*(f"Bearer {token}" for token in TOKENS), "Bearer x", ""]
)
async def test_all_tokens_are_compared_in_constant_time_whichever_fits(
    client: Client, authorization: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[int, int]] = []
    compare: Compare = hmac.compare_digest

    def watched(given: bytes, known: bytes) -> bool:
        compared.append((len(given), len(known)))
        return compare(given, known)

    monkeypatch.setattr(hmac, "compare_digest", watched)
    await call(client, authorization=authorization)

    # All, and of one length: neither the number of comparisons nor their time shows which fits.
    assert compared == [(32, 32)] * len(TOKENS)
