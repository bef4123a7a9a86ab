"""Smart Encoding. Rule: a text is counted as the service bills it, and sent as it came."""

from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest

from smsd.config import ConfigError, load
from smsd.core import segment
from smsd.core.message import Limits, Message, parse
from smsd.core.segment import Segments
from smsd.daemon import build_limits, build_provider
from smsd.provider.twilio.provider import Twilio
from smsd.provider.twilio.settings import TwilioSettings
from smsd.provider.twilio.smart_encoding import _REPLACED, billed_text

SMART = Limits(billed=billed_text)
ACCOUNT = {"account_sid": "AC" + "0" * 32, "auth_token": "t" * 32}
SERVICE = "MG" + "1" * 32

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("\u201cIt\u2019s\u00a0here\u201d \u2014 now\u2026", '"It\'s  here" - now...'),
        ("\uff28\uff29 \u00bd \u2022 caf\u00e9", "HI 1/2 - caf\u00e9"),
        ("plain [text] \u20ac", "plain [text] \u20ac"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("\u201cHi\u201d \U0001f600", "\u201cHi\u201d \U0001f600"),  # a part is no help
        ("\u2019\u041f", "\u2019\u041f"),
    ],
)
def test_look_alikes_are_replaced_if_that_leaves_nothing_but_gsm(text: str, sent: str) -> None:
    assert billed_text(text) == sent


def test_every_replacement_is_of_the_alphabet_and_stands_for_what_is_not() -> None:
    for replacement, characters in _REPLACED.items():
        assert segment.culprit(replacement) is None
        assert all(segment.culprit(character) for character in characters)
    replaced = [character for characters in _REPLACED.values() for character in characters]
    assert len(replaced) == len(set(replaced)) == 270


def test_segments_are_those_that_are_billed_and_the_text_stays_as_it_came() -> None:
    text = "\u201c" + "x" * 150 + "\u201d"
    content = parse({"message": text}, SMART, 0)
    assert content.segments == Segments("gsm7", 152, 1)
    assert content.text == text
    assert parse({"message": text}, Limits(), 0).segments == Segments("ucs2", 152, 3)


def test_what_has_a_sender_of_its_own_goes_by_no_service() -> None:
    text = "\u201c" + "x" * 150 + "\u201d"
    assert parse({"message": text, "from": "Acme"}, SMART, 0).segments.segments == 3
    by_default = Limits(default_from="Acme", billed=billed_text)
    assert parse({"message": text}, by_default, 0).segments.segments == 3


def test_the_limit_is_on_what_is_billed() -> None:
    limits = Limits(max_segments=1, billed=billed_text)
    assert parse({"message": "\u2019" * 160}, limits, 0).segments == Segments("gsm7", 160, 1)


async def test_what_is_sent_is_what_came() -> None:
    settings = TwilioSettings.model_validate(
        {**ACCOUNT, "messaging_service_sid": SERVICE, "smart_encoding": True}
    )
    content = parse({"message": "It\u2019s"}, SMART, 0)
    twilio = Twilio.build(settings, timeout_s=1.0, max_in_flight=1)
    form = parse_qs(twilio.request(Message("m", "+12025550123", content)).body.decode())
    assert form["Body"] == ["It\u2019s"]
    assert form["MessagingServiceSid"] == [SERVICE]


def table(**more: Any) -> str:
    rows = [f"{name} = {value}" for name, value in more.items()]
    return "\n".join(
        [
            '[provider]\nname = "twilio"\n[provider.twilio]',
            *(f'{name} = "{value}"' for name, value in ACCOUNT.items()),
            *rows,
            "",
        ]
    )


@pytest.mark.parametrize(
    ("text", "smart"),
    [
        (table(messaging_service_sid=f'"{SERVICE}"', smart_encoding="true"), True),
        (table(messaging_service_sid=f'"{SERVICE}"', smart_encoding="false"), False),
        (table(messaging_service_sid=f'"{SERVICE}"'), False),
        ('[provider]\nname = "twilio"\n[provider.twilio]\nsmart_encoding = true', True),
        ('[provider]\nname = "nobody"', False),
        ("", False),
        ("[provider.twilio]\nsmart_encoding = true", False),  # not the chosen one
    ],
)
def test_segments_are_counted_as_billed_only_for_the_chosen_provider(
    tmp_path: Path, text: str, *, smart: bool
) -> None:
    (file := tmp_path / "config.toml").write_text(text, "utf-8")
    limits = build_limits(load(file))
    assert (limits.billed is not None) is smart


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            table(**{"from": '"+12025550100"', "smart_encoding": "true"}),
            "[provider.twilio] smart_encoding: needs a messaging_service_sid",
        ),
        (
            table(messaging_service_sid=f'"{SERVICE}"', smart_encoding="true")
            + '[message]\ndefault_from = "Acme"\n',
            "[provider.twilio] smart_encoding: needs [message] default_from to be empty",
        ),
        (
            table(messaging_service_sid=f'"{SERVICE}"', smart_encoding='"soon"'),
            "[provider.twilio] smart_encoding: expected",
        ),
    ],
)
def test_where_no_service_could_encode_it_is_a_fault(tmp_path: Path, text: str, said: str) -> None:
    (file := tmp_path / "config.toml").write_text(text, "utf-8")
    with pytest.raises(ConfigError, match="smart_encoding") as caught:
        build_provider(load(file), file)
    assert said in str(caught.value)
