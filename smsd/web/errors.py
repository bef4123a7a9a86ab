"""Errors as callers see them. Rule: every refusal names its code, the reason and the field."""

import json
import logging
import re
from collections.abc import Mapping

import orjson
from aiohttp import web

from smsd.core.fields import FieldError
from smsd.redis.errors import Away, OutOfMemory, Refused
from smsd.redis.group_commit import Full

log = logging.getLogger("smsd.web")
RETRY_AFTER_S = "2"
_NAME_PARTS = re.compile("HTTP|[A-Z][a-z]+")
ANSWER_S = 8.0  # how long a request may wait for Redis, however many wait for it


class ApiError(Exception):
    """An answer that is no success. The message is safe to show to the caller."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        more: Mapping[str, object] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.field = field
        self.more = more or {}
        self.headers = headers or {}


def unavailable(code: str, message: str, *, status: int = 503) -> ApiError:
    """Nothing is wrong with the request; it may work in a moment."""
    return ApiError(status, code, message, headers={"Retry-After": RETRY_AFTER_S})


def json_response(
    content: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A JSON answer."""
    return web.Response(
        body=_encode(content) + b"\n",
        status=status,
        headers=headers,
        content_type="application/json",
    )


def answer_to(error: Exception) -> web.Response:
    """The answer to whatever a handler raised, in one shape. Raises again what is no error."""
    return _answer(_http(error) if isinstance(error, web.HTTPException) else _to_api_error(error))


def drop_tracebacks(error: BaseException) -> None:
    """Break the reference cycle of an error and the frames that it came through.

    Some of these frames hold the body of a lost connection, or octets that are no HTTP. Left to
    the garbage collector, a flood of them would be 100,000 objects to look at in one step.
    """
    link: BaseException | None = error
    while link is not None:
        link.__traceback__ = None
        link = link.__context__


def _http(error: web.HTTPException) -> ApiError:
    if error.status < web.HTTPBadRequest.status_code:
        raise error
    # Made from the name of its class, since the reason phrase differs between versions of Python.
    code = "_".join(_NAME_PARTS.findall(type(error).__name__)[1:]).lower()
    return ApiError(error.status, code, code.replace("_", " "), headers=_allow(error))


def _to_api_error(error: Exception) -> ApiError:
    if isinstance(error, ApiError):
        return error
    if isinstance(error, FieldError):
        return ApiError(400, "invalid_field", f"{error.field} {error}", field=error.field)
    if isinstance(error, Full):
        return unavailable("busy", "too many requests are waiting for Redis")
    return _of_redis(error) or _bug(error)


def _of_redis(error: Exception) -> ApiError | None:
    if isinstance(error, OutOfMemory):
        return unavailable("redis_full", "Redis is out of memory and takes no more messages")
    if isinstance(error, Away):
        return unavailable("redis_away", "Redis does not answer")
    if isinstance(error, Refused):
        return unavailable("redis_damaged", f"Redis refuses it: {error}; see smsd fsck")
    return None


def _bug(error: Exception) -> ApiError:
    log.error("handler broke", exc_info=error)
    return ApiError(500, "internal", "a bug in smsd; its log has the details")


def _answer(error: ApiError) -> web.Response:
    content: dict[str, object] = {"code": error.code, "message": str(error), **error.more}
    if error.field is not None:
        content["field"] = error.field
    response = json_response({"error": content}, status=error.status, headers=error.headers)
    if error.headers.get("Connection") == "close":
        response.force_close()  # the header alone would leave it open
    return response


def _encode(content: object) -> bytes:
    try:
        return orjson.dumps(content)
    except TypeError:  # half a surrogate pair, in a field name of the caller's own
        return json.dumps(content).encode()


def _allow(error: web.HTTPException) -> dict[str, str]:
    return {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
