"""Errors as callers see them. Rule: whatever is raised gets one shape and gives nothing away."""

import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from smsd.core.fields import FieldError
from smsd.redis.errors import (
    Away,
    Loading,
    NoReply,
    OutOfMemory,
    Refused,
    RefusesWrites,
    TooFewReplicas,
)
from smsd.redis.group_commit import Full
from smsd.web.errors import ApiError, json_response, unavailable
from tests.support.answers import errors_as_json

Client = TestClient[web.Request, web.Application]
Open = Callable[[BaseException], Awaitable[Client]]


@pytest.fixture
async def raising() -> AsyncIterator[Open]:
    """Opens an application whose handler raises."""
    clients: list[Client] = []

    async def opened(error: BaseException) -> Client:
        async def handle(_: web.Request) -> web.Response:
            raise error

        app = web.Application(middlewares=[errors_as_json])
        app.router.add_get("/", handle)
        client = TestClient(TestServer(app))
        await client.start_server()
        clients.append(client)
        return client

    yield opened
    for client in clients:
        await client.close()


async def get(client: Client, path: str = "/", method: str = "GET") -> tuple[int, Any, Any]:
    """Status, the error, headers."""
    async with client.request(method, path) as answer:
        assert answer.content_type == "application/json"
        content = await answer.json()
        assert set(content) == {"error"}
        assert {"code", "message"} <= set(content["error"])
        return answer.status, content["error"], answer.headers


async def test_an_error_names_its_code_reason_and_field(raising: Open) -> None:
    error = ApiError(409, "conflict", "it was", field="to", more={"n": 1}, headers={"X-A": "b"})
    status, refusal, headers = await get(await raising(error))

    assert status == 409
    assert refusal == {"code": "conflict", "message": "it was", "field": "to", "n": 1}
    assert headers["X-A"] == "b"


async def test_an_error_without_a_field_names_none(raising: Open) -> None:
    _, refusal, _ = await get(await raising(ApiError(400, "a", "b")))

    assert refusal == {"code": "a", "message": "b"}


async def test_a_field_that_cannot_be_accepted_is_named_and_begins_the_sentence(
    raising: Open,
) -> None:
    status, refusal, _ = await get(await raising(FieldError("to[3]", "is not a phone number")))

    assert status == 400
    assert refusal == {
        "code": "invalid_field",
        "message": "to[3] is not a phone number",
        "field": "to[3]",
    }


async def test_a_field_name_that_is_not_even_text_is_shown_as_an_escape(raising: Open) -> None:
    client = await raising(FieldError("\ud83d", "is no known field"))
    async with client.get("/") as answer:
        octets = await answer.read()

    assert answer.status == 400
    assert b'"field": "\\ud83d"' in octets
    assert json.loads(octets)["error"]["field"] == "\ud83d"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Away("Connection refused"), "redis_away"),
        (NoReply(), "redis_away"),
        (Loading("LOADING"), "redis_away"),
        (RefusesWrites("READONLY"), "redis_away"),
        (TooFewReplicas("0 of 1"), "redis_away"),
        (OutOfMemory("OOM command not allowed"), "redis_full"),
        (Refused("WRONGTYPE"), "redis_damaged"),
        (Full(), "busy"),
    ],
)
async def test_what_passes_by_itself_shows_when_to_try_again(
    raising: Open, error: Exception, code: str
) -> None:
    status, refusal, headers = await get(await raising(error))

    assert (status, refusal["code"]) == (503, code)
    assert int(headers["Retry-After"]) > 0


async def test_a_bug_is_answered_as_one_and_gives_nothing_away(
    raising: Open, caplog: pytest.LogCaptureFixture
) -> None:
    status, refusal, _ = await get(await raising(RuntimeError("password=hunter2")))

    assert (status, refusal["code"]) == (500, "internal")
    assert "hunter2" not in refusal["message"]
    [record] = [record for record in caplog.records if record.name == "smsd.web"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None


async def test_what_a_caller_did_is_not_logged_as_a_fault(
    raising: Open, caplog: pytest.LogCaptureFixture
) -> None:
    await get(await raising(FieldError("to", "is missing")))
    await get(await raising(ApiError(400, "a", "b")))
    await get(await raising(web.HTTPForbidden()))

    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_unknown_path_is_not_found(raising: Open) -> None:
    status, refusal, _ = await get(await raising(Full()), "/nowhere")

    assert status == 404
    assert refusal == {"code": "not_found", "message": "not found"}


async def test_a_wrong_method_names_those_that_are_allowed(raising: Open) -> None:
    status, refusal, headers = await get(await raising(Full()), method="POST")

    assert (status, refusal["code"]) == (405, "method_not_allowed")
    assert set(headers["Allow"].split(",")) == {"GET", "HEAD"}


async def test_aiohttp_s_own_refusals_have_the_same_shape(raising: Open) -> None:
    status, refusal, _ = await get(await raising(web.HTTPRequestEntityTooLarge(1, 2)))

    assert (status, refusal["code"]) == (413, "request_entity_too_large")


async def test_an_answer_that_is_no_error_passes(raising: Open) -> None:
    client = await raising(web.HTTPNotModified())
    async with client.get("/") as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_when_it_says_close_the_connection_is_closed(raising: Open) -> None:
    client = await raising(ApiError(413, "a", "b", headers={"Connection": "close"}))
    async with client.get("/") as answer:
        connection = answer.connection
        await answer.read()

    assert answer.headers["Connection"] == "close"
    assert connection is None or connection.protocol is None or connection.protocol.should_close


@pytest.mark.parametrize("status", [429, 503])
def test_unavailable_shows_when_to_try_again(status: int) -> None:
    error = unavailable("queue_full", "the queue is full", status=status)

    assert (error.status, error.headers) == (status, {"Retry-After": "2"})


def test_an_answer_is_one_line_of_json() -> None:
    answer = json_response({"a": "é"}, status=202, headers={"X-A": "b"})

    assert answer.body == '{"a":"é"}\n'.encode()
    assert (answer.status, answer.content_type, answer.headers["X-A"]) == (
        *(202, "application/json", "b"),
    )
