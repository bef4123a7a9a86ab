"""HTTP providers. Rule: each builds a request and reads an answer; the rest is done here."""

from abc import ABC, abstractmethod

from smsd.core.message import Message
from smsd.core.outcome import Outcome
from smsd.provider.base import Slot, Unpaced
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.transport import HttpClient, Request


class Gateway(ABC):
    """A provider that takes a message in one HTTP request."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client

    async def start(self) -> None:
        """Make the client ready."""
        await self._client.open()

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Submit one message in its slot."""
        answer = await self._client.exchange(self.request(message), slot)
        return self.outcome(answer, message) if isinstance(answer, Answer) else answer

    async def ask(self, request: Request) -> Answer | None:
        """The answer to a request that sends no message; None if there is none."""
        answer = await self._client.exchange(request, Unpaced())
        return answer if isinstance(answer, Answer) else None

    async def close(self) -> None:
        """Close the client."""
        await self._client.close()

    @abstractmethod
    def request(self, message: Message) -> Request:
        """The request that submits a message."""

    @abstractmethod
    def outcome(self, answer: Answer, message: Message) -> Outcome:
        """What the answer to that request means."""
