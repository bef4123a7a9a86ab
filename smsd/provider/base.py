"""What every provider is. Rule: one `submit` is one request, written in its slot or not at all."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Annotated, Any, ClassVar, Protocol, Self, runtime_checkable

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    SecretStr,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from smsd.core import secret
from smsd.core.message import Message
from smsd.core.outcome import Outcome
from smsd.core.proxy import Proxy

KEEP_ALIVE_S = 1.5  # the shortest that servers commonly allow an idle connection is 2 s


ProxyFor = Callable[[str, str], Proxy | None]
"""The proxy on the way to a scheme and a host (with its port)."""


def direct(_scheme: str, _host: str) -> Proxy | None:
    """No proxy at all."""
    return None


class NotNow(Exception):  # noqa: N818 - not an error: the slot was withdrawn before anything was written
    """The slot was refused (lease lost, drain): nothing was written, nothing may be."""


class Slot(Protocol):
    """The instant at which a message may leave.

    `async with slot:` returns inside the block at the departure instant and holds back every
    later departure until the block ends, so write the request in it and nothing else. Everything
    that can be done before (encoding, look-ups, the connection) is done before. May raise
    `NotNow`, which `submit` lets pass. It is entered at most once, perhaps by another task than
    the one that called `submit` (that task is then cancelled along with the submission), and
    never after `submit` has ended. The wait for it may be cut off (cancelled) and begun again:
    where the connection has ended, for one.
    """

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Unpaced:
    """A slot for a request that sends no text: it is always open."""

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        pass


def _secret(raw: SecretStr) -> SecretStr:
    return SecretStr(secret.read(raw.get_secret_value()))


# For every key of a provider that is one: a line end or a blank is found before it is sent.
ProviderSecret = Annotated[SecretStr, AfterValidator(_secret)]


Billed = Callable[[str], str]
DEFAULT_FROM = "default_from"


def default_sender(info: ValidationInfo) -> str | None:
    """`[message] default_from`, as a table is judged with it; None where it is judged alone."""
    return None if info.context is None else info.context[DEFAULT_FROM]


class ProviderSettings(BaseModel):
    """A table `[provider.<name>]`; unknown keys are refused.

    A key may come as a variable or a credential, hence as text, and the table does not know which
    did: so "5" is taken for a number, and JSON for a list or a table. A row of a list never does,
    and may be strict.
    """

    # Hidden: pydantic would otherwise print the input, secrets included, beside what is wrong.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def billed(cls, table: Mapping[str, Any]) -> Billed | None:
        """What a provider with this table, faults and all, makes of a text before it is billed."""
        return None

    @field_validator("*", mode="wrap")
    @classmethod
    def _from_json(cls, given: Any, read: ValidatorFunctionWrapHandler) -> Any:
        try:
            return read(given)
        except ValidationError:
            if not isinstance(given, str) or not given.lstrip().startswith(("[", "{")):
                raise
            try:
                value = json.loads(given)
            except ValueError:
                value = given
            return read(value)


class Provider(Protocol):
    """A carrier or gateway. Built by the daemon from its own `Settings`."""

    Settings: ClassVar[type[ProviderSettings]]

    @classmethod
    def build(
        cls,
        settings: Any,
        *,
        timeout_s: float,
        max_in_flight: int,
        keep_alive_s: float = KEEP_ALIVE_S,
        proxy_for: ProxyFor = direct,
    ) -> Self:
        """A provider ready to `start`, from an instance of its own `Settings`.

        `keep_alive_s`: how long a connection is kept idle where the provider does not say; 0: none
        is used again. `proxy_for`: the proxy on the way to it, if there is one. `timeout_s` bounds
        the way to the slot (the connection) and, anew, the way from the written request to the
        whole answer; the wait for the slot itself is unbounded.
        """
        ...

    async def start(self) -> None:
        """Open what can be opened before the first message."""
        ...

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Hand one message over. Returns every answer; raises only `NotNow`, and for bugs."""
        ...

    async def close(self) -> None:
        """Close connections; no submission is under way any more."""
        ...


SettledAs = Callable[[Collection[str], int, int], Awaitable[Mapping[str, str]]]
"""Which of some provider's ids stand for messages that were sent between two times (Unix ms): the
id of the message by the provider's. One that is missing may still be another message's."""


@runtime_checkable
class Askable(Protocol):
    """What a provider may be besides: one that can tell what became of a message.

    One that is not configured for that has no `look_up`: then the policy decides at once.
    `can_be_asked_later`: by another process too, when this one has stopped, perhaps after the
    provider was changed. Not where the answer depends on what this process remembers, nor where
    somebody else's ignorance would be taken for an absence.
    """

    can_be_asked_later: bool

    async def look_up(
        self, message: Message, started_ms: int, settled_as: SettledAs
    ) -> Outcome | None:
        """What became of the submission of `message` that began at `started_ms` (Unix ms).

        `Accepted`: it was taken; that the provider has a record of it does not show that.
        `Rejected`: it was refused for good. `Unavailable`: it surely was not taken, and may be
        tried again; an absence shows that only where the look-up is by our own id and the
        answer comes from those who take the texts; a caller believes it only after asking for a
        while. `InDoubt`: not known, ask again. None: it cannot say, of this one.
        Never paced: nothing is sent. Bounded by the provider's timeout; raises only for bugs.
        """
        ...
