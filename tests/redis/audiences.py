"""Audiences in tests: short ways to import one, and to see what readers see."""

from collections.abc import Sequence

from smsd.store.audiences.record import Contact, Source
from smsd.store.audiences.staging import Imported
from tests.support.store import Store

SOURCE = Source(sha256="", options="", by="me")


def numbers(count: int, first: int = 0) -> list[str]:
    return [f"+1{2_025_000_000 + first + n}" for n in range(count)]


async def import_rows(
    store: Store,
    name: str,
    rows: Sequence[Sequence[str]],
    *,
    fields: Sequence[str] = (),
    replace: bool = True,
    source: Source | None = None,
) -> Imported:
    """One import from its begin to its end. Each has another source, where none is given."""
    async with store.audiences.begin(name, replace=replace) as staging:
        staging.set_fields(fields)
        await staging.add(rows)
        return await staging.commit(source or SOURCE._replace(sha256=staging.id))


async def contacts(store: Store, name: str, count: int = 500) -> list[Contact]:
    """All that readers see, in the order of the pages."""
    found: list[Contact] = []
    cursor = ""
    while True:
        page = await store.audiences.page(name, cursor, count)
        assert page is not None
        found += page.contacts
        if not (cursor := page.cursor):
            return found


async def values(store: Store, name: str) -> dict[str, dict[str, str]]:
    """The same by number; each is there once."""
    found = await contacts(store, name)
    by_number = {contact.number: dict(contact.fields) for contact in found}
    assert len(by_number) == len(found)
    return by_number


async def keys_of_audiences(store: Store) -> set[str]:
    pattern = f"{store.keys.prefix}audience*"
    return {key.decode() async for key in store.redis.scan_iter(match=pattern, count=1000)}
