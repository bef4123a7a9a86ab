"""HTTP providers. Rule: each words a request and reads an answer; the rest is done here, once."""

import ssl
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, FilePath
from yarl import URL

from smsd.core.message import Message
from smsd.core.outcome import Outcome
from smsd.provider.base import ProviderSettings, Slot, Unpaced
from smsd.provider.wire.transport import Answer, Link, Request


def http_url(text: str) -> str:
    """`text`, if it can be a provider's address. Raises `ValueError`."""
    url = URL(text)
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an address like https://gateway.example/send")
    if url.user or url.password or url.fragment:
        raise ValueError("must hold neither a user, nor a password, nor a #fragment")
    return text


def below(base_url: str, url: str) -> str:
    """`url` with the `base_url`, if any, before it. Raises `ValueError`."""
    if base_url and not url.startswith("/"):
        raise ValueError('must begin with "/", since base_url goes before it')
    return base_url + url


def authorities(path: Path) -> Path:
    """`path`, if the authorities in it can be trusted. Raises `ValueError`."""
    try:
        ssl.create_default_context(cafile=path)
    except ssl.SSLError:
        raise ValueError("must be a PEM file with certificates") from None
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from None
    return path


HttpUrl = Annotated[str, AfterValidator(http_url)]


class HttpSettings(ProviderSettings):
    """What every provider spoken to by HTTP takes."""

    ca_file: Annotated[FilePath, AfterValidator(authorities)] | None = (
        None  # PEM; then only these authorities are trusted
    )


class Gateway(ABC):
    """A provider that takes a message in one HTTP request."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def start(self) -> None:
        """Make the link ready."""
        await self._link.open()

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Hand one message over in its slot."""
        answer = await self._link.exchange(self.request(message), slot)
        return self.judge(answer, message) if isinstance(answer, Answer) else answer

    async def ask(self, request: Request) -> Answer | None:
        """The answer to a request that sends no text; None if there is none."""
        answer = await self._link.exchange(request, Unpaced())
        return answer if isinstance(answer, Answer) else None

    async def close(self) -> None:
        """Close the link."""
        await self._link.close()

    @abstractmethod
    def request(self, message: Message) -> Request:
        """How the provider is asked."""

    @abstractmethod
    def judge(self, answer: Answer, message: Message) -> Outcome:
        """What its answer means."""
