"""The settler. Rule: a verdict is one transition of the queue, one line of the log, one count."""

import asyncio
from typing import Any, cast

import pytest

from smsd.core.life import DeadReason
from smsd.core.message import Content, Limits, Message
from smsd.core.outcome import (
    Accepted,
    Ack,
    Bury,
    Defer,
    Expire,
    Outcome,
    PutBack,
    Rejected,
    RetryPolicy,
    Suppress,
    Unavailable,
    Verdict,
)
from smsd.core.pacer import Pacer
from smsd.core.segment import Segments
from smsd.dispatch import settler as settler_module
from smsd.dispatch.context import Context
from smsd.dispatch.hold import Hold
from smsd.dispatch.in_doubt import InDoubtAsker
from smsd.dispatch.pace import Pace
from smsd.dispatch.settler import Settler, Submission
from smsd.metrics import Metrics
from smsd.redis.errors import Refused
from smsd.store.entry import Attempt, Entry
from tests.support.provider import ScriptedProvider

CONTENT = Content("Hi", Segments("gsm7", 2, 1), expires_at=10)
MESSAGE = Message("m1", "+12025550123", CONTENT, attempts=1)
NO = Unavailable("no")
SUBMISSION = Submission(Entry("n1-1", (), 0), Attempt(2, 5, "a"), MESSAGE)


class Queue:
    """Takes every transition and notes it; refuses the first few of them."""

    def __init__(self) -> None:
        self.made: list[tuple[str, dict[str, object]]] = []
        self.refusals = 0
        self.settles = True

    def __getattr__(self, name: str) -> Any:
        async def transition(*_: object, **given: object) -> bool:
            if self.refusals:
                self.refusals -= 1
                raise Refused("no")
            self.made.append((name, given))
            return self.settles

        return transition


class Bench:
    def __init__(self) -> None:
        self.queue = Queue()
        self.metrics = Metrics()
        context = Context(
            queue=cast("Any", self.queue),
            limits=Limits(),
            policy=RetryPolicy(),
            metrics=self.metrics,
            owner="a",
            clock=lambda: 0,
            now_ms=lambda: self.now_ms,
            chance=lambda: 0.5,
            may_send=lambda: True,
            on_fenced=lambda: None,
        )
        self.now_ms = 0
        hold = Hold(rate=45, clock=lambda: 0, changed=lambda _: None)
        pace = Pace(Pacer(45, ceiling="segment"), clock=lambda: 0, metrics=self.metrics)
        self.settler = Settler(context, InDoubtAsker(ScriptedProvider()), hold, pace)


@pytest.mark.parametrize(
    ("outcome", "verdict", "transition", "names"),
    [
        (Accepted("p"), Ack("p"), ("ack", {}), ("sent", "ack")),
        (NO, Defer(7, "no", spent=True), ("defer", {"attempts": 2}), ("deferred", "defer")),
        (NO, Defer(7, "no", spent=False), ("defer", {"attempts": 1}), ("deferred", "defer")),
        (
            Rejected("30003", "no such number"),
            Bury(DeadReason.REJECTED, "30003", "no such number"),
            ("bury", {"reason": DeadReason.REJECTED, "opted_out": False}),
            ("dead-lettered", "bury"),
        ),
        (NO, PutBack("no"), ("release", {}), ("put back in line", "put_back")),
        (None, Expire(), ("expire", {}), ("expired", "expire")),
        (None, Suppress(), ("suppress", {}), ("suppressed", "suppress")),
    ],
)
async def test_a_verdict_is_one_transition_one_line_and_one_count(
    caplog: pytest.LogCaptureFixture,
    outcome: Outcome | None,
    verdict: Verdict,
    transition: tuple[str, dict[str, object]],
    names: tuple[str, str],
) -> None:
    """`names`: how the log calls it, and the count."""
    caplog.set_level("INFO")
    bench, (event, counted_as) = Bench(), names
    await bench.settler.perform(SUBMISSION, outcome, verdict)
    [(made, with_)] = bench.queue.made
    assert made == transition[0]
    assert transition[1].items() <= with_.items()
    [record] = caplog.records
    assert (record.message, vars(record)["id"]) == (event, "m1")
    assert bench.metrics.settled == {counted_as: 1}


async def test_a_dead_letter_is_logged_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    verdict = Bury(DeadReason.REJECTED, "30003", "no such number")
    await Bench().settler.perform(SUBMISSION, Rejected("30003", "no such number"), verdict)
    [record] = caplog.records
    fields = vars(record)
    assert (fields["reason"], fields["code"]) == ("rejected", "30003")
    assert (fields["detail"], fields["outcome"]) == ("no such number", "Rejected")


async def test_what_redis_refuses_is_tried_until_it_is_taken_and_logged_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settler_module, "REFUSED_PAUSE_S", 0)
    caplog.set_level("INFO")
    bench, refusals = Bench(), list[None]()
    bench.queue.refusals = 3
    async with asyncio.timeout(20):
        await bench.settler.perform(
            SUBMISSION, Accepted("p"), Ack("p"), on_refused=lambda: refusals.append(None)
        )
    assert len(refusals) == 3
    assert [name for name, _ in bench.queue.made] == ["ack"]
    assert [record.message for record in caplog.records] == ["sent"]


async def test_what_redis_refuses_is_raised_where_nobody_waits_for_it() -> None:
    bench = Bench()
    bench.queue.refusals = 1
    with pytest.raises(Refused):
        await bench.settler.perform(SUBMISSION, Accepted("p"), Ack("p"))


async def test_a_message_that_was_settled_before_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    bench = Bench()
    bench.queue.settles = False
    await bench.settler.perform(SUBMISSION, Accepted("p"), Ack("p"))
    assert [record.message for record in caplog.records] == ["settled by another before"]


def test_what_has_expired_gets_its_verdict_before_it_is_marked() -> None:
    bench = Bench()
    assert bench.settler.decide_before_attempt(MESSAGE, 9) is None
    assert bench.settler.decide_before_attempt(MESSAGE, 10) == Expire()
