"""`/campaigns/{campaign}/recipients`. Rule: what became of each is shown and exported."""

import csv
import io
from typing import Any

import pytest

from tests.support.calls import call, number
from tests.support.campaign_calls import (
    GREETING,
    PEOPLE,
    becomes,
    good,
    refused,
    start,
)
from tests.support.processes import Daemon


def test_what_became_of_each_recipient_is_paged_and_exported(smsd: Daemon, name: str) -> None:
    begun = good(start(smsd, name=name, audience="people", message=GREETING))
    becomes(smsd, name, "finished")
    seen, after = dict[str, Any](), ""
    while True:
        query = f"?count=2{f'&after={after}' if after else ''}"
        page = good(call(smsd, "GET", f"/campaigns/{name}/recipients{query}"))
        seen |= {one["number"]: one for one in page["recipients"]}
        if not page["more"]:
            break
        after = page["after"]
    assert seen.keys() == {to for to, _ in PEOPLE}
    one = good(call(smsd, "GET", f"/campaigns/{name}/recipients/{number(3000)}"))
    assert one == seen[number(3000)]
    assert one["state"] == "sent"
    assert one["message_id"].startswith(f"{begun['id']}_")
    assert one["provider_id"].startswith("sandbox-")
    message = good(call(smsd, "GET", f"/messages/{one['message_id']}"))
    assert (message["state"], message["to"]) == ("sent", number(3000))

    exported = call(
        smsd, "GET", f"/campaigns/{name}/recipients?state=sent", headers={"Accept": "text/csv"}
    )
    assert exported.headers["Content-Disposition"] == f'attachment; filename="{name}-sent.csv"'
    header, *rows = csv.reader(io.StringIO(exported.body.decode(), newline=""))
    assert header == ["number", "state", "at", "provider_id", "reason", "code", "message_id"]
    assert {row[0]: row[6] for row in rows} == {
        to: shown["message_id"] for to, shown in seen.items()
    }


def test_an_export_for_excel_has_numbers_that_it_leaves_alone(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(9), message="Zebra"))
    path = f"/campaigns/{name}/recipients?excel=1"
    exported = call(smsd, "GET", path, headers={"Accept": "text/csv"}).body.decode()
    assert exported.startswith("\ufeffnumber,")
    assert f'"=""{number(9)}"""' in exported


def test_recipients_of_a_state_that_nobody_is_in_are_none(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(9), message="Zebra"))
    becomes(smsd, name, "finished")
    page = good(call(smsd, "GET", f"/campaigns/{name}/recipients?state=dead"))
    assert page == {"recipients": [], "more": False}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("state=", "state"),
        ("state=unexpanded", "state"),
        ("count=0", "count"),
        ("count=1001", "count"),
        ("after=x", "after"),
        ("after=" + "9" * 400, "after"),
        ("excel=maybe", "excel"),
        ("page=2", "page"),
        ("state=dead&state=sent", "state"),
    ],
)
def test_a_wrong_parameter_of_recipients_is_named(
    smsd: Daemon, name: str, query: str, field: str
) -> None:
    good(start(smsd, name=name, to=number(9), message="Zebra"))
    path = f"/campaigns/{name}/recipients"
    refused(call(smsd, "GET", f"{path}?{query}"), 400, "invalid_field", field)
    exported = call(smsd, "GET", f"{path}?{query}", headers={"Accept": "text/csv"})
    assert exported.status == (200 if query.startswith("after=") else 400)


def test_a_number_that_is_no_recipient_is_not_found(smsd: Daemon, name: str) -> None:
    good(start(smsd, name=name, to=number(9), message="Zebra"))
    path = f"/campaigns/{name}/recipients"
    refused(call(smsd, "GET", f"{path}/{number(10)}"), 404, "not_found")
    refused(call(smsd, "GET", f"{path}/nobody"), 400, "invalid_field", "number")
