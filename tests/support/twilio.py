"""Twilio, as the tests of twilio/ configure it, and a message for it."""

from typing import Any

from smsd.core.message import Content, Message
from smsd.core.segment import Segments
from smsd.provider.twilio.provider import Twilio
from smsd.provider.twilio.settings import TwilioSettings

SID = "AC" + "0" * 32
SERVICE = "MG" + "1" * 32
GOOD: dict[str, Any] = {"account_sid": SID, "auth_token": "s3cret-token", "from": "+12025550100"}
REDIRECT = ": a redirect, and none is followed; correct the URL"
TEXT = "Sale: 20 % off today only"


def twilio(**changes: Any) -> Twilio:
    settings = TwilioSettings.model_validate({k: v for k, v in (GOOD | changes).items() if v})
    return Twilio.build(settings, timeout_s=1.0, max_in_flight=8)


def message(sender: str = "") -> Message:
    content = Content(TEXT, Segments("gsm7", 25, 1), sender, "normal", None, None, "", "")
    return Message("m1", "+12025550123", content)
