"""`[provider.http]`. Rule: a fault is named by its key, and shows no secret."""

from typing import Any

import pytest
from pydantic import ValidationError

from smsd.core.fields import FIELDS
from smsd.provider.generic.http import Http
from smsd.provider.generic.settings import GenericSettings

GOOD: dict[str, Any] = {
    "url": "https://gw.example/send",
    "fields": {"to": "{to_no_plus}", "text": "{text}"},
}
IN_HEADERS = ", ".join(f"{{{field.placeholder}}}" for field in FIELDS if field.in_headers)


def gateway(**changes: Any) -> Http:
    settings = GenericSettings.model_validate(GOOD | changes)
    return Http.build(settings, timeout_s=1.0, max_in_flight=8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"fields": {"to": "{too}"}}, "fields.to: {too} is not a placeholder; known here: {to}, "),
        ({"fields": {"to": "{to"}}, "fields.to: holds a single brace"),
        ({"fields": {"to": "${KEY}"}}, "fields.to: ${KEY} is not among the secrets"),
        ({"fields": {"to": {"a": "{to}"}}}, "fields.to: only a JSON body holds tables"),
        ({"fields": {"to": [["{to}"]]}}, "fields.to: only a JSON body holds tables"),
        ({"fields": {"to": {1, 2}}, "body": "json"}, "fields.to: holds a set"),
        ({"fields": {"n": 10**29}, "body": "json"}, "fields.n: holds a number that JSON cannot"),
        ({"fields": {"n": float("nan")}}, "fields.n: holds a number that JSON cannot"),
        ({"fields": {"to": "{to}", "text": "{{text}}"}}, "fields: must hold {text} somewhere"),
        ({"fields": {"text": "{text}", "from": "{from}"}}, "fields: must hold {to} or {to_no_"),
        ({"fields": {}, "body": "raw"}, "fields: must hold {to} or {to_no_plus} somewhere"),
        ({"encodings": {"gsm7": "0", "utf8": "1"}}, "Extra inputs are not permitted"),
        (
            {"headers": {"X": "{text}"}},
            f"headers.x: {{text}} is not a placeholder; known here: {IN_HEADERS}",
        ),
        ({"headers": {"X Y": "z"}}, "headers.x y: is not a valid name of a header"),
        ({"headers": {"X": "${K}"}, "secrets": {"K": "hu\nsh"}}, "holds a control character"),
        ({"url": "gw.example/send"}, "url: must be a URL"),
        ({"url": "https://me:hush@gw.example/"}, "url: must hold neither"),
        ({"url": "https://gw.example/{to}"}, "url: {to} is not a placeholder; known here: none"),
        ({"method": "GET", "body": "form"}, "body: a GET has none"),
        ({"method": "DELETE"}, "Input should be 'POST', 'GET' or 'PUT'"),
        ({"id": "xml:id"}, 'must begin with "json:", "re:" or "header:"'),
        ({"id": "re:(["}, "is no regular expression"),
        ({"rules": [{"body": "OK", "outcome": "accepted"}]}, 'must be written "re:"'),
        ({"rules": [{"json": "code", "outcome": "accepted"}]}, "`json` and `in` go together"),
        ({"rules": [{"status": 200, "outcome": "fine"}]}, "must be one of accepted, rejected"),
        ({"rules": [{"status": 2000, "outcome": "accepted"}]}, "less than or equal to 599"),
        ({"rules": [{"status": 200}]}, "Field required"),
        ({"base_url": "http://gw.example"}, 'url: must begin with "/", since base_url goes before'),
        ({"base_url": "http://gw.example", "url": ".org/"}, 'url: must begin with "/", since base'),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_with_the_place_and_without_a_secret(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        gateway(**changes)
    assert said in str(caught.value)
    assert "hush" not in str(caught.value)


def test_no_secret_is_in_the_repr_of_settings() -> None:
    settings = GenericSettings.model_validate(
        GOOD | {"secrets": {"K": "hush"}, "password": "hush", "headers": {"X": "${K}"}}
    )
    assert "hush" not in repr(settings)
