"""The scripts and the table of transitions. Rule: they make those that it has, and no other.

Every event is tried in every state, by each script that makes it.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import NamedTuple

import pytest

from smsd.core.life import EFFECTS, SETTLED_AGAIN, TRANSITIONS, DeadReason, Event, State
from smsd.core.message import Message
from smsd.redis.client import text
from smsd.redis.scripts import Call
from smsd.store.append import Append
from smsd.store.entry import LAST_ID, Attempt, Entry
from smsd.store.examine import renew, set_aside
from tests.redis.calls import Watched
from tests.support.store import ALICE, Store, at

ID, FOREVER_S = "s1", 3600.0


class Life(NamedTuple):
    """A message that was scheduled and promoted, and claimed as this entry."""

    store: Store
    state: State
    entry: Entry
    attempt: Attempt
    message: Message
    dead_letter: str = "1-1"

    @property
    def begun(self) -> Attempt | None:
        """The attempt, if it has been begun and not ended."""
        return self.attempt if self.state is State.SENDING else None

    @property
    def status(self) -> str:
        """The key of its status."""
        return self.store.keys.message(ID)


# -- each state ---------------------------------------------------------------------------------


async def _in_state(store: Store, state: State) -> Life:
    await store.schedule(1, ID)
    store.wall.advance(2)
    await store.queue.promote()
    entry, message = await store.claim_one()
    life = Life(store, State.QUEUED, entry, store.attempt(), message)
    for event in WAY_TO[state]:
        await WAYS[event][0].make(life)
        life = life._replace(state=TRANSITIONS[life.state][event])
        for dead_letter in await store.dead_letters.page("", 10):
            life = life._replace(dead_letter=dead_letter.id)
    assert await store.state(ID) == life.state == state
    return life


WAY_TO: dict[State, tuple[Event, ...]] = {
    State.QUEUED: (),
    State.SENDING: (Event.BEGIN,),
    State.DEFERRED: (Event.BEGIN, Event.DEFER),
    State.DEAD: (Event.BEGIN, Event.BURY),
    State.SENT: (Event.BEGIN, Event.ACK),
    State.EXPIRED: (Event.BEGIN, Event.EXPIRE),
    State.SUPPRESSED: (Event.SUPPRESS,),
    State.CANCELLED: (Event.CANCEL,),
    State.DUPLICATE: (Event.REPEAT,),
    State.DROPPED: (Event.BURY, Event.DROP),
    State.LOST: (Event.DEFER, Event.LOSE),
}


# -- each event, by each script -----------------------------------------------------------------


async def _begin(life: Life) -> None:
    await life.store.begin(life.entry, life.attempt, ALICE)


async def _mark_again(life: Life) -> None:
    record = [[life.entry.name], life.attempt.mark, ID]
    await life.store.client.ask(Call("mark_again", {"records": [record]}, [life.status]))


async def _set_aside(life: Life) -> None:
    inflight = life.store.keys.inflight
    await life.store.redis.delete(inflight)
    await life.store.redis.set(inflight, "of another make")
    assert await set_aside(life.store.client, inflight)


async def _release(life: Life) -> None:
    await life.store.queue.release(life.entry.name, life.attempt)


async def _ack(life: Life) -> None:
    await life.store.queue.ack(life.entry, life.attempt, life.message, "p")


async def _expire(life: Life) -> None:
    await life.store.queue.expire(life.entry, life.begun, life.message)


async def _suppress(life: Life) -> None:
    await life.store.queue.suppress(life.entry, life.message)


async def _defer(life: Life) -> None:
    until = life.store.wall() + 1000
    await life.store.queue.defer(
        life.entry, life.begun, life.message, until=until, attempts=1, why="w"
    )


async def _bury(life: Life) -> None:
    await life.store.queue.bury(life.entry, life.begun, life.message, reason=DeadReason.IN_DOUBT)


async def _spoil(life: Life) -> None:
    """What waits cannot be read any more."""
    messages = life.store.keys.deferred_messages
    if await life.store.redis.hexists(messages, ID):
        await life.store.redis.hset(messages, ID, b"\xff{")


async def _promote_unreadable(life: Life) -> None:
    await _spoil(life)
    await _promote(life)


async def _find_unreadable(life: Life) -> None:
    await _spoil(life)
    await _fsck(life, "fsck_deferred")


async def _promote(life: Life) -> None:
    life.store.wall.advance(FOREVER_S)
    await life.store.queue.promote()


async def _cancel(life: Life) -> None:
    await life.store.queue.cancel(ID)


async def _take_back(life: Life) -> None:
    await life.store.queue.take_back(life.entry, life.message)


async def _cancel_with_campaign(life: Life) -> None:
    await _end_with_campaign(life, {"state": "cancelled"})


async def _expire_with_campaign(life: Life) -> None:
    await _end_with_campaign(life, {"state": "paused", "expires_at": life.store.wall()})


async def _end_with_campaign(life: Life, record: dict[str, str | int]) -> None:
    """It was held since its campaign was paused."""
    keys = life.store.keys
    await life.store.redis.hset(keys.campaign("c1"), mapping={"key": "1 2", **record})
    if await life.store.redis.zscore(keys.deferred, ID):
        await life.store.redis.zadd(keys.deferred, {ID: "inf"})
    request = {"campaign": "c1", "ids": [ID]}
    places = [keys.campaign_held("c1"), life.status]
    await life.store.client.ask(Call("campaign_release", request, places))


async def _repeat(life: Life) -> None:
    """An earlier message has the same key and says the same."""
    digest = hashlib.sha256(b"entry:k").hexdigest()
    first = {"id": "other", "fingerprint": life.entry.fingerprint}
    await life.store.redis.hset(life.store.keys.idempotency(digest), mapping=first)
    await life.store.queue.take_keys([(life.entry, life.message._replace(key="k"))])


async def _replay(life: Life) -> None:
    await life.store.queue.replay(life.dead_letter, ID)


async def _drop(life: Life) -> None:
    await life.store.queue.drop(life.dead_letter, ID)


async def _lose_message(life: Life) -> None:
    await life.store.redis.hdel(life.store.keys.deferred_messages, ID)
    await _fsck(life, "fsck_deferred")


async def _lose_place(life: Life) -> None:
    keys = life.store.keys
    await life.store.redis.delete(
        keys.queue, keys.high, keys.deferred, keys.deferred_messages, keys.dead
    )
    await _fsck(life, "fsck_statuses")


async def _fsck(life: Life, script: str) -> None:
    await life.store.client.ask(Call(script, {"ids": [ID], "repair": True}, [life.status]))


Make = Callable[[Life], Awaitable[None]]


class Way(NamedTuple):
    """How a script makes an event."""

    script: str
    make: Make


WAYS: dict[Event, list[Way]] = {
    Event.BEGIN: [
        Way("begin", _begin),
        Way("mark_again", _mark_again),
        Way("fsck_set_aside", _set_aside),
    ],
    Event.RELEASE: [Way("release", _release)],
    Event.ACK: [Way("finish", _ack)],
    Event.EXPIRE: [Way("finish", _expire), Way("campaign_release", _expire_with_campaign)],
    Event.SUPPRESS: [Way("finish", _suppress)],
    Event.DEFER: [Way("defer", _defer)],
    Event.BURY: [Way("bury", _bury)],
    Event.BURY_DEFERRED: [
        Way("promote", _promote_unreadable),
        Way("mark_again", _mark_again),
        Way("fsck_deferred", _find_unreadable),
    ],
    Event.PROMOTE: [Way("promote", _promote)],
    Event.CANCEL: [
        Way("cancel", _cancel),
        Way("finish", _take_back),
        Way("campaign_release", _cancel_with_campaign),
    ],
    Event.REPEAT: [Way("take_key", _repeat)],
    Event.REPLAY: [Way("replay", _replay)],
    Event.DROP: [Way("drop", _drop)],
    Event.LOSE: [Way("fsck_deferred", _lose_message), Way("fsck_statuses", _lose_place)],
}
BY_ANOTHER_TEST = {Event.APPEND, Event.SCHEDULE, Event.MOVE}
# A script decides by what it finds which event it makes.
TOGETHER: dict[Make, set[Event]] = {_mark_again: {Event.BEGIN, Event.BURY_DEFERRED}}
# Some make it in these states alone, and others in the rest.
ONLY_IN: dict[Make, set[State]] = {
    _lose_message: {State.DEFERRED},
    _expire: {State.QUEUED, State.SENDING},
    _expire_with_campaign: {State.DEFERRED},
    _take_back: {State.QUEUED},
    _cancel_with_campaign: {State.DEFERRED},
}


def _after(state: State, event: Event, way: Way) -> tuple[Event, State]:
    """Which event it is in that state, and the state after it."""
    if state in ONLY_IN.get(way.make, {state}):
        for one in sorted(TOGETHER.get(way.make, {event})):
            if one in TRANSITIONS.get(state, {}):
                return one, TRANSITIONS[state][one]
    return event, state


def test_every_event_is_tried_by_every_script_that_makes_it() -> None:
    assert set(WAYS) == set(Event) - BY_ANOTHER_TEST
    for event, ways in WAYS.items():
        assert tuple(way.script for way in ways) == EFFECTS[event].scripts


@pytest.mark.parametrize(
    ("state", "event", "way"),
    [(state, event, way) for state in State for event, ways in WAYS.items() for way in ways],
    ids=lambda one: one.script if isinstance(one, Way) else str(one),
)
async def test_an_event_changes_the_state_as_the_table_has_it(
    store: Store, watched: Watched, state: State, event: Event, way: Way
) -> None:
    life = await _in_state(store, state)
    counters, events = await _counters(store), await store.redis.xlen(store.keys.events)
    watched.calls.clear()
    await way.make(life)
    assert way.script in {call.script for call in watched.calls} or way.script == "promote"
    event, after = _after(state, event, way)
    assert await store.state(ID) == after
    moved = {
        name: count - counters.get(name, 0)
        for name, count in (await _counters(store)).items()
        if count != counters.get(name, 0)
    }
    counter = EFFECTS[event].counter
    changed = after != state
    assert moved == ({counter: 1} if changed and counter else {})
    if State.SENDING not in (after, state) or after is not State.QUEUED:
        [*_, last] = await store.redis.xrange(store.keys.events)
        recorded = after if after is not State.SENDING else State.QUEUED
        assert (text(last[1][b"id"]), text(last[1][b"state"])) == (ID, recorded)
    assert changed or await store.redis.xlen(store.keys.events) == events


async def _counters(store: Store) -> dict[str, int]:
    found = await store.redis.hgetall(store.keys.counters)
    return {text(name): int(count) for name, count in found.items()}


@pytest.mark.parametrize(
    ("state", "event"),
    [(state, event) for state, row in SETTLED_AGAIN.items() for event in row],
)
async def test_a_settlement_is_made_again_as_the_table_has_it(
    store: Store, watched: Watched, state: State, event: Event
) -> None:
    life = await _in_state(store, state)
    if state is State.DEAD:  # of another reason than that it is in doubt
        await store.redis.hset(life.status, "reason", "rejected")
    await WAYS[event][0].make(life)
    assert await store.state(ID) == state
    first = watched.calls[-1]
    store.wall.advance(1)
    request = {**first.request, "again": True, "line": f"{store.wall()} again"}
    assert await store.client.ask(first._replace(request=request)) == b"settled"
    assert await store.state(ID) == SETTLED_AGAIN[state][event]


@pytest.mark.parametrize("recipients", [1, 1001])
@pytest.mark.parametrize("event", [Event.APPEND, Event.SCHEDULE])
async def test_a_message_is_taken_in_as_the_table_has_it(
    store: Store, watched: Watched, event: Event, recipients: int
) -> None:
    to = [ALICE] * recipients
    due_ms = store.wall() + (5000 if event is Event.SCHEDULE else 0)
    appended = await store.queue.append(Append.of(at(due_ms), to, store.wall()))
    assert await store.state(appended.ids[-1]) == TRANSITIONS[None][event]
    counter = EFFECTS[event].counter
    assert await _counters(store) == ({counter: recipients} if counter else {})
    script = EFFECTS[event].scripts[recipients > 1]
    assert script in {call.script for call in watched.calls}


async def test_an_entry_is_moved_as_the_table_has_it(store: Store) -> None:
    fields = {"to": ALICE, "message": "Hi"}
    id_ = text(await store.redis.xadd(store.keys.queue, fields, id=LAST_ID))
    assert await store.state(id_) == State.QUEUED
    assert await renew(store.client, store.keys.queue, most=10) == "renewed"
    assert await store.state(id_) == TRANSITIONS[State.QUEUED][Event.MOVE]
    found = await store.lookup.message(id_)
    assert found is not None
    assert [change["detail"] for change in found["history"][1:]] == ["moved"]  # type: ignore[index]
