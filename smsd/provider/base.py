"""What a provider is. Rule: one `submit` is one request, written in its slot or not at all."""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from types import TracebackType
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, runtime_checkable

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


class SlotWithdrawn(Exception):  # noqa: N818 - not an error: nothing was written
    """The dispatcher took the slot back (lease lost, drain): nothing is written in it."""


class Slot(Protocol):
    """The instant at which a message may leave.

    `async with slot:` enters the block at the departure instant and holds back every later
    departure until the block ends: write the request in it and do nothing else. Prepare everything
    (encoding, look-ups, the connection) before. Entering may raise `SlotWithdrawn`, which `submit`
    lets pass.

    It is entered at most once (see `SubmitsSegments` for the exception), and never after `submit`
    has ended. Another task than the one that called `submit` may enter it; that task is then
    cancelled along with the submission. The wait for the slot may be cancelled and begun again, for
    instance when the connection has ended.
    """

    async def __aenter__(self) -> None: ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class Unpaced:
    """A slot for a request that sends no message: it is always open."""

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


# The type of every secret in a provider's table: a stray line end or blank is found at the start.
ProviderSecret = Annotated[SecretStr, AfterValidator(_secret)]


BilledText = Callable[[str], str]
"""The text that a provider sends, and bills, in place of the one it is given."""

DEFAULT_FROM = "default_from"  # the key of `[message] default_from` in the validation context


def default_sender(info: ValidationInfo) -> str | None:
    """`[message] default_from`, if it is known during validation; else None."""
    return None if info.context is None else info.context[DEFAULT_FROM]


class ProviderSettings(BaseModel):
    """A table `[provider.<name>]`; unknown keys are refused.

    A key may come from an environment variable or a credential, always as a string, and the table
    does not know which did. So "5" is read as a number, and JSON as a list or a table. The rows of
    a list come from the file alone, and may be strict.
    """

    # Hidden: pydantic would otherwise print the input, secrets included, beside what is wrong.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @classmethod
    def billed_text(cls, table: Mapping[str, Any]) -> BilledText | None:
        """How the provider changes the text that it bills; `table` has not been validated."""
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

        `timeout_s` bounds connecting and, separately, the time from the written request to the
        whole answer; the wait for the slot is unbounded. `keep_alive_s`: how long an idle
        connection is used again where the provider does not say; 0: never. `proxy_for`: the proxy
        on the way to an address, if there is one.
        """
        ...

    async def start(self) -> None:
        """Open what can be opened before the first message."""
        ...

    async def submit(self, message: Message, slot: Slot) -> Outcome:
        """Submit one message once. Returns the outcome; raises only `SlotWithdrawn` and bugs."""
        ...

    async def close(self) -> None:
        """Close connections; no submission is under way any more."""
        ...


@runtime_checkable
class SubmitsSegments(Protocol):
    """The optional side of a provider that writes each segment as a PDU of its own, as SMPP does.

    Its `submit` enters the slot once for each segment of the message, in their order: each entry is
    paced as one segment, and segments of other messages may leave between. Once a segment has left,
    the slot is withdrawn only if the lease is lost; the message is in doubt then. `submit` returns
    one outcome for the whole message: `InDoubt` unless all its segments ended alike.
    """

    slot_per_segment: Literal[True]


FindSettled = Callable[[Collection[str], int, int], Awaitable[Mapping[str, str]]]
"""Find the messages that were sent between two times (Unix ms) under some of the provider's ids.

The answer maps a provider's id to our message id. An id that is missing from it may still belong
to another message."""


@runtime_checkable
class SupportsLookUp(Protocol):
    """The optional look-up side of a provider: it reports what became of a message in doubt.

    (A caller's look-up of a message's status is another thing: `smsd/store/lookup.py`.)

    A provider that is not configured for look-ups has no `look_up`, and the `in_doubt` policy
    decides at once.

    `gateway` is what tells the gateway and the account that are asked from any other; no secret. An
    in-flight record keeps a digest of it. So recovery, also in a later process, asks only about
    messages that were written to this very gateway: any other knows nothing of them.

    `stop_leaves_in_doubt` governs only what a daemon that is stopped (SIGTERM) does with messages
    that are still in doubt. True: their in-flight records stay, and the next daemon asks. False:
    the `in_doubt` policy decides before it ends. It is true where an absence proves nothing,
    however late the next daemon asks; false where an absence counts as a proof, or where what a
    look-up knows ends with this process.
    """

    gateway: str
    stop_leaves_in_doubt: bool

    async def look_up(
        self, message: Message, started_ms: int, find_settled: FindSettled
    ) -> Outcome | None:
        """What became of the submission of `message` that began at `started_ms` (Unix ms).

        `Accepted`: it was taken; a record of it alone does not show that.
        `Rejected`: it was refused for good.
        `Unavailable`: it surely was not taken, and may be tried again. An absence shows that only
        where the look-up is by our own id and reaches the system that takes the messages; the
        caller believes it only if every ask of half a minute ends so.
        `InDoubt`: not known yet; ask again. None: not known for this message; do not ask again.

        It is never paced, since nothing is sent. The provider's timeout bounds it. It raises only
        for bugs.
        """
        ...


def missing_for_look_up(provider: Provider) -> list[str]:
    """What a provider with a `look_up` lacks: without it, it would never be asked, and silently."""
    needed = ("gateway", "stop_leaves_in_doubt") if hasattr(provider, "look_up") else ()
    return [name for name in needed if not hasattr(provider, name)]
