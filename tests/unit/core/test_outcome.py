"""Outcome by attempt, policy and state of the provider: each row of the table of verdicts."""

from typing import Any

import pytest

from smsd.core.life import DeadReason
from smsd.core.outcome import (
    MAKES_ROOM,
    SPENT,
    Accepted,
    Ack,
    Bury,
    Defer,
    Halted,
    InDoubt,
    Outcome,
    PutBack,
    Rejected,
    RetryPolicy,
    Throttled,
    Unavailable,
    Verdict,
    decide,
    decide_before_attempt,
    refuse_own_fault,
)

NOW = 1_000_000
LAST = 6  # the default `max_attempts`
RESEND = RetryPolicy(in_doubt="resend")
RESEND_HIGH = RetryPolicy(in_doubt_high="resend")
RESEND_NORMAL = RetryPolicy(in_doubt="resend", in_doubt_high="dead-letter")

UNWRITTEN = Unavailable("no connection", written=False)
OPTED_OUT = Rejected("21610", "opted out", scope="recipient", opted_out=True)

VERDICTS: list[tuple[str, Outcome, dict[str, Any], Verdict]] = [
    ("taken", Accepted("SM1", 2), {}, Ack("SM1")),
    ("taken at last", Accepted("SM1"), {"attempt": LAST}, Ack("SM1")),
    ("taken while down", Accepted(), {"rest_s": 0}, Ack("")),
    ("refused", Rejected("1", "no"), {}, Bury(DeadReason.REJECTED, "1", "no")),
    (
        "refused while down",
        Rejected("1", "no"),
        {"rest_s": 0},
        Bury(DeadReason.REJECTED, "1", "no"),
    ),
    ("unknown code", Rejected("9", "?", known=False), {}, Bury(DeadReason.REJECTED, "9", "?")),
    ("opted out", OPTED_OUT, {}, Bury(DeadReason.REJECTED, "21610", "opted out", opted_out=True)),
    ("throttled", Throttled(), {}, Defer(NOW + 500, "throttled", spent=False)),
    ("throttled, told how long", Throttled(2.5), {}, Defer(NOW + 2500, "throttled", spent=False)),
    ("throttled, told 0", Throttled(0.0), {}, Defer(NOW, "throttled", spent=False)),
    ("throttled, told less", Throttled(-5.0), {}, Defer(NOW, "throttled", spent=False)),
    ("throttled, told NaN", Throttled(float("nan")), {}, Defer(NOW, "throttled", spent=False)),
    (
        "throttled for a day",
        Throttled(86_400.0),
        {},
        Defer(NOW + 900_000, "throttled", spent=False),
    ),
    (
        "throttled far past the last attempt",
        Throttled(1.0, "queue full"),
        {"attempt": 1000},
        Defer(NOW + 1000, "queue full", spent=False),
    ),
    (
        "throttled again and again",
        Throttled(),
        {"throttled": 4},
        Defer(NOW + 4000, "throttled", spent=False),
    ),
    (
        "throttled again and again, told to come back at once",
        Throttled(0.0),
        {"throttled": 4},
        Defer(NOW + 4000, "throttled", spent=False),
    ),
    (
        "throttled again, told how long",
        Throttled(60.0),
        {"throttled": 4},
        Defer(NOW + 60_000, "throttled", spent=False),
    ),
    (
        "throttled for ever",
        Throttled(),
        {"throttled": 1_000_000},
        Defer(NOW + 450_000, "throttled", spent=False),
    ),
    ("away", Unavailable("refused"), {}, Defer(NOW + 500, "refused", spent=True)),
    ("away again", Unavailable("503"), {"attempt": 3}, Defer(NOW + 2000, "503", spent=True)),
    ("away once more", Unavailable("503"), {"attempt": 5}, Defer(NOW + 8000, "503", spent=True)),
    ("away at last", Unavailable("503"), {"attempt": LAST}, Bury(DeadReason.EXHAUSTED, "", "503")),
    (
        "away, beyond the last",
        Unavailable("503"),
        {"attempt": 99},
        Bury(DeadReason.EXHAUSTED, "", "503"),
    ),
    ("down", Unavailable("503"), {"rest_s": 64}, Defer(NOW + 64_000, "503", spent=True)),
    (
        "down at last",
        Unavailable("503"),
        {"rest_s": 0, "attempt": LAST},
        Defer(NOW + 16_000, "503", spent=True),
    ),
    (
        "down, and nothing left",
        UNWRITTEN,
        {"rest_s": 64, "attempt": LAST},
        PutBack("no connection", last=True),
    ),
    (
        "down, and nothing left, but not the cause",
        UNWRITTEN,
        {"rest_s": 0, "attempt": LAST},
        PutBack("no connection"),
    ),
    (
        "nothing left",
        UNWRITTEN,
        {"attempt": LAST},
        Defer(NOW + 16_000, "no connection", spent=False),
    ),
    ("in doubt", InDoubt("timeout"), {}, Bury(DeadReason.IN_DOUBT, "", "timeout")),
    (
        "in doubt while down",
        InDoubt("timeout"),
        {"rest_s": 0},
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ),
    (
        "in doubt, to be sent again",
        InDoubt("timeout"),
        {"policy": RESEND},
        Defer(NOW + 500, "timeout", spent=True),
    ),
    (
        "in doubt while down, to be sent again",
        InDoubt("timeout"),
        {"policy": RESEND, "rest_s": 64},
        Defer(NOW + 64_000, "timeout", spent=True),
    ),
    (
        "in doubt at last, to be sent again",
        InDoubt("timeout"),
        {"policy": RESEND, "attempt": LAST},
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ),
    (
        "in doubt, to be sent again only if high",
        InDoubt("timeout"),
        {"policy": RESEND_HIGH},
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ),
    (
        "high and in doubt, to be sent again only if high",
        InDoubt("timeout"),
        {"policy": RESEND_HIGH, "high": True},
        Defer(NOW + 500, "timeout", spent=True),
    ),
    (
        "in doubt, to be sent again only if normal",
        InDoubt("timeout"),
        {"policy": RESEND_NORMAL},
        Defer(NOW + 500, "timeout", spent=True),
    ),
    (
        "high and in doubt, to be sent again only if normal",
        InDoubt("timeout"),
        {"policy": RESEND_NORMAL, "high": True},
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ),
    (
        "high and in doubt, under one policy for all",
        InDoubt("timeout"),
        {"policy": RESEND, "high": True},
        Defer(NOW + 500, "timeout", spent=True),
    ),
    ("high and taken", Accepted("SM1"), {"policy": RESEND_HIGH, "high": True}, Ack("SM1")),
    (
        "high and in doubt at last, to be sent again",
        InDoubt("timeout"),
        {"policy": RESEND_HIGH, "high": True, "attempt": LAST},
        Bury(DeadReason.IN_DOUBT, "", "timeout"),
    ),
    (
        "halted",
        Halted("20003", "bad credentials"),
        {"rest_s": 64},
        Defer(NOW + 64_000, "20003: bad credentials", spent=True),
    ),
    (
        "halted at last, without a code",
        Halted("", "no funds"),
        {"attempt": LAST, "rest_s": 0},
        Defer(NOW + 16_000, "no funds", spent=True),
    ),
    (
        "halted, with short delays",
        Halted("", "no funds"),
        {"policy": RetryPolicy(max_delay=10.0), "rest_s": 64},
        Defer(NOW + 10_000, "no funds", spent=True),
    ),
]


@pytest.mark.parametrize(
    ("outcome", "given", "verdict"), [pytest.param(*row, id=label) for label, *row in VERDICTS]
)
def test_an_outcome_has_one_verdict(
    outcome: Outcome, given: dict[str, Any], verdict: Verdict
) -> None:
    usual: dict[str, Any] = {
        "high": False,
        "attempt": 1,
        "now_ms": NOW,
        "policy": RetryPolicy(),
        "rest_s": None,
        "chance": 0.5,
    }
    assert decide(outcome, **{**usual, **given}) == verdict


@pytest.mark.parametrize("high", [False, True])
@pytest.mark.parametrize("down", [False, True])
@pytest.mark.parametrize("attempt", [1, LAST, 10_000])
@pytest.mark.parametrize("outcome", [InDoubt("timeout"), Rejected("1", "no")])
def test_what_may_have_been_taken_is_never_sent_again_unasked(
    outcome: Outcome, attempt: int, *, down: bool, high: bool
) -> None:
    verdict = decide(
        outcome,
        high=high,
        attempt=attempt,
        now_ms=NOW,
        policy=RetryPolicy(),
        rest_s=0 if down else None,
        chance=0.0,
    )
    assert isinstance(verdict, Bury)


def test_backoff_doubles_until_its_ceiling() -> None:
    policy = RetryPolicy(initial_delay=1.0, max_delay=10.0)
    assert [policy.backoff(attempt, 0.5) for attempt in range(1, 7)] == [0.5, 1, 2, 4, 5, 5]


@pytest.mark.parametrize("attempt", [1, 2, 11, 63, 64, 1_000, 10**9])
@pytest.mark.parametrize("chance", [0.0, 0.5, 1.0 - 2**-53])
def test_backoff_lies_between_nothing_and_the_longest_delay(attempt: int, chance: float) -> None:
    policy = RetryPolicy()
    delay = policy.backoff(attempt, chance)
    assert 0 <= delay < policy.max_delay
    assert delay <= policy.initial_delay * 2.0 ** min(attempt - 1, 62)


def test_a_fault_of_a_sender_that_the_message_brought_does_not_hold_the_rest() -> None:
    fault = Halted("21661", "not yours", "sender")
    assert refuse_own_fault(fault, own_sender=True, at_fault=False, excused=False) == Rejected(
        "21661", "not yours", "sender"
    )
    assert refuse_own_fault(fault, own_sender=False, at_fault=False, excused=False) is fault
    account = Halted("20003", "no such account")
    assert refuse_own_fault(account, own_sender=True, at_fault=False, excused=False) is account


def test_a_fault_that_one_message_alone_brings_does_not_hold_the_rest() -> None:
    account = Halted("20003", "no such account")
    assert refuse_own_fault(account, own_sender=False, at_fault=True, excused=False) == Rejected(
        "20003", "no such account"
    )
    down = Unavailable("no connection")
    assert refuse_own_fault(down, own_sender=False, at_fault=True, excused=False) is down


def test_a_status_that_is_excused_is_a_refusal_that_nobody_knows() -> None:
    status = Halted("403", "HTTP 403", known=False)
    refused = Rejected("403", "HTTP 403", known=False)
    assert refuse_own_fault(status, own_sender=False, at_fault=False, excused=True) == refused
    assert refuse_own_fault(status, own_sender=False, at_fault=True, excused=True) == refused
    assert refuse_own_fault(status, own_sender=False, at_fault=False, excused=False) is status
    documented = Halted("403", "suspended")
    assert (
        refuse_own_fault(documented, own_sender=False, at_fault=False, excused=True) is documented
    )


POLICY = RetryPolicy(max_attempts=3)


@pytest.mark.parametrize(("attempts", "spent"), [(0, False), (2, False), (3, True), (9, True)])
def test_a_message_without_an_attempt_left_is_in_doubt(attempts: int, *, spent: bool) -> None:
    verdict = decide_before_attempt(attempts, POLICY, now_ms=NOW, rest_s=None, others=True)
    assert (verdict == Bury(DeadReason.IN_DOUBT, "", SPENT)) == spent
    assert spent or verdict is None


@pytest.mark.parametrize(
    ("attempts", "others", "waits"),
    [
        (0, True, False),
        (1, True, False),
        (2, True, True),  # its last one is for afterwards
        (2, False, False),
        (3, False, True),
        (9, True, True),
    ],
)
def test_while_dispatch_is_held_a_message_keeps_its_last_attempt_if_others_can_probe(
    attempts: int, *, others: bool, waits: bool
) -> None:
    verdict = decide_before_attempt(attempts, POLICY, now_ms=NOW, rest_s=64, others=others)
    assert verdict == (Defer(NOW + 64_000, MAKES_ROOM, spent=True) if waits else None)


def test_the_only_attempt_of_a_message_may_be_a_probe() -> None:
    policy = RetryPolicy(max_attempts=1)
    assert decide_before_attempt(0, policy, now_ms=NOW, rest_s=64, others=True) is None
