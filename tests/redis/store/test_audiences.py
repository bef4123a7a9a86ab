"""Audiences. Rule: readers see the old one or the new one, whole, whatever happens meanwhile."""

import asyncio
import random
from collections.abc import Callable

import pytest

from smsd.redis.errors import Refused
from smsd.store.audiences import BadCursor
from smsd.store.audiences.reader import MOST_FACTOR
from smsd.store.audiences.record import Counts, Source
from smsd.store.audiences.staging import IN_PLACE, MOST_OCTETS
from smsd.store.audiences.version import AudienceChanged
from tests.redis.audiences import (
    contacts,
    import_rows,
    keys_of_audiences,
    numbers,
    values,
)
from tests.support.proxy import Proxy
from tests.support.store import ALICE, BOB, Store

PRIME = (1 << 31) - 1  # below it are the hash values
MANY = IN_PLACE + 400  # more than are added in one call


def rows(found: list[str], *more: str) -> list[list[str]]:
    return [[number, *more] for number in found]


# -- replacing ------------------------------------------------------------------------------------


async def test_what_is_imported_is_read_back(store: Store) -> None:
    given = {n: f"name {i}" if i % 3 else "" for i, n in enumerate(numbers(2_000))}
    imported = await import_rows(store, "spring", [*map(list, given.items())], fields=["name"])

    assert imported.counts == Counts(added=2_000)
    assert imported.audience.contacts == 2_000
    assert await values(store, "spring") == {n: {"name": name} for n, name in given.items()}
    found = await store.audiences.lookup("spring", numbers(2)[1])
    assert found == (numbers(2)[1], {"name": "name 1"})
    for absent in (BOB, "", "x", "+", "1e3", "9" * 16, "²"):
        assert await store.audiences.lookup("spring", absent) is None
        assert not await store.audiences.discard("spring", absent)
    [shown] = await store.audiences.all()
    assert shown.contacts == 2_000
    assert await store.audiences.show("spring") == imported.audience


async def test_what_is_not_there_is_none(store: Store) -> None:
    assert await store.audiences.show("x") is None
    assert await store.audiences.page("x") is None
    assert await store.audiences.lookup("x", ALICE) is None
    assert await store.audiences.all() == []
    assert not await store.audiences.discard("x", ALICE)
    assert not await store.audiences.remove("x")


async def test_of_a_number_that_comes_twice_the_later_row_stays(store: Store) -> None:
    given = [[ALICE, "first"], [BOB, "b"], [ALICE, "last"]]
    imported = await import_rows(store, "a", given, fields=["name"])
    assert imported.counts == Counts(added=2, duplicates=1)
    assert await values(store, "a") == {ALICE: {"name": "last"}, BOB: {"name": "b"}}


async def test_readers_see_the_old_one_until_the_new_one_is_complete(store: Store) -> None:
    await import_rows(store, "a", rows(numbers(1_000)))
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(rows(numbers(1_000, 5_000)))
        assert set(await values(store, "a")) == set(numbers(1_000))
        await under_way.commit(Source("x", "", "me"))
        assert set(await values(store, "a")) == set(numbers(1_000, 5_000))


async def test_one_that_is_not_committed_changes_nothing_and_is_removed(store: Store) -> None:
    await import_rows(store, "a", rows(numbers(300)))
    before = await keys_of_audiences(store)

    async def break_off() -> None:
        async with store.audiences.begin("a", replace=True) as under_way:
            await under_way.add(rows(numbers(1_000)))
            await under_way.reject([{"line": 1}] * 10)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await break_off()
    assert len(await values(store, "a")) == 300
    await store.audiences.clean()
    assert await keys_of_audiences(store) == before


async def test_what_was_replaced_is_removed(store: Store) -> None:
    for _ in range(2):
        await import_rows(store, "a", rows(numbers(1_000)))
    twice = await keys_of_audiences(store)
    await store.audiences.clean()
    left = await keys_of_audiences(store)
    assert len(left) - 1 == (len(twice) - 2) / 2  # without the two keys of all audiences
    assert len(await values(store, "a")) == 1_000


async def test_all_are_listed_by_name(store: Store) -> None:
    names = [f"list-{n}" for n in range(70)]
    for name in random.sample(names, len(names)):
        await import_rows(store, name, rows([ALICE, BOB]))
    assert [(one.name, one.contacts) for one in await store.audiences.all()] == [
        (name, 2) for name in sorted(names)
    ]


async def test_an_empty_one_is_there(store: Store) -> None:
    imported = await import_rows(store, "a", [], fields=["name"])
    assert (imported.audience.contacts, imported.audience.fields) == (0, ("name",))
    assert await contacts(store, "a") == []


async def test_the_last_imports_are_remembered(store: Store) -> None:
    source = Source("f00", "region=US", "me", {"not_a_number": 2})
    first = await import_rows(store, "a", rows([ALICE]), source=source)
    store.wall.advance(60)
    second = await import_rows(store, "a", rows([BOB]), replace=False)
    [latest, before] = second.audience.imports
    assert before == first.audience.imports[0]
    assert (before.source, before.counts) == (source, Counts(added=1))
    assert (latest.at, latest.replaced) == (store.wall(), False)
    assert second.audience.created == first.audience.created
    assert await store.audiences.show("a") == second.audience
    for _ in range(30):
        second = await import_rows(store, "a", rows([BOB]), replace=False)
    assert len(second.audience.imports) == 20


@pytest.mark.parametrize("replace", [True, False])
async def test_the_same_file_again_does_nothing(store: Store, *, replace: bool) -> None:
    source = Source("f00", "region=US", "me")
    await import_rows(store, "a", rows([BOB]))
    await import_rows(store, "a", rows([ALICE]), source=source, replace=replace)
    before = await store.audiences.show("a")
    again = await import_rows(store, "a", rows([ALICE]), source=source, replace=replace)
    assert again.unchanged
    assert await store.audiences.show("a") == before == again.audience
    for other in (source._replace(options=""), source._replace(sha256="f01")):
        assert not (await import_rows(store, "a", rows([ALICE]), source=other)).unchanged
    assert not (await import_rows(store, "a", rows([ALICE]), source=source)).unchanged
    await store.audiences.discard("a", ALICE)
    assert not (await import_rows(store, "a", rows([ALICE]), source=source)).unchanged


async def test_the_same_file_is_imported_where_something_changed_while_it_came(
    store: Store,
) -> None:
    source = Source("f00", "", "me")
    await import_rows(store, "a", rows([ALICE]), source=source)
    async with store.audiences.begin("a", replace=True) as under_way:
        await under_way.add(rows([ALICE]))
        await store.audiences.discard("a", ALICE)
        assert not (await under_way.commit(source)).unchanged
    assert set(await values(store, "a")) == {ALICE}


# -- adding ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, MANY])
async def test_adding_counts_what_is_new_and_what_changed(store: Store, count: int) -> None:
    new, same, other = numbers(count), numbers(count, 10_000), numbers(count, 20_000)
    await import_rows(store, "a", [*rows(same, "x"), *rows(other, "x")], fields=["name"])
    given = [*rows(new, "x"), *rows(same, "x"), *rows(other, "y"), *rows(other[:2], "z")]
    imported = await import_rows(store, "a", given, fields=["name"], replace=False)

    assert imported.counts == Counts(count, count, count, 2)
    assert imported.audience.contacts == 3 * count
    assert await store.audiences.show("a") == imported.audience
    found = await values(store, "a")
    assert len(found) == 3 * count
    assert [found[one]["name"] for one in (new[0], same[0], other[0])] == ["x", "x", "z"]


@pytest.mark.parametrize("count", [1, MANY])
async def test_fields_that_are_not_given_stay_and_new_ones_come_behind(
    store: Store, count: int
) -> None:
    there = numbers(count)
    await import_rows(store, "a", rows(there, "Anna", "Ulm", "7"), fields=["name", "city", "age"])
    given = [*rows(there, "x", "8", ""), *rows([BOB], "y", "", "Ina")]
    fields = ["code", "age", "name"]
    imported = await import_rows(store, "a", given, fields=fields, replace=False)

    assert imported.audience.fields == ("name", "city", "age", "code")
    found = await values(store, "a")
    assert found[there[0]] == {"name": "", "city": "Ulm", "age": "8", "code": "x"}
    assert found[BOB] == {"name": "Ina", "city": "", "age": "", "code": "y"}


async def test_fields_may_come_while_rows_do(store: Store) -> None:
    async with store.audiences.begin("a", replace=True) as under_way:
        under_way.set_fields(["name"])
        await under_way.add([[number, "x"] for number in numbers(MANY)])
        under_way.set_fields(["name", "city"])
        await under_way.add([[ALICE, "x", "Ulm"], [BOB]])
        imported = await under_way.commit(Source("", "", ""))
    assert imported.audience.fields == ("name", "city")
    found = await values(store, "a")
    assert found[ALICE] == {"name": "x", "city": "Ulm"}
    assert found[BOB] == {"name": "", "city": ""}
    assert found[numbers(1)[0]] == {"name": "x", "city": ""}


async def test_adding_to_nothing_makes_an_audience(store: Store) -> None:
    imported = await import_rows(store, "a", rows([ALICE, BOB, ALICE]), replace=False)
    assert imported.counts == Counts(added=2, duplicates=1)
    assert set(await values(store, "a")) == {ALICE, BOB}


# -- several at once ------------------------------------------------------------------------------


async def test_of_two_that_replace_at_once_the_last_one_stays_whole(store: Store) -> None:
    given = [rows(numbers(900, first)) for first in (0, 5_000)]
    results = await asyncio.gather(*(import_rows(store, "a", one) for one in given))
    assert all(result.counts.added == 900 for result in results)
    found = set(await values(store, "a"))
    assert found in (set(numbers(900)), set(numbers(900, 5_000)))
    shown = await store.audiences.show("a")
    assert shown is not None
    assert len(shown.imports) == 2
    await store.audiences.clean()
    assert set(await values(store, "a")) == found


@pytest.mark.parametrize("change", ["add", "discard", "replace", "remove", "clean"])
async def test_what_is_added_to_something_else_meanwhile_is_refused(
    store: Store, change: str
) -> None:
    await import_rows(store, "a", rows([ALICE, BOB]))
    async with store.audiences.begin("a", replace=False) as under_way:
        await under_way.add(rows(numbers(MANY)))
        if change == "discard":
            await store.audiences.discard("a", BOB)
        elif change in ("remove", "clean"):
            await store.audiences.remove("a")
            if change == "clean":
                await store.audiences.clean()
        else:
            await import_rows(store, "a", rows(numbers(1)), replace=change == "replace")
        left = await store.audiences.show("a")
        with pytest.raises(AudienceChanged):
            await under_way.commit(Source("", "", ""))
    assert await store.audiences.show("a") == left


async def test_short_additions_at_once_are_all_there(store: Store) -> None:
    await import_rows(store, "a", [])
    given = numbers(5)
    await asyncio.gather(*(import_rows(store, "a", rows([n]), replace=False) for n in given))
    assert set(await values(store, "a")) == set(given)


async def test_a_short_addition_goes_on_with_what_it_finds(store: Store) -> None:
    await import_rows(store, "a", rows([ALICE], "Anna"), fields=["name"])
    async with store.audiences.begin("a", replace=False) as under_way:
        under_way.set_fields(["city"])
        await under_way.add([[BOB, "Ulm"]])
        await import_rows(store, "a", rows([ALICE], "x", "y"), fields=["age", "name"])
        await under_way.commit(Source("", "", ""))
    found = await values(store, "a")
    assert found[ALICE] == {"age": "x", "name": "y", "city": ""}
    assert found[BOB] == {"age": "", "name": "", "city": "Ulm"}


# -- pages, and contacts that go ------------------------------------------------------------------


@pytest.mark.parametrize("change", ["grow", "replace"])
async def test_pages_meet_each_contact_once_that_is_there_all_the_time(
    store: Store, change: str
) -> None:
    stay = numbers(1_500)
    await import_rows(store, "a", rows(stay))
    cursor, found, turn = "", list[str](), 0
    while True:
        page = await store.audiences.page("a", cursor, 100)
        assert page is not None
        assert 0 < len(page.contacts) <= 105
        found += [contact.number for contact in page.contacts]
        if not (cursor := page.cursor):
            break
        turn += 1
        more = rows(numbers(100, 10_000 * turn))
        if change == "grow":
            await import_rows(store, "a", more, replace=False)
        else:
            await import_rows(store, "a", [*rows(random.sample(stay, len(stay))), *more])
    assert len(set(found)) == len(found)
    assert set(found) >= set(stay)


@pytest.mark.parametrize("factor", [1, 48_271, MOST_FACTOR])
async def test_hash_values_are_exact(
    store: Store, monkeypatch: pytest.MonkeyPatch, factor: int
) -> None:
    monkeypatch.setattr("smsd.store.audiences.version._factor", lambda: factor)
    largest = 10**15 - 1
    # Those whose sum of products is just above and just below a multiple of the prime, too.
    near = [n * PRIME // factor * 10_000_000 + k for n in (1, 2, 3) for k in range(2)]
    chosen = [largest - n for n in range(400)] + [n for n in near if 0 < n <= largest]
    drawn = random.Random(factor).sample(range(largest), 400)
    given = {f"+{n}": factor * (n // 10**7 + n % 10**7) % PRIME for n in [*chosen, *drawn]}
    await import_rows(store, "a", rows([*given]))
    hashes = [given[contact.number] for contact in await contacts(store, "a")]
    assert len(hashes) == len(given)
    assert hashes == sorted(hashes)


@pytest.mark.parametrize("cursor", ["x", "-1", "1.5", "99999999999", "²"])
async def test_a_cursor_that_is_none_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(BadCursor):
        await store.audiences.page("a", cursor)


async def test_a_contact_is_taken_out(store: Store) -> None:
    await import_rows(store, "a", rows([ALICE, BOB]))
    assert await store.audiences.discard("a", ALICE)
    assert not await store.audiences.discard("a", ALICE)
    assert set(await values(store, "a")) == {BOB}
    shown = await store.audiences.show("a")
    assert shown is not None
    assert shown.contacts == 1


async def test_one_that_is_removed_is_gone_and_so_are_its_keys(store: Store) -> None:
    await import_rows(store, "a", rows(numbers(3_000)))
    assert await store.audiences.remove("a")
    assert await store.audiences.show("a") is None
    await store.audiences.clean()
    assert await keys_of_audiences(store) == set()


@pytest.mark.parametrize("replace", [True, False])
async def test_large_contacts_go_in_and_out_in_small_calls(
    wired: Store, proxy: Proxy, *, replace: bool
) -> None:
    fields = [f"f{n}" for n in range(50)]
    given = {number: [number, *["x" * 255] * 50] for number in numbers(60)}
    await import_rows(wired, "a", [given[one] for one in numbers(20)], fields=fields)
    await import_rows(wired, "a", [*given.values()], fields=fields, replace=replace)
    assert max(map(len, proxy.commands)) < 2 * MOST_OCTETS
    assert await values(wired, "a") == {
        number: dict(zip(fields, row[1:], strict=True)) for number, row in given.items()
    }
    page = await wired.audiences.page("a")
    assert page is not None
    assert len(page.contacts) < 20


SHAPES: dict[str, Callable[[int], int]] = {
    "consecutive": lambda n: 12_025_000_000 + n,
    "every tenth": lambda n: 12_025_000_000 + 10 * n,
    "every 1024th": lambda n: 12_025_000_000 + 1024 * n,
    "every 10,000th": lambda n: 12_025_000_000 + 10_000 * n,
    "every 10,000,000th": lambda n: 10_000_000 * (n + 1),
    "every 2,147,483,647th": lambda n: 2_147_483_647 * (n + 1),
    "long": lambda n: 999_999_999_999_999 - n,
    "random": lambda n: random.Random(n).randrange(10**9, 10**15),
}


@pytest.mark.parametrize("shape", SHAPES)
async def test_buckets_stay_small_whatever_the_numbers_are(store: Store, shape: str) -> None:
    given = [f"+{SHAPES[shape](n)}" for n in range(8_000)]
    await import_rows(store, "a", rows(given, "Anna"), fields=["name"])
    shown = await store.audiences.show("a")
    assert shown is not None
    state = store.keys.audience(shown.version)
    buckets = [key for key in await keys_of_audiences(store) if key.startswith(f"{state}:")]
    sizes = [await store.redis.hlen(bucket) for bucket in buckets]
    assert (sum(sizes), shown.contacts) == (8_000, 8_000)
    assert max(sizes) <= 128, sorted(sizes)
    kinds = {await store.redis.object("encoding", bucket) for bucket in buckets}
    assert kinds <= {b"listpack", b"ziplist"}


# -- what other hands did -------------------------------------------------------------------------


@pytest.mark.parametrize("record", ["", "x", "{}", '{"version":"1"}', '{"version":1}', b"\xff"])
async def test_a_record_that_is_none_is_named_and_can_be_replaced_or_removed(
    store: Store, record: str | bytes
) -> None:
    await import_rows(store, "b", rows([BOB]))
    await store.redis.hset(store.keys.audiences, "a", record)
    for reading in (store.audiences.show("a"), store.audiences.page("a")):
        with pytest.raises(Refused, match="audiences"):
            await reading
    with pytest.raises(Refused):
        await import_rows(store, "a", rows([ALICE]), replace=False)
    assert [one.name for one in await store.audiences.all()] == ["b"]
    await import_rows(store, "a", rows([ALICE]))
    assert set(await values(store, "a")) == {ALICE}
    await store.redis.hset(store.keys.audiences, "a", record)
    assert await store.audiences.remove("a")
    assert [one.name for one in await store.audiences.all()] == ["b"]


@pytest.mark.parametrize("field", ["contacts", "buckets", "high", "revision"])
@pytest.mark.parametrize("spoiled", ["x", "", None, "inf", "nan", "1e300", "-1", "0.5"])
async def test_a_state_that_cannot_be_read_is_named_and_can_be_replaced(
    store: Store, field: str, spoiled: str | None
) -> None:
    imported = await import_rows(store, "a", rows([ALICE]))
    key = store.keys.audience(imported.audience.version)
    if spoiled is None:
        await store.redis.hdel(key, field)
    else:
        await store.redis.hset(key, field, spoiled)
    with pytest.raises(Refused):
        await store.audiences.page("a")
    await import_rows(store, "a", rows([BOB]))
    assert set(await values(store, "a")) == {BOB}
    await store.audiences.clean()
    assert await store.redis.exists(key) == 0


@pytest.mark.parametrize("contacts", [0, 1_000_000_000])
async def test_a_number_of_contacts_that_is_wrong_costs_nobody_time(
    store: Store, contacts: int
) -> None:
    imported = await import_rows(store, "a", rows(numbers(MANY)))
    key = store.keys.audience(imported.audience.version)
    await store.redis.hset(key, "contacts", contacts)
    await import_rows(store, "a", rows([BOB]), replace=False)
    await store.audiences.discard("a", BOB)
    await import_rows(store, "a", rows(numbers(MANY, 10_000)), replace=False)
    assert len(await values(store, "a")) == 2 * MANY


async def test_a_bucket_of_another_type_is_named_and_goes_with_its_version(store: Store) -> None:
    imported = await import_rows(store, "a", rows([ALICE]))
    bucket = f"{store.keys.audience(imported.audience.version)}:0"
    await store.redis.set(bucket, "x")
    before = await store.redis.hgetall(store.keys.audiences)
    for use in (
        store.audiences.page("a"),
        store.audiences.lookup("a", ALICE),
        import_rows(store, "a", rows([BOB]), replace=False),
        import_rows(store, "a", rows(numbers(MANY)), replace=False),
    ):
        with pytest.raises(Refused):
            await use
    assert await store.redis.hgetall(store.keys.audiences) == before
    await import_rows(store, "a", rows([BOB]))
    assert set(await values(store, "a")) == {BOB}
    await store.audiences.clean()
    assert await store.redis.exists(bucket) == 0


async def test_what_other_hands_put_among_contacts_is_none(store: Store) -> None:
    imported = await import_rows(store, "a", rows(numbers(20)))
    junk: dict[str | bytes, str] = dict.fromkeys(["", "x", "nan", "1e300", "9" * 30, "-1"], "x")
    junk[b"\xff"] = "x"
    await store.redis.hset(f"{store.keys.audience(imported.audience.version)}:0", mapping=junk)
    assert set(await values(store, "a")) == set(numbers(20))
    await import_rows(store, "a", rows(numbers(MANY)), replace=False)
    assert set(await values(store, "a")) == set(numbers(MANY))


async def test_what_other_hands_list_as_unfinished_is_not_removed_if_readers_see_it(
    store: Store,
) -> None:
    imported = await import_rows(store, "a", rows([ALICE]))
    listed = {imported.audience.version: 0, "x": 0, "": 1}
    await store.redis.zadd(store.keys.audiences_unfinished, listed)
    await store.audiences.clean()
    assert set(await values(store, "a")) == {ALICE}
    assert await store.redis.exists(store.keys.audiences_unfinished) == 0
