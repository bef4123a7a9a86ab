"""A gateway of `[provider.http]`, as the tests of generic/ configure it, and a message for it."""

from typing import Any

from smsd.core.message import Content, Message
from smsd.core.segment import Segments
from smsd.provider.generic.http import Http
from smsd.provider.generic.settings import GenericSettings
from smsd.provider.wire.transport import Request

TEXT = 'Hi & bye = 50% + "q" {x} ${Y} é\n'
GOOD: dict[str, Any] = {
    "url": "https://gw.example/send",
    "fields": {"to": "{to_no_plus}", "text": "{text}"},
}


def gateway(**changes: Any) -> Http:
    settings = GenericSettings.model_validate(GOOD | changes)
    return Http.build(settings, timeout_s=1.0, max_in_flight=8)


def message() -> Message:
    content = Content(TEXT, Segments("ucs2", 33, 1), "Shop", "normal", None, None, "spring", "o-7")
    return Message("m1", "+12025550123", content)


def request(**changes: Any) -> Request:
    return gateway(**changes).request(message())
