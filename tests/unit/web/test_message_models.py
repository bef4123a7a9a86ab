"""The models of a message: the contract names and describes each field that the table has."""

from typing import Any

import pytest

from smsd.core.fields import FIELDS, LOOK_UP, SEND_FIELDS, Field
from smsd.web.message_models import MessageStatus, SendRequest


def properties(model: Any) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = model.model_json_schema()["properties"]
    return found


@pytest.mark.parametrize(
    "field", [field for field in FIELDS if field.in_send], ids=lambda field: field.name
)
def test_a_field_of_a_request_is_described_with_its_limits_and_an_example(field: Field) -> None:
    described = properties(SendRequest)[field.name]
    assert described["description"] == field.description
    assert described["examples"] == [field.example]
    limits = described["anyOf"][0] if field.name == "to" else described
    assert field.kind.schema.items() <= limits.items()


def test_a_request_has_no_other_fields() -> None:
    assert set(properties(SendRequest)) == SEND_FIELDS
    assert SendRequest.model_json_schema()["required"] == ["message"]


@pytest.mark.parametrize("field", LOOK_UP, ids=lambda field: field.name)
def test_a_field_of_a_look_up_is_described(field: Field) -> None:
    described = properties(MessageStatus)[field.name]
    assert described["description"] == field.description
    shown = field.kind.shown_schema or {"type": "string"}
    assert shown.items() <= described.items()


def test_a_look_up_shows_no_other_fields() -> None:
    named = {field.name for field in LOOK_UP}
    assert set(properties(MessageStatus)) == named | {"id", "state", "history"}
