"""The watchdog. Rule: it is fed while dispatch moves, or need not move, and no longer."""

import asyncio
from contextlib import suppress

import pytest

from smsd import systemd
from smsd.core.pacer import SECOND
from smsd.daemon import watchdog
from smsd.dispatch.in_doubt import WITHIN_S

TIMEOUT_S = 1.0
PATIENCE_S = watchdog.STUCK_S + 2 * TIMEOUT_S + WITHIN_S


class Machine:
    """A clock that moves a third of the watchdog's interval with each look, and what was sent."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, interval_s: float | None) -> None:
        self.now = 0
        self.fed_at: list[float] = []
        monkeypatch.setattr(systemd, "watchdog_interval", lambda: interval_s)
        monkeypatch.setattr(systemd, "notify", self._notify)
        monkeypatch.setattr(watchdog, "clock", lambda: self.now)
        monkeypatch.setattr(asyncio, "sleep", self._sleep)

    def _notify(self, state: str) -> None:
        assert state == "WATCHDOG=1"
        self.fed_at.append(self.now / SECOND)

    async def _sleep(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        if self.now > 200 * SECOND:
            raise asyncio.CancelledError


async def feed(last_alive_at: object) -> None:
    with suppress(asyncio.CancelledError):
        await watchdog.feed(last_alive_at, timeout_s=TIMEOUT_S)  # type: ignore[arg-type]


async def test_while_dispatch_moves_it_is_fed_thrice_an_interval(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, 30.0)

    await feed(lambda now: now)

    assert machine.fed_at == [10.0 * n for n in range(21)]


async def test_once_dispatch_is_stuck_it_is_fed_for_as_long_as_a_submission_may_take(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    machine = Machine(monkeypatch, 30.0)

    await feed(lambda _: 50 * SECOND)

    assert machine.fed_at[-1] <= 50 + PATIENCE_S < machine.fed_at[-1] + 10


async def test_without_a_watchdog_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch, None)
    with suppress(TimeoutError):
        async with asyncio.timeout(0.01):
            await feed(lambda now: now)

    assert machine.fed_at == []
