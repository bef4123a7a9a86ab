"""The contract. Rule: what it says of a call follows from the call's row and its models."""

from typing import Any

import pytest
from pydantic import Field

from smsd.core import fields
from smsd.web.contract import document
from smsd.web.models import Strict
from smsd.web.route import CSV, JSON, TEXT, Access, Answer, Route, Streamed
from tests.support.contract import contract, table


class Thing(Strict):
    """A thing."""

    name: str
    colour: str | None = Field(None, alias="from", description="Where it comes from.")


class Headers(Strict):
    """Its headers."""

    mark: str | None = Field(None, alias="X-Mark", description="A mark.")


async def handle(_: Any) -> Any:
    raise NotImplementedError


def operation(**row: Any) -> Any:
    """What the contract says of one call."""
    row = {"method": "POST", "path": "/things", "answers": {200: Answer("Done.", Thing)}} | row
    method, path = row.pop("method"), row.pop("path")
    made = document([Route(method, path, handle, "A thing.", row.pop("answers"), **row)])
    return made["paths"][path][method.lower()]


@pytest.mark.parametrize(
    ("row", "statuses"),
    [
        ({}, "200 400 401 403 417 431 503"),
        ({"access": Access.OPEN}, "200 400 403 417 431 503"),
        ({"body": Thing}, "200 400 401 403 408 413 415 417 431 503"),
        ({"refusals": (404, 429)}, "200 400 401 403 404 417 429 431 503"),
    ],
)
def test_refusals_follow_from_access_and_body(row: dict[str, Any], statuses: str) -> None:
    assert list(operation(**row)["responses"]) == statuses.split()


def test_a_streamed_body_is_a_string_but_for_json() -> None:
    made = operation(body=Streamed((CSV, JSON), Thing))
    content = made["requestBody"]["content"]
    assert content[CSV] == {"schema": {"type": "string"}}
    assert content[JSON] == {"schema": {"$ref": "#/components/schemas/Thing"}}
    assert {"408", "413", "415"} <= made["responses"].keys()


def test_an_answer_may_come_in_two_media_types() -> None:
    made = operation(answers={200: Answer("Done.", Thing, also=CSV)})
    content = made["responses"]["200"]["content"]
    assert list(content) == [JSON, CSV]
    assert content[CSV] == {"schema": {"type": "string"}}


def test_only_what_is_open_needs_no_token() -> None:
    assert operation(access=Access.OPEN)["security"] == []
    assert "security" not in operation()


def test_parameters_come_from_the_path_and_from_models() -> None:
    made = operation(path="/things/{id}", query=Thing, headers=Headers)
    assert made["parameters"] == [
        {
            "name": "id",
            "in": "path",
            "required": True,
            "schema": {"type": "string", "minLength": 1},
        },
        {"name": "name", "in": "query", "schema": {"type": "string"}},
        {
            "name": "from",
            "in": "query",
            "description": "Where it comes from.",
            "schema": {"type": "string"},
        },
        {"name": "X-Mark", "in": "header", "description": "A mark.", "schema": {"type": "string"}},
    ]


def test_an_answer_has_its_model_its_headers_or_its_media_type() -> None:
    answers = {200: Answer("Done.", Thing, headers=Headers), 503: Answer("Not.", media_type=TEXT)}
    responses = operation(answers=answers)["responses"]
    assert responses["200"] == {
        "description": "Done.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}},
        "headers": {"X-Mark": {"description": "A mark.", "schema": {"type": "string"}}},
    }
    assert responses["503"]["content"] == {"text/plain": {"schema": {"type": "string"}}}


def test_a_field_that_may_be_left_out_is_not_required_and_never_null() -> None:
    made = document([Route("GET", "/", handle, "A thing.", {200: Answer("Done.", Thing)})])
    assert made["components"]["schemas"]["Thing"] == {
        "type": "object",
        "description": "A thing.",
        "required": ["name"],
        "additionalProperties": False,
        "properties": {
            "name": {"type": "string"},
            "from": {"type": "string", "description": "Where it comes from."},
        },
    }


def nodes(node: Any) -> Any:
    """Every object in a document."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from nodes(value)
    elif isinstance(node, list):
        for value in node:
            yield from nodes(value)


def test_every_reference_leads_somewhere_and_no_schema_allows_null() -> None:
    made = contract()
    for node in nodes(made):
        assert node.get("type") != "null"
        if "$ref" in node:
            found: Any = made
            for part in node["$ref"].removeprefix("#/").split("/"):
                found = found[part]


def test_the_fields_of_a_message_are_those_of_the_table() -> None:
    schemas = contract()["components"]["schemas"]
    sent = schemas["SendRequest"]
    assert sent["properties"].keys() == fields.SEND_FIELDS
    assert sent["required"] == ["message"]
    shown = {field.name for field in fields.LOOK_UP}
    assert schemas["MessageStatus"]["properties"].keys() == shown | {"id", "state", "history"}
    dead = {field.name for field in fields.DEAD_LETTER}
    assert schemas["DeadLetter"]["properties"].keys() == dead | {"letter", "id", "message"}


def test_no_two_calls_have_one_name_or_one_place() -> None:
    routes = table()
    assert len({route.name for route in routes}) == len(routes)
    assert len({(route.method, route.path) for route in routes}) == len(routes)
