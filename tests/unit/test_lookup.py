"""Texts in asker. Rule: only a clear word settles one, and an absence only at the last ask."""

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar, Self

import pytest
from multidict import CIMultiDict
from pydantic import ValidationError

from smsd.core.fields import Priority
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
from smsd.core.recent import Recent
from smsd.core.segment import Segments
from smsd.dispatch import in_doubt as in_doubt_module
from smsd.dispatch.in_doubt import AT_ONCE, PAUSES_S, WITHIN_S, InDoubtAsker, Unanswered, is_high
from smsd.provider import sandbox
from smsd.provider.base import (
    FindSettled,
    ProviderSettings,
    ProxyFor,
    Slot,
    SupportsLookUp,
    Unpaced,
    direct,
)
from smsd.provider.generic.http import GenericSettings, Http, _look_up
from smsd.provider.sandbox import Sandbox, SandboxSettings
from smsd.provider.twilio.lookup import EARLY_S, LATE_S, Sought, fitting, outcome
from smsd.provider.twilio.provider import CODES, Twilio
from smsd.provider.wire.rulings import Ruling, ruling
from smsd.provider.wire.transport import Answer, Request
from smsd.store.entry import Entry

Look = Callable[[Message], Awaitable[Outcome | None]]

LOST = InDoubt("the answer was lost")
GONE = Unavailable("never arrived")
TAKEN = Accepted("p1")


def message(
    to: str = "+12025550123", id_: str = "m1", ref: str = "o-7", priority: Priority | None = None
) -> Message:
    content = Content("Hi", Segments("gsm7", 2, 1), "", priority, None, None, "", ref)
    return Message(id_, to, content)


async def none_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
    return {}


# Asking


class Deaf:
    """A provider that cannot be asked."""

    Settings: ClassVar[type[ProviderSettings]] = ProviderSettings

    @classmethod
    def build(
        cls,
        settings: Any,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = 0,
        proxy_for: ProxyFor = direct,
    ) -> Self:
        return cls()

    async def start(self) -> None: ...

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        return LOST

    async def close(self) -> None: ...


HTTP = {"url": "https://gw.example/send", "fields": {"to": "{to}", "text": "{text}"}}
TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "t" * 32, "from": "+12025550100"}


class Asked(Deaf):
    """One that says what is on its list, the last of it for ever; an error is raised."""

    answers_after_restart = True

    def __init__(self, told: Sequence[Outcome | Exception | None] = (None,)) -> None:
        self.told = list(told)
        self.asks: list[tuple[str, int]] = []
        self.at_once = self.most_at_once = 0
        self.door = asyncio.Event()
        self.door.set()

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        self.asks.append((message.id, started_ms))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self.door.wait()
        finally:
            self.at_once -= 1
        told = self.told.pop(0) if len(self.told) > 1 else self.told[0]
        if isinstance(told, Exception):
            raise told
        return told


class Pauses:
    """A sleep that takes no time, and remembers."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


async def resolved(*told: Outcome | Exception | None) -> tuple[Outcome, int]:
    """What a text in doubt comes to, and after how many asks."""
    provider = Asked(told)
    outcome = await InDoubtAsker(provider, sleep=Pauses()).resolve(message(), 5, LOST)
    return outcome, len(provider.asks)


ASKS = len(PAUSES_S)
REFUSED = Rejected("9", "no", "recipient", opted_out=True)


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ([TAKEN], (TAKEN, 1)),
        ([InDoubt("not listed"), InDoubt("not listed"), TAKEN], (TAKEN, 3)),
        ([GONE, TAKEN], (TAKEN, 2)),
        ([REFUSED], (REFUSED, 1)),
        ([GONE], (GONE, ASKS)),
        ([InDoubt("?"), GONE], (GONE, ASKS)),
        ([GONE] * (ASKS - 1) + [InDoubt("?")], (LOST, ASKS)),
        ([GONE, None], (LOST, 2)),
        ([None], (LOST, 1)),
        ([InDoubt("not listed")], (LOST, ASKS)),
        ([Throttled(1.0)], (LOST, ASKS)),
        ([Halted("401", "no")], (LOST, ASKS)),
        ([ValueError("a bug")], (LOST, 1)),
        ([TimeoutError("a bug")], (LOST, 1)),
        ([GONE, ValueError("a bug")], (LOST, 2)),
    ],
)
async def test_what_the_provider_tells_is_believed_as_far_as_it_goes(
    told: Sequence[Outcome | Exception | None], expected: tuple[Outcome, int]
) -> None:
    assert await resolved(*told) == expected


async def test_the_provider_is_asked_after_growing_pauses_with_what_it_needs() -> None:
    provider, pauses = Asked([InDoubt("not listed")]), Pauses()
    await InDoubtAsker(provider, sleep=pauses).resolve(message(), 77, LOST)
    assert provider.asks == [("m1", 77)] * ASKS
    assert tuple(pauses.taken) == PAUSES_S == tuple(sorted(PAUSES_S))
    assert sum(PAUSES_S) < WITHIN_S


async def test_a_provider_that_cannot_be_asked_is_not_asked_and_costs_no_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pauses = Pauses()
    gateway = Http.build(settings(None), timeout_s=1.0, max_in_flight=1)
    for provider in (Deaf(), gateway):
        assert await InDoubtAsker(provider, sleep=pauses).resolve(message(), 0, LOST) is LOST
    assert pauses.taken == []
    assert caplog.records == []


async def test_a_provider_that_does_not_answer_is_left_to_recovery_which_gives_up_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight are asked about at once: of many, most would come to the policy unasked."""
    monkeypatch.setattr(in_doubt_module, "WITHIN_S", 0)
    monkeypatch.setattr(in_doubt_module, "RECOVERY_WITHIN_S", 0)
    provider = Asked([TAKEN])
    provider.door.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    assert await asker.resolve(message(), 0, LOST, in_recovery=True) is LOST


async def test_more_than_are_asked_about_are_left_to_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_doubt_module, "MOST_ASKED", 2)
    provider = Asked([TAKEN])
    provider.door.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    asked = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(2)]
    while provider.at_once < 2:
        await asyncio.sleep(0)
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    asked.append(asyncio.create_task(asker.resolve(message(), 0, LOST, in_recovery=True)))
    provider.door.set()
    assert await asyncio.gather(*asked) == [TAKEN] * 3


async def test_closing_cuts_every_ask_and_every_pause_short_and_asks_no_more() -> None:
    provider = Asked([TAKEN])
    provider.door.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    pausing = InDoubtAsker(provider, sleep=lambda _: asyncio.Event().wait())
    waiting = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(AT_ONCE + 3)]
    waiting.append(asyncio.create_task(pausing.resolve(message(), 0, LOST)))
    while provider.at_once < AT_ONCE:
        await asyncio.sleep(0)
    asker.close()
    asker.close()
    pausing.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [Unanswered] * len(waiting)
    provider.door.set()
    asks = len(provider.asks)
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    assert len(provider.asks) == asks


async def test_closing_ends_by_the_policy_what_nobody_else_can_ask_about() -> None:
    provider = Asked([TAKEN])
    provider.answers_after_restart = False
    provider.door.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    waiting = asyncio.create_task(asker.resolve(message(), 0, LOST))
    while not provider.at_once:
        await asyncio.sleep(0)
    asker.close()
    assert await waiting is LOST
    assert await asker.resolve(message(), 0, LOST) is LOST


async def test_no_more_than_a_few_are_asked_about_at_once() -> None:
    provider = Asked([TAKEN])
    provider.door.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    waiting = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(100)]
    while provider.at_once < AT_ONCE:
        await asyncio.sleep(0)
    provider.door.set()
    assert await asyncio.gather(*waiting) == [TAKEN] * 100
    assert provider.most_at_once == AT_ONCE


async def test_a_bug_of_the_provider_is_logged_and_being_cancelled_is_not_caught(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await resolved(ValueError("a bug"))
    assert "provider broke" in caplog.text
    provider = Asked([TAKEN])
    provider.door.clear()
    asking = asyncio.create_task(InDoubtAsker(provider, sleep=Pauses()).resolve(message(), 0, LOST))
    while not provider.asks:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_neither_text_nor_number_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await resolved(TAKEN)
    assert [record.message for record in caplog.records] == ["in doubt, asking", "asked"]
    assert "2025550123" not in str([record.__dict__ for record in caplog.records])


@pytest.mark.parametrize(
    ("name", "priority", "high"),
    [
        ("n1-0", None, False),
        ("h1-0", None, True),
        ("n1-0", "high", True),
        ("h1-0", "normal", False),
    ],
)
def test_priority_is_that_of_the_text_or_else_of_its_stream(
    name: str, priority: Priority | None, *, high: bool
) -> None:
    assert is_high(Entry(name, None, 0), message(priority=priority)) is high


@pytest.mark.parametrize(
    ("kind", "given", "askable"),
    [
        (Sandbox, {}, True),
        (Twilio, TWILIO, True),
        (Http, {**HTTP, "look_up": {"url": "https://gw.example/{id}", "id": "json:id"}}, True),
        (Http, HTTP, False),
    ],
)
async def test_a_built_in_provider_can_be_asked_unless_it_is_not_told_how(
    kind: Any, given: dict[str, object], *, askable: bool
) -> None:
    provider = kind.build(kind.Settings.model_validate(given), timeout_s=1.0, max_in_flight=1)
    assert isinstance(provider, SupportsLookUp) is askable


def test_a_memory_forgets_what_was_noted_first() -> None:
    memory: Recent[int] = Recent(2)
    for key, value in (("a", 1), ("b", 2), ("a", 3), ("c", 4)):
        memory.note(key, value)
    assert [memory.get(key) for key in "abc"] == [3, None, 4]


# The sandbox


async def asked_of_the_sandbox(to: str, **settings: float) -> tuple[Outcome, Outcome | None]:
    """The answer to a submission, and to the question what became of it."""
    timeout_s = settings.pop("timeout_s", 5.0)
    carrier = Sandbox(SandboxSettings.model_validate({"latency": 0, **settings}), timeout_s)
    sent = message(to)
    return await carrier.submit(sent, Unpaced()), await carrier.look_up(sent, 0, none_settled)


@pytest.mark.parametrize(
    ("to", "expected"),
    [
        ("+12025550101", (Accepted("sandbox-1", 1), Accepted("sandbox-1", 1))),
        ("+12025550194", (LOST, None)),
        ("+12025550197", (LOST, Accepted("sandbox-1", 1))),
        ("+12025550198", (LOST, GONE)),
    ],
)
async def test_the_sandbox_knows_what_it_took(
    to: str, expected: tuple[Outcome, Outcome | None]
) -> None:
    assert await asked_of_the_sandbox(to) == expected


async def test_the_sandbox_took_what_it_answered_too_late() -> None:
    outcome, found = await asked_of_the_sandbox(sandbox.SLOW, timeout_s=0.0)
    assert (outcome, found) == (InDoubt("no answer within 0 s"), Accepted("sandbox-1", 1))


async def test_the_sandbox_forgets_in_time_and_in_a_new_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sandbox, "REMEMBERED", 2)
    carrier = Sandbox(SandboxSettings(latency=0), 5.0)
    sent = [message(id_=f"m{n}") for n in range(3)]
    for each in sent:
        await carrier.submit(each, Unpaced())
    assert [await carrier.look_up(each, 0, none_settled) for each in sent] == [
        None,
        Accepted("sandbox-2", 1),
        Accepted("sandbox-3", 1),
    ]
    assert await Sandbox(SandboxSettings(latency=0), 5.0).look_up(sent[2], 0, none_settled) is None


# Any gateway, by configuration

STATUS = "https://gw.example/messages/{id}"
SENT = {"json": "status", "in": ["sent"], "outcome": "accepted"}


def settings(look_up: object, **more: object) -> GenericSettings:
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
async def test_a_gateway_that_tells_no_absence_can_be_asked_by_whoever_comes_next(
    look_up: dict[str, object], *, later: bool
) -> None:
    asking = {"url": STATUS, **look_up}
    provider = Http.build(settings(asking), timeout_s=1.0, max_in_flight=1)
    assert isinstance(provider, SupportsLookUp)
    assert provider.answers_after_restart is later


def request(sought: Message, look_up: dict[str, object], **more: object) -> Request | None:
    asking = _look_up(settings({"id": "json:id", **look_up}, **more))
    assert asking is not None
    return asking.request(sought)


def judged(status: int, body: object, **look_up: object) -> Outcome:
    asking = _look_up(settings({"url": STATUS, **look_up}))
    assert asking is not None
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return asking.judge(Answer(status, CIMultiDict(), raw))


def test_the_question_goes_to_the_address_of_the_text_with_the_headers_of_the_submission() -> None:
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


def test_headers_of_its_own_stand_in_place_of_those_of_the_submission() -> None:
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
def test_a_text_without_a_ref_to_ask_by_is_not_asked_about(ref: str) -> None:
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
def test_a_gateways_word_on_a_text_is_read_by_rules_and_else_in_doubt(
    status: int, body: object, look_up: dict[str, object], expected: Outcome
) -> None:
    assert judged(status, body, **look_up) == expected


STOP = {"json": "code", "in": [21610], "outcome": "rejected:recipient:opted_out"}
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
    asking = _look_up(settings({"url": STATUS, "id": "json:id"}, rules=[NO_SUCH, STOP, BUSY]))
    assert asking is not None
    raw = json.dumps(body).encode()
    assert asking.judge(Answer(200, CIMultiDict(), raw)) == expected
    assert asking.judge(Answer(404, CIMultiDict(), raw)) == InDoubt("asked: HTTP 404")


@pytest.mark.parametrize(
    ("look_up", "said"),
    [
        ({"id": "json:id"}, "Field required"),
        ({"url": STATUS}, "needs an `id`, or a rule whose outcome is accepted"),
        ({"url": "/m/{id}", "id": "json:id"}, "look_up: url: must be an address"),
        ({"url": "https://gw.example/{text}", "id": "json:id"}, "look_up: url: {text} is no place"),
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


# Twilio's list

START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
FROM = {"from": "+12025550100"}
SOUGHT = Sought("+12025550123", ("Hi",), FROM, START, START - EARLY_S, START + LATE_S)
TABLE = {code: ruling(text) for code, text in CODES.items()}


def listed(sid: object = "SM1", **changes: object) -> dict[str, object]:
    return {
        "sid": sid,
        "to": "+12025550123",
        "from": "+12025550100",
        "messaging_service_sid": None,
        "body": "Hi",
        "status": "queued",
        "error_code": None,
        "num_segments": "1",
        "date_created": "Thu, 01 Jan 2026 00:00:01 +0000",
        "date_sent": None,
        **changes,
    }


def page(*messages: object, more: bool = False) -> dict[str, object]:
    uri = "/2010-04-01/Accounts/AC0/Messages.json?Page=1"
    return {"page": 0, "messages": list(messages), "next_page_uri": uri if more else None}


def told(
    said: object,
    sought: Sought = SOUGHT,
    table: Mapping[str, Ruling] = TABLE,
    *,
    first: bool = True,
) -> Outcome | None:
    fits = fitting(said, sought)
    if not isinstance(fits, dict):
        return fits
    ours = {sid: one for sid, one in fits.items() if sid != "SM9"}  # that is another's
    return outcome(ours, sought, table.get, first=first)


OLD = listed("SM0", body="Ho", date_created="Wed, 31 Dec 2025 23:59:54 +0000")
NOT_LISTED = InDoubt("not listed")
NO_LIST = InDoubt("no list of messages in the answer")


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (page(listed()), Accepted("SM1", 1)),
        (page(listed(num_segments="0")), Accepted("SM1", None)),
        (page(listed(date_created="Thu, 01 Jan 2026 01:00:01 +0100")), Accepted("SM1", 1)),
        (page(listed(date_created="Wed, 31 Dec 2025 23:59:55 +0000")), Accepted("SM1", 1)),
        (page(listed(date_created="Wed, 31 Dec 2025 23:59:54 +0000")), NOT_LISTED),
        (page(listed(date_created="Thu, 01 Jan 2026 00:01:00 +0000")), Accepted("SM1", 1)),
        (page(listed(date_created="Thu, 01 Jan 2026 00:01:01 +0000")), NOT_LISTED),
        (page(listed(date_created=None)), NOT_LISTED),
        (page(listed(date_created="yesterday")), NOT_LISTED),
        (page(listed(to="+12025550124")), NOT_LISTED),
        (page(listed(**{"from": "+12025550199"})), NOT_LISTED),
        (page(listed(body="Hi ")), NOT_LISTED),
        (page(listed(body=None)), NOT_LISTED),
        (page(listed(7)), NOT_LISTED),
        (page(listed("")), NOT_LISTED),
        (page(listed("SM1"), listed("SM2")), None),
        (page(listed("SM1"), listed("SM9")), Accepted("SM1", 1)),
        (page(listed("SM9")), NOT_LISTED),
        (page(listed("SM1"), OLD, None, "x", {}), Accepted("SM1", 1)),
        (page(), NOT_LISTED),
        (page(listed(), more=True), None),
        (page(listed(), OLD, more=True), Accepted("SM1", 1)),
        ({"messages": None}, NO_LIST),
        ({}, NO_LIST),
        ([], NO_LIST),
        (None, NO_LIST),
    ],
)
def test_a_list_tells_only_by_the_one_message_that_fits(
    said: object, expected: Outcome | None
) -> None:
    assert told(said) == expected


BEFORE = "Wed, 31 Dec 2025 23:59:58 +0000"  # within what Twilio's clock may be behind
STOPPED = Rejected("21610", "listed as failed: 21610", "recipient", opted_out=True)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        ({"status": "failed", "error_code": 21610}, STOPPED),
        ({"status": "failed", "error_code": "21610"}, STOPPED),
        (
            {"status": "undelivered", "error_code": 21610},
            Rejected("21610", "listed as not delivered: 21610", "recipient", opted_out=True),
        ),
        (
            {"status": "failed", "error_code": 21211},
            Rejected("21211", "listed as failed: 21211", "recipient"),
        ),
        (
            {"status": "failed", "error_code": 30007},
            Rejected("30007", "listed as failed: 30007", known=False),
        ),
        ({"status": "failed"}, Rejected("failed", "listed as failed", known=False)),
        ({"status": "canceled"}, Rejected("canceled", "listed as canceled", known=False)),
        ({"status": "failed", "error_code": 21611}, Unavailable("listed as failed: 21611")),
        ({"status": "failed", "error_code": 30002}, Unavailable("listed as failed: 30002")),
        ({"status": "undelivered", "error_code": 30005}, Accepted("SM1", 1)),
        ({"status": "undelivered"}, Accepted("SM1", 1)),
        ({"status": "delivered"}, Accepted("SM1", 1)),
        ({"status": "sent"}, Accepted("SM1", 1)),
        ({"status": "scheduled"}, Accepted("SM1", 1)),
    ],
)
def test_that_a_message_is_listed_does_not_say_that_it_was_taken(
    one: dict[str, object], expected: Outcome
) -> None:
    assert told(page(listed(**one))) == expected


def test_configuration_says_otherwise_of_a_listed_code_too() -> None:
    filtered = page(listed(status="failed", error_code=30007))
    for text, expected in (
        ("accepted", Accepted("SM1", 1)),
        ("throttled", Unavailable("listed as failed: 30007")),
        ("in_doubt", InDoubt("listed as failed: 30007")),
    ):
        assert told(filtered, table={"30007": ruling(text)}) == expected


@pytest.mark.parametrize(
    ("messages", "first", "expected"),
    [
        ([listed(status="failed", error_code=21211, date_created=BEFORE)], True, NOT_LISTED),
        ([listed(status="failed", error_code=21211)], False, NOT_LISTED),
        ([listed(status="failed", error_code=30002)], False, NOT_LISTED),
        ([listed(status="failed", error_code=21610, date_created=BEFORE)], False, STOPPED),
        (
            [listed("SM0", status="failed", error_code=21611, date_created=BEFORE), listed("SM1")],
            False,
            Accepted("SM1", 1),
        ),
    ],
)
def test_a_refused_record_of_an_earlier_attempt_says_nothing_of_a_later_one(
    messages: list[object], expected: Outcome, *, first: bool
) -> None:
    assert told(page(*messages), first=first) == expected


def test_a_message_of_a_service_is_known_by_the_service() -> None:
    sought = Sought(
        "+12025550123",
        ("Hi",),
        {"messaging_service_sid": "MG1"},
        START,
        START - EARLY_S,
        START + LATE_S,
    )
    of_service = listed(messaging_service_sid="MG1", **{"from": "+12025550177"})
    assert told(page(of_service), sought) == Accepted("SM1", 1)
    assert told(page(listed()), sought) == NOT_LISTED


def test_the_list_is_asked_for_from_the_day_before_midnight_when_just_after() -> None:
    assert SOUGHT.query == {"To": "+12025550123", "DateSent>": "2025-12-31", "PageSize": "20"}
