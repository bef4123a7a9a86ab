"""What is asked of campaigns. Rule: what is wrong is refused by the name of its field."""

from typing import Any

import pytest

from smsd.core.campaign_request import Edit, Verb, read_draft, read_edit, read_verb
from smsd.core.fields import FieldError
from smsd.core.message import Limits

NOW = 1_795_788_000_000  # 2026-11-27T14:00:00Z
LIMITS = Limits(max_segments=2, default_from="Acme")


def draft(**fields: Any) -> Any:
    return read_draft({"message": "Hi", "audience": "a"} | fields, LIMITS, NOW)


def refused(field: str, **fields: Any) -> str:
    with pytest.raises(FieldError) as caught:
        draft(**fields)
    assert caught.value.field == field
    return str(caught.value)


def test_what_is_left_out_has_its_default() -> None:
    request = draft().request
    assert (request.name, request.kind, request.priority) == ("", "marketing", "normal")
    assert (request.weight, request.sender, request.ref) == (1, "Acme", "")
    assert (request.send_at, request.expires_at, request.transliterate) == (None, None, False)


def test_all_that_is_given_is_kept() -> None:
    request = draft(
        name="spring-sale",
        message="Hi {{ name }}",
        kind="service",
        priority="high",
        send_at="2026-11-28T14:00:00Z",
        expires_at="2026-11-29T14:00:00Z",
        weight=1000,
        ref="r",
        transliterate=True,
        **{"from": "Shop"},
    ).request
    assert (request.name, request.message, request.audience) == (
        "spring-sale",
        "Hi {{ name }}",
        "a",
    )
    assert (request.kind, request.priority, request.weight) == ("service", "high", 1000)
    assert (request.send_at, request.expires_at) == (NOW + 86_400_000, NOW + 2 * 86_400_000)
    assert (request.sender, request.ref, request.transliterate) == ("Shop", "r", True)


def test_what_is_null_is_left_out() -> None:
    nulls = dict.fromkeys(("name", "kind", "priority", "weight", "ref", "send_at", "from"))
    assert draft(**nulls).request == draft().request


def test_the_shortest_message_that_it_makes_has_to_be_short_enough() -> None:
    literal = "x" * 300
    assert draft(message=f"{literal} {{{{ name }}}}").content.segments.segments == 2
    assert "segments long" in refused("message", message=f"{literal} {{{{ name }}}}" + "x" * 10)
    # What a placeholder is written with counts for nothing.
    assert draft(message="{{ name }}" * 50).content.segments.segments == 1


def test_typographic_characters_count_as_what_they_are_replaced_by() -> None:
    body = "\u201cHi\u201d " + "x" * 100
    assert draft(message=body).content.segments.encoding == "ucs2"
    plain = draft(message=body, transliterate=True)
    assert plain.content.segments == ("gsm7", 105, 1)
    assert plain.request.message == body


@pytest.mark.parametrize(
    "name", ["a", "0", "spring-sale_2026", "a" * 64, "c0123456789abc", "christmas"]
)
def test_names_are_small_letters_digits_and_hyphens(name: str) -> None:
    assert draft(name=name).request.name == name


@pytest.mark.parametrize(
    "name", ["", "A", "-a", "_a", "a" * 65, "a b", "a\n", "ä", "a/b", 5, ["a"]]
)
def test_other_names_are_refused(name: object) -> None:
    assert "small letters" in refused("name", name=name)


@pytest.mark.parametrize("body", [None, 5, "", " \n", "a\0", "{{ name", "{% if %}", "x" * 4307])
def test_bodies_that_cannot_be_sent_are_refused(body: object) -> None:
    refused("message", message=body)


def test_an_expiry_that_has_passed_is_refused() -> None:
    assert refused("expires_at", expires_at="2026-11-27T14:00:00Z") == "has passed already"


def test_a_field_that_is_not_known_is_named_with_those_that_are() -> None:
    message = refused("campaign", campaign="a")
    assert "audience, expires_at, from, kind" in message
    assert "to" in message.split(", ")


def test_verbs_have_a_reason_and_an_expected_number() -> None:
    assert read_verb({}) == Verb("", None, in_doubt=False)
    assert read_verb({"reason": " why ", "expect": 0}) == Verb("why", 0, in_doubt=False)
    asked = {"reason": None, "expect": None, "in_doubt": True}
    assert read_verb(asked, in_doubt=True) == Verb("", None, in_doubt=True)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": "a\tb"}, "reason"),
        ({"reason": "a" * 201}, "reason"),
        ({"reason": 1}, "reason"),
        ({"expect": -1}, "expect"),
        ({"expect": 1.0}, "expect"),
        ({"expect": True}, "expect"),
        ({"in_doubt": True}, "in_doubt"),
        ({"why": "x"}, "why"),
    ],
)
def test_wrong_verbs_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        read_verb(fields)
    assert caught.value.field == field


def test_an_edit_changes_what_is_given() -> None:
    assert read_edit({"weight": 5}, NOW) == Edit(5, None)
    later = {"expires_at": "2026-11-27T14:00:00.001Z", "weight": None}
    assert read_edit(later, NOW) == Edit(None, NOW + 1)


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({}, "weight"),
        ({"weight": None, "expires_at": None}, "weight"),
        ({"weight": 0}, "weight"),
        ({"weight": "5"}, "weight"),
        ({"expires_at": "2026-11-27T14:00:00Z"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"priority": "high"}, "priority"),
    ],
)
def test_wrong_edits_are_refused(fields: dict[str, object], field: str) -> None:
    with pytest.raises(FieldError) as caught:
        read_edit(fields, NOW)
    assert caught.value.field == field
