"""Twilio's list of messages. Rule: a record alone proves no acceptance, an absence nothing."""

from collections.abc import Mapping

import pytest

from smsd.core.fields import Priority
from smsd.core.message import Content, Message
from smsd.core.outcome import (
    Accepted,
    InDoubt,
    Outcome,
    Rejected,
    Unavailable,
)
from smsd.core.segment import Segments
from smsd.provider.twilio.codes import CODES
from smsd.provider.twilio.lookup import (
    EARLY_S,
    LATE_S,
    Sought,
    matching_messages,
    outcome_of_listed,
)
from smsd.provider.wire.rulings import Ruling, read_ruling

TWILIO = {"account_sid": "AC" + "0" * 32, "auth_token": "t" * 32, "from": "+12025550100"}


def message(
    to: str = "+12025550123", id_: str = "m1", ref: str = "o-7", priority: Priority = "normal"
) -> Message:
    content = Content("Hi", Segments("gsm7", 2, 1), "", priority, None, None, "", ref)
    return Message(id_, to, content)


START = 1_767_225_600.0  # 2026-01-01T00:00:00Z
FROM = {"from": "+12025550100"}
SOUGHT = Sought("+12025550123", ("Hi",), FROM, START, START - EARLY_S, START + LATE_S)
TABLE = {code: read_ruling(text) for code, text in CODES.items()}


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
    fits = matching_messages(said, sought)
    if not isinstance(fits, dict):
        return fits
    ours = {sid: one for sid, one in fits.items() if sid != "SM9"}  # that is another's
    return outcome_of_listed(ours, sought, table.get, first=first)


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
def test_only_the_one_listed_message_that_matches_decides(
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
def test_a_listed_message_may_have_been_refused(one: dict[str, object], expected: Outcome) -> None:
    assert told(page(listed(**one))) == expected


def test_configuration_overrides_a_listed_code_too() -> None:
    filtered = page(listed(status="failed", error_code=30007))
    for text, expected in (
        ("accepted", Accepted("SM1", 1)),
        ("throttled", Unavailable("listed as failed: 30007")),
        ("in_doubt", InDoubt("listed as failed: 30007")),
    ):
        assert told(filtered, table={"30007": read_ruling(text)}) == expected


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
def test_a_refusal_of_an_earlier_attempt_does_not_decide_a_later_one(
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
