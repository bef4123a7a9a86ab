"""Reading request bodies. Rule: each is bounded in size and time, and nothing is guessed at."""

import asyncio
import json
from codecs import BOM_UTF8
from typing import NoReturn

from aiohttp import StreamReader, web

from smsd.core.fields import shortened
from smsd.web.edge.body_memory import HELD, HeldBody, busy
from smsd.web.errors import ApiError

CLOSE = {"Connection": "close"}
JSON = "application/json"
MOST_VALUES = 500  # counted by commas, and names by colons; those within strings count too
LONGEST_NUMBER = 400  # digits; no field takes a number, but its own fault says so


async def read_body(request: web.BaseRequest, *, most_octets: int, timeout_s: float) -> bytes:
    """The body of a JSON request. Raises `ApiError` 400, 408, 413, 415 or 503."""
    # Parsing the header costs as much as parsing a body, and nearly all say it in the same words.
    if request.headers.get("Content-Type") != JSON and not _is_json(request.content_type):
        raise ApiError(415, "unsupported_media_type", f"send Content-Type: {JSON}")
    check_encoding(request)
    body, held = request.content, request[HELD]
    try:
        if body.is_eof() and body.total_bytes <= most_octets:
            held.reserve(body.total_bytes)
            return body.read_nowait()  # it came along with the headers: nothing to wait for
        if (request.content_length or 0) > most_octets:
            raise too_large(most_octets)
        async with asyncio.timeout(timeout_s) as limit:
            with held.arriving(limit):
                return await _collected(body, held, most_octets)
    except TimeoutError:
        if held.gave_way:
            raise busy("the body came too slowly, and others need its memory") from None
        message = f"the body did not arrive within {timeout_s:g} s"
        raise ApiError(408, "body_timeout", message, headers=CLOSE) from None
    except (web.RequestPayloadError, ConnectionError):  # nobody reads the answer to the second
        message = "the body is not encoded as Transfer-Encoding says"
        raise ApiError(400, "invalid_body", message, headers=CLOSE) from None


async def _collected(body: StreamReader, held: HeldBody, most_octets: int) -> bytes:
    octets = bytearray()
    while piece := await body.readany():
        if len(octets) + len(piece) > most_octets:
            raise too_large(most_octets)
        held.reserve(len(piece))
        octets += piece
    return bytes(octets)


def check_encoding(request: web.BaseRequest) -> None:
    """Refuse a compressed body: what a kilobyte unpacks to is known once it has taken a megabyte.

    Raises `ApiError` 415.
    """
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise ApiError(
            415,
            "unsupported_content_encoding",
            "send the body as it is, without Content-Encoding",
            headers={"Accept-Encoding": "identity"},
        )


def _is_json(kind: str) -> bool:
    return kind == JSON or kind.endswith("+json")


def read_object(
    body: bytes, *, most_values: int = MOST_VALUES, most_names: int = MOST_VALUES
) -> dict[str, object]:
    """A JSON object without double keys, whose meaning RFC 8259 §4 leaves to chance.

    A megabyte of tiny values would hold up the loop for 0.1 s; it is refused unparsed.
    """
    for what, separator, most in (("values", b",", most_values), ("names", b":", most_names)):
        if body.count(separator) > most:
            raise ApiError(400, "invalid_json", f"the body holds more than {most} {what}")
    try:
        value = _DECODER.decode(body.removeprefix(BOM_UTF8).decode())
    except ApiError:
        raise
    except RecursionError:
        raise ApiError(400, "invalid_json", "the body is nested too deeply") from None
    except UnicodeDecodeError as error:
        raise _no_json(f"octet {error.start + 1} is not UTF-8") from None
    except json.JSONDecodeError as error:
        raise _no_json(_fault(error)) from None
    if not isinstance(value, dict):
        raise ApiError(400, "invalid_json", 'the body must be an object like {"message": "Hi"}')
    return value


def _fault(error: json.JSONDecodeError) -> str:
    if not error.doc.strip():
        return "it is empty"
    expected = _FAULTS.get(error.msg, "it cannot be read on from here")
    return f"line {error.lineno}, character {error.colno}: {expected}"


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for name, value in pairs:
        if name in fields:
            short = shortened(name)
            raise ApiError(400, "duplicate_field", f"{short} is given twice", field=short)
        fields[name] = value
    return fields


def _whole(digits: str) -> int:
    """A whole number. To read one of thousands of digits takes the square of their number."""
    if len(digits) > LONGEST_NUMBER:
        raise _too_long_a_number()
    return int(digits)


def _fraction(digits: str) -> float:
    if len(digits) > LONGEST_NUMBER:
        raise _too_long_a_number()
    return float(digits)


def _too_long_a_number() -> ApiError:
    return ApiError(400, "invalid_json", "the body holds a number that is too long")


def _no_constant(name: str) -> NoReturn:
    raise _no_json(f"{name} is not a JSON value")


def _no_json(why: object) -> ApiError:
    return ApiError(400, "invalid_json", f"the body is not JSON: {why}")


# The messages of Python's parser, for callers who write in another language.
_FAULTS = {
    "Expecting value": "a value is expected",
    "Expecting property name enclosed in double quotes": "a name in double quotes is expected",
    "Expecting ':' delimiter": "a colon is expected",
    "Expecting ',' delimiter": "a comma, or the end of the list or object, is expected",
    "Extra data": "nothing more is expected after the object",
    "Unterminated string starting at": "a string begins that does not end",
    "Invalid control character at": "a line end, or another control character, in a string"
    " must be escaped",
    "Invalid \\escape": "a backslash begins an escape that there is not",
    "Invalid \\uXXXX escape": "four hexadecimal digits are expected after \\u",
    "Illegal trailing comma before end of object": "no comma is expected before the end",
    "Illegal trailing comma before end of array": "no comma is expected before the end",
}
_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique,
    parse_int=_whole,
    parse_float=_fraction,
    parse_constant=_no_constant,
)


def too_large(most_octets: int) -> ApiError:
    """The refusal of a body that is larger than that; the rest of it is not worth reading."""
    return ApiError(
        413,
        "body_too_large",
        f"the body is larger than {most_octets} octets",
        headers=CLOSE,
    )
