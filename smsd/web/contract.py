"""`/openapi.json`. Rule: the contract is made from the route table, so it cannot differ from it."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import orjson
from aiohttp import web
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core import core_schema

from smsd.web.models import Error, RetryAfter
from smsd.web.route import JSON, Access, Answer, Route, Streamed

Model = type[BaseModel] | None
INFO = {
    "title": "smsd",
    "version": "1",
    "description": "Queues text messages; a carrier gets them at an exact rate.",
}
# What any call can be refused with, and what follows from its access and its body.
ANY_CALL = (400, 403, 417, 431, 503)
WITH_TOKEN = (401,)
WITH_BODY = (408, 413, 415)
RETRY_LATER = (429, 503)


REFUSED = Answer("Nothing was done; the error says why, and which field is at fault.", Error)
NOT_NOW = Answer(
    "Nothing is wrong with the request. `outcome_unknown`: it may have been done.",
    Error,
    headers=RetryAfter,
)
SHARED = {"Refused": REFUSED, "NotNow": NOT_NOW}


class Contract:
    """The handler, and its own row."""

    def __init__(self, routes: Sequence[Route]) -> None:
        """`routes`: all others."""
        self.route = Route(
            "GET",
            "/openapi.json",
            self.show,
            "This contract.",
            {200: Answer("The contract, in OpenAPI 3.1.")},
            access=Access.OPEN,
            operation_id="openapi",
        )
        self._octets = orjson.dumps(document([*routes, self.route]))

    async def show(self, _: web.BaseRequest) -> web.Response:
        """`GET`: the contract."""
        return web.Response(body=self._octets, content_type=JSON)


def document(routes: Sequence[Route]) -> dict[str, Any]:
    """The OpenAPI document of these routes."""
    return _Document(routes).write()


class _Document:
    def __init__(self, routes: Sequence[Route]) -> None:
        self._routes = routes
        self._schemas = _schemas(self._models())

    def write(self) -> dict[str, Any]:
        paths: dict[str, dict[str, Any]] = {}
        for route in self._routes:
            paths.setdefault(route.path, {})[route.method.lower()] = self._operation(route)
        in_parameters = {model.__name__ for model in self._parameter_models()}
        return {
            "openapi": "3.1.0",
            "info": INFO,
            "security": [{"token": []}],
            "paths": paths,
            "components": {
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
                "responses": {name: self._response(answer) for name, answer in SHARED.items()},
                "schemas": {
                    name: schema
                    for name, schema in self._schemas.items()
                    if name not in in_parameters  # written out in each operation
                },
            },
        }

    def _models(self) -> Iterator[Model]:
        for route in self._routes:
            yield route.body.model if isinstance(route.body, Streamed) else route.body
        yield from (answer.model for answer in self._answers())
        yield from self._parameter_models()

    def _parameter_models(self) -> Iterator[type[BaseModel]]:
        for route in self._routes:
            yield from filter(None, (route.query, route.headers))
        yield from (answer.headers for answer in self._answers() if answer.headers is not None)

    def _answers(self) -> Iterator[Answer]:
        for route in self._routes:
            yield from route.answers.values()
        yield from SHARED.values()

    def _operation(self, route: Route) -> dict[str, Any]:
        operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary}
        if route.access is Access.OPEN:
            operation["security"] = []
        if parameters := list(self._parameters(route)):
            operation["parameters"] = parameters
        if route.body is not None:
            operation["requestBody"] = {"required": True, "content": _body(route.body)}
        responses = {status: self._response(answer) for status, answer in route.answers.items()}
        for status in _refusals(route) - responses.keys():
            name = "NotNow" if status in RETRY_LATER else "Refused"
            responses[status] = {"$ref": f"#/components/responses/{name}"}
        operation["responses"] = {str(status): responses[status] for status in sorted(responses)}
        return operation

    def _parameters(self, route: Route) -> Iterator[dict[str, Any]]:
        for name in re.findall(r"{(\w+)}", route.path):
            schema = {"type": "string", "minLength": 1}
            yield {"name": name, "in": "path", "required": True, "schema": schema}
        for place, model in (("query", route.query), ("header", route.headers)):
            for name, described in self._described(model).items():
                yield {"name": name, "in": place, **described}

    def _response(self, answer: Answer) -> dict[str, Any]:
        response: dict[str, Any] = {
            "description": answer.description,
            "content": _content(answer.model, answer.media_type),
        }
        if answer.also:
            response["content"] |= _content(None, answer.also)
        if headers := self._described(answer.headers):
            response["headers"] = headers
        return response

    def _described(self, model: Model) -> Mapping[str, dict[str, Any]]:
        """The fields of a model as OpenAPI writes parameters: a description beside a schema."""
        properties = {} if model is None else self._schemas[model.__name__]["properties"]
        described: dict[str, dict[str, Any]] = {}
        for name, schema in properties.items():
            only_schema = {key: value for key, value in schema.items() if key != "description"}
            described[name] = {"schema": only_schema}
            if "description" in schema:
                described[name]["description"] = schema["description"]
        return described


def _schemas(models: Iterable[Model]) -> dict[str, Any]:
    different = dict.fromkeys(model for model in models if model is not None)
    _, schemas = models_json_schema(
        [(model, "validation") for model in different],
        ref_template="#/components/schemas/{model}",
        schema_generator=_Schema,
    )
    return dict(schemas["$defs"])


def _refusals(route: Route) -> set[int]:
    statuses = {*ANY_CALL, *route.refusals}
    if route.access is Access.TOKEN:
        statuses |= {*WITH_TOKEN}
    if route.body is not None:
        statuses |= {*WITH_BODY}
    return statuses


def _body(body: type[BaseModel] | Streamed) -> dict[str, Any]:
    if not isinstance(body, Streamed):
        return _content(body, JSON)
    content: dict[str, Any] = {}
    for media_type in body.media_types:
        content |= _content(body.model if media_type == JSON else None, media_type)
    return content


def _content(model: Model, media_type: str) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object" if media_type == JSON else "string"}
    if model is not None:
        schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {media_type: {"schema": schema}}


class _Schema(GenerateJsonSchema):
    """JSON Schema without nulls, and without titles of models and fields, which repeat names."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title", None)
        return made

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])
