"""`[provider.twilio]`. Rule: a fault is named, and shows no secret."""

from typing import Any

import pytest
from pydantic import ValidationError

from smsd.provider.twilio.settings import TwilioSettings
from tests.support.twilio import GOOD, SERVICE, message, twilio


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"account_sid": "AC123"}, "should match pattern"),
        ({"auth_token": ""}, "needs either auth_token"),
        ({"api_key": "SK1"}, "go together"),
        ({"api_key": "SK1", "api_secret": "hush"}, "needs either auth_token"),
        ({"from": ""}, "needs either from or"),
        ({"messaging_service_sid": SERVICE}, "needs either from or"),
        ({"codes": {"21211": "ignored"}}, "must be one of accepted, rejected"),
        ({"codes": {"abc": "halted:sender"}}, "must be one of Twilio's codes"),
        ({"codes": {"1234567": "halted:sender"}}, "must be one of Twilio's codes"),
        ({"from": "not a number at all!!"}, "must be a +number, a short code, or"),
        ({"base_url": "https://api.twilio.com/2010-04-01"}, "must end before /2010-04-01"),
        ({"base_url": "ftp://x"}, "must be a URL"),
        ({"colour": "red"}, "Extra inputs are not permitted"),
    ],
)
def test_wrong_settings_are_refused_without_showing_a_secret(
    changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        twilio(**changes)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "hush" not in str(caught.value)


def test_no_secret_is_in_the_repr_of_settings_or_requests() -> None:
    settings = TwilioSettings.model_validate(GOOD)
    request = twilio().request(message())
    assert "s3cret" not in repr(settings)
    assert "Basic" not in repr(request)
    assert "Sale" not in repr(request)
