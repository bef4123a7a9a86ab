"""Dry runs. Rule: everything is counted, and nothing is changed."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from tests.support.calls import in_seconds, number
from tests.support.campaign_calls import (
    becomes,
    good,
    moment,
    plan,
    refused,
    start,
)
from tests.support.processes import Daemon


def test_a_plan_counts_everything_and_changes_nothing(smsd: Daemon) -> None:
    body = 'Zebra {{ first_name | default: "you" }} ' + "x" * 90
    to = [number(3000), number(3902), number(3902)]
    made = plan(smsd, audience="people", to=to, message=body)
    assert moment(made.pop("drains_at")) > moment(in_seconds(-60))
    reasons = made["ucs2"].pop("because")
    assert made == {
        "dry_run": True,
        "would_start": True,
        "recipients": 6,
        "duplicates": 2,
        "opted_out": 0,
        "messages": 6,
        "segments": 8,
        "by_segments": {"1": 4, "2": 2},
        "ucs2": {"messages": 2, "extra_segments": 2, "extra_cost": 0.0158},
        "missing": {"recipients": 0, "columns": {}, "first": []},
        "unusable": {"recipients": 0, "columns": {}, "first": []},
        "too_long": {"recipients": 0, "columns": {}, "first": []},
        "would_expire": 0,
        "cost": {"sent": 0, "expected": 0.0632, "currency": "USD"},
    }
    assert {(one["character"], one["column"], one["extra_segments"]) for one in reasons} == {
        ("ë", "first_name", 1),
        ("Ş", "first_name", 1),
    }
    assert reasons[0]["name"].startswith("LATIN")


def test_a_plan_names_those_that_lack_a_value_or_get_too_long_a_message(smsd: Daemon) -> None:
    made = plan(smsd, audience="people", message="Hi {{ first_name }}, Zebra")
    assert made["would_start"] is False
    assert (made["recipients"], made["messages"]) == (5, 4)
    assert made["missing"] == {
        "recipients": 1,
        "columns": {"first_name": 1},
        "first": [{"number": number(3002), "column": "first_name"}],
    }
    made = plan(smsd, audience="long", message="Zebra {{ note }} {{ note }}")
    assert made["too_long"] == {
        "recipients": 1,
        "columns": {},
        "first": [{"number": number(3700)}],
    }


def test_a_plan_reports_what_is_replaced_where_that_is_asked_for(smsd: Daemon) -> None:
    body = "\u201cZebra\u201d " + "x" * 90 + "\u2026"
    to = [number(3000), number(3001)]
    made = plan(smsd, to=to, message=body)
    assert (made["segments"], made["ucs2"]["messages"], "replaced" in made) == (4, 2, False)
    made = plan(smsd, to=to, message=body, transliterate=True)
    assert (made["segments"], made["ucs2"]["messages"]) == (2, 0)
    assert sorted((one["character"], one["replacement"]) for one in made["replaced"]) == [
        ("\u201c", '"'),
        ("\u201d", '"'),
        ("\u2026", "..."),
    ]
    assert [one["messages"] for one in made["replaced"]] == [2, 2, 2]


def test_a_plan_leaves_out_who_has_opted_out(smsd: Daemon) -> None:
    with redis.Redis(unix_socket_path=str(smsd.directory / "var/redis.sock")) as client:
        client.sadd("smsd:optouts", number(3001), number(3904))
        made = plan(smsd, audience="people", to=number(3904), message="Zebra")
        client.srem("smsd:optouts", number(3001), number(3904))
    assert (made["recipients"], made["opted_out"], made["messages"]) == (6, 2, 4)


def test_a_plan_counts_what_would_expire(smsd: Daemon) -> None:
    made = plan(smsd, audience="crowd", message="Zebra", expires_at=in_seconds(10))
    assert 700 <= made["would_expire"] <= 1000  # 20 segments/s, if nothing else is sent
    assert (
        plan(smsd, audience="crowd", message="Zebra", expires_at=in_seconds(99999))["would_expire"]
        == 0
    )


def test_a_plan_does_not_care_for_names_and_keys(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(21), message="Zebra", key=name))
    asked = {"name": name, "to": number(21), "message": "Zebra", "key": name}
    assert good(start(smsd, "?dry_run=true", **asked))["dry_run"] is True
    assert good(start(smsd, "?dry_run=false", **asked))["name"] == name


def test_several_plans_at_once_are_made_one_after_the_other(smsd: Daemon) -> None:
    with ThreadPoolExecutor(6) as pool:
        made = list(pool.map(lambda _: plan(smsd, audience="crowd", message="Zebra"), range(6)))
    assert {one["segments"] for one in made} == {1000}


def test_typographic_characters_are_replaced_where_that_is_asked_for(
    smsd: Daemon, name: str
) -> None:
    asked = {"to": number(23), "message": "\u201cZebra\u201d \u2013 " + "x" * 100}
    assert plan(smsd, **asked)["segments"] == 2
    made = plan(smsd, transliterate=True, **asked)
    assert (made["segments"], made["ucs2"]["messages"]) == (1, 0)
    assert {(one["character"], one["replacement"]) for one in made["replaced"]} == {
        ("\u201c", '"'),
        ("\u201d", '"'),
        ("\u2013", "-"),
    }
    good(start(smsd, name=name, transliterate=True, **asked))
    shown = becomes(smsd, name, "finished")
    assert (shown["segments_sent"], shown["transliterate"]) == (1, True)


@pytest.mark.parametrize(
    ("body", "meant"),
    [
        ("Zebra {first_name}", "{{ first_name }}"),
        ("Zebra ((first_name))", "{{ first_name }}"),
        ("Zebra %first_name%", "{{ first_name }}"),
        ("Zebra [first_name]", "{{ first_name }}"),
    ],
)
def test_placeholders_of_other_programs_are_answered_with_ours(
    smsd: Daemon, body: str, meant: str
) -> None:
    message = refused(start(smsd, audience="people", message=body), 400, "invalid_field", "message")
    assert f"Did you mean {meant}?" in message
