"""Placeholders. Rule: each that the table of fields names has the value of its field."""

import re

import pytest

from smsd.core.fields import FIELDS, Field
from smsd.core.message import Limits, Message, parse
from smsd.provider.generic.fields import IN_HEADERS, PLACEHOLDERS, Template

NOW = 1_793_620_800_000  # 2026-11-02T12:00:00Z
NAMED = [field for field in FIELDS if field.placeholder]
TO = "+12025550123"


def message(**fields: object) -> Message:
    return Message("m1", TO, parse({"message": "Hi", **fields}, Limits(), NOW))


@pytest.mark.parametrize("field", NAMED, ids=lambda field: field.name)
def test_a_placeholder_has_the_value_that_was_given(field: Field) -> None:
    given = {"to", "id", "segments", "encoding"}
    one = message() if field.name in given else message(**{field.name: field.example})
    expected = {"to": TO, "id": "m1", "segments": "1", "encoding": "gsm7"}
    template = Template(f"<{{{field.placeholder}}}>", {})
    assert template.fill(one) == f"<{expected.get(field.name, field.example)}>"


@pytest.mark.parametrize("field", NAMED, ids=lambda field: field.name)
def test_a_message_without_the_field_leaves_its_place_empty(field: Field) -> None:
    if field.name in ("to", "message", "id", "segments", "encoding"):
        assert PLACEHOLDERS[field.placeholder](message())
    else:
        assert PLACEHOLDERS[field.placeholder](message()) == ""


def test_headers_may_hold_only_what_is_visible_ascii() -> None:
    assert set(IN_HEADERS) == {field.placeholder for field in FIELDS if field.in_headers}
    for field in FIELDS:
        if field.in_headers:
            rule = re.compile(str(field.kind.schema["pattern"]))
            assert not any(rule.search(bad) for bad in ("a\nb", "a\0b", "a\x7fb", "caf\u00e9"))
