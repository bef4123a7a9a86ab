"""Request bodies. Rule: what is not plainly one JSON object is refused with its reason."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from aiohttp.typedefs import LooseHeaders

from smsd.web.body import read_body, read_object
from smsd.web.edge.body_memory import HELD, BodyMemory
from smsd.web.errors import ApiError
from tests.support.answers import errors_as_json

MOST = 1_000
JSON = {"Content-Type": "application/json"}

Client = TestClient[web.Request, web.Application]


def refused(body: bytes) -> ApiError:
    with pytest.raises(ApiError) as caught:
        read_object(body)
    assert caught.value.status == 400
    return caught.value


def test_an_object_is_read() -> None:
    body = '{"message": "Grüß Gott \\ud83d\\ude00", "to": ["+1", 2, null, true, {"a": 1.5}]}'

    assert read_object(body.encode()) == {
        "message": "Grüß Gott 😀",
        "to": ["+1", 2, None, True, {"a": 1.5}],
    }


def test_white_space_around_it_does_not_matter() -> None:
    assert read_object(b' \r\n\t{ "a" : 1 }\n') == {"a": 1}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"{",
        b'{"message": "Hi"',
        b'{"message": "Hi"}}',
        b'{"message": "Hi"} {"message": "Hi"}',
        b"{'message': 'Hi'}",
        b'{"message": "Hi",}',
        b"{message: Hi}",
        b'{"message": "a\nb"}',
        b'{"message": "\\x41"}',
        b'{"a": 01}',
        b'{"a": +1}',
        b'{"a": .5}',
        b"message=Hi",
        b'// comment\n{"message": "Hi"}',
        b"\x00",
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    error = refused(body)

    assert error.code == "invalid_json"
    assert str(error).startswith("the body is not JSON: ")


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
@pytest.mark.parametrize("shape", ['{"a": %s}', '{"a": [1, {"b": %s}]}', "%s"])
def test_python_s_own_numbers_are_not_json(name: str, shape: str) -> None:
    assert str(refused((shape % name).encode())) == (
        f"the body is not JSON: {name} is not a JSON value"
    )


@pytest.mark.parametrize("body", [b"null", b"true", b"1", b'"Hi"', b"[]", b'[{"message": "Hi"}]'])
def test_what_is_no_object_is_refused(body: bytes) -> None:
    assert str(refused(body)) == 'the body must be an object like {"message": "Hi"}'


@pytest.mark.parametrize(
    "body",
    [
        b'{"to": 1, "to": 2}',
        b'{"to": 1, "to": 1}',
        b'{"a": {"to": 1, "to": 2}}',
        b'{"a": [[{"b": [{"to": 1, "x": 0, "to": 2}]}]]}',
        b'{"to": 1, "\\u0074o": 2}',
        b'[{"to": 1, "to": 2}]',
    ],
)
def test_a_double_key_is_refused_at_any_depth(body: bytes) -> None:
    error = refused(body)

    assert (error.code, error.field) == ("duplicate_field", "to")
    assert str(error) == "to is given twice"


def test_a_double_key_of_a_callers_own_is_named_shortened() -> None:
    name = "x" * 5000
    error = refused(f'{{"{name}": 1, "{name}": 2}}'.encode())

    assert error.field == f"{name[:64]}…"
    assert str(error) == f"{name[:64]}… is given twice"


def test_keys_that_only_look_alike_are_two() -> None:
    composed, decomposed = "\u00e9", "e\u0301"

    assert len(read_object(json.dumps({composed: 1, decomposed: 2}).encode())) == 2


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
@pytest.mark.parametrize("depth", [100_000, 1_000_000])
def test_deep_nesting_is_refused_and_breaks_nothing(opening: bytes, depth: int) -> None:
    fault = "holds more than 500 names" if b":" in opening else "is nested too deeply"

    assert str(refused(opening * depth)) == f"the body {fault}"


def test_moderate_nesting_is_read() -> None:
    assert read_object(b'{"a":' + b"[" * 200 + b"]" * 200 + b"}")


def test_a_huge_whole_number_is_refused() -> None:
    for digits in (b"9" * 401, b"9" * 100_000, b"1." + b"9" * 400, b"-" + b"9" * 400):
        error = refused(b'{"a": ' + digits + b"}")

        assert error.code == "invalid_json"
        assert str(error) == "the body holds a number that is too long"


def test_a_number_of_any_other_size_passes_to_the_field_parser() -> None:
    assert read_object(b'{"a": ' + b"9" * 400 + b"}") == {"a": int("9" * 400)}
    assert read_object(b'{"a": 1e999, "b": -0.0, "c": 1e-999}')["a"] == float("inf")


@pytest.mark.parametrize("escape", ["\\ud83d", "\\udc00", "\\udc00\\ud83d"])
def test_half_a_surrogate_pair_passes_to_the_field_parser(escape: str) -> None:
    text = read_object(f'{{"message": "{escape}"}}'.encode())["message"]

    assert text == json.loads(f'"{escape}"')


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32-be", "latin-1", "cp037"])
def test_anything_but_utf_8_is_refused(encoding: str) -> None:
    assert refused('{"message": "Grüß Gott"}'.encode(encoding)).code == "invalid_json"


@pytest.mark.parametrize(
    "octets", [b"\xff", b"\xc3", b"\xc0\xaf", b"\xed\xa0\xbd", b"\xf4\x90\x80\x80"]
)
def test_invalid_utf_8_is_refused(octets: bytes) -> None:
    error = refused(b'{"message": "' + octets + b'"}')

    assert (error.code, error.field) == ("invalid_json", None)


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_object(b'\xef\xbb\xbf{"message": "Hi"}') == {"message": "Hi"}
    assert refused(b'\xef\xbb\xbf\xef\xbb\xbf{"message": "Hi"}').code == "invalid_json"


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"{'message': 'Hi'}", "line 1, character 2: a name in double quotes is expected"),
        (b'{"message": Hi}', "line 1, character 13: a value is expected"),
        (b'{"message" "Hi"}', "line 1, character 12: a colon is expected"),
        (
            b'{"message": "Hi"\n "to": 1}',
            "line 2, character 2: a comma, or the end of the list or object, is expected",
        ),
        (b'{"a": 1} {}', "line 1, character 10: nothing more is expected after the object"),
        (b'{"a": "Hi', "line 1, character 7: a string begins that does not end"),
        (
            b'{"a": "a\nb"}',
            "line 1, character 9: a line end, or another control character,"
            " in a string must be escaped",
        ),
        (rb'{"a": "\x41"}', "line 1, character 8: a backslash begins an escape that there is not"),
        (rb'{"a": "\u12"}', r"line 1, character 9: four hexadecimal digits are expected after \u"),
        (b'{"a": "\xff"}', "octet 8 is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said_for_people_who_do_not_write_python(body: bytes, fault: str) -> None:
    assert str(refused(body)) == f"the body is not JSON: {fault}"


def test_more_names_than_any_request_has_are_refused_unparsed() -> None:
    pairs = ",".join(f'"{n}":1' for n in range(502))

    assert str(refused(f"{{{pairs}}}".encode())) == "the body holds more than 500 values"
    nested = '{"a":' * 502 + "1" + "}" * 502
    assert str(refused(nested.encode())) == "the body holds more than 500 names"


def test_a_refusal_does_not_repeat_the_body() -> None:
    for body in (b'{"message": "Zebra', b'{"message": "Zebra\xff"}', b"Zebra", b'"Zebra"'):
        assert "Zebra" not in str(refused(body))


@pytest.fixture
def timeout_s() -> float:
    """How long a body may take; a test that waits for the end of it has its own."""
    return 60.0


@pytest.fixture
async def client(timeout_s: float) -> AsyncIterator[Client]:
    async def handle(request: web.Request) -> web.Response:
        request[HELD] = BodyMemory(MOST).body()
        body = await read_body(request, most_octets=MOST, timeout_s=timeout_s)
        return web.Response(body=body)

    app = web.Application(middlewares=[errors_as_json])
    app.router.add_post("/", handle)
    server = TestServer(app)
    await server.start_server(auto_decompress=False)
    async with TestClient(server) as opened:
        yield opened


async def post(client: Client, body: object, headers: LooseHeaders) -> tuple[int, str, bool]:
    """Status, code of the error or the echo, and whether the connection is closed after it."""
    async with client.post("/", data=body, headers=headers) as answer:
        text = await answer.text()
        code = text if answer.status == 200 else json.loads(text)["error"]["code"]
        return answer.status, code, answer.headers.get("Connection") == "close"


async def pieces(*octets: bytes, forever: bool = False) -> AsyncIterator[bytes]:
    for one in octets:
        yield one
    while forever:
        await asyncio.sleep(0.02)
        yield b" "


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/json; charset=utf-8",
        "APPLICATION/JSON",
        "application/cloudevents+json",
    ],
)
async def test_json_by_any_of_its_names_is_read(client: Client, kind: str) -> None:
    assert await post(client, b"{}", {"Content-Type": kind}) == (200, "{}", False)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
        "application/jsonp",
        "text/json",
        "json",
        "",
        ";",
    ],
)
async def test_any_other_kind_is_refused(client: Client, kind: str) -> None:
    status, code, _ = await post(client, b"{}", {"Content-Type": kind})

    assert (status, code) == (415, "unsupported_media_type")


async def test_a_body_of_just_the_largest_size_is_read(client: Client) -> None:
    assert (await post(client, b"x" * MOST, JSON))[0] == 200
    assert (await post(client, pieces(b"x" * (MOST - 1), b"x"), JSON))[0] == 200


async def test_one_octet_more_is_too_large(client: Client) -> None:
    assert await post(client, b"x" * (MOST + 1), JSON) == (413, "body_too_large", True)
    assert await post(client, pieces(b"x" * MOST, b"x"), JSON) == (413, "body_too_large", True)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "br", "x-gzip", "", "gzip, identity"])
async def test_no_encoding_of_a_body_is_undone(client: Client, coding: str) -> None:
    packed = JSON | {"Content-Encoding": coding}

    assert (await post(client, gzip.compress(b"{}"), packed))[:2] == (
        *(415, "unsupported_content_encoding"),
    )


async def test_identity_is_no_encoding(client: Client) -> None:
    assert await post(client, b"{}", JSON | {"Content-Encoding": "identity"}) == (200, "{}", False)


@pytest.mark.parametrize("timeout_s", [0.2])
async def test_a_body_that_does_not_arrive_in_time_is_given_up(client: Client) -> None:
    dripping = pieces(b"{", forever=True)

    assert await post(client, dripping, JSON) == (408, "body_timeout", True)


async def test_a_body_in_many_pieces_is_read(client: Client) -> None:
    assert await post(client, pieces(*[b"x"] * 500), JSON) == (200, "x" * 500, False)
