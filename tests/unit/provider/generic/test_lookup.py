"""Configured look-ups. Rule: without a clear answer a message stays in doubt."""

import json
import re

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from smsd.core.fields import Priority
from smsd.core.message import Content, Message
from smsd.core.outcome import (
    Accepted,
    InDoubt,
    Outcome,
    Rejected,
    Unavailable,
)
from smsd.core.segment import Segments
from smsd.provider.base import (
    SupportsLookUp,
)
from smsd.provider.generic.http import Http
from smsd.provider.generic.settings import GenericSettings
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.transport import Request

GONE = Unavailable("never arrived")
HTTP = {"url": "https://gw.example/send", "fields": {"to": "{to}", "text": "{text}"}}


def message(
    to: str = "+12025550123", id_: str = "m1", ref: str = "o-7", priority: Priority = "normal"
) -> Message:
    content = Content("Hi", Segments("gsm7", 2, 1), "", priority, None, None, "", ref)
    return Message(id_, to, content)


STATUS = "https://gw.example/messages/{id}"
SENT = {"json": "status", "in": ["sent"], "outcome": "accepted"}


STOP = {"json": "code", "in": [21610], "outcome": "rejected:recipient:opted_out"}


def settings(look_up: object = None, **more: object) -> GenericSettings:
    return GenericSettings.model_validate({**HTTP, "look_up": look_up, **more})


@pytest.mark.parametrize(
    ("look_up", "later"),
    [
        ({"id": "json:id"}, True),
        ({"id": "json:id", "not_found": "unavailable"}, False),
        ({"rules": [SENT, {"json": "status", "in": ["?"], "outcome": "unavailable"}]}, False),
        ({"rules": [SENT, {"json": "status", "in": ["no"], "outcome": "rejected"}]}, True),
    ],
)
async def test_at_a_stop_a_look_up_that_proves_no_absence_is_left_to_the_next_daemon(
    look_up: dict[str, object], *, later: bool
) -> None:
    asking = {"url": STATUS, **look_up}
    provider = Http.build(settings(asking), timeout_s=1.0, max_in_flight=1)
    assert isinstance(provider, SupportsLookUp)
    assert provider.stop_leaves_in_doubt is later


def gateway(**more: object) -> str:
    both: dict[str, object] = {"look_up": {"url": STATUS, "id": "json:id"}, **more}
    asked = Http.build(settings(**both), timeout_s=1.0, max_in_flight=1)
    assert isinstance(asked, SupportsLookUp)
    return asked.gateway


@pytest.mark.parametrize(
    "other",
    [
        {"url": "https://gw2.example/send"},
        {"user": "another", "password": "s3cret"},
        {"headers": {"X-Account": "2"}},
        {"fields": {"to": "{to}", "text": "{text}", "account": "2"}},
        {"look_up": {"url": "https://gw2.example/{id}", "id": "json:id"}},
        {"look_up": {"url": STATUS, "id": "json:id", "headers": {"X-Account": "2"}}},
    ],
)
def test_another_gateway_or_account_is_told_from_this_one(other: dict[str, object]) -> None:
    assert gateway(**other) != gateway()


def test_the_same_gateway_is_known_by_what_is_no_secret() -> None:
    keyed = {"headers": {"Authorization": "Bearer ${KEY}"}, "user": "me"}
    one = gateway(**keyed, secrets={"KEY": "h/sh"}, password="pw")
    assert one == gateway(**keyed, secrets={"KEY": "other"}, password="new", rules=[STOP])
    assert one == gateway(
        headers={"authorization": "Bearer ${KEY}"}, user="me", secrets={"KEY": "h/sh"}
    )
    assert "h/sh" not in one
    assert "pw" not in one


@pytest.mark.parametrize(
    "proof",
    [{"not_found": "unavailable"}, {"rules": [SENT, {"status": 410, "outcome": "unavailable"}]}],
)
def test_where_an_absence_is_a_proof_another_secret_may_be_another_account(
    proof: dict[str, object],
) -> None:
    def keyed(key: str, password: str = "pw") -> str:
        look_up = {"url": STATUS, "id": "json:id", **proof}
        headers = {"X-Key": "${KEY}"}
        return gateway(
            look_up=look_up, headers=headers, secrets={"KEY": key}, user="me", password=password
        )

    assert keyed("h/sh") != keyed("other")
    assert keyed("h/sh") == keyed("h/sh", password="new")  # the user names the account
    assert "h/sh" not in keyed("h/sh")


@pytest.mark.parametrize("not_found", ["in_doubt", "unavailable"])
def test_another_query_is_another_account_only_where_an_absence_is_a_proof(not_found: str) -> None:
    def asked_by(query: str) -> str:
        url = f"https://gw.example/status?{query}"
        return gateway(look_up={"url": url, "id": "json:id", "not_found": not_found})

    assert (asked_by("id={id}") == asked_by("ref={id}")) is (not_found == "in_doubt")


def request(sought: Message, look_up: dict[str, object], **more: object) -> Request | None:
    asking = settings({"id": "json:id", **look_up}, **more).look_up_template()
    assert asking is not None
    return asking.request(sought)


def judged(status: int, body: object, **look_up: object) -> Outcome:
    asking = settings({"url": STATUS, **look_up}).look_up_template()
    assert asking is not None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asking.outcome(Answer(status, CIMultiDict(), raw))


def test_a_look_up_has_the_headers_of_the_submission() -> None:
    asked = request(
        message(ref="a/b?c=d&é"),
        {"url": "/find/{id}?to={to}&n={to_no_plus}&ref={ref}&key=${KEY}"},
        base_url="https://gw.example",
        url="/send",
        headers={"Authorization": "Bearer ${KEY}"},
        secrets={"KEY": "h/sh"},
    )
    assert asked is not None
    assert (asked.method, asked.body) == ("GET", b"")
    assert str(asked.url) == (
        "https://gw.example/find/m1?to=%2B12025550123&n=12025550123"
        "&ref=a%2Fb%3Fc%3Dd%26%C3%A9&key=h%2Fsh"
    )
    assert asked.headers == {"authorization": "Bearer h/sh"}
    assert "h/sh" not in repr(asked)


def test_headers_of_the_look_up_replace_those_of_the_submission() -> None:
    asked = request(
        message(),
        {"url": STATUS, "method": "POST", "headers": {"X-Id": "{id}"}},
        headers={"Idempotency-Key": "{id}"},
        user="me",
        password="pw",
    )
    assert asked is not None
    assert asked.method == "POST"
    assert asked.headers == {"x-id": "m1", "authorization": "Basic bWU6cHc="}


@pytest.mark.parametrize("ref", ["", ".", ".."])
def test_a_message_without_a_ref_is_not_looked_up_by_ref(ref: str) -> None:
    assert request(message(ref=ref), {"url": "https://gw.example/m/{ref}"}) is None
    assert request(message(ref=ref), {"url": STATUS}) is not None


@pytest.mark.parametrize(
    ("status", "body", "look_up", "expected"),
    [
        (200, {"id": 7}, {"id": "json:id"}, Accepted("7")),
        (200, {"id": "x" * 500}, {"id": "json:id"}, Accepted("x" * 128)),
        (200, {}, {"id": "json:id"}, InDoubt("asked: HTTP 200")),
        (200, {"id": False, "error": "?"}, {"id": "json:id"}, InDoubt("asked: HTTP 200")),
        (200, {"id": ""}, {"id": "json:id"}, InDoubt("asked: HTTP 200")),
        (200, [], {"id": "json:id"}, InDoubt("asked: HTTP 200")),
        (200, b"<html>", {"id": "json:id"}, InDoubt("asked: HTTP 200")),
        (200, {"id": 7, "status": "sent"}, {"id": "json:id", "rules": [SENT]}, Accepted("7")),
        (200, {"status": "sent"}, {"rules": [SENT]}, Accepted("")),
        (200, {"id": 7}, {"id": "json:id", "rules": [SENT]}, InDoubt("asked: HTTP 200")),
        (500, {"id": 7}, {"id": "json:id"}, InDoubt("asked: HTTP 500")),
        (302, {"id": 7}, {"id": "json:id"}, InDoubt("asked: HTTP 302")),
        (401, {}, {"id": "json:id"}, InDoubt("asked: HTTP 401")),
        (429, {}, {"id": "json:id"}, InDoubt("asked: HTTP 429")),
        (404, {}, {"id": "json:id"}, InDoubt("asked: HTTP 404")),
        (404, {}, {"id": "json:id", "not_found": "in_doubt"}, InDoubt("asked: HTTP 404")),
        (404, {}, {"id": "json:id", "not_found": "unavailable"}, GONE),
        (410, {}, {"id": "json:id", "not_found": "unavailable"}, InDoubt("asked: HTTP 410")),
        (302, {}, {"id": "json:id", "not_found": "unavailable"}, InDoubt("asked: HTTP 302")),
        (304, {}, {"id": "json:id", "not_found": "unavailable"}, InDoubt("asked: HTTP 304")),
        (
            404,
            {"proxy": 1},
            {
                "id": "json:id",
                "not_found": "unavailable",
                "rules": [{"json": "proxy", "in": [1], "outcome": "in_doubt"}],
            },
            InDoubt("asked: HTTP 404: 1"),
        ),
        (
            200,
            {"status": "refused"},
            {
                "id": "json:id",
                "rules": [{"json": "status", "in": ["refused"], "outcome": "rejected"}],
            },
            Rejected("refused", "asked: HTTP 200: refused"),
        ),
        (
            200,
            {"status": "unknown"},
            {
                "id": "json:id",
                "rules": [{"json": "status", "in": ["unknown"], "outcome": "unavailable"}],
            },
            Unavailable("asked: HTTP 200: unknown"),
        ),
    ],
)
def test_the_answer_to_a_look_up_is_read_by_rules_and_is_else_in_doubt(
    status: int, body: object, look_up: dict[str, object], expected: Outcome
) -> None:
    assert judged(status, body, **look_up) == expected


BUSY = {"json": "code", "in": [7], "outcome": "throttled"}
NO_SUCH = {"status": 200, "outcome": "rejected"}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"id": 7}, Accepted("7")),
        ({"id": 7, "code": 0}, Accepted("7")),
        (
            {"id": 7, "code": 21610},
            Rejected("21610", "asked: HTTP 200: 21610", "recipient", opted_out=True),
        ),
        ({"id": 7, "code": 7}, Unavailable("asked: HTTP 200: 7")),
    ],
)
def test_a_record_goes_through_the_rules_of_an_answer(body: object, expected: Outcome) -> None:
    """That a gateway has a record does not say that it took the message."""
    asking = settings(
        {"url": STATUS, "id": "json:id"}, rules=[NO_SUCH, STOP, BUSY]
    ).look_up_template()
    assert asking is not None
    raw = json.dumps(body).encode()
    assert asking.outcome(Answer(200, CIMultiDict(), raw)) == expected
    assert asking.outcome(Answer(404, CIMultiDict(), raw)) == InDoubt("asked: HTTP 404")


@pytest.mark.parametrize(
    ("look_up", "said"),
    [
        ({"id": "json:id"}, "Field required"),
        ({"url": STATUS}, "needs an `id`, or a rule whose outcome is accepted"),
        ({"url": "/m/{id}", "id": "json:id"}, "look_up: url: must be a URL"),
        (
            {"url": "https://gw.example/{text}", "id": "json:id"},
            "look_up: url: {text} is not a place",
        ),
        ({"url": "https://gw.example/{id", "id": "json:id"}, "look_up: url: holds a single brace"),
        ({"url": "https://gw{ref}/m/{id}", "id": "json:id"}, "must name the host before its first"),
        ({"url": "https://gw{ref}", "id": "json:id"}, "must name the host before its first"),
        ({"url": STATUS, "id": "json:id", "not_found": "gone"}, "Input should be 'unavailable' or"),
        ({"url": STATUS, "id": "json:id", "method": "PUT"}, "Input should be 'GET' or 'POST'"),
        ({"url": STATUS, "id": "json:id", "headers": {"X": "{to}"}}, "look_up: headers.x: {to} is"),
        (
            {"url": STATUS, "id": "json:id", "rules": [{"status": 401, "outcome": "halted"}]},
            "a rule's outcome must be one of accepted, rejected, unavailable, in_doubt",
        ),
        ({"url": STATUS, "id": "json:id", "colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_with_the_place(look_up: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        settings(look_up)
    assert said in str(caught.value)


def test_an_absolute_address_is_refused_where_a_base_url_would_go_before_it() -> None:
    said = 'look_up: url: must begin with "/", since base_url goes before it'
    with pytest.raises(ValidationError, match=re.escape(said)):
        settings({"url": STATUS, "id": "json:id"}, base_url="https://gw.example", url="/send")
