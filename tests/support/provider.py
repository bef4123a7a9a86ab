"""A provider that does what a test tells it."""

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Self

from smsd.core.message import Message
from smsd.core.outcome import Accepted, Outcome
from smsd.provider.base import FindSettled, ProviderSettings, ProxyFor, Slot, direct

Answer = Outcome | Callable[[Message], Outcome | Awaitable[Outcome]]


class ScriptedProvider:
    """Answers every submission with `answer`, or with what that makes of the message."""

    Settings: ClassVar[type[ProviderSettings]] = ProviderSettings

    def __init__(self, answer: Answer = Accepted("p")) -> None:  # noqa: B008 - it is frozen
        self.answer = answer
        self.submitted: list[str] = []  # ids, in the order of their slots
        self.prepared = _set()  # cleared, messages are not ready for their slots

    @classmethod
    def build(
        cls,
        settings: Any,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = 0,
        proxy_for: ProxyFor = direct,
    ) -> Self:
        return cls()

    async def start(self) -> None: ...

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        await self.prepared.wait()
        async with slot:
            self.submitted.append(message.id)
        if not callable(self.answer):
            return self.answer
        answer = self.answer(message)
        return await answer if inspect.isawaitable(answer) else answer

    async def close(self) -> None: ...


class AskableProvider(ScriptedProvider):
    """One that can be asked: it finds what is on its list, the last of it for ever."""

    gateway = "gateway A"
    stop_leaves_in_doubt = True

    def __init__(
        self,
        *found: Outcome | Exception | None,
        answer: Answer = Accepted("p"),  # noqa: B008 - it is frozen
    ) -> None:
        super().__init__(answer)
        self.found = list(found) or [None]  # an error is raised
        self.asked: list[tuple[str, int]] = []  # ids, and when the submission began
        self.asked_now = self.most_asked_at_once = 0
        self.may_find = _set()  # cleared, a look-up does not end

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        self.asked.append((message.id, started_ms))
        self.asked_now += 1
        self.most_asked_at_once = max(self.most_asked_at_once, self.asked_now)
        try:
            await self.may_find.wait()
        finally:
            self.asked_now -= 1
        found = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(found, Exception):
            raise found
        return found


def _set() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
