"""A model of the queue, held against the real one on a real server through anything at all.

Two daemons append, claim, begin, settle, promote, take over from each other, crash and recover;
people cancel, replay and drop; replies are lost and commands arrive twice. After every step each
text is in exactly one place, the one the model says, and the census misses none.
"""

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from smsd.store.append import Append
from smsd.store.handed_out import Fenced
from tests.property.queue_model import (
    Daemon,
    Hand,
    Place,
    Text,
    check_events,
    entries,
    in_order,
    perform,
)
from tests.redis.dispatching import recovery
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import Store, Ticks, Wall, at, content, dump, load_scripts, sha

# Tracing makes it much slower; tests/redis reaches the same lines.
pytestmark = pytest.mark.no_cover

T = TypeVar("T")
Rule = TypeVar("Rule", bound=Callable[..., Any])
PEOPLE = [f"+1202555010{n}" for n in range(4)]
INVALID = {"to": "nobody", "message": "Hi"}

_numbers = itertools.count(1)
who = st.integers(0, 1)
some = st.integers(0, 999)  # one of however many there are
FATES = ["ack", "defer", "bury", "in doubt", "opted out", "expire"]
fates = st.lists(st.sampled_from(FATES), max_size=4)
seldom = st.sampled_from([False] * 11 + [True])


def _if_any(place: str) -> Callable[[Rule], Rule]:
    """Only while there are texts in this place."""
    return precondition(lambda self: any(text.place == place for text in self.texts.values()))


def _if_in_hand(*, begun: bool) -> Callable[[Rule], Rule]:
    """Only while a daemon has something in memory."""
    return precondition(lambda self: any(daemon.hand(0, begun=begun) for daemon in self.daemons))


class QueueMachine(RuleBasedStateMachine):
    runner: ClassVar[asyncio.Runner]
    server: ClassVar[RedisServer]
    directory: ClassVar[Path]

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await operation

        return self.runner.run(bounded())

    # -- before and after -----------------------------------------------------------------------

    @initialize(texts=st.integers(2, 12))
    def start(self, texts: int) -> None:
        self.number = next(_numbers)
        self.incarnations = itertools.count(1)
        self.wall, self.ticks = Wall(), Ticks()
        self.texts: dict[str, Text] = {}
        self.delivered: set[str] = set()
        self.marks: dict[str, str] = {}
        self.answers: dict[int, list[str]] = {}
        self.optouts: set[str] = set()
        self.leader = 0
        self.repeatable: bytes | None = None
        self.run(self._start())
        self.append(0, texts, high=False, key=None, lossy=False)

    async def _start(self) -> None:
        self.proxy = await Proxy(self.server.socket, self.directory / f"p{self.number}").start()
        self.eye = self._store(self.server.url)
        await load_scripts(self.eye.redis)
        self.daemons = [Daemon(self._store(self.proxy.url)) for _ in range(2)]
        await self.daemons[0].store.lead()

    def _store(self, url: str) -> Store:
        owner = f"d{next(self.incarnations)}"
        return Store(url, f"m{self.number}:", owner=owner, wall=self.wall, ticks=self.ticks)

    def teardown(self) -> None:
        if hasattr(self, "daemons"):
            self.run(self._finish())

    async def _finish(self) -> None:
        try:
            await self._look_each_up()
            await self._deliver_all()
            check_events(await self.eye.redis.xrange(self.eye.keys.events))
        finally:
            for store in (self.eye, *(daemon.store for daemon in self.daemons)):
                await store.aclose()
            await self.proxy.stop()

    async def _look_each_up(self) -> None:
        for text in self.texts.values():
            told = await self.eye.lookup.message(text.id)
            assert told is not None, text
            expected = text.place if text.place != "queue" else "queued"
            assert told["state"] == ("sending" if text.name in self.marks else expected), text

    async def _deliver_all(self) -> None:
        """Both daemons die. A new one gets everything out, and nothing stays behind."""
        await self._crash(0)
        await self._crash(1)
        await self._take_over(0)
        self.wall.advance(400 * 86_400)
        daemon = self.daemons[0]
        while await self._promote(0, 100):
            await self.check()
        while await self._claim(0, 50, 50, lost=False):
            await self.check()
        for hand in list(daemon.hands.values()):
            if await self._begin(0, hand) == "begun":
                await self._settle(0, hand, "ack")
            await self.check()
        assert not any(text.place in ("queue", "deferred") for text in self.texts.values())
        assert await self.eye.unsettled.pending() == []

    # -- intake ---------------------------------------------------------------------------------

    @rule(
        by=who,
        size=st.integers(1, 4),
        high=st.booleans(),
        key=st.sampled_from([None, None, 1, 2]),
        lossy=seldom,
    )
    def append(self, by: int, size: int, high: bool, key: int | None, lossy: bool) -> None:
        priority = "high" if high else "normal"
        to = [PEOPLE[n % len(PEOPLE)] for n in range(size)]
        request = Append(content(priority=priority), to)
        if key is not None:
            request = Append(content(), PEOPLE[:2], (), f"k{key}", "f", b"{}")
            high = False
        self._lose("append", lossy)
        made = self.run(self.daemons[by].store.queue.append(request))
        if key in self.answers:
            assert made.answer == b"{}"
            assert made.ids == self.answers[key]
            return
        assert made.answer is None
        for id_ in made.ids:
            self._new(Text(id_, "queue", "h" if high else "n", high=high))
        if key is not None:
            self.answers[key] = made.ids
        self._done()

    @rule(by=who, size=st.integers(1, 3), high=st.booleans(), delay=st.integers(1, 5000))
    def schedule(self, by: int, size: int, high: bool, delay: int) -> None:
        ids = [f"s{len(self.texts) + n}" for n in range(size)]
        due = self.wall.ms + delay
        said = at(due, priority="high" if high else "normal")
        self.run(self.daemons[by].store.queue.append(Append(said, PEOPLE[:size], ids)))
        for id_ in ids:
            self._new(Text(id_, "deferred", due=due, high=high, deferred=True))
        self._done()

    @rule(high=st.booleans(), kind=st.sampled_from(["plain", "invalid", "later"]))
    def xadd(self, high: bool, kind: str) -> None:
        keys = self.eye.keys
        fields = INVALID if kind == "invalid" else {"to": PEOPLE[0], "message": "Hi"}
        text = Text("", "queue", "h" if high else "n", high=high, valid=kind != "invalid")
        if kind == "later":
            fields = fields | {"send_at": "2999-12-31T00:00:00Z"}
            text.valid = False  # it lies too far ahead
        raw = self.run(self.eye.redis.xadd(keys.high if high else keys.queue, fields))
        text.id = ("h" if high else "") + raw.decode()
        self._new(text)
        self.repeatable = None

    def _new(self, text: Text) -> None:
        assert text.id not in self.texts
        self.texts[text.id] = text

    # -- claim and begin ------------------------------------------------------------------------

    @precondition(lambda self: self._unread("h") or self._unread("n"))
    @rule(by=who, high_room=st.integers(0, 4), normal_room=st.integers(0, 4), lost=seldom)
    def claim(self, by: int, high_room: int, normal_room: int, lost: bool) -> None:
        self.run(self._claim(by, high_room, normal_room, lost=lost))
        self.repeatable = None  # a second claim would claim more

    async def _claim(self, by: int, high_room: int, normal_room: int, *, lost: bool) -> int:
        if by != self.leader:
            with pytest.raises(Fenced):
                await self.daemons[by].store.queue.claim(high_room, normal_room)
            return 0
        expected = self._unread("h")[:high_room] + self._unread("n")[:normal_room]
        entries = await self.daemons[by].store.queue.claim(high_room, normal_room)
        assert [entry.name for entry in entries] == expected
        self.delivered |= set(expected)
        if not lost:
            await self.daemons[by].store.claimer.admit(entries)
            await self._admitted(by, expected)
        return len(entries)

    def _unread(self, lane: str) -> list[str]:
        names = {
            text.name
            for text in self.texts.values()
            if text.place == "queue" and text.name[0] == lane
        }
        return sorted(names - self.delivered, key=in_order)

    async def _admitted(self, by: int, names: list[str]) -> None:
        daemon = self.daemons[by]
        for name in names:
            text = self._at(name)
            if text is not None and not text.valid:
                text.bury("invalid")
        prefetch = daemon.store.prefetch
        while len(prefetch):
            held = prefetch.take()
            daemon.hands[held.entry.name] = Hand(held.entry, held.message)

    def _at(self, name: str) -> Text | None:
        for text in self.texts.values():
            if text.place == "queue" and text.name == name:
                return text
        return None

    @_if_in_hand(begun=False)
    @rule(by=who, pick=some, lossy=seldom)
    def begin(self, by: int, pick: int, lossy: bool) -> None:
        by = self._somebody(by, begun=False)
        hand = self.daemons[by].hand(pick, begun=False)
        if hand is not None:
            self._lose("begin", lossy)
            self.run(self._begin(by, hand))
            self._done()

    async def _begin(self, by: int, hand: Hand) -> str:
        daemon, name = self.daemons[by], hand.entry.name
        self.wall.advance(0.001)
        attempt = daemon.store.attempt(hand.message.attempts + 1)
        begun = await daemon.store.begin(hand.entry, attempt, hand.message.recipient)
        assert begun == self._may_begin(by, hand)
        if begun == "begun":
            hand.attempt, self.marks[name] = attempt, attempt.mark
            return begun
        if begun == "suppressed":
            assert await daemon.store.queue.suppress(hand.entry, hand.message)
            self.texts[hand.message.id].place = "suppressed"
        daemon.forget(name)
        return begun

    def _may_begin(self, by: int, hand: Hand) -> str:
        if by != self.leader:
            return "fenced"
        if hand.entry.name in self.marks:
            return "marked"
        if self._at(hand.entry.name) is None:
            return "gone"
        return "suppressed" if hand.message.recipient in self.optouts else "begun"

    # -- settlements ----------------------------------------------------------------------------

    @_if_in_hand(begun=True)
    @rule(
        by=who,
        pick=some,
        how=st.sampled_from(FATES),
        lossy=seldom,
    )
    def settle(self, by: int, pick: int, how: str, lossy: bool) -> None:
        by = self._somebody(by, begun=True)
        hand = self.daemons[by].hand(pick, begun=True)
        if hand is not None:
            self._lose(
                {"ack": "finish", "expire": "finish", "defer": "defer"}.get(how, "bury"), lossy
            )
            self.run(self._settle(by, hand, how, lossy=lossy))
            self._done()

    @_if_in_hand(begun=True)
    @rule(by=who, pick=some)
    def release(self, by: int, pick: int) -> None:
        by = self._somebody(by, begun=True)
        hand = self.daemons[by].hand(pick, begun=True)
        if hand is not None and hand.attempt is not None:
            name = hand.entry.name
            self.run(self.daemons[by].store.queue.release(name, hand.attempt))
            self._unmark(name, hand.attempt.mark)
            hand.attempt = None
            self._done()

    @_if_in_hand(begun=False)
    @rule(by=who, pick=some)
    def expire_unsent(self, by: int, pick: int) -> None:
        by = self._somebody(by, begun=False)
        hand = self.daemons[by].hand(pick, begun=False)
        if hand is not None:
            self.run(self._settle(by, hand, "expire"))
            self._done()

    async def _settle(self, by: int, hand: Hand, how: str, *, lossy: bool = False) -> None:
        daemon, name = self.daemons[by], hand.entry.name
        mark = hand.attempt.mark if hand.attempt else ""
        due = self.wall.ms + 1000
        settled = await perform(daemon.store, hand, how, due)
        expected = self._settles(hand, mark, how)
        assert settled == expected or (lossy and not settled)
        self._unmark(name, mark)
        if expected:
            self._apply(self.texts[hand.message.id], how, due)
        if how == "opted out":  # a fact about the number, whatever became of the message
            self.optouts.add(hand.message.recipient)
        daemon.forget(name)

    def _settles(self, hand: Hand, mark: str, how: str) -> bool:
        found = self.marks.get(hand.entry.name, "")
        if found not in ("", mark) and how != "ack":
            return False
        text = self.texts[hand.message.id]
        in_doubt = text.place == "dead" and text.reason == "in_doubt"
        again = text.is_queued_again(hand) and self.marks.get(text.name, mark) == mark
        taken_back = in_doubt or text.place == "deferred" or again
        return self._at(hand.entry.name) is not None or (how == "ack" and taken_back)

    def _unmark(self, name: str, mark: str) -> None:
        if self.marks.get(name) == mark:
            del self.marks[name]

    @staticmethod
    def _apply(text: Text, how: str, due: int) -> None:
        match how:
            case "ack":
                text.place = "sent"
            case "expire":
                text.place = "expired"
            case "defer":
                text.defer(due, tried=True)
            case "in doubt":
                text.bury("in_doubt")
            case _:
                text.bury("rejected")

    # -- several steps at once, as a daemon takes them -------------------------------------------

    @precondition(lambda self: self.leader >= 0)
    @rule(high_room=st.integers(0, 3), normal_room=st.integers(1, 3), fates=fates)
    def lead(self, high_room: int, normal_room: int, fates: list[str]) -> None:
        """The leader claims, begins what it has, and settles as much as there are fates."""
        self.run(self._lead(high_room, normal_room, fates))
        self.repeatable = None

    async def _lead(self, high_room: int, normal_room: int, fates: list[str]) -> None:
        await self._claim(self.leader, high_room, normal_room, lost=False)
        for hand in list(self.daemons[self.leader].hands.values()):
            if hand.attempt is None:
                await self._begin(self.leader, hand)
        await self._settle_all(self.leader, fates)

    async def _settle_all(self, by: int, fates: list[str]) -> None:
        begun = [hand for hand in self.daemons[by].hands.values() if hand.attempt is not None]
        for hand, how in zip(begun, fates, strict=False):
            await self._settle(by, hand, how)

    @precondition(lambda self: self.leader >= 0)
    @_if_in_hand(begun=True)
    @rule(fates=fates)
    def usurp(self, fates: list[str]) -> None:
        """The leader hangs, the other takes over, and the former then hears from its provider."""
        stale = self.leader
        self.run(self._take_over(1 - stale))
        self.run(self.check())
        self.run(self._settle_all(stale, fates))
        self.repeatable = None

    # -- deferred texts, and what people ask for ------------------------------------------------

    @_if_any("deferred")
    @rule(by=who, most=st.integers(1, 4), seconds=st.floats(0, 3), lossy=seldom)
    def promote(self, by: int, most: int, seconds: float, lossy: bool) -> None:
        self.wall.advance(seconds)
        self._lose("promote", lossy)
        self.run(self._promote(by, most, lossy=lossy))
        self._done()

    async def _promote(self, by: int, most: int, *, lossy: bool = False) -> int:
        waiting = sorted(
            (text.due, text.id)
            for text in self.texts.values()
            if text.place == "deferred" and text.due <= self.wall.ms
        )[:most]
        promoted = await self.daemons[by].store.queue.promote(most)
        assert promoted == len(waiting) or (lossy and promoted == 0)
        for _, id_ in waiting:
            text = self.texts[id_]
            text.queued("h" if text.high or text.tried else "n")
        return len(waiting)

    @precondition(lambda self: self.texts)
    @rule(by=who, pick=some)
    def cancel(self, by: int, pick: int) -> None:
        text = self._pick(pick)
        if text is None:
            return
        said = self.run(self.daemons[by].store.queue.cancel(text.id))
        if text.place == "queue" and text.name in self.marks:
            assert said == "sending"
        elif text.place in ("queue", "deferred"):
            assert said == "cancelled"
            text.place = "cancelled"
        else:
            assert said == text.place
        self._done()

    @_if_any("dead")
    @rule(by=who, pick=some)
    def replay(self, by: int, pick: int) -> None:
        text = self._pick(pick, "dead")
        if text is not None:
            assert self.run(self.daemons[by].store.queue.replay(text.letter, text.id))
            lane = "n" if text.deferred and not text.high else text.lane
            text.queued(lane)
            text.tried = False
            self._done()

    @_if_any("dead")
    @rule(by=who, pick=some)
    def drop(self, by: int, pick: int) -> None:
        text = self._pick(pick, "dead")
        if text is not None:
            assert self.run(self.daemons[by].store.queue.drop(text.letter, text.id))
            text.place = "dropped"
            self._done()

    def _pick(self, pick: int, place: str = "") -> Text | None:
        ids = sorted(text.id for text in self.texts.values() if place in ("", text.place))
        return self.texts[ids[pick % len(ids)]] if ids else None

    # -- death and succession -------------------------------------------------------------------

    @precondition(lambda self: self.leader < 0 or self.delivered)
    @rule(by=who)
    def take_over(self, by: int) -> None:
        """Take the lease, whoever has it, and recover; for the leader: recover while running."""
        self.run(self._take_over(by))
        self.repeatable = None

    async def _take_over(self, by: int) -> None:
        daemon = self.daemons[by]
        if by != self.leader:
            await daemon.store.lead()
            self.leader = by
        lost = [name for name in self.marks if not daemon.store.prefetch.knows(name)]
        for name in lost:
            if (text := self._at(name)) is not None:
                text.bury("in_doubt")
            del self.marks[name]
        known = daemon.store.prefetch.knows
        orphans = [
            text.name
            for text in self.texts.values()
            if text.place == "queue" and text.name in self.delivered and not known(text.name)
        ]
        await recovery(daemon.store).recover()
        await self._admitted(by, orphans)

    @precondition(lambda self: self.leader >= 0)
    @_if_in_hand(begun=True)
    @rule(by=who)
    def crash(self, by: int) -> None:
        self.run(self._crash(by))
        self.repeatable = None

    async def _crash(self, by: int) -> None:
        await self.daemons[by].store.aclose()
        self.daemons[by] = Daemon(self._store(self.proxy.url))
        if by == self.leader:
            self.leader = -1  # until somebody takes over

    # -- the wire -------------------------------------------------------------------------------

    def _somebody(self, by: int, *, begun: bool) -> int:
        """The one named, or the other if only that has something in hand."""
        return by if self.daemons[by].hand(0, begun=begun) else 1 - by

    def _lose(self, script: str, lossy: bool) -> None:
        if lossy:
            self.proxy.lose_reply(sha(script))

    def _done(self) -> None:
        self.repeatable = self.proxy.commands[-1]
        del self.proxy.commands[:-1]

    @precondition(lambda self: self.repeatable is not None)
    @rule()
    def repeat(self) -> None:
        """The last command arrives once more."""
        assert self.repeatable is not None
        self.run(self._repeat(self.repeatable))

    async def _repeat(self, command: bytes) -> None:
        prefix = self.eye.keys.prefix
        before = await dump(self.eye.redis, prefix)
        assert not (await self.proxy.repeat(command)).startswith(b"-")
        assert await dump(self.eye.redis, prefix) == before

    # -- what holds at all times ----------------------------------------------------------------

    @invariant()
    def every_text_is_where_the_model_says(self) -> None:
        if hasattr(self, "daemons"):
            self.run(self.check())

    async def check(self) -> None:
        self.proxy.lose_nothing()
        keys = self.eye.keys
        async with self.eye.redis.pipeline() as pipeline:
            pipeline.xrange(keys.high).xrange(keys.queue).zrange(
                keys.deferred, 0, -1, withscores=True
            )
            pipeline.hkeys(keys.deferred_messages).xrange(keys.dead).hgetall(keys.inflight)
            high, normal, deferred, packed, dead, in_flight = await pipeline.execute()
        queue = entries("h", high) | entries("n", normal)
        assert len(queue) == len(high) + len(normal)
        self._compare_queue(queue)
        assert {id_.decode(): int(due) for id_, due in deferred} == {
            text.id: text.due for text in self._in("deferred")
        }
        assert {id_.decode() for id_ in packed} == {text.id for text in self._in("deferred")}
        self._compare_dead({fields[b"id"].decode(): (id_, fields) for id_, fields in dead})
        assert {name.decode(): mark.decode() for name, mark in in_flight.items()} == self.marks
        census = await self.eye.census()
        assert census.difference == 0
        assert census.accepted == len(self.texts)

    def _in(self, place: Place) -> Iterator[Text]:
        return (text for text in self.texts.values() if text.place == place)

    def _compare_queue(self, queue: dict[str, str]) -> None:
        assert set(queue) == {text.id for text in self._in("queue")}
        for text in self._in("queue"):
            assert queue[text.id][0] == text.lane, text
            assert text.name in ("", queue[text.id]), text
            text.name = queue[text.id]

    def _compare_dead(self, letters: dict[str, tuple[bytes, dict[bytes, bytes]]]) -> None:
        assert set(letters) == {text.id for text in self._in("dead")}, (letters, self.texts)
        for text in self._in("dead"):
            letter, fields = letters[text.id]
            assert fields[b"reason"].decode() == text.reason, text
            assert text.letter in ("", letter.decode()), text
            text.letter = letter.decode()


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[QueueMachine]]:
    directory = tmp_path_factory.mktemp("q")
    server = RedisServer(directory / "r").start()
    with asyncio.Runner() as runner:
        QueueMachine.server, QueueMachine.directory = server, directory
        QueueMachine.runner = runner
        yield QueueMachine
    server.stop()


@pytest.mark.timeout(240)  # a failure is first made small
def test_the_queue_does_what_its_model_does(machine: type[QueueMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize="CI" in os.environ,
        ),
    )
