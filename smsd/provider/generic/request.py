"""The configured request. Rule: a fault in it is found at the start, and named by its key."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Literal
from urllib.parse import quote

import orjson
from yarl import URL

from smsd.core.message import Message
from smsd.provider.generic import fields
from smsd.provider.generic.fields import Placeholders, Template, Tree
from smsd.provider.wire.settings import below, http_url
from smsd.provider.wire.transport import Request

Body = Literal["form", "json", "query", "raw"]

_TYPES: dict[Body, str] = {
    "form": "application/x-www-form-urlencoded",
    "json": "application/json",
    "raw": "text/plain; charset=utf-8",
}
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110 §5.6.2
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestTemplate:
    """A request without the values of a message."""

    def __init__(
        self,
        *,
        method: str,
        body: Body,
        base_url: str,
        url: str,
        headers: Mapping[str, str],
        authorization: str,
        field_values: Mapping[str, Any],
        encodings: Mapping[str, str],
        secrets: Mapping[str, str],
    ) -> None:
        """Raise `ValueError` for the first fault; `secrets` are keyed in lower case."""
        if method == "GET" and body != "query":
            raise ValueError('body: a GET has none; it must be "query"')
        self._method = method
        self._body = body
        self._url = _url(base_url, url, secrets)
        self._headers = header_templates(headers, authorization, secrets, _TYPES.get(body, ""))
        self._fields = _fields(field_values, encodings, secrets, nested=body == "json")
        self.placeholders = fields.names(dict(self._fields))
        _check_complete(self.placeholders | ({"text"} if body == "raw" else set()))

    def fill(self, message: Message) -> Request:
        """The request for one message."""
        filled = {name: fields.fill(tree, message) for name, tree in self._fields.items()}
        url, body = self._url, b""
        match self._body:
            case "form":
                body = fields.urlencoded(filled).encode()
            case "json":
                body = orjson.dumps(filled)
            case "query":
                url = _with_query(url, filled)
            case "raw":
                url, body = _with_query(url, filled), message.content.text.encode()
        headers = fields.fill_headers(self._headers, message)
        return Request(self._method, URL(url, encoded=True), headers, body)


@contextmanager
def fault_at(key: str) -> Iterator[None]:
    """Name the key in which a fault is."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None


def header_templates(
    headers: Mapping[str, str],
    authorization: str,
    secrets: Mapping[str, str],
    content_type: str = "",
) -> dict[str, Template]:
    """The headers by lower-case name. Raises `ValueError`."""
    written = {name.lower(): value for name, value in headers.items()}
    if content_type:
        written.setdefault("content-type", content_type)
    if authorization:
        written["authorization"] = authorization
    return {name: _header(name, value, secrets) for name, value in written.items()}


def _header(name: str, value: str, secrets: Mapping[str, str]) -> Template:
    with fault_at(f"headers.{name}"):
        if not _HEADER_NAME.fullmatch(name):
            raise ValueError("is not a valid name of a header")
        template = Template(value, secrets, fields.IN_HEADERS)
        if _CONTROL.search(template.fixed()):
            raise ValueError("holds a control character, perhaps a line end after a secret")
        return template


def _url(base_url: str, url: str, secrets: Mapping[str, str]) -> str:
    quoted = {name: quote(secret, safe="") for name, secret in secrets.items()}
    with fault_at("url"):
        whole = below(base_url, url)
        return str(URL(http_url(Template(whole, quoted, fields.only()).fixed())))


def _with_query(url: str, filled: Mapping[str, fields.Filled]) -> str:
    query = fields.urlencoded(filled)
    return f"{url}{'&' if '?' in url else '?'}{query}" if query else url


def _fields(
    written: Mapping[str, object],
    encodings: Mapping[str, str],
    secrets: Mapping[str, str],
    *,
    nested: bool,
) -> dict[str, Tree]:
    known = fields.with_encodings(encodings)
    return {
        name: _field(name, value, secrets, known, nested=nested) for name, value in written.items()
    }


def _field(
    name: str, value: object, secrets: Mapping[str, str], known: Placeholders, *, nested: bool
) -> Tree:
    with fault_at(f"fields.{name}"):
        if not nested and not fields.is_flat(value):
            raise ValueError("only a JSON body holds tables")
        return fields.read(value, secrets, known)


def _check_complete(placeholders: set[str]) -> None:
    # Else every message would be sent empty, or to nobody, and count as sent.
    if not placeholders & {"text", "text_hex"}:
        raise ValueError("fields: must hold {text} somewhere")
    if not placeholders & {"to", "to_no_plus"}:
        raise ValueError("fields: must hold {to} or {to_no_plus} somewhere")
