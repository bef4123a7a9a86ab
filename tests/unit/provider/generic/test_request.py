"""The configured request. Rule: a value is encoded for its place, never spliced in."""

import json
from urllib.parse import parse_qsl

import pytest

from smsd.core.segment import Segments
from smsd.provider.generic import fields
from smsd.provider.generic.settings import GenericSettings
from tests.support.generic import GOOD, TEXT, gateway, message, request


def test_numbers_may_go_without_their_plus() -> None:
    fields = {"to": "{to_no_plus}", "from": "{from_no_plus}", "text": "{text}"}
    for sender, sent in (("+12025550100", b"12025550100"), ("Shop", b"Shop"), ("", b"")):
        content = message().content._replace(sender=sender)
        made = gateway(fields=fields).request(message()._replace(content=content))
        assert b"to=12025550123&from=" + sent + b"&" in made.body


def test_a_form_is_encoded_and_never_spliced() -> None:
    made = request()
    assert made.method == "POST"
    assert made.headers == {"content-type": "application/x-www-form-urlencoded"}
    assert parse_qsl(made.body.decode(), strict_parsing=True) == [
        ("to", "12025550123"),
        ("text", TEXT),
    ]


def test_every_placeholder_has_its_value() -> None:
    names = ["to", "to_no_plus", "from", "text", "id", "ref", "segments", "encoding"]
    made = request(body="json", fields={name: f"<{{{name}}}>" for name in names})
    assert json.loads(made.body) == {
        "to": "<+12025550123>",
        "to_no_plus": "<12025550123>",
        "from": "<Shop>",
        "text": f"<{TEXT}>",
        "id": "<m1>",
        "ref": "<o-7>",
        "segments": "<1>",
        "encoding": "<ucs2>",
    }


@pytest.mark.parametrize(
    ("encodings", "gsm7", "ucs2"),
    [
        ({"gsm7": "0", "ucs2": "2"}, "0", "2"),
        ({"ucs2": "{8}"}, "gsm7", "{8}"),
        ({}, "gsm7", "ucs2"),
    ],
)
def test_an_encoding_has_the_gateways_own_name(
    encodings: dict[str, str], gsm7: str, ucs2: str
) -> None:
    made = gateway(
        body="json",
        encodings=encodings,
        fields={**GOOD["fields"], "x": [{"coding": "c{encoding}"}]},
    )
    cyrillic = message()
    latin = cyrillic._replace(content=cyrillic.content._replace(segments=Segments("gsm7", 33, 1)))
    for sent, name in ((latin, gsm7), (cyrillic, ucs2)):
        assert json.loads(made.request(sent).body)["x"] == [{"coding": f"c{name}"}]


def test_json_fields_may_nest_and_keep_their_types() -> None:
    made = request(
        body="json",
        fields={
            "messages": [{"to": ["{to}"], "dlr": True, "ttl": 60, "x": None, "b": "{{{id}}}"}],
            "all": {"t": ["{text}"]},
        },
    )
    assert json.loads(made.body) == {
        "messages": [{"to": ["+12025550123"], "dlr": True, "ttl": 60, "x": None, "b": "{m1}"}],
        "all": {"t": [TEXT]},
    }
    assert made.headers["content-type"] == "application/json"


def test_a_get_puts_its_fields_into_the_query_behind_what_is_there() -> None:
    made = request(
        method="GET", url="https://gw.example/send?v=1", fields={"to": "{to}", "t": "{text}"}
    )
    assert made.body == b""
    assert "content-type" not in made.headers
    path, _, query = made.url.raw_path_qs.partition("?")
    assert path == "/send"
    assert parse_qsl(query, strict_parsing=True) == [
        ("v", "1"),
        ("to", "+12025550123"),
        ("t", TEXT),
    ]


def test_a_raw_body_is_the_text_alone_with_the_fields_in_the_query() -> None:
    made = request(body="raw", method="PUT", fields={"to": "{to}"})
    assert made.method == "PUT"
    assert made.body == TEXT.encode()
    assert made.url.raw_query_string == "to=%2B12025550123"
    assert made.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_list_repeats_its_key_in_a_form() -> None:
    fields = {"to": ["{to}", "{from}"], "dlr": False, "n": 3, "none": None, "t": "{text}"}
    made = request(fields=fields)
    assert made.body.startswith(b"to=%2B12025550123&to=Shop&dlr=false&n=3&none=&t=Hi")


def test_secrets_go_into_headers_fields_and_the_address_whatever_they_contain() -> None:
    secrets = {"TOKEN": "a{b}/${c}&"}
    made = request(
        url="https://gw.example/${TOKEN}/send",
        headers={"Authorization": "Bearer ${token}", "Idempotency-Key": "smsd-{id}"},
        fields={"key": "${TOKEN}", **GOOD["fields"]},
        secrets=secrets,
    )
    assert made.headers["authorization"] == "Bearer a{b}/${c}&"
    assert made.headers["idempotency-key"] == "smsd-m1"
    assert made.url.raw_parts == ("/", "a%7Bb%7D%2F$%7Bc%7D&", "send")
    assert parse_qsl(made.body.decode())[0] == ("key", "a{b}/${c}&")


@pytest.mark.parametrize(
    ("ref", "sender", "sent"),
    [
        ("o-7", "Shop", {"x-ref": "<o-7>", "x-id": "o-7 m1", "x-two": "o-7/Shop"}),
        ("", "Shop", {"x-id": " m1", "x-two": "/Shop"}),
        ("", "", {"x-id": " m1"}),
    ],
)
def test_a_header_whose_placeholders_are_all_empty_is_left_out(
    monkeypatch: pytest.MonkeyPatch, ref: str, sender: str, sent: dict[str, str]
) -> None:
    monkeypatch.setattr(fields, "IN_HEADERS", fields.PLACEHOLDERS)  # {id} alone is never empty
    headers = {"X-Ref": "<{ref}>", "X-Id": "{ref} {id}", "X-Two": "{ref}/{from}", "X-Fixed": ""}
    settings = GenericSettings.model_validate(
        {**GOOD, "headers": headers, "look_up": {"url": "https://gw.example/{id}", "id": "json:id"}}
    )
    submission, look_up = settings.request_template(), settings.look_up_template()
    assert look_up is not None
    one = message()
    one = one._replace(content=one.content._replace(ref=ref, sender=sender))
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert submission.fill(one).headers == {**sent, **form, "x-fixed": ""}
    asked = look_up.request(one)
    assert asked is not None
    assert asked.headers == {**sent, "x-fixed": ""}


def test_a_base_url_goes_before_the_url_and_basic_authentication_into_a_header() -> None:
    made = request(base_url="http://127.0.0.1:9", url="/send", user="me", password="pw")
    assert str(made.url) == "http://127.0.0.1:9/send"
    assert made.headers["authorization"] == "Basic bWU6cHc="
