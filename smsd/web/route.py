"""One row of the route table. Rule: what is to be known of a call stands in its row, only there.

A feature makes its rows beside its handlers. Who may call, how a body is read and the contract all
follow from them.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import Enum

from aiohttp import web
from pydantic import BaseModel

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

JSON = "application/json"
TEXT = "text/plain"
CSV = "text/csv"
NDJSON = "application/x-ndjson"
PARAMETERS = web.RequestKey("parameters", dict[str, str])  # the parts of the path in braces
BODY = web.RequestKey("body", bytes)


class Access(Enum):
    """Who may make a call.

    A role, or the verified signature of a provider, would be another member, which
    `smsd.web.auth.Callers.check` then has to know.
    """

    OPEN = "anybody"
    TOKEN = "whoever bears one of the tokens"  # noqa: S105 - a description, not a token


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call answers under one status."""

    description: str
    model: type[BaseModel] | None = None  # None: any object, or any text
    media_type: str = JSON
    also: str = ""  # another media type, for callers whose Accept names it
    headers: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class Streamed:
    """A body that the handler reads in pieces from `request[UPLOAD]`, with a limit of its own."""

    media_types: tuple[str, ...]  # the first is taken for a body that names none
    model: type[BaseModel]  # of what is sent as JSON


@dataclass(frozen=True, slots=True)
class Route:
    """One call: how it is made, who may make it, what handles it, and what it is documented as."""

    method: str
    path: str  # as both aiohttp and OpenAPI write it: /messages/{id}
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]  # but for refusals
    access: Access = Access.TOKEN
    # A model: read whole, up to [http] max_body, before the handler is called, which finds it in
    # `request[BODY]`.
    body: type[BaseModel] | Streamed | None = None
    query: type[BaseModel] | None = None
    headers: type[BaseModel] | None = None
    refusals: tuple[int, ...] = ()  # beside those that any call of its kind can meet
    operation_id: str = ""  # the handler's name, where it is empty

    @property
    def name(self) -> str:
        """What the contract calls it."""
        return self.operation_id or self.handler.__name__
