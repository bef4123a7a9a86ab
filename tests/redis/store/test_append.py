"""Appending. Rule: a request is queued whole or not at all, and once, whatever is repeated."""

import asyncio
from collections.abc import Sequence

import pytest

from smsd.core.message import Content
from smsd.redis.errors import Away
from smsd.store.append import Append, Appended, KeyConflict, QueueFull
from tests.support.proxy import Proxy
from tests.support.store import (
    ALICE,
    BOB,
    OpenStore,
    Store,
    at,
    content,
    sha,
    soon,
    until,
)

MOST_RECIPIENTS = 10_000  # to which [http] max_recipients may be set


async def test_a_text_becomes_one_entry_of_the_queue_and_is_named_after_it(store: Store) -> None:
    [id_] = await store.append(sender="smsd", campaign="c", ref="r")
    [(entry, fields)] = await store.redis.xrange(store.keys.queue)
    assert entry.decode() == id_
    assert fields == {
        b"to": ALICE.encode(),
        b"message": b"Hi",
        b"from": b"smsd",
        b"campaign": b"c",
        b"ref": b"r",
    }
    [(_, event)] = await store.redis.xrange(store.keys.events)
    assert event == {b"id": entry, b"state": b"queued", b"detail": b""}


async def test_every_recipient_gets_an_entry_in_the_order_given(store: Store) -> None:
    ids = await store.append(BOB, ALICE, BOB)
    entries = await store.redis.xrange(store.keys.queue)
    assert [entry.decode() for entry, _ in entries] == ids
    assert [fields[b"to"].decode() for _, fields in entries] == [BOB, ALICE, BOB]


async def test_a_thousand_recipients_and_a_text_of_ten_segments_fit_one_request(
    store: Store,
) -> None:
    ids = await store.append(*[ALICE] * 1000, message="\u044f" * 670)
    assert len(set(ids)) == 1000
    assert await store.length() == 1000


@pytest.mark.parametrize("due_in_ms", [-1, 60_000])
async def test_as_many_recipients_as_may_be_set_fit_one_request(
    store: Store, due_in_ms: int
) -> None:
    text = at(store.wall.ms + due_in_ms)
    request = Append.of(text, [ALICE] * MOST_RECIPIENTS, store.wall.ms)
    appended = await store.queue.append(request._replace(idempotency_key="k", fingerprint="f"))
    assert len(set(appended.ids)) == MOST_RECIPIENTS
    assert await store.state(appended.ids[-1]) == ("queued" if due_in_ms < 0 else "deferred")
    assert (await store.census()).waiting == MOST_RECIPIENTS


async def test_what_is_appended_is_what_is_claimed_to_the_octet(store: Store) -> None:
    text = "a\\/\"'\u00e9\n\t\u2028\U0001f600 {}[]:,%s\x7f"
    expiry = "2027-01-02T03:04:05.678Z"
    await store.append(message=text, expires_at=expiry, ref="\u00e9/\\", priority="high")
    _, message = await store.claim_one()
    assert message.content.text == text
    assert message.content.ref == "\u00e9/\\"
    assert message.content.expires_at == content(expires_at=expiry).expires_at


async def test_a_high_priority_text_goes_into_the_other_stream(store: Store) -> None:
    [id_] = await store.append(priority="high")
    [(entry, _)] = await store.redis.xrange(store.keys.high)
    assert id_ == f"h{entry.decode()}"
    assert await store.redis.xlen(store.keys.queue) == 0


async def test_scheduled_texts_wait_under_the_ids_given_and_take_no_place_in_the_queue(
    store: Store,
) -> None:
    due = store.wall() + 60_000
    request = Append(at(due), [ALICE, BOB], ["s1", "s2"])
    assert await store.queue.append(request) == Appended(["s1", "s2"])
    assert await store.length() == 0
    waiting = await store.redis.zrange(store.keys.deferred, 0, -1, withscores=True)
    assert [(id_, int(score)) for id_, score in waiting] == [(b"s1", due), (b"s2", due)]
    assert await store.queue.next_due() == due
    assert await store.state("s2") == "deferred"


async def test_a_repeated_idempotency_key_gets_the_first_ids_and_answer(store: Store) -> None:
    request = Append(
        content(), [ALICE, BOB], idempotency_key="k", fingerprint="f", answer=b'{"a": "\xc3\xa9"}'
    )
    first = await store.queue.append(request)
    again = await store.queue.append(request)
    assert first.answer is None
    assert again == Appended(first.ids, request.answer)
    assert await store.length() == 2
    assert await store.queue.first_answer("k") == ("f", again)
    assert await store.queue.first_answer("other") is None


async def test_what_is_in_line_before_a_message_is_counted(store: Store) -> None:
    now = store.wall()
    await store.append(BOB, ALICE)
    await store.append(priority="high")
    await store.queue.append(Append(at(now + 60_000), [ALICE], ["s1"]))

    async def ahead(content_: Content, key: str = "", ids: Sequence[str] = ()) -> int:
        request = Append(content_, [ALICE], ids, idempotency_key=key, fingerprint="f", answer=b"{}")
        return (await store.queue.append(request)).ahead

    assert await ahead(content()) == 3
    assert await ahead(content(), "k") == 4
    assert await ahead(content(priority="high")) == 1
    assert await ahead(at(now + 60_000), ids=["s2"]) == 0
    # A repetition is answered what the first request was.
    assert await ahead(content(), "k") == 4
    first = await store.queue.first_answer("k")
    assert first is not None
    assert first[1].ahead == 4


async def test_what_is_in_line_before_a_long_list_is_counted(store: Store) -> None:
    await store.append(BOB)
    request = Append(content(), [ALICE] * 1001, idempotency_key="k", fingerprint="f", answer=b"{}")
    assert (await store.queue.append(request)).ahead == 1
    assert (await store.queue.append(request)).ahead == 1


async def test_an_idempotency_key_with_another_body_is_a_conflict(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    await store.queue.append(request)
    with pytest.raises(KeyConflict):
        await store.queue.append(request._replace(fingerprint="g"))
    assert await store.length() == 1


async def test_the_same_idempotency_key_twice_in_one_group_queues_once(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    first, *rest = await asyncio.gather(*(store.queue.append(request) for _ in range(20)))
    assert {tuple(one.ids) for one in rest} == {tuple(first.ids)}
    assert await store.length() == 1


async def test_an_idempotency_record_is_forgotten_in_time(store: Store) -> None:
    request = Append(content(), [ALICE], idempotency_key="k", fingerprint="f", answer=b"{}")
    await store.queue.append(request)
    assert 0 < await store.redis.pttl(store.keys.idempotency("k")) <= 86_400_000


async def test_a_refused_request_leaves_its_idempotency_key_free(open_store: OpenStore) -> None:
    store = await open_store(max_length=1).lead()
    request = Append(content(), [ALICE, BOB], idempotency_key="k", fingerprint="f", answer=b"{}")
    with pytest.raises(QueueFull):
        await store.queue.append(request)
    assert (await store.queue.append(request._replace(recipients=[ALICE]))).answer is None


async def test_a_full_queue_takes_all_of_a_request_or_nothing(open_store: OpenStore) -> None:
    store = await open_store(max_length=5).lead()
    await store.append(ALICE, priority="high")
    await store.append(ALICE)
    await store.schedule(60)
    with pytest.raises(QueueFull):
        await store.append(*[ALICE] * 3)
    await store.append(*[ALICE] * 2)
    with pytest.raises(QueueFull):
        await store.append()
    assert await store.length() == 4
    assert await store.difference() == 0


async def test_a_full_queue_refuses_one_request_of_a_group_and_takes_the_others(
    open_store: OpenStore,
) -> None:
    store = await open_store(max_length=3).lead()
    requests = [Append(content(), [ALICE] * size) for size in (1, 3, 2, 1)]
    results = await asyncio.gather(
        *(store.queue.append(request) for request in requests), return_exceptions=True
    )
    assert [type(result) for result in results] == [Appended, QueueFull, Appended, QueueFull]
    assert await store.length() == 3


async def test_appends_of_one_moment_share_round_trips_and_get_ids_of_their_own(
    wired: Store, proxy: Proxy
) -> None:
    before = len(proxy.commands)
    made = await asyncio.gather(*(wired.append() for _ in range(200)))
    round_trips = sum(sha("append") in command for command in proxy.commands[before:])
    assert len({id_ for [id_] in made}) == 200
    assert await wired.length() == 200
    assert round_trips <= 10


async def test_what_is_remembered_of_an_append_is_bounded_and_goes_by_itself(
    open_store: OpenStore,
) -> None:
    store = await open_store(max_length=100).lead()
    for _ in range(5):
        await asyncio.gather(*(store.append() for _ in range(10)))
    intake = store.keys.intake("a")
    assert await store.redis.hlen(intake) <= 65
    assert await store.redis.pttl(intake) > 0
    full = await open_store("full", max_length=0).lead()
    with pytest.raises(QueueFull):
        await full.append()
    assert await store.redis.pttl(store.keys.intake("full")) > 0


async def test_two_daemons_append_side_by_side(open_store: OpenStore) -> None:
    one, other = open_store("a"), open_store("b")
    made = await asyncio.gather(*(store.append() for store in (one, other) * 50))
    assert len({id_ for [id_] in made}) == 100


async def test_an_append_that_arrives_after_its_successors_queues_nothing_again(
    wired: Store, proxy: Proxy
) -> None:
    proxy.hold_back(sha("append"))  # its connection breaks, and the packet wanders
    [first] = await wired.append()
    [second] = await wired.append()
    proxy.lose_reply(sha("append"))
    third = asyncio.create_task(wired.append())
    await until(lambda: proxy.lost == 2, "it is carried out, and will be repeated")
    await proxy.let_go()
    [last] = await soon(third)
    entries = [entry.decode() for entry, _ in await wired.redis.xrange(wired.keys.queue)]
    assert entries == [first, second, last]


def test_a_full_queue_is_not_taken_for_an_absent_redis() -> None:
    assert not isinstance(QueueFull(), Away)
