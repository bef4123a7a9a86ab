"""HTTP providers. Rule: each builds a request and reads an answer; the rest is done here."""

import ssl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, FilePath
from yarl import URL

from smsd.core.message import Message
from smsd.core.outcome import Outcome
from smsd.provider.base import ProviderSettings, Slot, Unpaced
from smsd.provider.wire.answer import Answer
from smsd.provider.wire.transport import HttpClient, Request


def http_url(written: str) -> str:
    """`written`, if it can be the URL of a provider. Raises `ValueError`."""
    url = URL(written)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be a URL like https://gateway.example/send")
    if url.user or url.password or url.fragment:
        raise ValueError("must hold neither a user, nor a password, nor a #fragment")
    return written


def below(base_url: str, url: str) -> str:
    """`url` after the `base_url`, if there is one. Raises `ValueError`."""
    if base_url and not url.startswith("/"):
        raise ValueError('must begin with "/", since base_url goes before it')
    return base_url + url


def authorities(path: Path) -> Path:
    """`path`, if it is a file of certificate authorities. Raises `ValueError`."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError("must be a PEM file with certificates") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return path


HttpUrl = Annotated[str, AfterValidator(http_url)]


class HttpSettings(ProviderSettings):
    """The keys of every HTTP provider."""

    # A PEM file; if it is set, only these authorities are trusted.
    ca_file: Annotated[FilePath, AfterValidator(authorities)] | None = None


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
