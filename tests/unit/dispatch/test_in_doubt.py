"""Messages in doubt. Rule: a clear answer settles one, and an absence only after half a minute."""

import asyncio
import logging
from collections.abc import Sequence

import pytest

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
from smsd.core.segment import Segments
from smsd.dispatch import in_doubt as in_doubt_module
from smsd.dispatch.in_doubt import AT_ONCE, PAUSES_S, WITHIN_S, InDoubtAsker, Unanswered
from smsd.provider.generic.http import Http
from smsd.provider.generic.settings import GenericSettings
from smsd.store.entry import Attempt
from tests.support.provider import AskableProvider, ScriptedProvider

LOST = InDoubt("the answer was lost")
GONE = Unavailable("never arrived")
TAKEN = Accepted("p1")
HTTP = {"url": "https://gw.example/send", "fields": {"to": "{to}", "text": "{text}"}}


def message() -> Message:
    content = Content("Hi", Segments("gsm7", 2, 1), "", "normal", None, None, "", "o-7")
    return Message("m1", "+12025550123", content)


class Pauses:
    """A sleep that takes no time, and remembers."""

    def __init__(self) -> None:
        self.taken: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        await asyncio.sleep(0)


async def resolved(*told: Outcome | Exception | None) -> tuple[Outcome, int]:
    """What a text in doubt comes to, and after how many asks."""
    provider = AskableProvider(*told)
    outcome = await InDoubtAsker(provider, sleep=Pauses()).resolve(message(), 5, LOST)
    return outcome, len(provider.asked)


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
        # After one without an answer it may be catching up, and absences count anew.
        ([InDoubt("?"), GONE], (GONE, 1 + ASKS)),
        ([InDoubt("no answer")] * (ASKS - 1) + [GONE], (GONE, ASKS - 1 + ASKS)),
        ([GONE] * (ASKS - 1) + [InDoubt("?"), GONE], (GONE, ASKS + ASKS)),
        ([GONE] * (ASKS - 1) + [InDoubt("?"), TAKEN], (TAKEN, ASKS + 1)),
        ([GONE] * (ASKS - 1) + [InDoubt("?")], (LOST, ASKS - 1 + ASKS)),
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
    provider, pauses = AskableProvider(InDoubt("not listed")), Pauses()
    await InDoubtAsker(provider, sleep=pauses).resolve(message(), 77, LOST)
    assert provider.asked == [("m1", 77)] * ASKS
    assert tuple(pauses.taken) == PAUSES_S == tuple(sorted(PAUSES_S))
    assert sum(PAUSES_S) < WITHIN_S


async def test_a_provider_that_cannot_be_asked_is_not_asked_and_costs_no_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    pauses = Pauses()
    settings = GenericSettings.model_validate(HTTP)
    gateway = Http.build(settings, timeout_s=1.0, max_in_flight=1)
    for provider in (ScriptedProvider(), gateway):
        assert await InDoubtAsker(provider, sleep=pauses).resolve(message(), 0, LOST) is LOST
    assert pauses.taken == []
    assert caplog.records == []


async def test_a_provider_that_does_not_answer_is_left_to_recovery_which_gives_up_at_last(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Eight are asked about at once: of many, most would come to the policy unasked."""
    monkeypatch.setattr(in_doubt_module, "WITHIN_S", 0)
    monkeypatch.setattr(in_doubt_module, "RECOVERY_WITHIN_S", 0)
    provider = AskableProvider(TAKEN)
    provider.may_find.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    assert await asker.resolve(message(), 0, LOST, in_recovery=True) is LOST


async def test_a_provider_that_answers_now_and_then_is_asked_only_for_so_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_doubt_module, "WITHIN_S", 0.05)
    monkeypatch.setattr(in_doubt_module, "RECOVERY_WITHIN_S", 0.05)
    now_and_then: list[Outcome] = [GONE, InDoubt("no answer")]
    provider = AskableProvider(*now_and_then * 1000)
    asker = InDoubtAsker(provider, sleep=lambda _: asyncio.sleep(0.001))
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    assert await asker.resolve(message(), 0, LOST, in_recovery=True) is LOST


async def test_more_than_are_asked_about_are_left_to_recovery(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(in_doubt_module, "MOST_ASKED", 2)
    provider = AskableProvider(TAKEN)
    provider.may_find.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    asked = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(2)]
    while provider.asked_now < 2:
        await asyncio.sleep(0)
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    asked.append(asyncio.create_task(asker.resolve(message(), 0, LOST, in_recovery=True)))
    provider.may_find.set()
    assert await asyncio.gather(*asked) == [TAKEN] * 3


async def test_closing_cuts_every_ask_and_every_pause_short_and_asks_no_more() -> None:
    provider = AskableProvider(TAKEN)
    provider.may_find.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    pausing = InDoubtAsker(provider, sleep=lambda _: asyncio.Event().wait())
    waiting = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(AT_ONCE + 3)]
    waiting.append(asyncio.create_task(pausing.resolve(message(), 0, LOST)))
    while provider.asked_now < AT_ONCE:
        await asyncio.sleep(0)
    asker.close()
    asker.close()
    pausing.close()
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [Unanswered] * len(waiting)
    provider.may_find.set()
    asks = len(provider.asked)
    with pytest.raises(Unanswered):
        await asker.resolve(message(), 0, LOST)
    assert len(provider.asked) == asks


def test_only_the_gateway_that_a_message_was_written_to_is_asked() -> None:
    here, elsewhere = AskableProvider(), AskableProvider()
    elsewhere.gateway = "gateway B"
    asker, other = InDoubtAsker(here), InDoubtAsker(elsewhere)
    attempt = Attempt(1, 5, "a", asker.gateway)
    assert asker.may_ask(attempt)
    assert not other.may_ask(attempt)
    assert not asker.may_ask(attempt._replace(started_ms=0))  # nobody knows when it was sent
    unaskable = InDoubtAsker(ScriptedProvider())
    assert not unaskable.may_ask(attempt)
    assert not asker.may_ask(attempt._replace(gateway=unaskable.gateway))


def test_under_a_record_that_names_no_gateway_an_absence_must_prove_nothing() -> None:
    provider, attempt = AskableProvider(), Attempt(1, 5, "a")
    assert InDoubtAsker(provider).may_ask(attempt)
    provider.stop_leaves_in_doubt = False
    assert not InDoubtAsker(provider).may_ask(attempt)


async def test_closing_ends_by_the_policy_what_nobody_else_can_ask_about() -> None:
    provider = AskableProvider(TAKEN)
    provider.stop_leaves_in_doubt = False
    provider.may_find.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    waiting = asyncio.create_task(asker.resolve(message(), 0, LOST))
    while not provider.asked_now:
        await asyncio.sleep(0)
    asker.close()
    assert await waiting is LOST
    assert await asker.resolve(message(), 0, LOST) is LOST


async def test_no_more_than_a_few_are_asked_about_at_once() -> None:
    provider = AskableProvider(TAKEN)
    provider.may_find.clear()
    asker = InDoubtAsker(provider, sleep=Pauses())
    waiting = [asyncio.create_task(asker.resolve(message(), 0, LOST)) for _ in range(100)]
    while provider.asked_now < AT_ONCE:
        await asyncio.sleep(0)
    provider.may_find.set()
    assert await asyncio.gather(*waiting) == [TAKEN] * 100
    assert provider.most_asked_at_once == AT_ONCE


async def test_a_bug_of_the_provider_is_logged_and_being_cancelled_is_not_caught(
    caplog: pytest.LogCaptureFixture,
) -> None:
    await resolved(ValueError("a bug"))
    assert "provider broke" in caplog.text
    provider = AskableProvider(TAKEN)
    provider.may_find.clear()
    asking = asyncio.create_task(InDoubtAsker(provider, sleep=Pauses()).resolve(message(), 0, LOST))
    while not provider.asked:
        await asyncio.sleep(0)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking


async def test_neither_text_nor_number_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await resolved(TAKEN)
    assert [record.message for record in caplog.records] == ["in doubt, asking", "asked"]
    assert "2025550123" not in str([record.__dict__ for record in caplog.records])
