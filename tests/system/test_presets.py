"""Presets against gateways that answer as documented. Rule: each documented answer has its outcome.

The gateways here check a request as Kannel's `smsbox_req_sendsms` and Jasmin's `Send.render_POST`
do, and answer in their words.
"""

import re
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from smsd.core import segment
from smsd.core.message import Content, Message
from smsd.core.outcome import (
    Accepted,
    Halted,
    InDoubt,
    Outcome,
    Rejected,
    Throttled,
    Unavailable,
)
from tests.support.gateway import Gateway, Slot, listening, make, response, started

TO = "+12025550123"
LOGIN = {"username": "shop", "password": "hush-hush"}

Answer = tuple[int, str]


def message(text: str = "Sale [5\u20ac]", sender: str = "+12025550100") -> Message:
    content = Content(text, segment.count(text), sender, "normal", None, None, "", "")
    return Message("m1", TO, content)


def query(raw: bytes) -> tuple[str, dict[str, str]]:
    """The method and path of a request, and what its query and its form hold."""
    head, _, body = raw.partition(b"\r\n\r\n")
    method, target, _ = head.split(b"\r\n")[0].decode().split(" ")
    url = urlsplit(target)
    given = parse_qs(url.query, strict_parsing=bool(url.query), keep_blank_values=True)
    given |= parse_qs(body.decode(), strict_parsing=bool(body), keep_blank_values=True)
    return f"{method} {url.path}", {name: value for name, [value] in given.items()}


class Kannel:
    """`smsbox_req_sendsms` and `delayed_http_reply` of gw/smsbox.c."""

    path = "/cgi-bin/sendsms"

    def __init__(self, bearerbox: Answer = (202, "0: Accepted for delivery")) -> None:
        self.bearerbox = bearerbox
        self.given: dict[str, str] = {}
        self.text = ""

    def __call__(self, method_and_path: str, given: dict[str, str]) -> Answer:
        self.given = given
        if method_and_path != f"GET {self.path}":
            return 404, "Unknown request."
        if (given["username"], given["password"]) != ("shop", "hush-hush"):
            return 403, "Authorization failed for sendsms"
        if not given.get("to"):
            return 400, "Empty receiver number not allowed, rejected"
        if not given.get("from"):
            return 400, "Sender missing and no global set, rejected"
        self.text = given["text"] if given.get("charset") == "UTF-8" else "misformed"
        return self.bearerbox


class Jasmin:
    """`Send.render_POST` and `route_routable` of jasmin/protocols/http/endpoints/send.py."""

    path = "/send"
    fields = ("to", "from", "coding", "username", "password", "content", "hex-content")

    def __init__(self, routed: Answer = (200, 'Success "07033084-5cfd-4812-90a4-e4d24ffb6e3d"')):
        self.routed = routed
        self.given: dict[str, str] = {}
        self.short_message = b""

    def __call__(self, method_and_path: str, given: dict[str, str]) -> Answer:
        self.given = given
        if method_and_path != f"POST {self.path}":
            return 404, "No Such Resource"
        for name in given:
            if name not in self.fields:
                return 400, f'Error "Argument [{name}] is unknown."'
        if not re.match(r"^\+{0,1}\d+$", given["to"]):
            return 400, f'Error "Argument [to] has an invalid value: [{given["to"]}]."'
        self.short_message = bytes.fromhex(given["hex-content"])
        if (given["username"], given["password"]) != ("shop", "hush-hush"):
            return 403, f'Error "Authentication failure for username:{given["username"]}"'
        return self.routed


async def submitted(
    name: str, handler: Any, sent: Message | None = None, path: str = "", **given: str
) -> Outcome:
    """What one submission by the preset `name` comes to."""

    async def script(_: Reader, writer: Writer) -> None:
        status, body = handler(*query(gateway.requests[-1]))
        writer.write(response(status, body.encode(), "Content-Type: text/plain"))
        await writer.drain()

    gateway = Gateway(script)
    async with listening(gateway):
        settings = {**LOGIN, **given, "url": gateway.url + (path or handler.path)}
        async with started(make(name, settings, 5.0)) as provider:
            return await provider.submit(sent or message(), Slot())


# Kannel


async def test_kannel_gets_the_documented_variables() -> None:
    kannel = Kannel()
    assert await submitted("kannel", kannel) == Accepted()
    assert kannel.given == {
        **LOGIN,
        "from": "+12025550100",
        "to": TO,
        "text": "Sale [5\u20ac]",
        "coding": "0",
        "charset": "UTF-8",
    }


async def test_kannel_gets_what_is_not_gsm7_as_ucs2() -> None:
    kannel = Kannel()
    assert await submitted("kannel", kannel, message("\u0623 & +")) == Accepted()
    assert (kannel.given["coding"], kannel.text) == ("2", "\u0623 & +")


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((202, "0: Accepted for delivery"), Accepted()),
        ((202, "3: Queued for later delivery"), Accepted()),
        ((202, "Sent."), Accepted()),
        ((202, "Sent. Message splits: 3"), Accepted()),
        ((202, "Perhaps."), InDoubt("HTTP 202, but no rule matches this answer")),
        ((200, "<html>"), InDoubt("HTTP 200, but no rule matches this answer")),
        (
            (403, "Not routable. Do not try again."),
            Halted("403", "HTTP 403: Not routable. Do not try again.", known=False),
        ),
        (
            (503, "Temporal failure, try again later."),
            Unavailable("HTTP 503: Temporal failure, try again later."),
        ),
        (
            (400, "Number(s) has/have been denied by white- and/or black-lists."),
            Rejected(
                "400",
                "HTTP 400: Number(s) has/have been denied by white- and/or black-lists.",
                "recipient",
            ),
        ),
        (
            (400, "Coding field misformed, rejected"),
            Rejected("400", "HTTP 400: Coding field misformed, rejected", known=False),
        ),
        ((500, "Sending failed."), InDoubt("HTTP 500: Sending failed.")),
    ],
)
async def test_an_answer_of_kannel_has_its_outcome(answer: Answer, expected: Outcome) -> None:
    assert await submitted("kannel", Kannel(answer)) == expected


async def test_a_login_or_address_that_kannel_does_not_know_holds_dispatch() -> None:
    said = "HTTP 403: Authorization failed for sendsms"
    assert await submitted("kannel", Kannel(), password="wrong") == Halted("403", said)
    said = "HTTP 404: Unknown request."
    assert await submitted("kannel", Kannel(), path="/cgi-bin/sms") == Halted("404", said)


# Jasmin


async def test_jasmin_gets_the_documented_parameters() -> None:
    jasmin = Jasmin()
    accepted = Accepted("07033084-5cfd-4812-90a4-e4d24ffb6e3d")
    assert await submitted("jasmin", jasmin) == accepted
    assert jasmin.given == {
        **LOGIN,
        "from": "+12025550100",
        "to": "12025550123",
        "coding": "0",
        "hex-content": jasmin.short_message.hex(),
    }
    assert jasmin.short_message == b"Sale \x1b<5\x1be\x1b>"


async def test_jasmin_gets_what_is_not_gsm7_as_utf_16() -> None:
    jasmin = Jasmin()
    await submitted("jasmin", jasmin, message("\u0623\u0631 hi"))
    assert jasmin.given["coding"] == "8"
    assert jasmin.short_message.decode("utf-16-be") == "\u0623\u0631 hi"


def error(status: int, text: str) -> Answer:
    return status, f'Error "{text}"'


FILTER = "Value filter failed for user [shop] ({} filter mismatch)."
LONG = "Authorization failed for user [shop] (Long content not authorized)."
MAY_NOT = "Authorization failed for user [shop] (Cannot send MT messages)."
CHARGE = "Cannot charge submit_sm, check RouterPB log file for details"
UNBOUND = "Failover route has no bound connectors"
FAILED = "Cannot send submit_sm, check SMPPClientManagerPB log file for details"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, "<html>"), InDoubt("HTTP 200, but no rule matches this answer")),
        (error(403, CHARGE), Halted("403", f"HTTP 403: {CHARGE}")),
        (error(400, MAY_NOT), Halted("400", f"HTTP 400: {MAY_NOT}")),
        (error(400, LONG), Rejected("400", f"HTTP 400: {LONG}")),
        (
            error(400, FILTER.format("destination_address")),
            Rejected("400", f"HTTP 400: {FILTER.format('destination_address')}", "recipient"),
        ),
        (
            error(400, FILTER.format("source_address")),
            Halted("400", f"HTTP 400: {FILTER.format('source_address')}", "sender"),
        ),
        (
            error(400, FILTER.format("content")),
            Rejected("400", f"HTTP 400: {FILTER.format('content')}", known=False),
        ),
        (
            error(403, "User throughput exceeded"),
            Throttled(None, "HTTP 403: User throughput exceeded"),
        ),
        (
            error(412, "No route found"),
            Rejected("412", "HTTP 412: No route found", known=False),
        ),
        (error(412, UNBOUND), Unavailable(f"HTTP 412: {UNBOUND}")),
        (
            error(503, "InterceptorPB not connected !"),
            Unavailable("HTTP 503: InterceptorPB not connected !"),
        ),
        (error(500, FAILED), InDoubt(f"HTTP 500: {FAILED}")),
    ],
)
async def test_an_answer_of_jasmin_has_its_outcome(answer: Answer, expected: Outcome) -> None:
    outcome = await submitted("jasmin", Jasmin(answer))
    assert repr(outcome) == repr(expected).replace("shop", "…")  # as a part of the login


async def test_a_login_or_address_that_jasmin_does_not_know_holds_dispatch() -> None:
    outcome = await submitted("jasmin", Jasmin(), password="wrong")
    assert outcome == Halted("403", "HTTP 403: Authentication failure for username:…")
    assert await submitted("jasmin", Jasmin(), path="/sent") == Halted("404", "HTTP 404")
