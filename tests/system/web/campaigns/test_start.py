"""`POST` and `GET /campaigns`. Rule: what is started is durable, and is started once."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

from tests.support.calls import JSON, call, in_seconds, number
from tests.support.campaign_calls import (
    GREETING,
    becomes,
    good,
    moment,
    plan,
    refused,
    show,
    start,
    verb,
)
from tests.support.processes import Daemon, eventually


def test_a_campaign_is_started_sent_and_finished(smsd: Daemon, name: str) -> None:
    begun = good(start(smsd, name=name, audience="people", message=GREETING, ref="r-1"))
    assert begun["id"].startswith("c")
    assert (begun["name"], begun["recipients"]) == (name, 5)
    assert moment(begun["drains_at"]) > moment(in_seconds(-60))
    shown = becomes(smsd, name, "finished")
    assert shown["id"] == begun["id"]
    assert shown["counts"]["sent"] == 5
    assert (shown["segments"], shown["segments_sent"]) == (5, 5)
    assert shown["cost"] == {"sent": 0.0395, "expected": 0.0395, "currency": "USD"}
    assert (shown["message"], shown["ref"], shown["kind"]) == (GREETING, "r-1", "marketing")
    assert "drains_at" not in shown
    assert show(smsd, begun["id"]) == shown


def test_numbers_beside_the_audience_get_it_too_and_each_once(smsd: Daemon, name: str) -> None:
    to = [number(3000), number(3900), number(3900), "+1 (202) 556-3901"]
    begun = good(start(smsd, name=name, audience="people", to=to, message="Zebra"))
    assert begun["recipients"] == 7
    assert becomes(smsd, name, "finished")["counts"]["sent"] == 7


def test_an_audience_of_the_settings_is_one(smsd: Daemon, name: str) -> None:
    assert good(start(smsd, name=name, audience="demo", message="Zebra"))["recipients"] == 2
    assert becomes(smsd, name, "finished")["audience"] == "demo"


def test_one_number_may_be_all(smsd: Daemon, name: str) -> None:
    assert good(start(smsd, name=name, to=number(1), message="Zebra"))["recipients"] == 1
    becomes(smsd, name, "finished")


def test_without_a_name_its_id_is_its_name(smsd: Daemon) -> None:
    begun = good(start(smsd, to=number(2), message="Zebra"))
    assert begun["name"] == begun["id"]
    becomes(smsd, begun["id"], "finished")


def test_a_campaign_for_later_is_scheduled(smsd: Daemon, name: str) -> None:
    later = in_seconds(3600)
    begun = good(start(smsd, name=name, audience="demo", message="Zebra", send_at=later))
    assert begun["state"] == "scheduled"
    assert moment(begun["drains_at"]) >= moment(later)
    assert show(smsd, name)["counts"]["waiting"] == 2


def test_the_latest_is_listed_first_and_pages_have_each_once(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(3), message="Zebra"))
    seen, after = list[str](), ""
    while True:
        query = f"?count=2&after={after}" if after else "?count=2"
        page = good(call(smsd, "GET", f"/campaigns{query}"))
        seen += [one["name"] for one in page["campaigns"]]
        assert all("message" not in one for one in page["campaigns"])
        if not page["more"]:
            break
        after = page["after"]
    assert seen[0] == name
    assert len(seen) == len(set(seen))


def test_the_other_campaigns_are_taken_into_account(smsd: Daemon, name: str) -> None:
    alone = moment(plan(smsd, audience="crowd", message="Zebra")["drains_at"])
    good(start(smsd, name=name, audience="crowd", message="Zebra", weight=3))
    beside = eventually_later(smsd, alone)
    assert beside
    verb(smsd, name, "cancel")


def eventually_later(smsd: Daemon, alone: datetime) -> bool:
    """Whether a plan comes to know that another campaign takes three quarters of the rate."""

    def is_later() -> bool:
        made = plan(smsd, audience="crowd", message="Zebra")
        return (moment(made["drains_at"]) - alone).total_seconds() > 20

    eventually(is_later, what="the other campaign is known")
    return True


def test_a_name_is_given_once(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(4), message="Zebra"))
    message = refused(
        start(smsd, name=name, to=number(5), message="Zebra"), 409, "campaign_exists", "name"
    )
    assert message == f"there is a campaign {name} already"


def test_a_repetition_with_the_same_key_starts_nothing(smsd: Daemon, name: str) -> None:
    asked = {"name": name, "to": number(6), "message": "Zebra", "key": f"k{name}"}
    first, again = start(smsd, **asked), start(smsd, **asked)
    assert good(first)["id"] == good(again)["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    other = start(smsd, **asked | {"message": "Zebra 2"})
    refused(other, 409, "idempotency_conflict", "Idempotency-Key")
    refused(
        start(smsd, to=number(6), message="Zebra", key="\u00e9"),
        400,
        "invalid_field",
        "Idempotency-Key",
    )


def test_a_repetition_is_not_judged_by_todays_clock(smsd: Daemon, name: str) -> None:
    asked = {"to": number(6), "message": "Zebra", "expires_at": in_seconds(1.5), "key": f"k{name}"}
    first = good(start(smsd, **asked))
    unkeyed = {what: value for what, value in asked.items() if what != "key"}
    eventually(lambda: start(smsd, "?dry_run=1", **unkeyed).status == 400, what="it has expired")
    assert good(start(smsd, **asked))["id"] == first["id"]


def test_a_key_of_a_message_is_none_for_a_campaign(smsd: Daemon, name: str) -> None:
    body, headers = json.dumps({"to": number(7), "message": "Zebra"}), {"Idempotency-Key": name}
    assert call(smsd, "POST", "/send", body, JSON | headers).status == 200
    answer = call(smsd, "POST", "/campaigns", body, JSON | headers)
    refused(answer, 409, "idempotency_conflict", "Idempotency-Key")


def test_of_many_who_start_one_campaign_at_once_one_does(smsd: Daemon, name: str) -> None:
    asked = {"name": name, "audience": "crowd", "message": "Zebra"}
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: start(smsd, **asked), range(8)))
    assert sorted(answer.status for answer in answers) == [200, *[409] * 7]
    assert show(smsd, name)["counts"]["recipients"] == 1000
