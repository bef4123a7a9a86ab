"""The settlements that are remembered. Rule: half an hour of them at the full rate in 8 MB."""

import secrets
import tracemalloc
from collections.abc import Sequence

import pytest

from smsd.redis.scripts import Call
from smsd.store.settled import MOST_OCTETS, TOGETHER, Settled

HALF_AN_HOUR = 81_000  # settlements at 45/s
PART = 20  # of that is tried, since tracing is slow
START_MS = 1_795_509_128_304


def settlement(number: int, *, ref: bool = False) -> Call:
    """One as `Queue.ack` makes it, for a text that Twilio took."""
    ms = START_MS + 22 * number
    message_id = f"{ms - 700_000 + int(secrets.token_hex(2), 16)}-0"
    facts = ["to", f"+1202555{int(secrets.token_hex(2), 16) % 10_000:04}", "segments", "1"]
    facts += ["encoding", "gsm7", "from", "+12025550123", "campaign", "spring-sale"]
    if ref:
        facts += ["ref", secrets.token_hex(16)]
    facts += ["provider_id", f"SM{secrets.token_hex(16)}", "attempts", "1"]
    request: dict[str, object] = {
        "state": "sent",
        "line": f"{ms - 300} sending 1\n{ms} sent",
        "facts": facts,
        "name": f"n{message_id}",
        "mark": f"1 {ms - 300} host:0123abcd-1234.4026531836:4711:123456:abcdef01",
        "id": message_id,
    }
    return Call("finish", request, [f"smsd:message:{message_id}"])


def several(many: int) -> list[Call]:
    return [Call("finish", {"id": str(number)}) for number in range(many)]


@pytest.mark.parametrize("ref", [False, True])
def test_half_an_hour_at_the_full_rate_takes_8_mb_at_most(ref: bool) -> None:
    settled = Settled(most_octets=MOST_OCTETS // PART)
    tracemalloc.start()
    try:
        for number in range(HALF_AN_HOUR // PART):
            settled.add([settlement(number, ref=ref)], number + 1)
        now, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert settled.unknown(0, HALF_AN_HOUR // PART) == 0
    assert now < 7_600_000 / PART + 400_000  # what is not compressed yet is not a part


def test_however_many_there_are_it_takes_no_more_and_the_rest_is_known_to_be_forgotten() -> None:
    settled, many = Settled(most_octets=20_000), 0
    while not settled.unknown(0, many):
        settled.add([settlement(many)], many + 1)
        many += 1
    forgotten = settled.unknown(0, many)
    kept = [call.request["id"] for calls in settled.after(0) for call in calls]
    assert len(kept) == many - forgotten
    assert forgotten % TOGETHER == 0
    assert settled.unknown(forgotten, many) == 0
    assert settled.unknown(forgotten - 1, many) == 1


@pytest.mark.parametrize("many", [1, TOGETHER - 1, TOGETHER, 3 * TOGETHER + 5])
def test_what_is_told_again_is_what_was_settled_whole_and_in_its_order(many: int) -> None:
    calls = [settlement(number) for number in range(many)]
    settled = Settled()
    for number, call in enumerate(calls, 1):
        settled.add([call], 1000 + number)
    assert [one for some in settled.after(1000) for one in some] == calls
    tail = [one for some in settled.after(1000 + many - 1) for one in some]
    assert calls[-1] in tail
    assert len(tail) <= TOGETHER


def test_half_a_surrogate_pair_from_a_provider_is_remembered_as_it_was_sent() -> None:
    settled = Settled()
    settled.add([Call("bury", {"id": "1-0", "detail": "\ud83d"})] * TOGETHER, TOGETHER)
    [calls] = settled.after(0)
    assert calls[0].request["detail"] == "?"


@pytest.mark.parametrize(
    ("groups", "after", "until", "unknown"),
    [
        ([], 10, 15, 5),  # nothing of this daemon
        ([], 15, 15, 0),
        ([(3, 13)], 10, 13, 0),
        ([(3, 13)], 8, 13, 2),  # before its first
        ([(3, 13), (2, 20)], 10, 20, 5),  # another daemon's in between
        ([(3, 13), (2, 20)], 17, 20, 5),  # which of them are lost is not known
        ([(3, 13), (2, 20)], 20, 20, 0),
        ([(3, 13)], 10, 17, 4),  # another's after its last
        ([(3, 13), (2, 13)], 10, 13, 0),  # a repetition, that had been counted
        ([(3, 13), (2, 15), (4, 19)], 10, 19, 0),
    ],
)
def test_what_is_not_remembered_is_counted(
    groups: Sequence[tuple[int, int]], after: int, until: int, unknown: int
) -> None:
    settled = Settled()
    for many, number in groups:
        settled.add(several(many), number)
    assert settled.unknown(after, until) == unknown


def test_what_was_taken_back_is_remembered_and_has_no_number() -> None:
    settled = Settled()
    settled.add([Call("cancel", {"id": "1-0"})], 7)
    settled.add([Call("cancel", {"id": "2-0"})], 8)  # and another daemon has settled one
    settled.add(several(1), 9)
    assert settled.unknown(7, 9) == 1
    [calls] = settled.after(7)
    assert [call.request["id"] for call in calls] == ["1-0", "2-0", "0"]


def test_data_that_was_accepted_counts_on_without_a_gap() -> None:
    settled = Settled()
    settled.add(several(3), 13)
    settled.go_on_from(20)
    settled.add(several(1), 21)
    assert settled.unknown(10, 21) == 0


def test_a_number_that_is_known_before_its_settlement_was_answered_is_no_gap() -> None:
    settled = Settled()
    settled.add(several(3), 13)
    settled.add([Call("cancel", {"id": "1-0"})], 15)
    settled.add(several(2), 15)
    assert settled.unknown(10, 15) == 0
