"""The table of fields against a real server: what each field promises of itself is kept.

Each row that anybody may set is taken through the life of a message: look-ups, a deferral,
a schedule, a death and a replay. A row that some script or reader would forget fails here.
"""

from operator import attrgetter

import pytest

from smsd.core import number
from smsd.core.fields import (
    ENTRY_IN_LOOK_UP,
    FIELDS,
    INSTANT,
    LABEL,
    LONGEST_LABEL,
    NUMBER,
    RECIPIENT,
    SENDER,
    VISIBLE,
    Field,
    FieldError,
    rfc3339,
)
from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.store.append import Append
from tests.support.store import ALICE, Store, Wall, content

GIVEN = [field for field in FIELDS if not field.by_smsd]
each_field = pytest.mark.parametrize("field", GIVEN, ids=lambda field: field.name)
each_of_send = pytest.mark.parametrize(
    "field",
    [field for field in GIVEN if field.in_send and field.name not in ("to", "send_at")],
    ids=lambda field: field.name,
)
SOON_MS = 3_600_000
# The value of a kind that takes the most octets: a field of another kind needs one, too.
LONGEST = {
    RECIPIENT.read: ALICE.ljust(number.LONGEST_RAW, "\u200b"),
    SENDER.read: "+" + 15 * "9",
    INSTANT.read: "2026-12-24T18:00:00.000000000+00:00",
    LABEL.read: LONGEST_LABEL * "\U0001f4e6",
    VISIBLE.read: 255 * "~",
    NUMBER.read: 9 * "9",
}


def sample(field: Field, wall: Wall) -> str:
    """A value as a producer writes it."""
    return rfc3339(wall() + SOON_MS) if field.kind is INSTANT else str(field.example)


def value(field: Field, message: Message) -> object:
    return attrgetter(field.attribute)(message)


def is_shown(field: Field, shown: dict[str, object] | None, written: str) -> bool:
    """Whether a look-up shows a field where it should, and only there."""
    assert shown is not None
    return shown.get(field.name) == (field.kind.show(written) if field.in_look_up else None)


async def produce(store: Store, field: Field, wall: Wall) -> tuple[str, str]:
    """An XADD with this field; the message's id, and what it says there."""
    written = sample(field, wall)
    flat: dict[str, str] = {"to": ALICE, "message": "Hi", field.name: written}
    entry = await store.redis.xadd(store.keys.queue, flat)
    return entry.decode(), written


@each_field
async def test_a_look_up_shows_it_in_every_state(store: Store, wall: Wall, field: Field) -> None:
    async def shown() -> bool:
        return is_shown(field, await store.lookup.message(id_), written)

    id_, written = await produce(store, field, wall)
    assert await shown(), "queued"
    entry, attempt, message = await store.begin_next()
    assert await shown(), "sending"
    assert await store.queue.defer(entry, attempt, message, until=wall(), attempts=1, why="busy")
    assert await shown(), "deferred"
    await store.queue.promote()
    assert await shown(), "queued again"
    entry, attempt, message = await store.begin_next()
    assert await store.queue.bury(entry, attempt, message, reason=DeadReason.EXHAUSTED)
    assert await shown(), "dead"


@each_field
async def test_a_look_up_shows_it_of_a_cancelled_message(
    store: Store, wall: Wall, field: Field
) -> None:
    id_, written = await produce(store, field, wall)
    assert await store.queue.cancel(id_) == "cancelled"
    assert is_shown(field, await store.lookup.message(id_), written)


@pytest.mark.parametrize(
    "field",
    [field for field in FIELDS if field.name in ENTRY_IN_LOOK_UP],
    ids=lambda each: each.name,
)
async def test_its_longest_value_is_shown_of_a_message_that_is_not_yet_parsed(
    store: Store, field: Field
) -> None:
    longest = LONGEST[field.kind.read]
    assert field.kind.read(field.name, longest)
    with pytest.raises(FieldError):
        field.kind.read(field.name, longest + longest[-1])
    flat: dict[str, str] = {"to": ALICE, "message": "Hi", field.name: longest}
    entry = await store.redis.xadd(store.keys.queue, flat)
    assert await store.queue.cancel(entry.decode()) == "cancelled"
    assert is_shown(field, await store.lookup.message(entry.decode()), longest)


@each_field
async def test_a_look_up_shows_it_of_a_message_that_cannot_be_read(
    store: Store, wall: Wall, field: Field
) -> None:
    id_, written = await produce(store, field, wall)
    [entry] = await store.queue.claim(0, 1)
    assert await store.queue.bury(entry, None, None, reason=DeadReason.INVALID)
    assert is_shown(field, await store.lookup.message(id_), written)


@each_field
async def test_it_survives_a_deferral(store: Store, wall: Wall, field: Field) -> None:
    await produce(store, field, wall)
    entry, attempt, before = await store.begin_next()
    assert await store.queue.defer(entry, attempt, before, until=wall(), attempts=1, why="busy")
    await store.queue.promote()
    _, after = await store.claim_one()
    obeyed = field.name == "send_at"  # its time has come by then
    assert value(field, after) == (None if obeyed else value(field, before))
    assert (after.id, after.attempts) == (before.id, 1)


@each_field
async def test_it_survives_a_death_and_a_replay(store: Store, wall: Wall, field: Field) -> None:
    await produce(store, field, wall)
    entry, attempt, before = await store.begin_next()
    assert await store.queue.bury(entry, attempt, before, reason=DeadReason.EXHAUSTED)
    letter = await store.dead_letters.id_of(before.id)
    assert await store.queue.replay(letter, before.id)
    _, after = await store.claim_one()
    assert value(field, after) == value(field, before) is not None
    assert (after.id, after.attempts) == (before.id, 0)


@each_field
async def test_its_dead_letter_shows_it(store: Store, wall: Wall, field: Field) -> None:
    id_, written = await produce(store, field, wall)
    entry, attempt, message = await store.begin_next()
    assert await store.queue.bury(entry, attempt, message, reason=DeadReason.EXHAUSTED)
    [dead_letter] = await store.dead_letters.page("", 10)
    shown = dead_letter.shown(with_text=field.name == "message")
    should_be = field.in_dead_letter or field.name == "message"
    assert (shown["id"], shown.get(field.name)) == (id_, written if should_be else None)


@each_of_send
async def test_it_survives_the_queue_of_a_request(store: Store, wall: Wall, field: Field) -> None:
    said = content(**{field.name: sample(field, wall)})
    await store.queue.append(Append(said, [ALICE]))
    _, message = await store.claim_one()
    assert value(field, message) == value(field, Message("", "", said))


@each_of_send
async def test_it_survives_a_schedule(store: Store, wall: Wall, field: Field) -> None:
    said = content(**{field.name: sample(field, wall)})
    said = said._replace(send_at=wall())
    [id_] = (await store.queue.append(Append(said, [ALICE], ["s1"]))).ids
    written = field.kind.write(value(field, Message("", "", said)))
    assert is_shown(field, await store.lookup.message(id_), written)
    await store.queue.promote()
    _, message = await store.claim_one()
    assert value(field, message) == value(field, Message("", "", said)) is not None
