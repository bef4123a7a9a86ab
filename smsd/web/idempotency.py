"""`Idempotency-Key`. Rule: one key stands for one body, and both are remembered as digests."""

import hashlib
from typing import Literal, cast

from aiohttp import web
from pydantic import Field
from pydantic.config import JsonDict

from smsd.core import fields
from smsd.core.fields import read_visible
from smsd.web.errors import ApiError
from smsd.web.models import Strict

REPLAYED = {"Idempotent-Replayed": "true"}  # headers


class KeyHeaders(Strict):
    """The headers of a request that may be repeated."""

    idempotency_key: str | None = Field(
        None,
        alias="Idempotency-Key",
        description="The same key and body get the first answer again, for as long as the setting"
        " keep_idempotency of [queue] says: 24 hours by default.",
        json_schema_extra=cast("JsonDict", fields.VISIBLE.schema),
    )


class ReplayedHeaders(Strict):
    """The headers of the answer to one."""

    idempotent_replayed: Literal["true"] | None = Field(
        None,
        alias="Idempotent-Replayed",
        description="The first answer to this Idempotency-Key, again; nothing was done anew.",
    )


def read_key(request: web.BaseRequest, body: bytes) -> tuple[str, str]:
    """Digests of the key and of the body it was sent with; both are empty without a key."""
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return "", ""
    read_visible("Idempotency-Key", key)
    return hashlib.sha256(key.encode()).hexdigest(), hashlib.sha256(body).hexdigest()


def conflict() -> ApiError:
    """The answer where a key comes with another body."""
    return ApiError(
        409,
        "idempotency_conflict",
        "this Idempotency-Key was used with another body",
        field="Idempotency-Key",
    )
