"""Bodies of campaigns, filled in: what becomes of one recipient."""

from typing import Any

import pytest

from smsd.core.campaign import Campaign, CampaignRequest, CampaignState
from smsd.core.fields import FieldError
from smsd.core.message import Limits
from smsd.dispatch.bodies import Bodies

NUMBER = "+12025550101"


def campaign(message: str, **changes: Any) -> Campaign:
    request = CampaignRequest(name="spring", message=message, **changes)
    return Campaign("c1", request, CampaignState.RUNNING, 0, ("first_name", "city"), (1, 1))


def made(one: Campaign, *values: str, limits: Limits | None = None) -> tuple[dict[str, str], int]:
    """The fields of an entry, and its segments."""
    rendered, _ = Bodies(limits or Limits()).of(one).message(one, NUMBER, values)
    fields = rendered.fields
    return dict(zip(fields[::2], fields[1::2], strict=True)), rendered.segments


def test_a_body_is_filled_in() -> None:
    fields, segments = made(campaign('Hi {{ first_name | default: "you" }}'), "", "Rome")
    assert (fields["to"], fields["message"], segments) == (NUMBER, "Hi you", 1)


def test_typographic_characters_are_replaced_only_where_that_is_asked_for() -> None:
    body = "\u201cHi\u201d {{ first_name }}" + "x" * 90
    assert made(campaign(body), "O\u2019Neil", "")[1] == 2
    fields, segments = made(campaign(body, transliterate=True), "O\u2019Neil", "")
    assert fields["message"] == '"Hi" O\'Neil' + "x" * 90
    assert segments == 1


@pytest.mark.parametrize(("value", "fault"), [("", "is empty"), ("a\x07", "control character")])
def test_what_cannot_be_filled_in_is_an_entry_that_names_the_column(value: str, fault: str) -> None:
    fields, _ = made(campaign("Hi {{ first_name }}"), value, "")
    assert fields["fault"].startswith("first_name: ")
    assert fault in fields["fault"]


def test_a_body_that_cannot_be_read_is_refused_at_once() -> None:
    with pytest.raises(FieldError):
        Bodies(Limits()).of(campaign("Hi {first_name}"))
    with pytest.raises(KeyError):
        Bodies(Limits()).of(campaign("Hi {{ last_name }}"))


def test_a_bracket_that_went_out_at_the_start_does_not_stop_a_campaign() -> None:
    assert made(campaign("[city] {{ first_name }}"), "Ann", "")[0]["message"] == "[city] Ann"
