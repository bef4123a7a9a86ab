"""Rejected rows. Rule: all of them come back, for a day, up to a limit."""

import pytest

from smsd.redis.errors import Refused
from smsd.store.audiences import rejects
from smsd.store.audiences.record import Source
from tests.redis.audiences import import_rows
from tests.support.store import ALICE, Store


def rejected(count: int) -> list[dict[str, object]]:
    return [
        {"line": n, "column": "phone", "reason": "not_a_number", "row": [f"ü{n}", ""]}
        for n in range(count)
    ]


async def kept(store: Store, import_id: str) -> list[dict[str, object]]:
    return [row async for rows in store.audiences.rejects(import_id) for row in rows]


async def commit(store: Store, rows: list[dict[str, object]]) -> str:
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add([[ALICE]])
        for at in range(0, len(rows), 1_000):
            await under_way.reject(rows[at : at + 1_000])
        imported = await under_way.commit(Source("", "", "", {"not_a_number": len(rows)}))
    return imported.audience.imports[0].id


@pytest.mark.parametrize("count", [0, 1, 20_000])
async def test_they_come_back_in_order(store: Store, count: int) -> None:
    import_id = await commit(store, rejected(count))
    assert await kept(store, import_id) == rejected(count)
    key = store.keys.audience_rejects(import_id)
    ttl = await store.redis.pttl(key)
    assert 0 < ttl <= rejects.KEPT_MS or not count
    if count == 20_000:
        assert await store.redis.hlen(key) > 3
        assert await store.redis.memory_usage(key, samples=0) < 500_000


async def test_half_a_surrogate_pair_does_not_stop_the_rest(store: Store) -> None:
    rows: list[dict[str, object]] = [{"row": ["\ud800"]}, {"row": ["x"]}]
    assert await kept(store, await commit(store, rows)) == [{"row": ["?"]}, {"row": ["x"]}]


async def test_what_is_too_much_is_dropped(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rejects, "MOST_OCTETS", 10_000)
    async with store.audiences.begin("b", replace=True) as under_way:
        await under_way.reject([*rejected(1_000), {"row": []}])
        dropped = under_way.rejects_dropped
    found = await kept(store, await commit(store, rejected(1_000)))
    assert len(found) + dropped == 1_001
    assert found == rejected(1_000)[: len(found)]
    assert 100 < len(found) < 1_000


async def test_those_of_an_import_that_breaks_off_are_gone(store: Store) -> None:
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.reject(rejected(20_000))
        assert await store.redis.exists(store.keys.audience_rejects(under_way.id))
    assert await store.redis.exists(store.keys.audience_rejects(under_way.id)) == 0


@pytest.mark.parametrize("how", ["replace", "add", "remove"])
async def test_those_of_an_import_that_is_the_last_no_more_are_gone(store: Store, how: str) -> None:
    key = store.keys.audience_rejects(await commit(store, rejected(10)))
    assert await store.redis.exists(key)
    if how == "remove":
        await store.audiences.remove("a")
    else:
        await import_rows(store, "a", [[ALICE]], replace=how == "replace")
    assert await store.redis.exists(key) == 0


async def test_the_same_file_again_keeps_them_for_another_day(store: Store) -> None:
    import_id = await commit(store, rejected(10))
    await store.redis.delete(store.keys.audience_rejects(import_id))
    assert await commit(store, rejected(10)) == import_id
    assert await kept(store, import_id) == rejected(10)
    assert 0 < await store.redis.pttl(store.keys.audience_rejects(import_id)) <= rejects.KEPT_MS
    assert len(await store.redis.keys(store.keys.audience_rejects("*"))) == 1


async def test_some_of_them_are_never_taken_for_all(store: Store) -> None:
    import_id = await commit(store, rejected(20_000))
    parts = store.audiences.rejects(import_id)
    await anext(parts)
    await store.redis.delete(store.keys.audience_rejects(import_id))
    with pytest.raises(rejects.RejectsGone):
        await anext(parts)


async def test_when_the_day_is_over_there_are_none(store: Store) -> None:
    import_id = await commit(store, rejected(10))
    await store.redis.delete(store.keys.audience_rejects(import_id))
    assert await kept(store, import_id) == []


async def test_what_other_hands_wrote_there_is_named(store: Store) -> None:
    imported = await import_rows(store, "a", [[ALICE]])
    import_id = imported.audience.imports[0].id
    key = store.keys.audience_rejects(import_id)
    await store.redis.hset(key, "1", "x")
    with pytest.raises(Refused, match="audience_rejects"):
        await kept(store, import_id)
