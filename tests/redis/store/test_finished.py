"""What is kept of finished messages. Rule: a look-up shows what it showed of a status."""

import itertools
import struct
from dataclasses import dataclass

import pytest

from smsd.core.fields import LOOK_UP
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.append import Append
from smsd.store.finished import place_of, unpack
from smsd.store.fsck import Fsck
from tests.support.store import ALICE, SOON_S, Store, Wall, at

UUID = "0e8400e2-29b4-41d4-a716-446655440000"
BORN = 1_795_790_242_582


@dataclass
class Finish:
    """One message that is finished by the script alone, with what it is given."""

    store: Store
    id: str

    async def __call__(self, line: str, look_up: list[str], state: str = "sent") -> None:
        entry = self.id.removeprefix("h")
        stream = self.store.keys.high if self.id.startswith("h") else self.store.keys.queue
        await self.store.redis.xadd(stream, {"to": ALICE}, id=entry)
        name = self.id if self.id.startswith("h") else f"n{self.id}"
        request = {"name": name, "mark": "", "id": self.id, "state": state, "line": line}
        call = Call("finish", request | {"look_up": look_up}, [self.store.keys.message(self.id)])
        assert await self.store.client.ask(call) == b"settled"

    async def kept(self) -> tuple[bytes, dict[str, str] | None]:
        """What stands there, and what is read of it."""
        place = place_of(self.id)
        assert place is not None
        value = await self.store.redis.hget(self.store.keys.finished(place.name), place.field)
        return value, unpack(value, place.time)


VALUES = {
    "to": ["+12025550123", "+12025550", "+999999999999999", "+0123456", "nobody", ""],
    "provider_id": [
        *("SM" + "0af1" * 8, "0af1" * 8, "0AF1" * 8, UUID, UUID.upper(), "SM" + "0af" * 5, "SM"),
        *("0af1" * 9, "sandbox-17", "x" * 300, "é", "MG0a1b2c3d4e5f6071"),
    ],
    "segments": ["1", "2", "3", "12"],
    "encoding": ["gsm7", "ucs2", "other"],
    "attempts": ["1", "2", "17"],
    "reason": ["opted_out", "duplicate"],
    "detail": ["the recipient has opted out", "of 1-0", "d" * 127, "d" * 128, "d" * 20_000],
    "a field to come": ["", "x", "y" * 200],
}


async def test_every_value_of_a_field_is_read_as_it_was_written(store: Store) -> None:
    number = itertools.count()
    cases = {field.name: ["value", "", "1"] for field in LOOK_UP} | VALUES
    for name, values in cases.items():
        for value in values:
            finish = Finish(store, f"{BORN}-{next(number)}")
            await finish(f"{BORN} sent", [name, value])
            _, fields = await finish.kept()
            assert fields == {"state": "sent", "history": f"{BORN} sent", name: value}


@pytest.mark.parametrize(
    "history",
    [
        f"{BORN + 5} sending 1\n{BORN + 130} sent",
        f"{BORN} sending 9\n{BORN} sent",
        f"{BORN + 5} sending 12\n{BORN + 130} sent",
        f"{BORN - 1} sending 1\n{BORN + 130} sent",  # its clock was behind that of Redis
        f"{BORN + 130} sending 1\n{BORN + 5} sent",
        f"{BORN} deferred scheduled\n{BORN + 9**9} queued\n{'8' * 13} sending 1\n{'9' * 13} sent",
        f"{BORN} deferred a  b \n{BORN} suppressed",
        f"{BORN} deferred {'long ' * 99}\n{BORN} expired",
        f"0{BORN} sent",
        f"{BORN} sent ",
        f"{BORN} unheard of",
        "",
        "\n\n",
        f"{'9' * 15} sent",
        f"{'9' * 16} sent",
        "of another make",
    ],
)
async def test_every_history_is_read_as_it_was_written(store: Store, history: str) -> None:
    finish = Finish(store, f"h{BORN}-1")
    await finish(history, ["to", ALICE])
    _, fields = await finish.kept()
    assert fields == {"state": "sent", "history": history, "to": ALICE}


async def test_what_most_have_takes_few_octets(store: Store) -> None:
    finish = Finish(store, f"{BORN}-0")
    usual = ["to", ALICE, "segments", "1", "encoding", "gsm7", "provider_id", "SM" + "0af1" * 8]
    await finish(f"{BORN + 5000} sending 1\n{BORN + 5130} sent", [*usual, "attempts", "1"])
    value, _ = await finish.kept()
    assert len(value) <= 43


@pytest.mark.parametrize("again", ["finished", "waiting"])
async def test_a_message_that_goes_on_has_its_status_again(store: Store, again: str) -> None:
    finish = Finish(store, f"{BORN}-0")
    look_up = ["to", "+12025550", "ref", "r", "provider_id", UUID, "from", "Acme", "segments", "2"]
    await finish(f"{BORN + 5} sending 1\n{BORN + 9} sent", [*look_up, "attempts", "1"])
    if again == "finished":  # by other hands its entry is there again
        await store.redis.delete(store.keys.queue)
        await store.client.ensure_groups()
        await finish(f"{BORN + 11} expired", ["ref", "s"], "expired")
        _, fields = await finish.kept()
    else:
        letter = await store.redis.xadd(store.keys.dead, {"id": finish.id, "to": ALICE})
        assert await store.queue.replay(text(letter), finish.id)
        fields = {
            text(name): text(value)
            for name, value in (await store.redis.hgetall(store.keys.message(finish.id))).items()
        }
        assert await store.redis.pttl(store.keys.message(finish.id)) == -1
        assert await store.kept_ms(finish.id) < 0
    assert fields is not None
    lines = fields["history"].splitlines()
    assert lines[:2] == [f"{BORN + 5} sending 1", f"{BORN + 9} sent"]
    assert (fields["to"], fields["provider_id"], fields["from"]) == ("+12025550", UUID, "Acme")
    assert (fields["state"], fields["ref"]) in (("expired", "s"), ("queued", "r"))
    assert len(lines) == 3


async def test_a_scheduled_message_is_kept_by_the_time_in_its_id(store: Store, wall: Wall) -> None:
    request = Append.of(at(wall.ms + 1000), [ALICE, ALICE], wall.ms)
    ids = (await store.queue.append(request)).ids
    wall.advance(1)
    await store.queue.promote()
    for _ in ids:
        entry, attempt, message = await store.begin_next()
        assert await store.queue.ack(entry, attempt, message, "p")
    for id_ in ids:
        assert not await store.redis.exists(store.keys.message(id_))
        assert await store.kept_ms(id_) > 0
        found = await store.lookup.message(id_)
        assert found is not None
        assert (found["state"], found["to"], found["provider_id"]) == ("sent", ALICE, "p")
        history: list[dict[str, object]] = found["history"]  # type: ignore[assignment]
        states = [change["state"] for change in history]
        assert states == ["deferred", "queued", "sending", "sent"]
        assert await store.queue.cancel(id_) == "sent"


@pytest.mark.parametrize("id_", ["s1", "s" + "0" * 24, "1-1", "12345-0", f"0{BORN}-0", "x" * 28])
def test_an_id_that_says_no_time_has_no_place(id_: str) -> None:
    assert place_of(id_) is None


async def test_what_is_finished_is_known_to_all_who_ask(store: Store) -> None:
    entry, attempt, message = await store.sending()
    began = store.wall.ms
    await store.queue.ack(entry, attempt, message, UUID)
    assert await store.queue.cancel(message.id) == "sent"
    assert not await store.queue.ack(entry, attempt, message, UUID)
    until = began + round(SOON_S * 1000)
    assert await store.events.find_settled([UUID], began - 60_000, until) == {UUID: message.id}
    # Other hands left something of it where deferred messages wait.
    await store.redis.hset(store.keys.deferred_messages, message.id, "{")
    await store.redis.zadd(store.keys.deferred, {message.id: 0})
    await store.queue.promote()
    assert await store.state(message.id) == "sent"


async def test_a_hash_is_kept_for_as_long_as_the_last_that_came_into_it(store: Store) -> None:
    first, second = Finish(store, f"{BORN}-0"), Finish(store, f"{BORN}-128")
    await first(f"{BORN} sent", [])
    key = store.keys.finished(place_of(first.id).name)  # type: ignore[union-attr]
    await store.redis.pexpire(key, 1_000_000)
    await second(f"{BORN} sent", [])
    assert await store.kept_ms(first.id) > 86_300_000


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"\x00", b"\x09", b"\x01\x01", b"\x01\x01\x05a", b"\x01\x21\x01\x85"),
        *(b"\x01\xff\x01a", b"\x01\x20\x01a", b"\x01\x25\x01a", b"\x01\x26\x01\x05"),
        *(b"\x01\x24\x02ab", b"\x01\x21\x02\x00\x3f", b"of another make"),
    ],
)
async def test_what_other_hands_put_there_is_no_message(store: Store, value: bytes) -> None:
    finish = Finish(store, f"{BORN}-0")
    place = place_of(finish.id)
    assert place is not None
    await store.redis.hset(store.keys.finished(place.name), place.field, value)
    assert await store.lookup.message(finish.id) is None
    assert await store.queue.cancel(finish.id) == "unknown"
    await finish(f"{BORN} sent", ["to", ALICE])
    assert await store.state(finish.id) == "sent"


async def test_a_key_of_another_type_keeps_no_message_from_having_a_status(store: Store) -> None:
    finish = Finish(store, f"{BORN}-0")
    place = place_of(finish.id)
    assert place is not None
    await store.redis.set(store.keys.finished(place.name), "x")
    assert await store.lookup.message(finish.id) is None
    await finish(f"{BORN} sent", ["to", ALICE])
    assert await store.state(finish.id) == "sent"
    assert await store.redis.pttl(store.keys.message(finish.id)) > 0


def test_a_number_is_read_exactly() -> None:
    octets = b"\x01\x20\x08" + struct.pack(">d", 999_999_999_999_999)
    assert unpack(octets, 0) == {"state": "sent", "to": "+999999999999999"}


async def test_what_the_version_before_kept_is_still_known(store: Store) -> None:
    id_ = f"{BORN}-0"
    history = f"{BORN + 5} sending 1\n{BORN + 9} sent"
    fields = {"state": "sent", "to": ALICE, "provider_id": UUID, "history": history}
    await store.redis.hset(store.keys.message(id_), mapping=fields)
    found = await store.lookup.message(id_)
    assert found is not None
    assert (found["state"], found["to"], found["provider_id"]) == ("sent", ALICE, UUID)
    assert await store.queue.cancel(id_) == "sent"


async def test_fsck_removes_what_other_hands_put_at_such_a_key(store: Store) -> None:
    entry, attempt, message = await store.sending()
    await store.queue.ack(entry, attempt, message, "p")
    key = store.keys.finished("foreign")
    await store.redis.set(key, "x")
    for repair in (False, True):
        look = Fsck(store.client, repair=repair)
        [fault] = [fault async for fault in look.faults()]
        assert (fault.kind, fault.name, fault.mended) == ("key", key, repair)
    assert [fault async for fault in Fsck(store.client, repair=False).faults()] == []
    assert await store.state(message.id) == "sent"
