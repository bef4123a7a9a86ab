"""`/audiences`. Rule: a file goes in whole or not at all, and comes out as it went in."""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from tests.support.calls import JSON, Answer, call, number
from tests.support.processes import Daemon

CSV = {"Content-Type": "text/csv"}
AS_CSV = {"Accept": "text/csv"}
FILE = f"""Phone,First Name,City
{number(1)},Anna,Berlin
(202) 556-0002,Ben,"New
York"
n/a,Carl,
{number(1)},Anne,Bern
1.20255E+10,Dora,Rome
"""


@pytest.fixture
def name(smsd: Daemon, request: pytest.FixtureRequest) -> Iterator[str]:
    """The name of an audience that only this test knows."""
    made = f"a{abs(hash(request.node.name))}"
    yield made
    call(smsd, "DELETE", f"/audiences/{made}")


def put(smsd: Daemon, name: str, body: str | bytes, query: str = "") -> Answer:
    return call(smsd, "PUT", f"/audiences/{name}{query}", body, CSV)


def add(
    smsd: Daemon, name: str, body: str | bytes, headers: Mapping[str, str] = CSV, query: str = ""
) -> Answer:
    return call(smsd, "POST", f"/audiences/{name}{query}", body, headers)


def good(answer: Answer) -> Any:
    assert answer.status == 200, answer
    return answer.content


def show(smsd: Daemon, name: str) -> Any:
    return good(call(smsd, "GET", f"/audiences/{name}"))


def exported(smsd: Daemon, name: str, query: str = "") -> list[list[str]]:
    answer = call(smsd, "GET", f"/audiences/{name}/contacts{query}", headers=AS_CSV)
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    header, *rows = csv.reader(io.StringIO(answer.body.decode(), newline=""))
    return [header, *sorted(rows)]


def test_a_file_is_answered_with_what_became_of_its_rows(smsd: Daemon, name: str) -> None:
    answer = good(put(smsd, name, FILE, "?region=US"))
    first = answer["rejected"].pop("first")
    assert answer == {
        "name": name,
        "contacts": 2,
        "fields": ["first_name", "city"],
        "added": 2,
        "updated": 0,
        "duplicates": 1,
        "rejected": {"count": 2, "reasons": {"not_a_number": 1, "shortened_number": 1}},
        "notices": [],
        "unchanged": False,
    }
    assert [(row["line"], row["column"], row["value"]) for row in first] == [
        (5, "Phone", "n/a"),  # the third row goes over two lines
        (7, "Phone", "1.20255E+10"),
    ]
    assert first[0]["message"] == "is not a phone number"


def test_what_was_rejected_can_be_fetched_as_it_came(smsd: Daemon, name: str) -> None:
    put(smsd, name, FILE, "?region=us")
    answer = call(smsd, "GET", f"/audiences/{name}/rejects")
    header, *rows = csv.reader(io.StringIO(answer.body.decode(), newline=""))
    assert header == ["line", "column", "reason", "Phone", "First Name", "City"]
    assert rows[0] == ["5", "Phone", "is not a phone number", "n/a", "Carl", ""]
    assert rows[1][0] == "7"
    assert rows[1][3:] == ["1.20255E+10", "Dora", "Rome"]


def test_an_audience_without_rejected_rows_has_an_empty_list_of_them(
    smsd: Daemon, name: str
) -> None:
    put(smsd, name, f"phone\n{number(1)}\n")
    assert call(smsd, "GET", f"/audiences/{name}/rejects").body == b"line,column,reason\r\n"


def test_it_is_exported_as_it_was_imported(smsd: Daemon, name: str) -> None:
    rows = [["number", "first_name", "note"]]
    rows += [[number(n), f'O"Neil, {n}', "=1+1" if n % 2 else ""] for n in range(2000)]
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    assert good(put(smsd, name, text.getvalue()))["contacts"] == 2000
    assert exported(smsd, name) == rows
    again = call(smsd, "GET", f"/audiences/{name}/contacts", headers=AS_CSV).body
    assert good(put(smsd, name, again))["rejected"]["count"] == 0
    assert exported(smsd, name) == rows


def test_an_export_for_excel_comes_back_as_it_was(smsd: Daemon, name: str) -> None:
    put(smsd, name, f'phone,note,zip\n{number(1)},"=L(""x"")",01234\n{number(2)},plain,\n')
    answer = call(smsd, "GET", f"/audiences/{name}/contacts?excel=1", headers=AS_CSV)
    assert answer.body.startswith(b"\xef\xbb\xbfnumber,note,zip\r\n")
    assert f'"=""{number(1)}"""' in answer.body.decode()
    plain = exported(smsd, name)
    good(put(smsd, name, answer.body))
    assert exported(smsd, name) == plain


def test_pages_hold_every_contact_once(smsd: Daemon, name: str) -> None:
    put(smsd, name, "phone,n\n" + "".join(f"{number(n)},{n}\n" for n in range(1000)))
    seen: dict[str, str] = {}
    after, more = "", True
    while more:
        page = good(
            call(smsd, "GET", f"/audiences/{name}/contacts?count=200&after={after}")
            if after
            else call(smsd, "GET", f"/audiences/{name}/contacts?count=200")
        )
        assert len(page["contacts"]) < 500
        for contact in page["contacts"]:
            assert contact["number"] not in seen
            seen[contact["number"]] = contact["fields"]["n"]
        after, more = page.get("after", ""), page["more"]
    assert seen == {number(n): str(n) for n in range(1000)}


def test_replaced_it_holds_only_the_new_file_and_added_to_it_holds_both(
    smsd: Daemon, name: str
) -> None:
    put(smsd, name, f"phone,city\n{number(1)},Rome\n{number(2)},Oslo\n")
    answer = good(add(smsd, name, f"phone,plan\n{number(2)},gold\n{number(3)},tin\n"))
    assert (answer["added"], answer["updated"], answer["contacts"]) == (1, 1, 3)
    assert exported(smsd, name) == [
        ["number", "city", "plan"],
        [number(1), "Rome", ""],
        [number(2), "Oslo", "gold"],
        [number(3), "", "tin"],
    ]
    answer = good(put(smsd, name, f"phone,plan\n{number(3)},tin\n"))
    assert answer["contacts"] == 1
    assert exported(smsd, name) == [["number", "plan"], [number(3), "tin"]]


@pytest.mark.parametrize(
    ("media_type", "body"),
    [
        ("application/json", json.dumps({"contacts": [{"mobile": number(1), "Plan": "tin"}]})),
        ("application/json", json.dumps([{"mobile": number(1), "Plan": "tin"}])),
        ("application/x-ndjson", json.dumps({"mobile": number(1), "Plan": "tin"}) + "\n"),
        ("text/csv", f"Plan;Mobile\ntin;{number(1)}\n"),
        ("text/csv; charset=utf-16", f"Plan\tMobile\ntin\t{number(1)}\n".encode("utf-16-le")),
    ],
)
def test_it_may_be_csv_ndjson_or_json(
    smsd: Daemon, name: str, media_type: str, body: str | bytes
) -> None:
    answer = good(add(smsd, name, body, {"Content-Type": media_type}))
    assert (answer["added"], answer["fields"]) == (1, ["plan"])
    shown = good(call(smsd, "GET", f"/audiences/{name}/contacts/{number(1)}"))
    assert shown == {"number": number(1), "fields": {"plan": "tin"}}


def test_the_same_file_again_is_recognized(smsd: Daemon, name: str) -> None:
    body = f"phone,city\n{number(1)},Rome\n{number(2)},Oslo\n"
    put(smsd, name, body)
    before = show(smsd, name)
    again = good(put(smsd, name, body))
    assert again["unchanged"]
    assert again["imported_before"] == before["updated"]
    assert show(smsd, name) == before

    call(smsd, "DELETE", f"/audiences/{name}/contacts/{number(1)}")
    restored = good(put(smsd, name, body))
    assert not restored["unchanged"]
    assert (restored["contacts"], restored["imported_before"]) == (2, before["updated"])


def test_a_file_without_a_contact_does_not_empty_the_audience(smsd: Daemon, name: str) -> None:
    put(smsd, name, f"phone\n{number(1)}\n")
    answer = put(smsd, name, "Phone\n(202) 556-0002\nnobody\n")
    assert (answer.status, answer.error["code"]) == (400, "no_contacts")
    assert "none of its 2 rows" in answer.error["message"]
    assert "line 2, column Phone, has no + and country code" in answer.error["message"]
    assert answer.error["rejected"]["reasons"] == {"no_country_code": 1, "not_a_number": 1}
    for nothing in ("phone\n", "phone,name\n\n\n"):
        assert put(smsd, name, nothing).status == 400
    assert show(smsd, name)["contacts"] == 1


def test_contacts_are_looked_up_and_taken_out_by_number(smsd: Daemon, name: str) -> None:
    put(smsd, name, f"phone,city\n{number(1)},Rome\n{number(2)},Oslo\n")
    path = f"/audiences/{name}/contacts"
    assert good(call(smsd, "GET", f"{path}/{number(1)}"))["fields"] == {"city": "Rome"}
    removed = good(call(smsd, "DELETE", f"{path}/{number(1)}"))
    assert removed == {"status": "removed", "name": name, "number": number(1)}
    assert call(smsd, "GET", f"{path}/{number(1)}").status == 404
    assert call(smsd, "DELETE", f"{path}/{number(1)}").status == 404
    assert show(smsd, name)["contacts"] == 1
    assert call(smsd, "GET", f"{path}/nobody").error["field"] == "number"


def test_a_removed_audience_is_gone(smsd: Daemon, name: str) -> None:
    put(smsd, name, f"phone\n{number(1)}\n")
    path = f"/audiences/{name}"
    assert good(call(smsd, "DELETE", path)) == {"status": "removed", "name": name}
    for method, what in (("GET", ""), ("DELETE", ""), ("GET", "/contacts"), ("GET", "/rejects")):
        assert call(smsd, method, path + what).error["code"] == "not_found"
    assert name not in [one["name"] for one in good(call(smsd, "GET", "/audiences"))["audiences"]]


def test_those_of_the_settings_are_listed_and_shown_and_never_written(smsd: Daemon) -> None:
    listed = good(call(smsd, "GET", "/audiences"))["audiences"]
    demo = {"name": "demo", "contacts": 2, "fields": [], "source": "config"}
    assert demo in listed
    assert show(smsd, "demo") == demo
    assert exported(smsd, "demo") == [["number"], ["+12025550101"], ["+12025550102"]]
    page = good(call(smsd, "GET", "/audiences/demo/contacts?count=1"))
    assert (page["more"], page["after"]) == (True, "1")
    page = good(call(smsd, "GET", "/audiences/demo/contacts?count=1&after=1"))
    assert [contact["number"] for contact in page["contacts"]] == ["+12025550102"]
    assert not page["more"]
    assert call(smsd, "GET", "/audiences/demo/contacts/+12025550101").status == 200
    for method, path in (
        ("PUT", "/audiences/demo"),
        ("POST", "/audiences/demo"),
        ("DELETE", "/audiences/demo"),
        ("DELETE", "/audiences/demo/contacts/+12025550101"),
    ):
        answer = call(smsd, method, path, f"phone\n{number(1)}\n", CSV)
        assert (answer.status, answer.error["code"]) == (409, "audience_fixed")


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("?colour=red", "colour"),
        ("?region=US&region=GB", "region"),
        ("?region=Atlantis", "region"),
        ("?encoding=klingon", "encoding"),
        ("?delimiter=ab", "delimiter"),
        ("?column=nowhere", "column"),
    ],
)
def test_a_wrong_parameter_is_named(smsd: Daemon, name: str, query: str, field: str) -> None:
    answer = put(smsd, name, f"phone,city\n{number(1)},Rome\n", query)
    assert (answer.status, answer.error["field"]) == (400, field)
    assert answer.error["message"].startswith(f"{field} ")


@pytest.mark.parametrize("bad", ["UPPER", "-x", "a%20b", "%C3%A9", "a" * 65])
def test_a_name_that_is_none_is_refused(smsd: Daemon, bad: str) -> None:
    for method in ("GET", "PUT", "POST", "DELETE"):
        answer = call(smsd, method, f"/audiences/{bad}", "", CSV)
        assert (answer.status, answer.error["field"]) == (400, "name")


def test_a_media_type_that_is_none_of_these_is_refused(smsd: Daemon, name: str) -> None:
    answer = add(smsd, name, "x", {"Content-Type": "application/x-www-form-urlencoded"})
    assert answer.status == 415
    assert "text/csv, application/x-ndjson, application/json" in answer.error["message"]


def test_without_a_media_type_it_is_csv(smsd: Daemon, name: str) -> None:
    assert good(add(smsd, name, f"phone\n{number(1)}\n", {}))["added"] == 1


def test_the_head_of_an_export_names_its_file(smsd: Daemon) -> None:
    answer = call(smsd, "HEAD", "/audiences/demo/contacts", headers=AS_CSV)
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="demo.csv"'


@pytest.mark.parametrize("query", ["after=x", "count=0", "count=1001", "excel=maybe", "page=2"])
def test_a_page_that_is_none_is_refused(smsd: Daemon, query: str) -> None:
    answer = call(smsd, "GET", f"/audiences/demo/contacts?{query}", headers=JSON)
    assert (answer.status, answer.error["field"]) == (400, query.split("=", maxsplit=1)[0])
