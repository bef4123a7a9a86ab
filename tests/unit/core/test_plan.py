"""The dry run of a campaign: what is counted, and that nothing is counted twice or left out."""

from collections import Counter

import pytest

from smsd.core import segment
from smsd.core.plan import BODY, MOST_EXAMPLES, MOST_REASONS, Culprit, Plan
from smsd.core.template import Template
from smsd.core.transliterate import transliterate

COLUMNS = ("first_name", "city")


def numbers() -> list[str]:
    return [f"+1202555{place:04}" for place in range(1000)]


def plan_of(
    body: str, *rows: tuple[str, str], most_segments: int = 10, transliterating: bool = False
) -> Plan:
    plan = Plan(Template(body), COLUMNS, most_segments, transliterating=transliterating)
    for number, row in zip(numbers(), rows, strict=False):
        plan.add(number, row)
    assert_whole(plan)
    return plan


def assert_whole(plan: Plan) -> None:
    faulty = sum(one.recipients for one in (plan.missing, plan.unusable, plan.too_long))
    assert plan.recipients == plan.messages + plan.opted_out + faulty
    assert plan.segments == sum(size * many for size, many in plan.by_segments.items())


def test_an_empty_plan_is_of_nobody() -> None:
    plan = plan_of("Hi")
    assert (plan.recipients, plan.messages, plan.segments) == (0, 0, 0)


def test_messages_are_counted_by_their_segments() -> None:
    plan = plan_of(
        "x" * 150 + "{{ first_name }}", ("a" * 10, ""), ("a" * 11, ""), ("b", ""), ("a" * 200, "")
    )
    assert plan.by_segments == {1: 2, 2: 1, 3: 1}
    assert plan.segments == 7


def test_a_recipient_who_has_opted_out_costs_nothing() -> None:
    plan = plan_of("Hi", ("", ""))
    plan.add_opted_out()
    assert_whole(plan)
    assert (plan.recipients, plan.opted_out, plan.messages, plan.segments) == (2, 1, 1, 1)


def test_a_missing_value_names_number_and_column() -> None:
    plan = plan_of('{{ first_name }} {{ city | default: "here" }}', ("", "Rome"), ("Ann", ""))
    assert plan.missing.first == [(numbers()[0], "first_name")]
    assert plan.missing.by_column == {"first_name": 1}
    assert plan.messages == 1


def test_a_value_that_cannot_be_sent_is_no_message() -> None:
    plan = plan_of("{{ first_name }}", ("a\x07", ""), ("x" * 256, ""))
    assert plan.unusable.by_column == {"first_name": 2}


def test_a_message_that_is_too_long_is_none() -> None:
    rows = (("a", ""), ("a" * 157, ""), ("a" * 156, ""))
    plan = plan_of("x" * 150 + "{{ first_name }}", *rows, most_segments=2)
    assert plan.too_long.first == [(numbers()[1], BODY)]
    assert plan.segments == 3
    assert plan_of("x" * 40_000, ("", "")).too_long.recipients == 1


def test_examples_are_few_whatever_happens() -> None:
    plan = plan_of("{{ first_name }}", *[("", "")] * (MOST_EXAMPLES + 5))
    assert plan.missing.recipients == MOST_EXAMPLES + 5
    assert [number for number, _ in plan.missing.first] == numbers()[:MOST_EXAMPLES]


def test_what_makes_a_message_ucs2_is_named_with_its_column_and_its_price() -> None:
    body = "x" * 90 + '{{ first_name }}{{ city | default: "there" }}'
    plan = plan_of(body, ("Ann", "Rome"), ("Łucja", "Rome"), ("Ann", "Łódź"), ("Ewa", "Łódź"))
    assert plan.ucs2.messages == 3
    assert plan.ucs2.of == {Culprit("Ł", "first_name"): 1, Culprit("Ł", "city"): 2}
    assert plan.ucs2.extra_of == {Culprit("Ł", "first_name"): 1, Culprit("Ł", "city"): 2}
    assert plan.ucs2.extra == 3
    assert Culprit("Ł", "city").name == "LATIN CAPITAL LETTER L WITH STROKE"


def test_a_character_of_the_body_is_named_as_that() -> None:
    plan = plan_of("\u201cHi\u201d {{ first_name }}", ("Ann", ""), ("Bob", ""))
    assert plan.ucs2.of == {Culprit("\u201c", BODY): 2}
    assert plan.ucs2.extra == 0  # of one segment each all the same


def test_reasons_that_are_kept_apart_are_bounded() -> None:
    plan = Plan(Template("{{ first_name }}"), COLUMNS, 10)
    for place in range(MOST_REASONS + 100):
        plan.add("+12025550100", (chr(0x4E00 + place), ""))
    assert plan.ucs2.messages == MOST_REASONS + 100
    assert len(plan.ucs2.of) == MOST_REASONS


def test_what_the_provider_replaces_is_no_reason() -> None:
    plan = Plan(Template("\u201c{{ first_name }}"), COLUMNS, 10, transliterate)
    plan.add("+12025550100", ("Ann", ""))
    plan.add("+12025550101", ("\u2026" * 60 + "Łucja", ""))
    assert plan.ucs2.of == {Culprit("Ł", "first_name"): 1}
    assert plan.by_segments == {1: 1, segment.count('"' + "..." * 60 + "Łucja").segments: 1}
    assert plan.ucs2.extra == plan.segments - 1 - 2


def test_what_is_replaced_is_counted_by_messages() -> None:
    body = "\u201cHi\u201d {{ first_name }}, it\u2019s on"
    rows = (("Ann", "x\u2026"), ("O\u2019Neil\u2026", ""))
    plan = plan_of(body, *rows, transliterating=True)
    assert plan.replaced == Counter({"\u201c": 2, "\u201d": 2, "\u2019": 2, "\u2026": 1})
    assert (plan.ucs2.messages, plan.segments) == (0, 2)
    assert plan_of(body, *rows).replaced == Counter()


@pytest.mark.parametrize("transliterating", [False, True])
def test_a_plan_is_the_sum_of_the_messages(transliterating: bool) -> None:
    body = "x" * 60 + '{{ first_name | default: "you" | upcase }} [] {{ city | truncate: 9 }}\u2026'
    firsts = ["", "Ann", "Łucja" * 3, "\u2019" * 30, "[" * 50, "é" * 99, "😀" * 20]
    rows = [
        (first, city) for first in firsts for city in ("Rome", "São Paulo-Sé", "[[", "x\u2014y")
    ]
    plan = plan_of(body, *rows, transliterating=transliterating)
    bound = Template(body).bind(COLUMNS)
    made = [bound.render(row) for row in rows]
    expected = [segment.count(transliterate(one) if transliterating else one) for one in made]
    assert plan.by_segments == Counter(one.segments for one in expected)
    assert plan.ucs2.messages == sum(one.encoding == "ucs2" for one in expected)
