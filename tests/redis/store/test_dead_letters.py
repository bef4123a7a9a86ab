"""Reading dead letters. Rule: each can be looked at, however large, and none holds Redis up."""

from smsd.core.life import DeadReason
from smsd.store.dead_letter_request import Choice, Order
from smsd.store.entry import LARGEST_ENTRY
from tests.support.redis_server import RedisServer
from tests.support.store import ALICE, OpenStore, Store


async def test_dead_letters_are_paged_in_the_order_they_died(store: Store) -> None:
    for n in range(7):
        await store.dead_letter(message=f"text {n}")
    texts: list[str] = []
    after = ""
    while page := await store.dead_letters.page(after, 3):
        assert len(page) <= 3
        texts += [fields["message"] for _, fields in page]
        after = page[-1][0]
    assert texts == [f"text {n}" for n in range(7)]


LARGE = 3_000_000  # octets of a text


async def _die_large(store: Store, count: int) -> list[str]:
    """Letters as they are written of texts that are too large to read; their ids."""
    ids: list[str] = []
    for n in range(count):
        await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": "x" * LARGE})
        [entry] = await store.queue.claim(0, 1)
        await store.queue.bury(
            entry, None, None, reason=DeadReason.INVALID, code="entry", detail=f"d{n}"
        )
        ids.append(entry.message_id)
    return ids


async def test_of_a_dead_letter_that_is_too_large_the_short_fields_are_shown(store: Store) -> None:
    [id_] = await _die_large(store, 1)
    [dead_letter] = await store.dead_letters.page("", 10)
    assert dead_letter.fields == {
        "id": id_,
        "to": ALICE,
        "reason": "invalid",
        "code": "entry",
        "detail": "d0",
        "attempts": "0",
        "failed_at": str(store.wall.ms),
        "lane": "n",
    }
    assert await store.dead_letters.get(dead_letter.id) == dead_letter


async def test_of_a_dead_letter_with_very_many_fields_ours_are_shown(
    store: Store,
) -> None:
    await store.redis.xadd(store.keys.queue, {f"f{n}": "x" for n in range(2000)})
    [entry] = await store.queue.claim(0, 1)
    await store.queue.bury(entry, None, None, reason=DeadReason.INVALID, detail="of many fields")
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert (fields["reason"], fields["detail"]) == ("invalid", "of many fields")
    assert len(fields) <= 50


async def test_the_largest_message_that_is_read_is_shown_when_it_is_dead(
    store: Store,
) -> None:
    message = "x" * (LARGEST_ENTRY - len("to") - len(ALICE) - len("message"))
    await store.redis.xadd(store.keys.queue, {"to": ALICE, "message": message})
    [entry] = await store.queue.claim(0, 1)
    await store.queue.bury(entry, None, None, reason=DeadReason.REJECTED, detail="d" * 1000)
    [(_, fields)] = await store.dead_letters.page("", 10)
    assert fields["message"] == message


async def test_no_look_at_large_dead_letters_moves_their_octets(
    own_server: RedisServer, open_store: OpenStore
) -> None:
    store = await open_store(url=own_server.url).lead()
    ids = await _die_large(store, 5)
    dead = store.dead_letters
    told_before = await _octets_told(store)
    all_ = (await dead.find(Choice(reason="invalid"), after="", count=100)).dead_letters
    assert [one.message_id for one in all_] == ids
    fourth = Choice(message_id=ids[3])
    assert (await dead.find(fourth, after="", count=1)).dead_letters == [all_[3]]
    assert (await dead.replay(Order(Choice(message_id=ids[0])))).done == 1
    assert (await dead.drop(Order(Choice()))).done == 4
    assert await _octets_told(store) - told_before < LARGE
    assert await store.difference() == 0


async def _octets_told(store: Store) -> int:
    return int((await store.redis.info("stats"))["total_net_output_bytes"])


async def test_there_are_no_dead_letters_before_the_first(store: Store) -> None:
    assert await store.dead_letters.page("", 10) == []
