"""The provider contract. Rule: a provider has the optional side that it is configured for."""

from typing import Any

import pytest

from smsd.provider.base import (
    SupportsLookUp,
)
from smsd.provider.generic.http import Http
from smsd.provider.sandbox import Sandbox
from smsd.provider.twilio.provider import Twilio

HTTP = {"url": "https://gw.example/send", "fields": {"to": "{to}", "text": "{text}"}}
TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "t" * 32, "from": "+12025550100"}


@pytest.mark.parametrize(
    ("kind", "given", "supports"),
    [
        (Sandbox, {}, True),
        (Twilio, TWILIO, True),
        (Http, {**HTTP, "look_up": {"url": "https://gw.example/{id}", "id": "json:id"}}, True),
        (Http, HTTP, False),
    ],
)
async def test_a_built_in_provider_supports_look_ups_where_it_is_configured_for_them(
    kind: Any, given: dict[str, object], *, supports: bool
) -> None:
    provider = kind.build(kind.Settings.model_validate(given), timeout_s=1.0, max_in_flight=1)
    assert isinstance(provider, SupportsLookUp) is supports
