"""In-flight records. Rule: what cannot be read is in doubt, to Python and to Lua alike."""

import pytest

from smsd.redis.scripts import Call
from smsd.store.entry import Attempt
from tests.support.store import (
    OpenStore,
    Store,
)

UNREADABLE_MARKS = [
    b"",
    b"garbage",
    b"1 2",
    b"1 2 ",
    b"0 2 x",
    b"01 2 x",
    b"-1 2 x",
    b"1 2 \xff",
    b"1 2 x\n",
    b"1  2 x",
    b"10000000000 2 x",
    b"1 10000000000000 x",
]


async def test_the_journal_reads_back_any_owner(open_store: OpenStore) -> None:
    store = await open_store("host:boot.1:2:3:ab cd").lead()
    entry, attempt, _ = await store.sending()
    assert await store.unsettled.in_flight() == {entry.name: attempt}


def test_an_attempt_is_read_back_from_its_mark() -> None:
    attempt = Attempt(3, 1_700_000_000_000, "a b:c")
    assert Attempt.read(attempt.mark.encode()) == attempt


@pytest.mark.parametrize("mark", UNREADABLE_MARKS)
async def test_what_is_no_mark_is_read_as_none_by_both_who_read_marks(
    store: Store, mark: bytes
) -> None:
    entry, _, _ = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, mark)
    assert Attempt.read(mark) is None
    assert await store.unsettled.in_flight() == {entry.name: Attempt(1, 0, "unknown")}


GATEWAY = b"1 2 a:b:1:2:3 gateway=0123456789abcdef"


@pytest.mark.parametrize("mark", [b"1 0 x", b"9999999999 9999999999999 a b", GATEWAY])
async def test_what_may_be_a_mark_is_left_as_it_is_by_both_who_read_marks(
    store: Store, mark: bytes
) -> None:
    entry, _, _ = await store.sending()
    await store.redis.hset(store.keys.inflight, entry.name, mark)
    found = await store.client.ask(Call("fsck_marks", {"names": [entry.name], "repair": True}))
    [attempt] = (await store.unsettled.in_flight()).values()
    assert (found, attempt.mark.encode()) == ([], mark)
