"""Campaigns through anything at all, on a real server: what holds whatever comes after what.

Recipients are expanded, and their messages claimed, begun, settled, held and promoted; people
pause, resume and cancel, replay and drop; replies are lost, scripts run again at any later time,
and the daemon dies. After every step the counts are those of the recipients, each recipient has at
most one message and it is where their state says, and no message is sent twice.
"""

import asyncio
import itertools
import os
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from smsd.core.campaign import Campaign, message_id
from smsd.core.life import DeadReason
from smsd.core.message import Message
from smsd.redis.client import text
from smsd.redis.errors import Away
from smsd.store.campaigns import WrongState
from smsd.store.entry import Attempt, Entry
from tests.redis.dispatching import recovery
from tests.redis.recipients import assert_counts_are_true, expand, make, numbers, results
from tests.support.proxy import Proxy
from tests.support.redis_server import RedisServer
from tests.support.store import Store, Ticks, Wall, load_scripts, sha

# Tracing makes it much slower; tests/redis reaches the same lines.
pytestmark = pytest.mark.no_cover

T = TypeVar("T")
FATES = ["ack", "ack", "ack", "defer", "rejected", "in doubt", "expire"]
REPEATABLE = (
    *("finish", "defer", "bury", "release", "promote", "cancel", "replay", "drop"),
    *("campaign_expand", "campaign_waiting", "campaign_release", "campaign_unsettled"),
    "campaign_tidy",
)
ENDED = {"finished", "needs_attention", "cancelled"}
LATER_S = 100 * 86_400.0

_numbers = itertools.count(1)
some = st.integers(0, 999)
seldom = st.sampled_from([False] * 7 + [True])


class CampaignMachine(RuleBasedStateMachine):
    runner: ClassVar[asyncio.Runner]
    server: ClassVar[RedisServer]
    directory: ClassVar[Path]

    def run(self, operation: Coroutine[Any, Any, T]) -> T:
        async def bounded() -> T:
            async with asyncio.timeout(20):
                return await operation

        return self.runner.run(bounded())

    # -- before and after -----------------------------------------------------------------------

    @initialize(recipients=st.integers(1, 9), expires_s=st.sampled_from([None, None, 5.0]))
    def start(self, recipients: int, expires_s: float | None) -> None:
        self.number = next(_numbers)
        self.owners = itertools.count(1)
        self.wall, self.ticks = Wall(), Ticks()
        self.sent: Counter[str] = Counter()
        self.begun: list[tuple[Entry, Attempt, Message]] = []
        self.run(self._start(recipients, expires_s))

    async def _start(self, recipients: int, expires_s: float | None) -> None:
        self.proxy = await Proxy(self.server.socket, self.directory / f"c{self.number}").start()
        self.eye = self._store(self.server.url)
        await load_scripts(self.eye.redis)
        self.store = await self._store(self.proxy.url).lead()
        self.people = numbers(recipients)
        expires = None if expires_s is None else self.wall.ms + round(expires_s * 1000)
        self.campaign: Campaign = await make(self.store, self.people, expires_at=expires)
        key, id_ = self.campaign.key, self.campaign.id
        self.ids = {message_id(id_, key, one): one for one in self.people}

    def _store(self, url: str) -> Store:
        owner = f"d{next(self.owners)}"
        return Store(url, f"cm{self.number}:", owner=owner, wall=self.wall, ticks=self.ticks)

    def teardown(self) -> None:
        if hasattr(self, "campaign"):
            self.run(self._end())

    async def _end(self) -> None:
        try:
            self.proxy.lose_nothing()
            await self._bring_to_its_end()
        finally:
            await self.store.aclose()
            await self.eye.aclose()
            await self.proxy.stop()

    # -- messages -------------------------------------------------------------------------------

    @rule(most=st.integers(1, 4), lossy=seldom)
    def expand(self, most: int, lossy: bool) -> None:
        self._lose("campaign_expand", lossy)
        self.run(self._expand(most))

    async def _expand(self, most: int) -> bool:
        with suppress(Away):
            found = await self.store.campaigns.waiting(self.campaign, most)
            await expand(self.store, self.campaign, *(one.number for one in found))
            return bool(found)
        return True

    @rule(pick=some)
    def expand_again(self, pick: int) -> None:
        """Somebody whose message was made, or may be."""
        self.run(expand(self.store, self.campaign, self.people[pick % len(self.people)]))

    @rule(room=st.integers(1, 4), lossy=seldom)
    def claim_and_begin(self, room: int, lossy: bool) -> None:
        self._lose("begin", lossy)
        self.run(self._claim_and_begin(room))

    async def _claim_and_begin(self, room: int) -> int:
        entries = await self.store.queue.claim(room, room)
        await self.store.claimer.admit(entries)
        await self._begin_all()
        return len(entries)

    async def _begin_all(self) -> None:
        prefetch = self.store.prefetch
        while len(prefetch):
            one = prefetch.take()
            await self._begin(one.entry, one.message)

    async def _begin(self, entry: Entry, message: Message) -> None:
        self.wall.advance(0.001)
        attempt = self.store.attempt(message.attempts + 1)
        state = (await self._shown()).state
        begun = await self.store.begin(entry, attempt, message.recipient)
        if begun == "begun":
            assert state not in ("paused", "cancelled")
            self.begun.append((entry, attempt, message))
            return
        if begun == "paused":
            assert await self.store.queue.hold(entry, message)
        elif begun == "cancelled":
            assert await self.store.queue.take_back(entry, message)
        self.store.prefetch.forget(entry.name)

    # (No precondition: who is begun hangs on the campaign's random key; what is drawn must not.)
    @rule(pick=some, fate=st.sampled_from(FATES), lossy=seldom)
    def settle(self, pick: int, fate: str, lossy: bool) -> None:
        if not self.begun:
            return
        scripts = {"ack": "finish", "expire": "finish", "defer": "defer"}
        self._lose(scripts.get(fate, "bury"), lossy)
        self.run(self._settle(self.begun.pop(pick % len(self.begun)), fate))

    async def _settle(self, sending: tuple[Entry, Attempt, Message], fate: str) -> None:
        entry, attempt, message = sending
        queue = self.store.queue
        match fate:
            case "ack":
                self.sent[message.recipient] += 1
                await queue.ack(entry, attempt, message, "SM" + "ab" * 16)
            case "expire":
                await queue.expire(entry, attempt, message)
            case "defer":
                until = self.wall.ms + 1000
                await queue.defer(entry, attempt, message, until=until, attempts=1, why="w")
            case _:
                reason = DeadReason.IN_DOUBT if fate == "in doubt" else DeadReason.REJECTED
                await queue.bury(entry, attempt, message, reason=reason)
        self.store.prefetch.forget(entry.name)

    @rule(seconds=st.floats(0, 3), lossy=seldom)
    def promote(self, seconds: float, lossy: bool) -> None:
        self.wall.advance(seconds)
        self._lose("promote", lossy)
        self.run(self.store.queue.promote())

    @rule(pick=some)
    def cancel_message(self, pick: int) -> None:
        self.run(self.store.queue.cancel(list(self.ids)[pick % len(self.ids)]))

    @rule(pick=some, drop=st.booleans(), lossy=seldom)
    def decide_about_dead_letter(self, pick: int, drop: bool, lossy: bool) -> None:
        self._lose("drop" if drop else "replay", lossy)
        self.run(self._decide(pick, drop=drop))

    async def _decide(self, pick: int, *, drop: bool) -> None:
        letters = await self.eye.dead_letters.page("", 100)
        if letters:
            letter = letters[pick % len(letters)]
            decide = self.store.queue.drop if drop else self.store.queue.replay
            with suppress(Away):
                await decide(letter.id, str(letter.fields["id"]))

    # -- the campaign ---------------------------------------------------------------------------

    @rule(verb=st.sampled_from(["pause", "pause", "resume", "resume", "resume", "cancel"]))
    def turn(self, verb: str) -> None:
        self.run(self._turn(verb))

    async def _turn(self, verb: str) -> None:
        with suppress(WrongState):
            await getattr(self.store.campaigns, verb)(self.campaign, by="me", reason="why")

    @rule(most=st.integers(1, 4))
    def pause_what_is_in_line(self, most: int) -> None:
        """What has just been expanded is held when its turn comes."""
        self.run(self._pause_what_is_in_line(most))

    async def _pause_what_is_in_line(self, most: int) -> None:
        await self._expand(most)
        await self._turn("pause")
        await self._claim_and_begin(most)

    @rule(script=st.sampled_from(REPEATABLE[-4:]), lossy=seldom)
    def tidy(self, script: str, lossy: bool) -> None:
        self._lose(script, lossy)
        self.run(self._tidy())

    async def _tidy(self) -> None:
        with suppress(Away):
            while await self.store.campaigns.tidy(await self._shown()):
                await self.check()

    async def _shown(self) -> Campaign:
        shown = await self.eye.campaigns.show(self.campaign.id)
        assert shown is not None
        return shown

    # -- deaths and repetitions -----------------------------------------------------------------

    @rule()
    def crash(self) -> None:
        self.run(self._crash())

    async def _crash(self) -> None:
        await self.store.aclose()
        self.begun.clear()
        self.store = await self._store(self.proxy.url).lead()
        await recovery(self.store).recover()
        await self._begin_all()

    @rule(pick=some)
    def repeat(self, pick: int) -> None:
        """Some command of before arrives once more."""
        shas = [sha(script) for script in REPEATABLE]
        before = [one for one in self.proxy.commands[-40:] if any(name in one for name in shas)]
        if before:
            self.run(self.proxy.repeat(before[pick % len(before)]))

    def _lose(self, script: str, lossy: bool) -> None:
        if lossy:
            self.proxy.lose_reply(sha(script))

    # -- what holds at all times ----------------------------------------------------------------

    @invariant()
    def all_is_sound(self) -> None:
        if hasattr(self, "campaign"):
            self.run(self.check())

    async def check(self) -> None:
        self.proxy.lose_nothing()
        assert max(self.sent.values(), default=0) <= 1
        await assert_counts_are_true(self.eye, self.campaign)
        assert (await self.eye.census()).difference == 0
        places = await self._places()
        assert max(Counter(id_ for id_, _ in places).values(), default=0) <= 1, places
        expected = await self._expected_places()
        assert dict(places) == expected
        shown = await self._shown()
        assert shown.counts.recipients == len(self.people)
        assert shown.counts.sent == sum(self.sent.values())

    async def _places(self) -> list[tuple[str, str]]:
        """Each message that is somewhere, and the state that a recipient has for it."""
        keys, redis = self.eye.keys, self.eye.redis
        entries = [*await redis.xrange(keys.high), *await redis.xrange(keys.queue)]
        found = [(text(fields[b"id"]), "queued") for _, fields in entries]
        for id_, due in await redis.zrange(keys.deferred, 0, -1, withscores=True):
            found.append((text(id_), "held" if due == float("inf") else "deferred"))
        letters = await redis.xrange(keys.dead)
        return found + [(text(fields[b"id"]), "dead") for _, fields in letters]

    async def _expected_places(self) -> dict[str, str]:
        by_number = await results(self.eye, self.campaign)
        states = {id_: by_number[number].state for id_, number in self.ids.items()}
        somewhere = ("queued", "held", "deferred", "dead")
        return {id_: state for id_, state in states.items() if state in somewhere}

    async def _bring_to_its_end(self) -> None:
        """Whatever was asked for, it can be brought to an end, and then it says so."""
        await self._crash()
        await self._turn("resume")
        while (await self._shown()).state not in ENDED or await self._is_active():
            await self._tidy()
            self.wall.advance(LATER_S)
            await self._expand(100)
            await self.store.queue.promote()
            await self._claim_and_begin(100)
            for sending in self.begun:
                await self._settle(sending, "ack")
            self.begun.clear()
            await self.check()
        counts = (await self._shown()).counts
        assert counts.waiting == counts.held == counts.deferred == counts.in_flight == 0

    async def _is_active(self) -> bool:
        return bool(await self.eye.campaigns.active())


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[CampaignMachine]]:
    directory = tmp_path_factory.mktemp("c")
    server = RedisServer(directory / "r").start()
    with asyncio.Runner() as runner:
        CampaignMachine.server, CampaignMachine.directory = server, directory
        CampaignMachine.runner = runner
        yield CampaignMachine
    server.stop()


@pytest.mark.timeout(240)  # a failure is first made small
def test_campaigns_keep_their_promises(machine: type[CampaignMachine]) -> None:
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            derandomize="CI" in os.environ,
        ),
    )
