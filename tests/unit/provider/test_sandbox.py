"""The sandbox. Rule: it never answers a real number, and it notices when the rate is exceeded."""

import asyncio
from collections.abc import Callable, Collection, Mapping
from types import TracebackType

import pytest
from pydantic import ValidationError

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
from smsd.provider import load
from smsd.provider.base import Provider, SlotWithdrawn, Unpaced
from smsd.provider.generic.http import Http
from smsd.provider.sandbox import ANSWERS, SLOW, Meter, Sandbox, SandboxSettings
from smsd.provider.twilio.provider import Twilio


class Open:
    """A slot that is always open, or never."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.refusal = refusal

    async def __aenter__(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def message(to: str = "+12025550101", segments: int = 1, id_: str = "m1") -> Message:
    cost = Segments("gsm7", 10, segments)
    return Message(id_, to, Content("hello", cost, "", "normal", None, None, "", ""))


def sandbox(
    clock: Callable[[], float] | None = None, timeout_s: float = 10.0, **settings: float
) -> Sandbox:
    return Sandbox(SandboxSettings.model_validate({"latency": 0, **settings}), timeout_s, clock)


async def test_an_ordinary_number_is_accepted_with_an_id_and_its_segments() -> None:
    carrier = sandbox()
    first = await carrier.submit(message(segments=3), Open())
    second = await carrier.submit(message(), Open())
    assert first == Accepted("sandbox-1", 3)
    assert second == Accepted("sandbox-2", 1)
    assert (carrier.accepted, carrier.violations) == (2, 0)


@pytest.mark.parametrize(
    ("to", "kind"),
    [
        ("+12025550190", Rejected),
        ("+12025550191", Rejected),
        ("+12025550192", Throttled),
        ("+12025550193", Unavailable),
        ("+12025550194", InDoubt),
        ("+12025550195", Halted),
    ],
)
async def test_a_magic_number_gets_its_answer(to: str, kind: type) -> None:
    carrier = sandbox()
    outcome = await carrier.submit(message(to), Open())
    assert isinstance(outcome, kind)
    assert outcome == ANSWERS[to]
    assert carrier.accepted == 0


async def test_only_one_number_is_opted_out() -> None:
    opted_out = [n for n, o in ANSWERS.items() if isinstance(o, Rejected) and o.opted_out]
    assert opted_out == ["+12025550191"]


async def test_the_slow_number_outlasts_a_short_timeout() -> None:
    assert await sandbox(timeout_s=0.01).submit(message(SLOW), Open()) == InDoubt(
        "no answer within 0.01 s"
    )


async def test_the_answer_takes_the_latency() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    await sandbox(latency=0.05).submit(message(), Open())
    assert loop.time() - began >= 0.05


async def test_45_in_a_second_are_taken_and_the_46th_is_throttled_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    carrier = sandbox(lambda: now)
    for n in range(45):
        now = n * 0.02
        assert isinstance(await carrier.submit(message(), Open()), Accepted)
    now = 0.99
    assert isinstance(await carrier.submit(message(), Open()), Throttled)
    assert (carrier.accepted, carrier.violations) == (45, 1)
    assert "more than 45 segments" in caplog.text
    now = 1.0  # the refused one was not taken, so it takes nobody's place
    assert isinstance(await carrier.submit(message(), Open()), Accepted)


def test_a_long_text_occupies_the_time_of_its_segments() -> None:
    meter = Meter(10)
    assert meter.take(10, 0.0)
    assert not meter.take(1, 0.9)
    assert meter.take(1, 1.0)
    assert not meter.take(1, 1.05)
    assert meter.take(1, 1.1)


def test_exactly_the_bought_rate_is_never_a_violation() -> None:
    meter = Meter(45)
    assert all(meter.take(1, 100.0 + n / 45) for n in range(10_000))


def test_a_rate_one_percent_too_high_is_a_violation() -> None:
    meter = Meter(45)
    assert not all(meter.take(1, 100.0 + n / 45.45) for n in range(1000))


async def test_a_refused_slot_passes_through_and_nothing_is_counted() -> None:
    carrier = sandbox()
    with pytest.raises(SlotWithdrawn):
        await carrier.submit(message(), Open(SlotWithdrawn()))
    assert isinstance(await carrier.submit(message(), Open()), Accepted)
    assert carrier.accepted == 1


async def test_it_is_built_started_and_closed_like_any_provider() -> None:
    kind = load("sandbox")
    carrier = kind.build(kind.Settings(), timeout_s=1.0, max_in_flight=8)
    await carrier.start()
    assert isinstance(await carrier.submit(message(), Open()), Accepted)
    await carrier.close()


def test_every_built_in_provider_is_found_by_name() -> None:
    built_in: dict[str, type[Provider]] = {"sandbox": Sandbox, "http": Http, "twilio": Twilio}
    assert {name: load(name) for name in built_in} == built_in


def test_an_unknown_provider_is_refused_with_the_names_of_those_there_are() -> None:
    known = "http, jasmin, kannel, sandbox, twilio"
    with pytest.raises(LookupError, match=f"no provider 'twillio'; known are {known}"):
        load("twillio")


@pytest.mark.parametrize("rate", [0, 10**29])
def test_a_rate_that_it_could_not_count_is_refused(rate: int) -> None:
    with pytest.raises(ValidationError, match="Input should be"):
        sandbox(rate=rate)


# Looking up

LOST = InDoubt("the answer was lost")
GONE = Unavailable("never arrived")


async def none_settled(_ids: Collection[str], _since: int, _until: int) -> Mapping[str, str]:
    return {}


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
    outcome, found = await asked_of_the_sandbox(SLOW, timeout_s=0.0)
    assert (outcome, found) == (InDoubt("no answer within 0 s"), Accepted("sandbox-1", 1))


async def test_the_sandbox_forgets_in_time_and_in_a_new_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("smsd.provider.sandbox.REMEMBERED", 2)
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
